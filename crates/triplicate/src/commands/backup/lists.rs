//! The sources that files name: `--files-from`, `--files-from-verbatim`, `--files-from-raw`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::failure::Failure;

/// Reads a list; `-` is standard input.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    bytes.map_err(|error| Failure::failed(format!("cannot read the list of sources `{}`: {error}", path.display())))
}

fn to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// One path behind each NUL byte; everything else is part of a name.
pub(super) fn raw(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let bytes = read(path)?;
    let Some(names) = bytes.strip_suffix(&[0]) else {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let message =
            format!("the list of sources `{}` does not end with a NUL byte, so it may be cut", path.display());
        return Err(Failure::failed(message));
    };
    let paths: Vec<PathBuf> = names.split(|byte| *byte == 0).map(to_path).collect();
    if paths.iter().any(|path| path.as_os_str().is_empty()) {
        return Err(Failure::failed(format!("the list of sources `{}` has an empty name", path.display())));
    }
    Ok(paths)
}

/// One path in each line, as it stands.
pub(super) fn verbatim(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let bytes = read(path)?;
    Ok(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(to_path).collect())
}

/// One pattern in each line; white space around it is dropped, lines that start with `#` are left out.
pub(super) fn patterns(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for line in read(path)?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() || line.first() == Some(&b'#') {
            continue;
        }
        let matching = expand(&to_path(line))?;
        if matching.is_empty() {
            let shown = String::from_utf8_lossy(line);
            let message = format!("nothing matches `{shown}` of the list of sources `{}`", path.display());
            return Err(Failure::failed(message).hint("no snapshot was made; correct the line or take it out"));
        }
        found.extend(matching);
    }
    Ok(found)
}

/// The paths that a pattern names, sorted; a path without `*`, `?` or `[` names itself, there or not.
fn expand(pattern: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_glob = |name: &[u8]| name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
    if !is_glob(pattern.as_os_str().as_bytes()) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str();
        found = if is_glob(name.as_bytes()) {
            let matcher = matcher(&name.to_string_lossy())?;
            found.iter().flat_map(|folder| matching_entries(folder, &matcher)).collect()
        } else {
            found.into_iter().map(|folder| folder.join(name)).filter(|path| path.symlink_metadata().is_ok()).collect()
        };
    }
    Ok(found)
}

fn matcher(pattern: &str) -> Result<GlobMatcher, Failure> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| Failure::usage(error.to_string()))
}

fn matching_entries(folder: &Path, matcher: &GlobMatcher) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| matcher.is_match(Path::new(&entry.file_name())))
        .map(|entry| folder.join(entry.file_name()))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_three_kinds_of_lists() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, two) = (scratch.path().join("one.txt"), scratch.path().join("two.txt"));
        std::fs::write(&one, "1").unwrap();
        std::fs::write(&two, "2").unwrap();
        let list = scratch.path().join("list");
        let root = scratch.path().display().to_string();

        std::fs::write(&list, format!("# comment\n\n  {root}/*.txt \n")).unwrap();
        assert_eq!(patterns(&list).unwrap(), [one.clone(), two.clone()]);
        std::fs::write(&list, format!("{root}/*.nothing\n")).unwrap();
        assert!(patterns(&list).unwrap_err().message.contains("nothing matches"));

        std::fs::write(&list, "# a name\n /b \n").unwrap();
        assert_eq!(verbatim(&list).unwrap(), [PathBuf::from("# a name"), PathBuf::from(" /b ")]);

        std::fs::write(&list, "/a\nb\0/c\0").unwrap();
        assert_eq!(raw(&list).unwrap(), [PathBuf::from("/a\nb"), PathBuf::from("/c")]);
        std::fs::write(&list, "/a\0/c").unwrap();
        assert!(raw(&list).unwrap_err().message.contains("may be cut"));
    }
}
