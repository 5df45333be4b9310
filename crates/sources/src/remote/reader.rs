//! A file that is poured by a task of the runtime, as a thread of the engine reads it.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use repository::backup::OriginError;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

/// What comes from the task.
pub(super) enum Part {
    Bytes(Bytes),
    /// All there is has come.
    End,
    Failed(OriginError),
}

/// Reads what a task pours. When it is dropped, the task ends.
pub(super) struct PouredFile {
    parts: Receiver<Part>,
    rest: Bytes,
    /// Set when nothing more comes: the end, or why there is none.
    outcome: Option<Result<(), OriginError>>,
    task: JoinHandle<()>,
}

impl PouredFile {
    pub(super) fn new(parts: Receiver<Part>, task: JoinHandle<()>) -> Self {
        Self { parts, rest: Bytes::new(), outcome: None, task }
    }
}

impl Read for PouredFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match &self.outcome {
                None => {}
                Some(Ok(())) => return Ok(0),
                Some(Err(error)) => return Err(io::Error::other(error.clone())),
            }
            match self.parts.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.rest = bytes,
                Some(Part::End) => self.outcome = Some(Ok(())),
                Some(Part::Failed(error)) => self.outcome = Some(Err(error)),
                None => self.outcome = Some(Err(OriginError::new("read", "", "it was stopped in the middle"))),
            }
        }
        let count = self.rest.len().min(into.len());
        self.rest.split_to(count).copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Drop for PouredFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}
