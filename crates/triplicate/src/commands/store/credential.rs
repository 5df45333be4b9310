//! `store credential`: further passwords of an account, each with its own role, and leases that end by themselves.

use std::time::Duration;

use model::{ExposeSecret, Secret};
use serde_json::json;
use store::accounts::{NewCredential, generated};
use store::admin::documents::CredentialDocument;
use store::names::Label;
use store::{AccountName, Login, Role};

use super::account::hash_of;
use super::{DataFolder, account_failed, opened};
use crate::arguments::parse_duration;
use crate::failure::Failure;
use crate::password;
use crate::session::Session;
use crate::table::Table;

/// Add, list and revoke further credentials of an account
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add a credential: the user name of its clients is `ACCOUNT+LABEL`
    Add(Add),
    /// List an account's credentials
    List {
        /// The account
        account: AccountName,
    },
    /// Revoke a credential; it is refused from the next request on
    Remove {
        /// The credential: `alice`, or `alice+label`
        login: Login,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The account
    account: AccountName,
    /// What it is called; the account's one credential without a label needs none
    #[arg(long)]
    label: Option<Label>,
    /// What it may do: read, append or full
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    role: Role,
    /// It ends after this time: a lease for maintenance, such as `2h`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    #[command(flatten)]
    password: NewPassword,
}

/// Where a new password comes from.
///
/// Without an option the password is generated and shown once; `--password-file` reads it.
#[derive(Debug, clap::Args)]
pub(super) struct NewPassword {
    /// Ask for the new password instead of making one; `--password-file` reads it from a file
    #[arg(long, conflicts_with = "password_file")]
    ask: bool,
}

impl NewPassword {
    /// The password, and whether nobody knows it yet.
    pub(super) fn get(&self, session: &Session) -> Result<(Secret, bool), Failure> {
        match (&session.global.password_file, self.ask) {
            (Some(file), _) => password::new_key(Some(file)).map(|password| (password, false)),
            (None, true) => password::new_key(None).map(|password| (password, false)),
            (None, false) => match generated() {
                Ok(password) => Ok((password, true)),
                Err(error) => Err(Failure::failed(error.to_string())),
            },
        }
    }
}

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    let known = Role::ALL.into_iter().find(|role| role.word() == text);
    known.ok_or_else(|| "a role is `read`, `append` or `full`".to_owned())
}

/// Says that a login has a new password, and the password itself where nobody knows it yet.
pub(super) fn granted(
    session: &Session,
    action: &str,
    login: &Login,
    password: &Secret,
    is_generated: bool,
) -> Result<(), Failure> {
    let shown = is_generated.then(|| password.expose_secret());
    let mut document = json!({ "message_type": "credential", "action": action, "login": login.to_string() });
    if let (Some(shown), Some(fields)) = (shown, document.as_object_mut()) {
        fields.insert("password".to_owned(), shown.into());
    }
    session.screen.json(&document)?;
    session.screen.remark(format!("{action} {login}"))?;
    match shown {
        // A result, and not a remark: it is told this once.
        Some(shown) => session.screen.line(format!("password: {shown}")),
        None => Ok(()),
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let state = opened(session, &arguments.data)?;
    match &arguments.action {
        Action::Add(add) => {
            let (password, is_generated) = add.password.get(session)?;
            let end = add.expires_in.map(|time| state.now().saturating_add(time));
            let end = end.transpose().map_err(|error| Failure::usage(error.to_string()))?;
            let hash = hash_of(&password)?;
            let new = NewCredential { label: add.label.clone(), role: add.role, hash, expires_at: end };
            state.add_credential(&add.account, &new).map_err(account_failed)?;
            let login = Login { account: add.account.clone(), label: add.label.clone() };
            granted(session, "added", &login, &password, is_generated)
        }
        Action::List { account } => list(session, &state, account),
        Action::Remove { login } => {
            state.remove_credential(login).map_err(account_failed)?;
            let document = json!({ "message_type": "credential", "action": "removed", "login": login.to_string() });
            session.screen.json(&document)?;
            session.screen.remark(format!("revoked {login}"))
        }
    }
}

fn list(session: &Session, state: &store::State, account: &AccountName) -> Result<(), Failure> {
    let book = state.book().map_err(super::failed)?;
    if book.account(account).is_none() {
        return Err(account_failed(store::accounts::AccountError::NoAccount(account.clone())));
    }
    let credentials: Vec<CredentialDocument> =
        book.credentials_of(account).iter().map(|credential| CredentialDocument::of(credential)).collect();
    session.screen.json(&credentials)?;
    let mut table = Table::new(["Login", "Role", "Created", "Ends"]);
    for credential in &credentials {
        table.row([
            credential.login.clone(),
            Role::from(credential.role).word().to_owned(),
            credential.created_at.0.to_string(),
            credential.expires_at.map_or_else(String::new, |end| end.0.to_string()),
        ]);
    }
    table.lines().into_iter().try_for_each(|line| session.screen.line(line))
}
