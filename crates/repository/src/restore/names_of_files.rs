//! Files with several names: which entries of a snapshot are one file.
//!
//! A snapshot says so by equal inode and device numbers. These come from the repository, so they are believed only
//! where kind and content agree as well: a link made on a false word would join two files for good.

use std::collections::HashMap;
use std::sync::Arc;

use format::{Hasher, Node};
use model::Id;

use super::batch::FirstName;
use super::folder::Folder;

/// The files of which more names may come.
#[derive(Debug, Default)]
pub(super) struct NamesOfFiles {
    seen: HashMap<(u64, u64), Seen>,
}

#[derive(Debug)]
struct Seen {
    likeness: Id,
    first: Arc<FirstName>,
    names_left: u64,
}

/// What an entry is among the names of its file.
#[derive(Debug)]
pub(super) enum Role {
    /// It has one name only.
    Single,
    /// The first of several.
    First(Arc<FirstName>),
    /// One more name of the file that this one names.
    Further(Arc<FirstName>),
}

impl NamesOfFiles {
    /// Takes note of an entry that is about to be restored.
    pub(super) fn role(&mut self, folder: &Arc<Folder>, node: &Node) -> Role {
        if node.links < 2 || node.inode == 0 {
            return Role::Single;
        }
        let key = (node.device_id, node.inode);
        let likeness = likeness(node);
        match self.seen.get_mut(&key) {
            Some(seen) if seen.likeness == likeness => {
                let first = Arc::clone(&seen.first);
                seen.names_left = seen.names_left.saturating_sub(1);
                if seen.names_left == 0 {
                    self.seen.remove(&key);
                }
                Role::Further(first)
            }
            Some(_) => Role::Single,
            None => {
                let first = Arc::new(FirstName::new(Arc::clone(folder), node.name.clone()));
                let seen = Seen { likeness, first: Arc::clone(&first), names_left: node.links - 1 };
                self.seen.insert(key, seen);
                Role::First(first)
            }
        }
    }
}

/// What has to be equal in all names of one file.
fn likeness(node: &Node) -> Id {
    let mut hasher = Hasher::new();
    hasher.update(node.kind.word().as_bytes());
    hasher.update(&node.device.to_le_bytes());
    hasher.update(node.link_target.as_deref().unwrap_or_default());
    for id in node.content.iter().flatten() {
        hasher.update(id.as_bytes());
    }
    hasher.finish()
}
