//! `.gitignore` files: what each leaves out below its folder. (The format is that of gitignore(5).)
//!
//! They count from the source's top downwards; those above it are not looked for. The one that is nearest to an entry
//! has the last word. A rule that cannot be understood is named, and leaves nothing out.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

const NAME: &str = ".gitignore";

/// A longer file was made by no one who wanted to say what is worth keeping.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// The rules that hold in a folder.
#[derive(Debug, Clone, Default)]
pub struct GitIgnores(Option<Arc<Level>>);

#[derive(Debug)]
struct Level {
    rules: Gitignore,
    above: GitIgnores,
}

impl GitIgnores {
    /// True when there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the entry at this path is left out.
    pub fn excludes(&self, path: &Path, is_dir: bool) -> bool {
        self.reason(path, is_dir).is_some()
    }

    /// The rule because of which the entry at this path is left out, and the folder whose rule it is.
    pub fn reason(&self, path: &Path, is_dir: bool) -> Option<(&str, &Path)> {
        let mut level = &self.0;
        while let Some(here) = level {
            match here.rules.matched(path, is_dir) {
                Match::None => level = &here.above.0,
                Match::Whitelist(_) => return None,
                Match::Ignore(rule) => return Some((rule.original(), here.rules.path())),
            }
        }
        None
    }

    /// These rules with those of the open folder at `path`, and what of them could not be understood.
    pub fn with_those_in(&self, folder: &impl AsFd, path: &Path) -> (Self, Vec<String>) {
        let text = match read(folder) {
            Ok(Some(text)) => text,
            Ok(None) => return (self.clone(), Vec::new()),
            Err(why) => return (self.clone(), vec![format!("cannot read `{NAME}`, so it leaves nothing out: {why}")]),
        };
        let mut builder = GitignoreBuilder::new(path);
        let mut troubles = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Err(error) = builder.add_line(None, line) {
                troubles.push(format!("line {} of `{NAME}` leaves nothing out: {error}", number + 1));
            }
        }
        match builder.build() {
            Ok(rules) => (Self(Some(Arc::new(Level { rules, above: self.clone() }))), troubles),
            Err(error) => {
                troubles.push(format!("`{NAME}` leaves nothing out: {error}"));
                (self.clone(), troubles)
            }
        }
    }
}

/// The text of the file; none where there is none, or something else of this name, which git does not read either.
fn read(folder: &impl AsFd) -> Result<Option<String>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, NAME, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::from(file);
    file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(format!("it has more than {FILE_LIMIT_BYTES} bytes"));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
