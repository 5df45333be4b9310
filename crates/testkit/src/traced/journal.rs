//! What a program did to a folder, call by call.

use std::io;
use std::path::{Path, PathBuf};

use super::as_the_kernel_says;
use super::tree::Tree;

/// One thing that was done. Paths are relative to the folder.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new empty file.
    Created(PathBuf),
    /// Bytes at a place in a file.
    Wrote {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file has another length.
    Cut {
        /// The file.
        path: PathBuf,
        /// The new length.
        length: u64,
    },
    /// A file, or the names in a folder, were made durable.
    Synced(PathBuf),
    /// A name was moved, perhaps onto another.
    Renamed {
        /// The old name.
        from: PathBuf,
        /// The new one.
        onto: PathBuf,
    },
    /// A file got one more name.
    Linked {
        /// A name that it had.
        from: PathBuf,
        /// The new one.
        onto: PathBuf,
    },
    /// A name of a file, or an empty folder, was removed.
    Removed(PathBuf),
    /// A new folder.
    MadeFolder(PathBuf),
    /// The test says that somebody was promised something here.
    Promised(String),
}

/// What a folder held at first, all of it durable, and everything that was done to it since.
#[derive(Debug)]
pub struct Journal {
    root: PathBuf,
    base: Tree,
    now: Tree,
    events: Vec<Event>,
}

impl Journal {
    /// Begins with what the folder `root` holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &Path) -> io::Result<Self> {
        let root = as_the_kernel_says(root)?;
        let base = Tree::read(&root)?;
        Ok(Self { now: base.clone(), root, base, events: Vec::new() })
    }

    /// Notes a promise.
    pub fn promise(&mut self, what: &str) {
        self.note(Event::Promised(what.to_owned()));
    }

    /// Everything so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What the disk was told when so many of the events had happened.
    pub fn tree_after(&self, events: usize) -> Tree {
        let mut tree = self.base.clone();
        for event in self.events.iter().take(events) {
            tree.apply(event);
        }
        tree
    }

    /// What was promised by then.
    pub fn promises(&self, events: usize) -> Vec<&str> {
        let promise = |event: &'_ Event| matches!(event, Event::Promised(_));
        let promised = self.events.iter().take(events).filter(|event| promise(event));
        promised
            .filter_map(|event| if let Event::Promised(what) = event { Some(what.as_str()) } else { None })
            .collect()
    }

    /// The path below the folder, if it is there.
    pub(super) fn relative<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.root).ok()
    }

    /// The length of the file as it is now; none where no such file is.
    pub(super) fn length(&self, path: &Path) -> Option<u64> {
        self.now.length(path)
    }

    pub(super) fn note(&mut self, event: Event) {
        self.now.apply(&event);
        self.events.push(event);
    }

    /// Checks that the journal tells what the folder really holds, so that no call was overlooked.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_complete(&self) {
        let really = match Tree::read(&self.root) {
            Ok(tree) => tree,
            Err(error) => panic!("cannot read `{}`: {error}", self.root.display()),
        };
        let really = really.listing();
        let told = self.now.listing();
        let differ: Vec<_> =
            really.keys().chain(told.keys()).filter(|path| really.get(*path) != told.get(*path)).collect();
        assert!(differ.is_empty(), "the journal does not tell the truth of {differ:?}");
    }
}
