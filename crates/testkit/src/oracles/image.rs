//! A copy in memory as a folder on disk, and back: for readers that know only disks.

use std::fs;
use std::io;
use std::path::Path;

use format::{FileKind, FileName};
use model::Id;

use crate::memory::MemoryFolder;

/// Writes every file of `copy` below `folder`, which is emptied first.
///
/// # Errors
/// When the disk does not take it.
pub fn to_folder(copy: &MemoryFolder, folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for kind in FileKind::NAMED {
        fs::create_dir_all(folder.join(kind.folder()))?;
    }
    for (name, bytes) in copy.files() {
        let path = folder.join(name.path());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Replaces the files of `copy` by those below `folder`; names that the format does not know are left out.
///
/// # Errors
/// When the folder cannot be read.
pub fn from_folder(copy: &MemoryFolder, folder: &Path) -> io::Result<()> {
    copy.reset([(FileName::CONFIG, fs::read(folder.join("config"))?.into())].into());
    for kind in FileKind::NAMED {
        let mut open = vec![folder.join(kind.folder())];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                } else if let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse::<Id>().ok()) {
                    copy.put(FileName::new(kind, id), fs::read(&path)?);
                }
            }
        }
    }
    Ok(())
}
