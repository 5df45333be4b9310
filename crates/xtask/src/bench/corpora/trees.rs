//! Trees: a copy of this machine's own, half a million small files, and millions of empty ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::files_below;
use super::random::{Random, SEED};

const MANY_FILES_IN_FOLDER: usize = 91;
const MANY_BYTES_MAX: usize = 4096;
const GROWTH_FILES_IN_FOLDER: u64 = 1000;
const GROWTH_FOLDERS_IN_FOLDER: u64 = 100;
/// Of files that fill up a tree that this machine cannot fill: most are small, some are not.
const FILLER_BYTES_BITS: usize = 17;
const FILLER_FILES_IN_FOLDER: usize = 20;

/// Trees that a machine with a compiler has; those that are missing are left out.
fn tree_sources() -> Vec<PathBuf> {
    let mut sources =
        vec![PathBuf::from("/usr/share"), PathBuf::from("/usr/include"), PathBuf::from("/usr/lib/python3")];
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    if let Ok(output) = sysroot {
        sources.insert(0, Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("share"));
    }
    sources.retain(|source| source.is_dir());
    sources
}

/// Copies what this machine has, up to `files_max` files, and fills up with made-up files what is missing.
pub(super) fn copy_trees(folder: &Path, files_max: usize) -> Result<(), String> {
    let lists: Vec<(PathBuf, Vec<PathBuf>)> = tree_sources()
        .into_iter()
        .map(|source| files_below(&source).map(|files| (source, files)))
        .collect::<Result<_, _>>()?;
    let there: usize = lists.iter().map(|(_, files)| files.len()).sum();
    let mut copied = 0;
    for (number, (source, files)) in lists.iter().enumerate() {
        // Each source gives the same part of itself, so that a small limit still has something of everything.
        let share = if there > files_max { files.len() * files_max / there } else { files.len() };
        for path in files.iter().take(share) {
            copied += usize::from(copy_entry(path, source, &folder.join(number.to_string()))?);
        }
    }
    // What could not be read is no reason to make something up; a machine with small trees is.
    if there < files_max {
        println!("this machine has {there} files for TREE: {} made-up ones fill it up", files_max - copied);
        fill_up(&folder.join("filler"), files_max - copied).map_err(|error| format!("cannot fill up TREE: {error}"))?;
    }
    Ok(())
}

/// Copies a file or link, with its time; what cannot be read is left out.
fn copy_entry(path: &Path, source: &Path, folder: &Path) -> Result<bool, String> {
    let cannot = |error: io::Error| format!("cannot copy `{}`: {error}", path.display());
    let target = folder.join(path.strip_prefix(source).unwrap_or(path));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(cannot)?;
    }
    if let Ok(link) = fs::read_link(path) {
        return std::os::unix::fs::symlink(link, &target).map(|()| true).map_err(cannot);
    }
    let Ok(mut reader) = File::open(path) else { return Ok(false) };
    let mut writer = File::create(&target).map_err(cannot)?;
    io::copy(&mut reader, &mut writer).map_err(cannot)?;
    if let Ok(time) = reader.metadata().and_then(|metadata| metadata.modified()) {
        writer.set_modified(time).map_err(cannot)?;
    }
    Ok(true)
}

fn fill_up(folder: &Path, files: usize) -> io::Result<()> {
    let mut random = Random::new(SEED);
    for number in 0..files {
        let folder = folder.join(format!("{:05}", number / FILLER_FILES_IN_FOLDER));
        if number % FILLER_FILES_IN_FOLDER == 0 {
            fs::create_dir_all(&folder)?;
        }
        let limit = 1 << random.below(FILLER_BYTES_BITS);
        let bytes = small_file(&mut random, limit, false);
        fs::write(folder.join(format!("{number}.txt")), bytes)?;
    }
    Ok(())
}

/// MANY: files of 0 to 4 KiB, a quarter of them random, the others text.
pub(super) fn write_many(folder: &Path, files: usize) -> io::Result<()> {
    let mut random = Random::new(SEED);
    let mut inside = folder.to_path_buf();
    for number in 0..files {
        if number % MANY_FILES_IN_FOLDER == 0 {
            inside = folder.join(format!("{:04}", number / MANY_FILES_IN_FOLDER));
            fs::create_dir(&inside)?;
        }
        let bytes = small_file(&mut random, MANY_BYTES_MAX, number % 4 == 0);
        fs::write(inside.join(format!("{number:06}")), bytes)?;
    }
    Ok(())
}

fn small_file(random: &mut Random, bytes_max: usize, incompressible: bool) -> Vec<u8> {
    let length = random.below(bytes_max + 1);
    let mut bytes = vec![0; length];
    if incompressible {
        random.fill(&mut bytes);
        return bytes;
    }
    bytes.clear();
    while bytes.len() < length {
        let words = ["return", "value", "for each", "name =", "list of", "0x", "begin", "end\n"];
        let (word, number) = (words[random.below(words.len())], random.below(10_000));
        // Writing into memory does not fail.
        let _ = write!(bytes, "{word} {number} ");
    }
    bytes.truncate(length);
    bytes
}

/// GROWTH: empty files, a thousand in a folder, a hundred folders in a folder.
pub(super) fn write_growth(folder: &Path, files: u64) -> io::Result<()> {
    for number in 0..files.div_ceil(GROWTH_FILES_IN_FOLDER) {
        let inside =
            folder.join(format!("{:04}", number / GROWTH_FOLDERS_IN_FOLDER)).join(format!("folder-{number:06}"));
        fs::create_dir_all(&inside)?;
        let first = number * GROWTH_FILES_IN_FOLDER;
        for file in first..(first + GROWTH_FILES_IN_FOLDER).min(files) {
            File::create(inside.join(format!("file-{file:08}.dat")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_as_many_files_as_asked() {
        let base = tempfile::tempdir().unwrap();
        for name in ["many", "growth", "filler"] {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        write_many(&base.path().join("many"), 200).unwrap();
        write_growth(&base.path().join("growth"), 1003).unwrap();
        fill_up(&base.path().join("filler"), 45).unwrap();
        let count = |name: &str| files_below(&base.path().join(name)).unwrap().len();
        assert_eq!((count("many"), count("growth"), count("filler")), (200, 1003, 45));
        assert_eq!(fs::read_dir(base.path().join("growth/0000")).unwrap().count(), 2);
    }

    #[test]
    fn a_copied_tree_keeps_to_its_limit() {
        let base = tempfile::tempdir().unwrap();
        copy_trees(base.path(), 300).unwrap();
        let files = files_below(base.path()).unwrap().len();
        assert!((250..=300).contains(&files), "{files}");
    }
}
