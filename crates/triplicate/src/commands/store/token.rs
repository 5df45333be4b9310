//! `store token`: bearer tokens of the administration and of monitors.

use std::time::Duration;

use model::ExposeSecret;
use serde_json::json;
use store::accounts::Scope;
use store::admin::documents::TokenDocument;

use super::{DataFolder, account_failed, failed, opened};
use crate::arguments::parse_duration;
use crate::failure::Failure;
use crate::session::Session;
use crate::table::Table;

/// Make, list and revoke tokens for the administration and for monitors
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token and show it, this once
    Add {
        /// What it is called
        name: String,
        /// What it opens: observe (status and metrics) or admin (accounts too)
        #[arg(long, value_name = "SCOPE", value_parser = parse_scope)]
        scope: Scope,
        /// It ends after this time
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List tokens
    List,
    /// Revoke a token
    Remove {
        /// What it is called
        name: String,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let known = Scope::ALL.into_iter().find(|scope| scope.word() == text);
    known.ok_or_else(|| "a scope is `observe` or `admin`".to_owned())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let state = opened(session, &arguments.data)?;
    let screen = &session.screen;
    match &arguments.action {
        Action::Add { name, scope, expires_in } => {
            let end = expires_in.map(|time| state.now().saturating_add(time));
            let end = end.transpose().map_err(|error| Failure::usage(error.to_string()))?;
            let token = state.add_token(name, *scope, end).map_err(account_failed)?;
            let token = token.expose_secret();
            screen.json(&json!({ "message_type": "token", "action": "added", "name": name, "token": token }))?;
            screen.line(token)
        }
        Action::List => {
            let book = state.book().map_err(failed)?;
            let tokens: Vec<TokenDocument> = book.tokens().iter().map(TokenDocument::of).collect();
            screen.json(&tokens)?;
            let mut table = Table::new(["Name", "Scope", "Created", "Ends"]);
            for token in &tokens {
                let end = token.expires_at.map_or_else(String::new, |end| end.0.to_string());
                let scope = Scope::from(token.scope).word().to_owned();
                table.row([token.name.clone(), scope, token.created_at.0.to_string(), end]);
            }
            table.lines().into_iter().try_for_each(|line| screen.line(line))
        }
        Action::Remove { name } => {
            state.remove_token(name).map_err(account_failed)?;
            screen.json(&json!({ "message_type": "token", "action": "removed", "name": name }))?;
            screen.remark(format!("revoked {name}"))
        }
    }
}
