//! `dump`: one file's content, or a folder as an archive, as one stream.
//!
//! Content is read ahead by several threads and written in order; memory is bounded by the number of chunks on their
//! way. The stream is either complete and true, or an error: a dump never leaves a gap silently.

mod acl;
mod pipeline;
mod tar;
mod zip;

use std::io::Write;
use std::path::PathBuf;

use format::{BlobKind, Node, NodeKind};
use model::Id;

use super::source::Source;
use super::walk::{At, Step, Visitor, walk};
use super::{READERS, components, not_in_snapshot};
use crate::error::{Error, Result};
use crate::observer::{Event, Trouble, TroubleKind};
use crate::repository::Indexed;
use pipeline::{Piece, Producer};

/// Skipped entries that are named; the others are counted.
const SKIPPED_MAX: usize = 1000;

/// The form of a folder's dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// POSIX tar with extended headers: long names, times to the nanosecond, extended attributes, ACLs.
    Tar,
    /// Zip: names, permissions, times to the second.
    Zip,
}

impl std::str::FromStr for ArchiveKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "tar" => Ok(ArchiveKind::Tar),
            "zip" => Ok(ArchiveKind::Zip),
            _ => Err(Error::Request(format!("`{text}` is no archive format: use `tar` or `zip`"))),
        }
    }
}

/// What to dump.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// The path inside the snapshot; `/` for all of it.
    pub path: Vec<u8>,
    /// How to write a folder; none refuses folders (when the output is a terminal).
    pub archive: Option<ArchiveKind>,
}

/// What was dumped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpReport {
    /// Files, folders and links written.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
    /// Entries, or parts of their metadata, that this kind of archive does not hold; the first 1000.
    pub skipped: Vec<Skipped>,
    /// Skips beyond those that are named.
    pub skipped_left_out: u64,
}

/// An entry that is not in an archive as it is in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its absolute path inside the snapshot.
    pub path: Vec<u8>,
    /// What is left out, and why.
    pub why: String,
}

impl DumpReport {
    fn skip(&mut self, path: &[u8], why: impl Into<String>) {
        if self.skipped.len() < SKIPPED_MAX {
            self.skipped.push(Skipped { path: path.to_vec(), why: why.into() });
        } else {
            self.skipped_left_out += 1;
        }
    }
}

/// An entry on its way into an archive.
struct Entry {
    /// Its absolute path inside the snapshot.
    path: Vec<u8>,
    node: Node,
    /// Bytes of its content, as its blobs have them.
    size: u64,
}

impl Entry {
    /// The name in an archive: relative, folders with `/` at the end.
    fn name(&self) -> Vec<u8> {
        let mut name = self.path.strip_prefix(b"/").unwrap_or(&self.path).to_vec();
        if self.node.kind == NodeKind::Dir {
            name.push(b'/');
        }
        name
    }
}

/// A kind of archive, being written.
trait Archive {
    /// Starts an entry. Gives what of it cannot be told in this archive.
    fn begin(&mut self, entry: &Entry) -> std::io::Result<Vec<String>>;

    /// More content of the entry.
    fn content(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Ends the entry.
    fn end(&mut self) -> std::io::Result<()>;

    /// Ends the archive.
    fn finish(&mut self) -> std::io::Result<()>;
}

/// Writes what is at `request.path` below the tree `root` to `out`.
pub fn dump(indexed: &Indexed<'_>, root: &Id, request: &DumpRequest, out: &mut dyn Write) -> Result<DumpReport> {
    let mut current = request.path.clone();
    let written = write(indexed, root, request, out, &mut current);
    if let Err(error @ (Error::Damaged { .. } | Error::BlobUnknown { .. } | Error::Format { .. })) = &written {
        use std::os::unix::ffi::OsStringExt;
        let path = PathBuf::from(std::ffi::OsString::from_vec(current));
        let trouble = Trouble { path, kind: TroubleKind::Lost, cause: error.to_string() };
        indexed.repository.observer().event(Event::Trouble(trouble));
    }
    written
}

/// The same; `current` is the entry at which it stopped.
fn write(
    source: &dyn Source,
    root: &Id,
    request: &DumpRequest,
    out: &mut dyn Write,
    current: &mut Vec<u8>,
) -> Result<DumpReport> {
    let (folder, path) = match find(source, root, &request.path)? {
        Target::File(node) => return write_file(source, node, out),
        Target::Folder { tree, path } => (tree, path),
    };
    let mut report = DumpReport::default();
    match request.archive {
        Some(ArchiveKind::Tar) => {
            write_archive(source, &folder, path, &mut tar::TarArchive::new(out), &mut report, current)?;
        }
        Some(ArchiveKind::Zip) => {
            write_archive(source, &folder, path, &mut zip::ZipArchive::new(out), &mut report, current)?;
        }
        None => {
            let path = String::from_utf8_lossy(&request.path).into_owned();
            let why = format!("`{path}` is a folder, and its archive would go to the terminal: redirect the output");
            return Err(Error::Request(why));
        }
    }
    Ok(report)
}

enum Target {
    File(Box<Node>),
    Folder { tree: Id, path: Vec<u8> },
}

fn find(source: &dyn Source, root: &Id, path: &[u8]) -> Result<Target> {
    let mut tree = *root;
    let mut clean = Vec::new();
    let mut names = components(path).peekable();
    while let Some(name) = names.next() {
        clean.push(b'/');
        clean.extend_from_slice(name);
        let listing = source.tree(&tree)?;
        let node = listing.find(name).ok_or_else(|| not_in_snapshot(path))?;
        let is_last = names.peek().is_none();
        match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(subtree)) => tree = subtree,
            (NodeKind::File, _) if is_last => return Ok(Target::File(Box::new(node.clone()))),
            (kind, _) => {
                let needed = if is_last { "file or folder" } else { "folder" };
                let path = String::from_utf8_lossy(&clean).into_owned();
                return Err(Error::Snapshot(format!("`{path}` is a {}, not a {needed}", kind.word())));
            }
        }
    }
    Ok(Target::Folder { tree, path: clean })
}

