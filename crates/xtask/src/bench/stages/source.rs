//! From a folder to blobs: list, stat, read, cut; and the listings that name what was found.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use format::{Chunker, Node, NodeKind, NodeTime, Tree};
use model::Id;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, llistxattr, open, statat};

use super::Stage;
use super::line::Line;
use crate::bench::corpora::Corpus;

/// How much is read before it is cut and hashed.
const WINDOW_BYTES: usize = 16 << 20;
const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;

/// Blobs of a file, or of a whole small file, that are hashed together.
struct Batch {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
    /// Which file each range belongs to, as a number in the list of files.
    files: Vec<usize>,
}

/// Feeds the corpus's files into the line, up to `sample_bytes`; gives how many bytes were read.
pub(super) fn feed(corpus: &Corpus, line: &mut Line, sample_bytes: u64) -> Result<u64, String> {
    let failed = |error: std::io::Error| format!("cannot measure stages: {error}");
    let found = line.times.add(Stage::Walk, || walk(&corpus.folder)).map_err(failed)?;
    let mut attributes = vec![0_u8; ATTRIBUTES_BYTES_MAX];
    // Some file systems have no attributes: asking costs the same.
    line.times.add(Stage::Attributes, || {
        for (path, _) in &found {
            let _ = llistxattr(path, &mut attributes[..]);
        }
    });
    let mut contents: Vec<Vec<Id>> = vec![Vec::new(); found.len()];
    let mut batch = Batch { bytes: Vec::with_capacity(2 * WINDOW_BYTES), ranges: Vec::new(), files: Vec::new() };
    let mut read = 0;
    for (number, (path, stat)) in found.iter().enumerate() {
        if read >= sample_bytes {
            break;
        }
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            continue;
        }
        read += stat.st_size as u64;
        if stat.st_size as usize >= Chunker::MIN_BYTES {
            feed_large(path, number, line, &mut batch, &mut contents, stat.st_size as usize).map_err(failed)??;
            continue;
        }
        feed_small(path, number, line, &mut batch, stat.st_size as usize).map_err(failed)?;
        if batch.bytes.len() >= WINDOW_BYTES {
            flush(line, &mut batch, &mut contents)?;
        }
    }
    flush(line, &mut batch, &mut contents)?;
    listings(&corpus.folder, &found, contents, line)?;
    Ok(read)
}

type Found = Vec<(PathBuf, rustix::fs::Stat)>;

/// Entries in an order in which a folder comes before what is in it.
fn walk(folder: &Path) -> std::io::Result<Found> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let opened = open(&folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let path = folder.join(String::from_utf8_lossy(name.to_bytes()).as_ref());
            if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
                folders.push(path.clone());
            }
            found.push((path, stat));
        }
    }
    Ok(found)
}

fn feed_small(path: &Path, number: usize, line: &mut Line, batch: &mut Batch, size: usize) -> std::io::Result<()> {
    let start = batch.bytes.len();
    line.times.add(Stage::Read, || -> std::io::Result<()> {
        let mut file = File::open(path)?;
        file.metadata()?;
        batch.bytes.resize(start + size, 0);
        // The size is known and the length was checked by the call before: one read does it.
        file.read_exact(&mut batch.bytes[start..])
    })?;
    if size > 0 {
        batch.ranges.push((start, start + size));
        batch.files.push(number);
    }
    Ok(())
}

