//! `store account`: who may store here, and how much.

use model::{ExposeSecret, Secret};
use serde_json::json;
use store::accounts::{LimitChanges, Limits, NewCredential, PasswordHash, purge};
use store::admin::documents::AccountDocument;
use store::{AccountName, Login, Role, State, Vault};

use super::credential::{self, NewPassword};
use super::limits::{Amount, QuotaArguments};
use super::{DataFolder, account_failed, failed, opened};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::table::Table;

/// Add, list, change and remove accounts
///
/// A server that runs sees each change at its next request.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add an account, with a first credential
    Add(Add),
    /// List accounts with their limits, what they hold and their credentials
    List,
    /// Give a credential another password; the old one is refused from the next request on
    Passwd {
        /// The credential: `alice`, or `alice+label`
        login: Login,
        #[command(flatten)]
        password: NewPassword,
    },
    /// Give a credential another role
    Role {
        /// The credential: `alice`, or `alice+label`
        login: Login,
        /// read, append or full
        #[arg(value_parser = credential::parse_role)]
        role: Role,
    },
    /// Change an account's quotas and minimum age; what is not named stays
    Quota {
        /// The account
        name: AccountName,
        #[command(flatten)]
        quota: QuotaArguments,
    },
    /// Let nobody in any more; nothing else changes
    Disable {
        /// The account
        name: AccountName,
    },
    /// Let its credentials in again, or take back its removal
    Enable {
        /// The account
        name: AccountName,
    },
    /// Remove an account and its credentials; what it stored stays until it is purged
    Remove {
        /// The account
        name: AccountName,
    },
    /// Remove for good what a removed account stored
    Purge {
        /// The account
        name: AccountName,
        /// The account's name once more, instead of being asked for it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The account: the first part of its repositories' paths
    name: AccountName,
    /// What its credential may do: read, append (add, and remove locks only) or full (remove what is old enough)
    #[arg(long, value_name = "ROLE", default_value = "append", value_parser = credential::parse_role)]
    role: Role,
    /// Make no credential
    #[arg(long)]
    no_credential: bool,
    #[command(flatten)]
    quota: QuotaArguments,
    #[command(flatten)]
    password: NewPassword,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let state = opened(session, &arguments.data)?;
    match &arguments.action {
        Action::Add(add) => self::add(session, &state, add),
        Action::List => list(session, &state),
        Action::Passwd { login, password } => passwd(session, &state, login, password),
        Action::Role { login, role } => {
            state.change_role(login, *role).map_err(account_failed)?;
            done(session, "role", login, &format!("{login} may {} now", role.word()))
        }
        Action::Quota { name, quota } => {
            let limits = state.change_limits(name, quota.changes()).map_err(account_failed)?;
            done(session, "quota", name, &format!("{name}: {}", limits_line(&limits)))
        }
        Action::Disable { name } => {
            state.disable_account(name).map_err(account_failed)?;
            done(session, "disabled", name, &format!("{name} is locked out"))
        }
        Action::Enable { name } => {
            state.enable_account(name).map_err(account_failed)?;
            done(session, "enabled", name, &format!("{name} is let in"))
        }
        Action::Remove { name } => {
            state.remove_account(name).map_err(account_failed)?;
            done(session, "removed", name, &format!("removed {name}; what it stored is still there"))
        }
        Action::Purge { name, confirm } => purge(session, &state, name, confirm.as_deref()),
    }
}

fn done(session: &Session, action: &str, whom: impl std::fmt::Display, line: &str) -> Result<(), Failure> {
    session.screen.json(&json!({ "message_type": "account", "action": action, "name": whom.to_string() }))?;
    session.screen.remark(line)
}

fn add(session: &Session, state: &State, add: &Add) -> Result<(), Failure> {
    let limits = add.quota.changes().applied_to(Limits::default());
    if add.no_credential {
        state.add_account(&add.name, limits, None).map_err(account_failed)?;
        return done(session, "added", &add.name, &format!("added {}, without a credential", add.name));
    }
    let (password, is_generated) = add.password.get(session)?;
    let hash = hash_of(&password)?;
    let new = NewCredential { label: None, role: add.role, hash, expires_at: None };
    state.add_account(&add.name, limits, Some(&new)).map_err(account_failed)?;
    credential::granted(session, "added", &Login { account: add.name.clone(), label: None }, &password, is_generated)
}

