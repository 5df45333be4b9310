//! `explain`: why a path is backed up, or not.

use std::path::PathBuf;

use repository::backup::{Explanation, Reason, explain};
use serde_json::json;

use crate::commands::backup::SourceArguments;
use crate::failure::Failure;
use crate::session::Session;

/// Say why a path would be backed up, or not
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The path in question
    path: PathBuf,
    #[command(flatten)]
    sources: SourceArguments,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let request = arguments.sources.request(session)?;
    let explanation = explain(&request, &arguments.path)?;
    let words = in_words(&explanation);
    session.screen.json(&json!({
        "message_type": "explanation",
        "path": explanation.path.to_string_lossy(),
        "source": explanation.source.as_ref().map(|source| source.to_string_lossy()),
        "backed_up": explanation.reason.is_none(),
        "why": words,
    }))?;
    session.screen.line(words)
}

fn in_words(explanation: &Explanation) -> String {
    let Explanation { path, source, reason } = explanation;
    let path = path.display();
    let source = source.as_ref().map(|source| source.display().to_string()).unwrap_or_default();
    match reason {
        None => format!("`{path}` is backed up: it is in `{source}`, and nothing leaves it out"),
        Some(Reason::NoSource) => format!("`{path}` is not backed up: it is in none of the sources"),
        Some(Reason::Missing) => format!("`{path}` is not there"),
        Some(Reason::LeftOut { entry, rule }) if *entry == explanation.path => {
            format!("`{path}` is not backed up: {rule}")
        }
        Some(Reason::LeftOut { entry, rule }) => {
            format!("`{path}` is not backed up, because `{}` is not: {rule}", entry.display())
        }
    }
}
