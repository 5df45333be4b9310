//! A secret as a file that a program inherits and that has no name anywhere.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;

use model::{ExposeSecret as _, Secret};

/// An open file with a secret in it.
#[derive(Debug)]
pub(super) struct SecretFile(File);

impl SecretFile {
    pub(super) fn new(text: &Secret) -> io::Result<Self> {
        let mut file = nameless()?;
        // Tools of databases believe no file that others may read or write.
        rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        file.write_all(text.expose_secret().as_bytes())?;
        file.rewind()?;
        Ok(Self(file))
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0.into()
    }
}

/// A file in memory.
#[cfg(target_os = "linux")]
fn nameless() -> io::Result<File> {
    // Programs that other threads start meanwhile do not inherit it.
    Ok(rustix::fs::memfd_create("options", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// Where there are no files in memory, one that is removed as soon as it was made.
#[cfg(not(target_os = "linux"))]
fn nameless() -> io::Result<File> {
    tempfile::tempfile()
}
