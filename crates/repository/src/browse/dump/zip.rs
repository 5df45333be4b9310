//! A zip archive, written as it goes: sizes and checksums follow each file.
//!
//! Zip knows less than tar: no owners, times to the second, no attributes. Names and link targets are bytes; those that
//! are not UTF-8 are written as they are. The list of all entries is kept until the end, because zip ends with it.

use std::io::{Error, Result, Write};

use ::zip::write::{FullFileOptions, StreamWriter};
use ::zip::{CompressionMethod, DateTime, System, ZipWriter};
use format::{Moment, NodeKind};

use super::{Archive, Entry};

/// From this size on a file needs zip's 64-bit fields. Compression may lengthen a file a little, hence the room.
const LARGE_FILE_BYTES: u64 = 0xf000_0000;

/// Info-ZIP's "extended timestamp" field, and its flag for "has the time of modification".
const TIMESTAMP_FIELD: u16 = 0x5455;
const HAS_MODIFICATION: u8 = 1;

/// MS-DOS's attribute for a folder, in the low byte of the attributes.
const FOLDER_ATTRIBUTE: u32 = 0x10;

pub(super) struct ZipArchive<'a> {
    writer: Option<ZipWriter<StreamWriter<&'a mut dyn Write>>>,
}

impl<'a> ZipArchive<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { writer: Some(ZipWriter::new_stream(out)) }
    }

    fn writer(&mut self) -> Result<&mut ZipWriter<StreamWriter<&'a mut dyn Write>>> {
        self.writer.as_mut().ok_or_else(|| Error::other("the archive is finished"))
    }
}

impl Archive for ZipArchive<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<Vec<String>> {
        let node = &entry.node;
        let (kind_bits, low) = match node.kind {
            NodeKind::Dir => (0o040_000, FOLDER_ATTRIBUTE),
            NodeKind::Symlink => (0o120_000, 0),
            _ => (0o100_000, 0),
        };
        let method = if node.kind == NodeKind::File { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let name = entry.name();
        let mut options = FullFileOptions::default()
            .compression_method(method)
            .last_modified_time(dos_time(&node.mtime))
            .large_file(entry.size >= LARGE_FILE_BYTES)
            .system(System::Unix)
            .external_attributes((kind_bits | node.mode & 0o7777) << 16 | low)
            .name(&name);
        if let Ok(seconds) = i32::try_from(node.mtime.seconds) {
            let field = [&[HAS_MODIFICATION][..], &seconds.to_le_bytes()].concat();
            options.add_extra_field(TIMESTAMP_FIELD, field, false)?;
        }
        let writer = self.writer()?;
        if node.kind == NodeKind::Dir {
            // The writer takes folders by text only; what is in the folder is written under its true name all the same.
            return match std::str::from_utf8(&name) {
                Ok(name) => writer.add_directory(name, options).map(|()| Vec::new()).map_err(Error::from),
                Err(_) => Ok(vec!["a folder whose name is not UTF-8 has no entry of its own in a zip".to_owned()]),
            };
        }
        writer.start_file_with_options(options)?;
        if let (NodeKind::Symlink, Some(target)) = (node.kind, &node.link_target) {
            writer.write_all(target)?;
        }
        let mut skipped = Vec::new();
        if !node.extended_attributes.is_empty() {
            skipped.push("zip does not hold its extended attributes".to_owned());
        }
        Ok(skipped)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer()?.write_all(bytes)
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(writer) => writer.finish()?.flush(),
            None => Ok(()),
        }
    }
}

/// The time on the clock where the file was; MS-DOS knows 1980 to 2107.
fn dos_time(time: &Moment) -> DateTime {
    let local = time.to_zoned();
    let part = |value: i8| u8::try_from(value).unwrap_or_default();
    let year = u16::try_from(local.year()).unwrap_or_default();
    let (month, day) = (part(local.month()), part(local.day()));
    DateTime::from_date_and_time(year, month, day, part(local.hour()), part(local.minute()), part(local.second()))
        .unwrap_or_default()
}
