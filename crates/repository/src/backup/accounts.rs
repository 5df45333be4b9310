//! User and group names by number, each asked once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::threads;

/// The names of this host's users and groups.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: Mutex<HashMap<u32, String>>,
    groups: Mutex<HashMap<u32, String>>,
}

impl Accounts {
    /// The user's name; empty where the host knows none.
    pub(super) fn user(&self, uid: u32) -> String {
        let ask = || uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned());
        threads::lock(&self.users).entry(uid).or_insert_with(|| ask().unwrap_or_default()).clone()
    }

    /// The group's name; empty where the host knows none.
    pub(super) fn group(&self, gid: u32) -> String {
        let ask = || uzers::get_group_by_gid(gid).map(|group| group.name().to_string_lossy().into_owned());
        threads::lock(&self.groups).entry(gid).or_insert_with(|| ask().unwrap_or_default()).clone()
    }

    /// The names of all users and of all groups that were asked for.
    pub(super) fn asked(&self) -> [BTreeMap<u32, String>; 2] {
        let of = |names: &Mutex<HashMap<u32, String>>| {
            threads::lock(names).iter().map(|(number, name)| (*number, name.clone())).collect()
        };
        [of(&self.users), of(&self.groups)]
    }
}
