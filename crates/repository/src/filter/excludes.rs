//! What the walk of a source leaves out: by path, by what lies beside it, by size.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::list::PatternList;

/// The tag that marks a cache folder, and how it begins: Cache Directory Tagging Specification.
const CACHE_TAG_NAME: &[u8] = b"CACHEDIR.TAG";
const CACHE_TAG_HEADER: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What a backup leaves out.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    /// Paths, and all that is in them.
    pub patterns: PatternList,
    /// The contents of folders that hold a `CACHEDIR.TAG`; the tag and the folder stay.
    pub caches: bool,
    /// The contents of folders that hold one of these files; the file and the folder stay.
    pub if_present: Vec<TagFile>,
    /// Files with more bytes than this.
    pub larger_than: Option<u64>,
    /// What lies on another file system than the source's top; the mount point itself stays, as an empty folder.
    pub one_file_system: bool,
    /// What `.gitignore` files leave out below them.
    pub git_ignore: bool,
    /// What has the extended attribute `user.xdg.robots.backup` with the value `false`.
    pub robots: bool,
}

/// A file that marks its folder as not worth keeping: `NAME` or `NAME:HEADER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagFile {
    /// Its name.
    pub name: Vec<u8>,
    /// What it has to begin with; nothing when its being there is enough.
    pub header: Vec<u8>,
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use `{given}`: {why}")]
pub struct ExcludeError {
    /// What was given.
    pub given: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl TagFile {
    /// Reads `NAME[:HEADER]`.
    pub fn parse(text: &[u8]) -> Result<Self, ExcludeError> {
        let refused = |why| ExcludeError { given: String::from_utf8_lossy(text).into_owned(), why };
        let (name, header) = match text.iter().position(|&byte| byte == b':') {
            Some(colon) => (text.get(..colon).unwrap_or_default(), text.get(colon + 1..).unwrap_or_default()),
            None => (text, [].as_slice()),
        };
        match name {
            b"" => Err(refused("the name of the tag file is missing")),
            b"." | b".." => Err(refused("`.` and `..` name no file")),
            _ if name.contains(&b'/') || name.contains(&0) => Err(refused("a tag file is named without a path")),
            _ => Ok(Self { name: name.to_vec(), header: header.to_vec() }),
        }
    }

    fn cache() -> Self {
        Self { name: CACHE_TAG_NAME.to_vec(), header: CACHE_TAG_HEADER.to_vec() }
    }

    /// Whether this folder holds the tag. `Err` says why one that is there does not count.
    fn is_in<Fd: AsFd>(&self, directory: Fd) -> Result<bool, String> {
        let shown = String::from_utf8_lossy(&self.name);
        match rustix::fs::statat(&directory, self.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(format!("cannot look at the tag file `{shown}`: {error}")),
            Ok(_) if self.header.is_empty() => return Ok(true),
            Ok(_) => {}
        }
        // Not blocking: a pipe under this name must not stop the walk.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::openat(&directory, self.name.as_slice(), flags, Mode::empty())
            .map_err(|error| format!("cannot open the tag file `{shown}`: {error}"))?;
        let mut start = vec![0; self.header.len()];
        let mut filled = 0;
        while let Some(room) = start.get_mut(filled..).filter(|room| !room.is_empty()) {
            match rustix::io::read(&file, room) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(error) => return Err(format!("cannot read the tag file `{shown}`: {error}")),
            }
        }
        if filled == start.len() && start == self.header {
            Ok(true)
        } else {
            Err(format!("the tag file `{shown}` does not begin as it should, so its folder is kept"))
        }
    }
}

/// What the tag files in one folder mean for its entries.
#[derive(Debug, Default)]
pub struct DirectoryTags {
    present: Vec<TagFile>,
    /// Tag files that are there and do not count, with the reason; to be shown as warnings.
    pub troubles: Vec<String>,
}

impl DirectoryTags {
    /// Whether the entry `name` of this folder is left out.
    pub fn excludes(&self, name: &[u8]) -> bool {
        self.reason(name).is_some()
    }

    /// The tag because of which the entry `name` of this folder is left out.
    pub fn reason(&self, name: &[u8]) -> Option<&TagFile> {
        self.present.iter().find(|tag| tag.name != name)
    }
}

impl Excludes {
    /// Whether the entry at this absolute path is left out, with all that is in it. Patterns see folders and files
    /// alike; `is_dir` is asked for so that a rule that tells them apart can come without touching callers.
    pub fn excludes_path(&self, path: &[u8], _is_dir: bool) -> bool {
        !self.patterns.is_empty() && self.patterns.matches(path)
    }

    /// Whether a file (never a folder) of this size is left out.
    pub fn excludes_size(&self, size_bytes: u64) -> bool {
        self.larger_than.is_some_and(|limit| size_bytes > limit)
    }

    /// Whether [`Excludes::tags_in`] needs to be asked at all.
    pub fn has_tags(&self) -> bool {
        self.caches || !self.if_present.is_empty()
    }

    /// Looks for tag files in an open folder.
    pub fn tags_in<Fd: AsFd>(&self, directory: Fd) -> DirectoryTags {
        let mut tags = DirectoryTags::default();
        let cache = self.caches.then(TagFile::cache);
        for tag in self.if_present.iter().chain(&cache) {
            match tag.is_in(&directory) {
                Ok(true) => tags.present.push(tag.clone()),
                Ok(false) => {}
                Err(trouble) => tags.troubles.push(trouble),
            }
        }
        tags
    }
}

/// A number of bytes: digits and restic's `k`, `m`, `g` or `t` (powers of 1024) in either case, also as `kb` or `KiB`.
pub fn parse_size(text: &str) -> Result<u64, ExcludeError> {
    let refused = |why| ExcludeError { given: text.to_owned(), why };
    let digits_end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1_u64 << 40,
        _ => 0,
    };
    if digits.is_empty() || factor == 0 {
        return Err(refused("a size is digits and one of `k`, `m`, `g`, `t`, such as `500m`"));
    }
    let number: u64 = digits.parse().map_err(|_| refused("the number is too large"))?;
    number.checked_mul(factor).ok_or_else(|| refused("the number is too large"))
}
