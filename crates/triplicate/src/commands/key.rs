//! `key`: the passwords of a repository.

use std::path::PathBuf;

use format::ScryptCost;
use repository::keys;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::figures;
use crate::password;
use crate::session::Session;
use crate::table::Table;
use crate::watch::Task;

/// List, add, remove and change passwords of the repository
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List keys; the one whose password was given is marked
    List,
    /// Add a further password
    Add(NewPassword),
    /// Remove a password; not the one that was given
    Remove {
        /// The key's id, or the beginning of it
        id: String,
    },
    /// Replace the password that was given by another
    Passwd(NewPassword),
}

#[derive(Debug, clap::Args)]
struct NewPassword {
    /// Read the new password from a file
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let mut repository = session.open(session.watch(Task::Browse))?;
    let guard = repository.lock(match &arguments.action {
        Action::List => repository::locks::LockMode::Reading,
        Action::Add(_) => repository::locks::LockMode::Adding,
        // Two who remove each other's key at the same time would leave none.
        Action::Remove { .. } | Action::Passwd(_) => repository::locks::LockMode::Exclusive,
    })?;
    let screen = &session.screen;
    let saved = |id: model::Id, what: &str| {
        screen.json(&json!({ "message_type": "key", "action": what, "id": id }))?;
        screen.remark(format!("{what} key {}", id.short()))
    };
    match &arguments.action {
        Action::List => list(session, &repository),
        Action::Add(new) => {
            let password = password::new_key(new.new_password_file.as_deref())?;
            saved(keys::add(&repository, &password, ScryptCost::STANDARD)?, "added")
        }
        Action::Remove { id } => {
            let id = keys::find(&repository, id)?;
            keys::remove(&repository, &guard, id)?;
            saved(id, "removed")
        }
        Action::Passwd(new) => {
            let password = password::new_key(new.new_password_file.as_deref())?;
            saved(keys::change_password(&mut repository, &guard, &password, ScryptCost::STANDARD)?, "changed to")
        }
    }
}

fn list(session: &Session, repository: &repository::Repository) -> Result<(), Failure> {
    let zone = repository.clock().time_zone();
    let keys = keys::list(repository)?;
    let documents: Vec<Value> = keys
        .iter()
        .map(|key| {
            json!({
                "current": key.current,
                "id": key.id,
                "userName": key.username,
                "hostName": key.hostname,
                "created": key.created.map(|created| figures::moment(&created, &zone)),
            })
        })
        .collect();
    session.screen.json(&documents)?;
    let mut table = Table::new([" ID", "User", "Host", "Created"]);
    for key in &keys {
        let mark = if key.current { '*' } else { ' ' };
        let (user, host) = (figures::shown(key.username.as_bytes()), figures::shown(key.hostname.as_bytes()));
        let created = key.created.map_or_else(String::new, |created| figures::moment(&created, &zone));
        table.row([format!("{mark}{}", key.id.short()), user, host, created]);
    }
    table.lines().into_iter().try_for_each(|line| session.screen.line(line))
}
