//! What a command writes, as one file.

use std::ffi::OsString;
use std::io::Read;
use std::time::Duration;

use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};

use crate::dump::{Dump, file};
use crate::manifest::{Kind, Manifest};
use crate::program::Program;

/// A command whose output is a source.
#[derive(Debug, Clone)]
pub struct Command {
    /// What the file is called in the snapshot: one name.
    pub name_in_snapshot: String,
    /// The program and its arguments. There is no shell in between.
    pub arguments: Vec<OsString>,
    /// It is killed, and the backup fails, when it has not ended by then.
    pub deadline: Option<Duration>,
}

impl Origin for Command {
    fn place(&self) -> String {
        let program = self.arguments.first().map(|program| program.to_string_lossy().into_owned());
        // Arguments may hold what must not be shown.
        format!("command:{}", program.unwrap_or_default())
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if self.name_in_snapshot.is_empty() || self.arguments.is_empty() {
            return Err(OriginError::new("start", "", "a command needs a name in the snapshot, and a program"));
        }
        Ok(if path.is_empty() { vec![file(self.name_in_snapshot.as_str())] } else { Vec::new() })
    }

    fn open(&self, _path: &[u8], _entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let (program, arguments) = self.arguments.split_first().unzip();
        let mut program =
            Program::new(program.cloned().unwrap_or_default()).arguments(arguments.unwrap_or_default()).heeding(stop);
        if let Some(deadline) = self.deadline {
            program = program.deadline(deadline);
        }
        let running = program.start().map_err(|error| OriginError::new("start", "", error.to_string()))?;
        Ok(Box::new(Dump::new(self.name_in_snapshot.as_str(), running)))
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let manifest = Manifest { kind: Kind::Command, server: None, tool: None, counts: Default::default() };
        manifest.to_json().map(Some)
    }
}