/// What is kept of a password.
pub(super) fn hash_of(password: &Secret) -> Result<PasswordHash, Failure> {
    PasswordHash::of(password).map_err(|error| Failure::usage(error.to_string()))
}

fn passwd(session: &Session, state: &State, login: &Login, new: &NewPassword) -> Result<(), Failure> {
    let (password, is_generated) = new.get(session)?;
    state.change_password(login, &hash_of(&password)?).map_err(account_failed)?;
    credential::granted(session, "changed", login, &password, is_generated)
}

fn list(session: &Session, state: &State) -> Result<(), Failure> {
    let usage = store::usage::usage(state).map_err(account_failed)?;
    session.screen.json(&usage.accounts)?;
    let headings = ["Account", "State", "Bytes", "of", "Files", "of", "Min. age", "Credentials"];
    let mut table = Table::new(headings);
    for account in &usage.accounts {
        let amount = |quota: Option<u64>, shown: fn(u64) -> String| quota.map_or_else(|| "any".to_owned(), shown);
        let (bytes, files) = account.usage.as_ref().map_or((0, 0), |usage| (usage.bytes, usage.files));
        let credentials: Vec<String> = account
            .credentials
            .iter()
            .map(|credential| {
                let end = credential.expires_at.map_or_else(String::new, |end| format!(" until {}", end.0));
                format!("{} {}{end}", credential.login, Role::from(credential.role).word())
            })
            .collect();
        table.row([
            account.name.clone(),
            word(account).to_owned(),
            figures::bytes(bytes),
            amount(account.quota_bytes, figures::bytes),
            files.to_string(),
            amount(account.quota_files, |files| files.to_string()),
            figures::duration(std::time::Duration::from_secs(account.minimum_age_seconds)),
            credentials.join("\n"),
        ]);
    }
    table.footer(figures::count(usage.accounts.len() as u64, "account"));
    table.lines().into_iter().try_for_each(|line| session.screen.line(line))
}

fn word(account: &AccountDocument) -> &'static str {
    match (account.removed_at, account.disabled) {
        (Some(_), _) => "removed",
        (None, true) => "disabled",
        (None, false) => "open",
    }
}

fn limits_line(limits: &Limits) -> String {
    let files = limits.quota_files.map_or_else(|| "any".to_owned(), |files| files.to_string());
    let repositories = limits.quota_repositories.map_or_else(|| "any".to_owned(), |number| number.to_string());
    let bytes = limits.quota_bytes.map_or_else(|| "any".to_owned(), figures::bytes);
    let age = figures::duration(std::time::Duration::from_secs(limits.minimum_age_seconds));
    format!("bytes {bytes}, files {files}, repositories {repositories}, minimum age {age}")
}

fn purge(session: &Session, state: &State, name: &AccountName, confirm: Option<&str>) -> Result<(), Failure> {
    let question = format!("everything that {name} stored will be gone; enter its name to go on: ");
    let again = match confirm {
        Some(again) => again.to_owned(),
        None => crate::password::ask(&question)?.expose_secret().to_owned(),
    };
    if again != name.as_str() {
        return Err(Failure::usage("the name is not the same; nothing was removed"));
    }
    let vault = Vault::visit(state.folder()).map_err(failed)?;
    let purged = purge::purge(state, &vault, name).map_err(account_failed)?;
    let what = format!(
        "purged {name}: {} in {} gone",
        figures::count(purged.files, "file"),
        figures::count(purged.repositories, "repository")
    );
    done(session, "purged", name, &what)
}

impl QuotaArguments {
    fn changes(&self) -> LimitChanges {
        LimitChanges {
            quota_bytes: self.quota_bytes.map(Amount::limit),
            quota_files: self.quota_files.map(Amount::limit),
            quota_repositories: self.quota_repositories.map(Amount::limit),
            minimum_age_seconds: self.minimum_age.map(|age| age.as_secs()),
        }
    }
}
