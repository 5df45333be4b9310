//! Two trees side by side, in lines for people.

use std::collections::BTreeSet;

use super::{Content, Entry, EntryKind, Manifest};

/// A part of an entry that a comparison may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Permission bits.
    Mode,
    /// Owner and group.
    Owner,
    /// Modification times of anything.
    Time,
    /// Modification times of folders.
    FolderTime,
    /// Modification times of symbolic links.
    LinkTime,
    /// All that is said of the root itself: a restore target has its own owner, mode and time.
    Root,
    /// Extended attributes, ACLs among them.
    Attributes,
    /// Which names are one file.
    HardLinks,
}

/// How many characters of a value are shown.
const SHOWN_CHARACTERS: usize = 120;

pub(super) fn difference(a: &Manifest, b: &Manifest, except: &[Aspect]) -> Vec<String> {
    let mut lines = Vec::new();
    let paths: BTreeSet<&Vec<u8>> = a.entries.keys().chain(b.entries.keys()).collect();
    for path in paths {
        if path.is_empty() && except.contains(&Aspect::Root) {
            continue;
        }
        let shown = if path.is_empty() { ".".to_owned() } else { path.escape_ascii().to_string() };
        match (a.entries.get(path), b.entries.get(path)) {
            (Some(_), None) => lines.push(format!("{shown}: missing")),
            (None, Some(entry)) => lines.push(format!("{shown}: one too many, a {}", word(entry.kind))),
            (Some(a), Some(b)) => {
                for (what, old, new) in entry_differences(a, b, except) {
                    lines.push(format!("{shown}: {what} was {}, is {}", cut(old), cut(new)));
                }
            }
            (None, None) => {}
        }
    }
    lines
}

fn entry_differences(a: &Entry, b: &Entry, except: &[Aspect]) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    if a.kind != b.kind {
        // Everything else differs then, and would say nothing.
        found.push(("kind".to_owned(), word(a.kind).to_owned(), word(b.kind).to_owned()));
        return found;
    }
    let compared = |aspect: Aspect| !except.contains(&aspect);
    let mut note = |what: &str, old: String, new: String| {
        if old != new {
            found.push((what.to_owned(), old, new));
        }
    };
    note("size", a.size.to_string(), b.size.to_string());
    note("content", content(a.content.as_ref()), content(b.content.as_ref()));
    note("link target", optional(a.link_target.as_ref()), optional(b.link_target.as_ref()));
    note("device", format!("{:?}", a.device), format!("{:?}", b.device));
    // The mode of a symbolic link means nothing and cannot be set.
    if compared(Aspect::Mode) && a.kind != EntryKind::Link {
        note("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode));
    }
    if compared(Aspect::Owner) {
        note("owner", format!("{}:{}", a.uid, a.gid), format!("{}:{}", b.uid, b.gid));
    }
    let time_compared = match a.kind {
        EntryKind::Folder => compared(Aspect::FolderTime),
        EntryKind::Link => compared(Aspect::LinkTime),
        _ => true,
    };
    if time_compared && compared(Aspect::Time) {
        note("mtime", format!("{}.{:09}", a.mtime.0, a.mtime.1), format!("{}.{:09}", b.mtime.0, b.mtime.1));
    }
    if compared(Aspect::HardLinks) {
        note("hard link group", optional(a.hard_link_group.as_ref()), optional(b.hard_link_group.as_ref()));
    }
    if compared(Aspect::Attributes) {
        let names: BTreeSet<&Vec<u8>> = a.attributes.keys().chain(b.attributes.keys()).collect();
        for name in names {
            let what = format!("attribute `{}`", name.escape_ascii());
            note(&what, optional(a.attributes.get(name)), optional(b.attributes.get(name)));
        }
    }
    found
}

fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Folder => "folder",
        EntryKind::Link => "symbolic link",
        EntryKind::Pipe => "pipe",
        EntryKind::Socket => "socket",
        EntryKind::CharacterDevice => "character device",
        EntryKind::BlockDevice => "block device",
    }
}

fn content(content: Option<&Content>) -> String {
    match content {
        None => "none".to_owned(),
        Some(Content::Sha256(hash)) => hex::encode(hash),
        Some(Content::Unread(why)) => format!("not readable ({why})"),
    }
}

fn optional(value: Option<&Vec<u8>>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("`{}`", value.escape_ascii()))
}

/// Compared whole and shown cut: a 64 KiB attribute must not fill a screen.
fn cut(text: String) -> String {
    if text.len() <= SHOWN_CHARACTERS {
        return text;
    }
    let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{shown}... ({} characters)", text.len())
}
