//! `init`: a new repository, on every copy at once.

use format::ScryptCost;
use repository::InitRequest;
use serde_json::json;

use crate::failure::Failure;
use crate::password;
use crate::session::Session;
use crate::watch::Task;

/// Make a new repository on every copy that is named with -r
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Version of the repository format: 1, 2, `latest` or `stable`
    #[arg(long, value_name = "VERSION", default_value = "stable", value_parser = version)]
    repository_version: u32,
}

fn version(text: &str) -> Result<u32, String> {
    match text {
        "latest" | "stable" => Ok(2),
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("use 1, 2, `latest` or `stable`".to_owned()),
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let sites = session.sites()?;
    let password = password::for_new_repository(&session.global)?;
    let request = InitRequest { version: arguments.repository_version, polynomial: None, cost: ScryptCost::STANDARD };
    let repository = session.init_at(&sites, &password, &request, session.watch(Task::Browse))?;
    let id = repository.config().id;
    let places: Vec<String> = sites.iter().map(|site| site.location.to_string()).collect();
    session.screen.json(&json!({
        "message_type": "initialized",
        "id": id,
        "repository": places.first(),
        "copies": places,
    }))?;
    let screen = &session.screen;
    screen.remark(format!("created repository {} in {}", id.short(), places.join(", ")))?;
    if places.len() > 1 {
        screen
            .remark(format!("each of the {} copies is complete: any one of them is enough to restore", places.len()))?;
    }
    screen.remark("")?;
    screen.remark("Keep the password safe. Without it nobody can read the repository, and nobody can reset it.")
}