/// The outer result is of reading, the inner one of storing.
fn feed_large(
    path: &Path,
    number: usize,
    line: &mut Line,
    batch: &mut Batch,
    contents: &mut [Vec<Id>],
    size: usize,
) -> std::io::Result<Result<(), String>> {
    if let Err(why) = flush(line, batch, contents) {
        return Ok(Err(why));
    }
    let mut file = line.times.add(Stage::Read, || File::open(path))?;
    let mut left = size;
    let mut carried = 0;
    while left > 0 || carried > 0 {
        let more = left.min(WINDOW_BYTES);
        batch.bytes.resize(carried + more, 0);
        line.times.add(Stage::Read, || file.read_exact(&mut batch.bytes[carried..]))?;
        left -= more;
        let mut at = 0;
        // A chunk may only be cut where the longest one would fit, or where the file ends.
        while at < batch.bytes.len() && (left == 0 || batch.bytes.len() - at >= Chunker::MAX_BYTES) {
            let rest = &batch.bytes[at..];
            let chunker = &line.chunker;
            let length = line.times.add(Stage::Chunk, || chunker.cut(rest));
            batch.ranges.push((at, at + length));
            batch.files.push(number);
            at += length;
        }
        if let Err(why) = take(line, batch, contents) {
            return Ok(Err(why));
        }
        carried = batch.bytes.len() - at;
        batch.bytes.copy_within(at.., 0);
    }
    batch.bytes.clear();
    Ok(Ok(()))
}

fn flush(line: &mut Line, batch: &mut Batch, contents: &mut [Vec<Id>]) -> Result<(), String> {
    take(line, batch, contents)?;
    batch.bytes.clear();
    Ok(())
}

fn take(line: &mut Line, batch: &mut Batch, contents: &mut [Vec<Id>]) -> Result<(), String> {
    let blobs: Vec<&[u8]> = batch.ranges.iter().map(|(start, end)| &batch.bytes[*start..*end]).collect();
    for (id, file) in line.take(&blobs)?.into_iter().zip(batch.files.drain(..)) {
        contents[file].push(id);
    }
    batch.ranges.clear();
    Ok(())
}

/// A listing for each folder, the innermost first, stored like any other blob.
fn listings(root: &Path, found: &Found, contents: Vec<Vec<Id>>, line: &mut Line) -> Result<(), String> {
    let mut folders: HashMap<&Path, Tree> = HashMap::new();
    let mut subtrees: HashMap<&Path, Id> = HashMap::new();
    let mut nodes: Vec<(&Path, Node)> = Vec::with_capacity(found.len());
    line.times.add(Stage::Listings, || {
        for ((path, stat), content) in found.iter().zip(contents) {
            nodes.push((path, node(path, stat, content)));
        }
    });
    // Folders stand before what is in them, so from the end each folder is complete when its own entry comes.
    for (path, mut node) in nodes.into_iter().rev() {
        if node.kind == NodeKind::Dir {
            let id = store_listing(path, &mut folders, line)?;
            subtrees.insert(path, id);
            node.subtree = Some(id);
        }
        let parent = path.parent().unwrap_or(root);
        folders.entry(parent).or_insert_with(|| Tree { nodes: Vec::new() }).nodes.push(node);
    }
    store_listing(root, &mut folders, line).map(|_| ())
}

fn store_listing(path: &Path, folders: &mut HashMap<&Path, Tree>, line: &mut Line) -> Result<Id, String> {
    let mut tree = folders.remove(path).unwrap_or(Tree { nodes: Vec::new() });
    let bytes = line.times.add(Stage::Listings, || {
        tree.sort();
        tree.to_bytes()
    });
    line.take(&[&bytes])?.first().copied().ok_or_else(|| "a listing has no id".to_owned())
}

fn node(path: &Path, stat: &rustix::fs::Stat, content: Vec<Id>) -> Node {
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => NodeKind::Dir,
        rustix::fs::FileType::Symlink => NodeKind::Symlink,
        _ => NodeKind::File,
    };
    let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
    let mtime = NodeTime { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32, offset_seconds: 0 };
    Node {
        mode: stat.st_mode & 0o7777,
        mtime,
        atime: mtime,
        ctime: mtime,
        uid: stat.st_uid,
        gid: stat.st_gid,
        user: "root".to_owned(),
        group: "root".to_owned(),
        inode: stat.st_ino,
        size: stat.st_size as u64,
        links: stat.st_nlink,
        content: (kind == NodeKind::File).then_some(content),
        link_target: (kind == NodeKind::Symlink).then(|| b"target".to_vec()),
        ..Node::new(name, kind)
    }
}
