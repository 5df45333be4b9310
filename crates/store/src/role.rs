//! Who may do what with a repository. This table is the whole of it; the floor under removals is [`Deed::Remove`]'s
//! second gate, and not a matter of roles.

use format::FileKind;
use serde::{Deserialize, Serialize};

/// What a credential was given out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Lists and reads: restores, checks and monitors. Writes nothing, not even locks.
    Read,
    /// Adds, and removes nothing but locks: what a machine that is backed up holds.
    Append,
    /// Removes too, once a file is old enough: what the machine that prunes holds.
    Full,
}

/// What a request wants to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// List, stat or read.
    Look,
    /// Make the repository's folders.
    Create,
    /// Store a file of this kind under a name that is free, or once more what is there.
    Add(FileKind),
    /// Remove a file of this kind.
    Remove(FileKind),
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Role; 3] = [Role::Read, Role::Append, Role::Full];

    /// Whether this role may do it.
    pub const fn permits(self, deed: Deed) -> bool {
        match (self, deed) {
            (_, Deed::Look) | (Role::Full, _) => true,
            (Role::Read, _) => false,
            (Role::Append, Deed::Create | Deed::Add(_)) => true,
            // A lock that its owner cannot remove would stop the owner's own next backup.
            (Role::Append, Deed::Remove(kind)) => matches!(kind, FileKind::Lock),
        }
    }

    /// The word for it, in commands, in the API and in the state.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Append => "append",
            Role::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_role_may_all_that_a_weaker_one_may() {
        let kinds = FileKind::ALL;
        let deeds = [Deed::Look, Deed::Create].into_iter().chain(kinds.map(Deed::Add)).chain(kinds.map(Deed::Remove));
        for deed in deeds {
            assert!(!Role::Read.permits(deed) || Role::Append.permits(deed), "{deed:?}");
            assert!(!Role::Append.permits(deed) || Role::Full.permits(deed), "{deed:?}");
        }
    }

    #[test]
    fn append_removes_locks_alone() {
        for kind in FileKind::ALL {
            assert_eq!(Role::Append.permits(Deed::Remove(kind)), kind == FileKind::Lock);
            assert!(!Role::Read.permits(Deed::Add(kind)) && !Role::Read.permits(Deed::Remove(kind)));
        }
    }
}
