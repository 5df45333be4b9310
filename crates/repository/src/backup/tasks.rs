//! What is left to do of one folder, in the order in which it is put on the pile.

use super::file::{File, SMALL_BYTES_MAX};
use super::folder::BATCH_BYTES_MAX;
use super::walk::Task;

/// Small files that one worker takes on at a time.
const BATCH_FILES_MAX: usize = 256;

/// What is left to do of a folder; small files are gathered until there is enough for one worker.
#[derive(Default)]
pub(super) struct Tasks {
    folders: Vec<Task>,
    files: Vec<Task>,
    batch: Vec<File>,
    batch_bytes: u64,
}

impl Tasks {
    /// Adds a piece, if there is one.
    pub(super) fn add(&mut self, task: Option<Task>) {
        match task {
            None => {}
            Some(Task::Folder(task)) => self.folders.push(Task::Folder(task)),
            Some(Task::File(file)) if file.size() < SMALL_BYTES_MAX => {
                self.batch_bytes += file.size();
                self.batch.push(*file);
                if self.batch_bytes >= BATCH_BYTES_MAX || self.batch.len() >= BATCH_FILES_MAX {
                    self.end_batch();
                }
            }
            Some(task) => self.files.push(task),
        }
    }

    fn end_batch(&mut self) {
        self.batch_bytes = 0;
        if !self.batch.is_empty() {
            self.files.push(Task::Batch(std::mem::take(&mut self.batch)));
        }
    }

    /// Files are taken first: folders wait at the bottom of the pile, so that few are open.
    pub(super) fn in_order(mut self) -> Vec<Task> {
        self.end_batch();
        self.folders.append(&mut self.files);
        self.folders
    }
}
