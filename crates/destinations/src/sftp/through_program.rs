//! SFTP through a program's standard input and output: the system's ssh, with its own configuration, or whatever the
//! user names.

use std::sync::Arc;

use async_trait::async_trait;
use model::FaultKind;

use super::session::{Lifeline, Pipe};
use super::trouble::{Result, Trouble};
use crate::program::{self, Program};
use crate::{AccountPlace, SshAccess};

/// The words of the program, when it is one that SFTP goes through.
pub(super) fn words(place: &AccountPlace, access: &SshAccess) -> std::result::Result<Option<Vec<String>>, String> {
    if let Some(command) = &access.sftp_command {
        return if command.is_empty() {
            Err("the SFTP command is empty".to_owned())
        } else {
            Ok(Some(command.clone()))
        };
    }
    if access.ssh_program.is_none() {
        return Ok(None);
    }
    let mut words = program::ssh_words(place, access)?;
    words.extend(["-s", "--", &place.host, "sftp"].map(str::to_owned));
    Ok(Some(words))
}

/// Starts the program.
pub(super) fn start(words: &[String]) -> Result<Pipe> {
    let refused = |cause: String| Trouble::new(FaultKind::Misconfigured, cause);
    let Some((name, arguments)) = words.split_first() else { return Err(refused("no program".to_owned())) };
    let (program, stdin, stdout) = Program::start(program::command(name, arguments)).map_err(refused)?;
    Ok(Pipe { reader: Box::new(stdout), writer: Box::new(stdin), lifeline: Arc::new(program) })
}

#[async_trait]
impl Lifeline for Program {
    async fn why_it_ended(&self) -> Option<Trouble> {
        let words = self.last_words().await;
        let kind = program::kind_of_ssh_words(&words).unwrap_or(FaultKind::Unreachable);
        let said = if words.is_empty() { "without a word".to_owned() } else { format!("and said: {words}") };
        Some(Trouble::new(kind, format!("`{}` ended {said}", self.name())))
    }
}