fn output_failed(error: std::io::Error) -> Error {
    Error::local("write", "the dump's output", error)
}

fn write_file(source: &dyn Source, node: Box<Node>, out: &mut dyn Write) -> Result<DumpReport> {
    let mut report = DumpReport { entries: 1, ..DumpReport::default() };
    let content = node.content.unwrap_or_default();
    pipeline::run(
        source,
        |producer| producer.content(&content),
        |piece| {
            if let Piece::Content(chunk) = piece {
                let bytes = chunk.wait()?;
                out.write_all(&bytes).map_err(output_failed)?;
                report.bytes += bytes.len() as u64;
            }
            Ok(())
        },
    )?;
    out.flush().map_err(output_failed)?;
    Ok(report)
}

fn write_archive(
    source: &dyn Source,
    folder: &Id,
    prefix: Vec<u8>,
    archive: &mut dyn Archive,
    report: &mut DumpReport,
    current: &mut Vec<u8>,
) -> Result<()> {
    let mut open: Option<(u64, u64)> = None;
    let produce = |producer: &Producer| {
        let mut sender = Sender { source, producer, prefix };
        walk(source, folder, READERS, &mut sender)
    };
    pipeline::run(source, produce, |piece| {
        match piece {
            Piece::Entry(entry) => {
                close(archive, open.take(), current)?;
                current.clone_from(&entry.path);
                for why in archive.begin(&entry).map_err(output_failed)? {
                    report.skip(&entry.path, why);
                }
                report.entries += 1;
                open = Some((entry.size, 0));
            }
            Piece::Content(chunk) => {
                let bytes = chunk.wait()?;
                archive.content(&bytes).map_err(output_failed)?;
                report.bytes += bytes.len() as u64;
                if let Some((_, written)) = &mut open {
                    *written += bytes.len() as u64;
                }
            }
            Piece::Skipped(skipped) => report.skip(&skipped.path, skipped.why),
        }
        Ok(())
    })?;
    close(archive, open, current)?;
    archive.finish().map_err(output_failed)
}

/// Ends an entry, whose content must have the promised length: a tar archive cannot take that back.
fn close(archive: &mut dyn Archive, open: Option<(u64, u64)>, path: &[u8]) -> Result<()> {
    match open {
        Some((promised, written)) if promised != written => {
            let path = String::from_utf8_lossy(path).into_owned();
            Err(Error::Request(format!("`{path}` has {written} bytes, and the index promised {promised}")))
        }
        Some(_) => archive.end().map_err(output_failed),
        None => Ok(()),
    }
}

/// Hands entries and their chunks to the pipeline.
struct Sender<'a> {
    source: &'a dyn Source,
    producer: &'a Producer,
    prefix: Vec<u8>,
}

impl Visitor for Sender<'_> {
    fn entry(&mut self, at: &At<'_>) -> Result<Step> {
        let path = [&self.prefix, at.path].concat();
        let mut node = at.node.clone();
        match node.kind {
            NodeKind::File | NodeKind::Dir => {}
            NodeKind::Symlink if node.link_target.is_some() => {}
            kind => {
                let why = format!("a {} is not put into archives", kind.word());
                self.producer.send(Piece::Skipped(Skipped { path, why }))?;
                return Ok(Step::Past);
            }
        }
        let content = if node.kind == NodeKind::File { node.content.take().unwrap_or_default() } else { Vec::new() };
        let mut size = 0;
        for id in &content {
            let lengths = self.source.lengths(BlobKind::Data, id);
            size += lengths.ok_or(Error::BlobUnknown { kind: "data", id: *id })?.plain;
        }
        self.producer.send(Piece::Entry(Box::new(Entry { path, node, size })))?;
        self.producer.content(&content)?;
        Ok(Step::Into)
    }

    fn lost(&mut self, _: &[u8], _: &Id, error: Error) -> Result<()> {
        Err(error)
    }
}

#[cfg(test)]
mod tests;
