//! Removing a repository with all that is in it: the operator's explicit second step, never a client's.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::{FOLDER_FLAGS, INCOMING, Vault, beneath};
use crate::error::StoreError;
use crate::names::RepositoryPlace;

impl Vault {
    /// Removes a repository; true when there was one. It goes out of sight first, in one step, so that a purge that
    /// breaks off leaves no half repository: the rest is swept when a server starts next.
    ///
    /// # Errors
    /// When it cannot be moved or removed.
    pub fn purge_repository(&self, place: &RepositoryPlace) -> Result<bool, StoreError> {
        let refused = |action, error: Errno| StoreError::disk(action, self.path(place, None), error);
        let account = match beneath::open(self.root.repositories.as_fd(), place.account.as_str(), FOLDER_FLAGS) {
            Ok(account) => account,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::disk("open", self.path(place, None), error)),
        };
        // Another process may be serving, and names its uploads by numbers alone.
        let number = self.root.next.fetch_add(1, Ordering::Relaxed);
        let gone = format!("purged-{}-{number}", std::process::id());
        match rustix::fs::renameat(&account, place.repository.as_str(), &self.root.incoming, gone.as_str()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(refused("purge", error)),
        }
        rustix::fs::fsync(&account).map_err(|error| refused("sync", error))?;
        let path = self.root.folder.join(INCOMING).join(&gone);
        let name = CString::new(gone).map_err(|error| StoreError::disk("purge", &path, error))?;
        beneath::remove_whole(self.root.incoming.as_fd(), &name)
            .map_err(|error| StoreError::disk("purge", &path, error))?;
        Ok(true)
    }
}
