//! Standard input, or what a command writes, as one file of a snapshot.

use std::path::PathBuf;
use std::sync::Arc;

use repository::backup::{Given, Origin};

use super::SourceArguments;
use crate::failure::Failure;

/// A stream instead of files.
#[derive(Debug, clap::Args)]
pub(crate) struct StreamArguments {
    /// Back up what comes from standard input
    #[arg(long, conflicts_with = "stdin_from_command")]
    stdin: bool,
    /// Back up what a command writes: the program and its arguments, behind `--`. When it fails, there is no snapshot
    #[arg(long)]
    stdin_from_command: bool,
    /// The file's name in the snapshot
    #[arg(long, value_name = "NAME", default_value = "stdin")]
    stdin_filename: String,
}

impl StreamArguments {
    /// Whether a stream is asked for.
    pub(super) fn is_any(&self) -> bool {
        self.stdin || self.stdin_from_command
    }

    /// The stream, where one is asked for.
    pub(super) fn given(&self, sources: &SourceArguments) -> Result<Option<Given>, Failure> {
        if !self.is_any() {
            return Ok(None);
        }
        if sources.has_lists() {
            return Err(Failure::usage("files and a stream are backed up one after the other"));
        }
        let path = PathBuf::from("/").join(&self.stdin_filename);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(Failure::usage(format!("`{}` is no name of a file", self.stdin_filename)));
        };
        let origin: Arc<dyn Origin> = match (self.stdin, sources.named()) {
            (true, []) => Arc::new(sources::Stdin::new(name)),
            (true, _) => return Err(Failure::usage("files and a stream are backed up one after the other")),
            (false, []) => {
                let hint = "write it behind `--`: triplicate backup --stdin-from-command -- pg_dumpall -U postgres";
                return Err(Failure::usage("no command was named").hint(hint));
            }
            (false, command) => Arc::new(sources::Command {
                name_in_snapshot: name.to_owned(),
                arguments: command.iter().map(Into::into).collect(),
                deadline: None,
            }),
        };
        Ok(Some(Given { origin, folder: folder.to_owned(), paths: vec![path.clone()] }))
    }
}
