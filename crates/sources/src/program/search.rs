//! Where a program is, and which version it has.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Program, ProgramError};

const VERSION_LIMIT_BYTES: u64 = 64 << 10;
const VERSION_DEADLINE: Duration = Duration::from_secs(60);

/// The first of these names that is a program, in `folder` alone when one is given, or on the search path.
pub(crate) fn find(names: &[&str], folder: Option<&Path>) -> Result<PathBuf, ProgramError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        folder.map_or_else(|| std::env::split_paths(&path).collect(), |one| vec![one.to_owned()]);
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let where_to = folder.map_or_else(|| "on the search path".to_owned(), |one| format!("in `{}`", one.display()));
    candidates.into_iter().find(|path| is_program(path)).ok_or_else(|| ProgramError {
        program: names.join("` or `"),
        how: format!("is not {where_to}"),
        said: String::new(),
    })
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first line of what a program says of its version.
pub(crate) fn version(program: impl AsRef<OsStr>) -> Result<String, ProgramError> {
    let asked = Program::new(PathBuf::from(program.as_ref())).argument("--version").deadline(VERSION_DEADLINE);
    let text = asked.run(VERSION_LIMIT_BYTES)?;
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
