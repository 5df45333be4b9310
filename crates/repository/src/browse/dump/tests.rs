#![allow(clippy::unwrap_used)]

use std::io::Read;

use super::super::source::table::Table;
use super::*;

fn hostile() -> (Table, Id) {
    let table = Table::default();
    let mut file = table.file("file", b"one two three");
    file.mode = 0o4755;
    (file.uid, file.gid) = (3_000_000_000, 1000);
    (file.user, file.group) = ("user".to_owned(), "a group with a name of more than 31 bytes".to_owned());
    (file.mtime.seconds, file.mtime.nanoseconds) = (1_700_000_000, 123_456_789);
    file.extended_attributes.push((b"user.comment".to_vec(), b"a\nb\0c=d".to_vec()));
    file.extended_attributes.push((b"user.a=b".to_vec(), b"1".to_vec()));
    let mut link = Node::new("link", NodeKind::Symlink);
    (link.link_target, link.mode) = (Some(b"../..//\xff/target".to_vec()), 0o777);
    let fifo = Node::new("fifo", NodeKind::Fifo);
    let mut odd = table.file("odd", b"");
    odd.name = b"new\nline \xfe \xc3\xbc".to_vec();
    odd.mtime.seconds = -100;
    let long = table.file(&"n".repeat(255), b"long");
    let inner = table.folder(vec![long, link]);
    let middle = table.folder(vec![Table::dir(&"d".repeat(200), inner)]);
    let root = table.folder(vec![file, fifo, odd, Table::dir("middle", middle)]);
    (table, root)
}

fn dumped(path: &str, archive: Option<ArchiveKind>) -> Result<(Vec<u8>, DumpReport)> {
    let (table, root) = hostile();
    let mut out = Vec::new();
    let request = DumpRequest { path: path.as_bytes().to_vec(), archive };
    let report = write(&table, &root, &request, &mut out, &mut Vec::new())?;
    Ok((out, report))
}

#[test]
fn a_file_is_its_bytes() {
    for path in ["/file", "file", "//file/", "/./file"] {
        let (out, report) = dumped(path, None).unwrap();
        assert_eq!(out, b"one two three");
        assert_eq!((report.entries, report.bytes), (1, 13));
    }
}

#[test]
fn what_cannot_be_dumped_is_told() {
    for (path, text) in [
        ("/nothing", "`/nothing` is not in the snapshot"),
        ("/file/more", "`/file` is a file, not a folder"),
        ("/fifo", "`/fifo` is a fifo, not a file or folder"),
        ("/middle", "redirect the output"),
    ] {
        let error = dumped(path, None).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

/// An entry of a tar archive, with its extended header taken apart.
struct TarEntry {
    header: ::tar::Header,
    records: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    content: Vec<u8>,
}

impl TarEntry {
    fn record(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key.as_bytes()).map(Vec::as_slice)
    }

    fn name(&self) -> Vec<u8> {
        self.record("path").map_or_else(|| self.header.path_bytes().into_owned(), <[u8]>::to_vec)
    }
}

/// Records are cut by their lengths: values may hold line feeds.
fn records(mut text: &[u8]) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = std::collections::BTreeMap::new();
    while !text.is_empty() {
        let space = text.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&text[..space]).unwrap().parse().unwrap();
        let (record, rest) = text.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n").unwrap();
        let equals = record.iter().position(|byte| *byte == b'=').unwrap();
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        text = rest;
    }
    records
}

fn tar_entries(out: &[u8]) -> Vec<TarEntry> {
    let mut archive = ::tar::Archive::new(out);
    let mut entries = Vec::new();
    let mut extended = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap().raw(true) {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header().clone();
        if header.entry_type().is_pax_local_extensions() {
            extended = records(&content);
        } else {
            entries.push(TarEntry { header, records: std::mem::take(&mut extended), content });
        }
    }
    entries
}

#[test]
fn a_tar_holds_everything_that_a_reader_wants_to_know() {
    let (out, report) = dumped("/", Some(ArchiveKind::Tar)).unwrap();
    assert_eq!(out.len() % 512, 0);
    let skipped: Vec<_> = report.skipped.iter().map(|skipped| String::from_utf8_lossy(&skipped.path)).collect();
    assert_eq!(skipped, ["/fifo", "/file"]);
    assert_eq!(report.entries, 6);
    let entries = tar_entries(&out);
    let folder = [b"middle/".to_vec(), vec![b'd'; 200], b"/".to_vec()].concat();
    let odd_name = b"new\nline \xfe \xc3\xbc".to_vec();
    let expected = [
        b"file".to_vec(),
        b"middle/".to_vec(),
        folder.clone(),
        [folder.clone(), b"link".to_vec()].concat(),
        [folder, vec![b'n'; 255]].concat(),
        odd_name,
    ];
    assert_eq!(entries.iter().map(TarEntry::name).collect::<Vec<_>>(), expected);
    let [file, middle, folder, link, long, odd] = entries.as_slice() else { panic!("six entries") };

    assert_eq!(file.content, b"one two three");
    assert_eq!(file.header.mode().unwrap(), 0o4755);
    assert_eq!(file.record("uid"), Some(&b"3000000000"[..]));
    assert_eq!((file.record("gid"), file.header.gid().unwrap()), (None, 1000));
    assert_eq!(file.header.username().unwrap(), Some("user"));
    assert_eq!(file.record("gname"), Some(&b"a group with a name of more than 31 bytes"[..]));
    assert_eq!(file.record("mtime"), Some(&b"1700000000.123456789"[..]));
    assert_eq!(file.record("SCHILY.xattr.user.comment"), Some(&b"a\nb\0c=d"[..]));
    assert!(middle.header.entry_type().is_dir() && folder.header.entry_type().is_dir());
    assert!(link.header.entry_type().is_symlink());
    assert_eq!(link.record("linkpath"), Some(&b"../..//\xff/target"[..]));
    assert_eq!(link.record("hdrcharset"), Some(&b"BINARY"[..]));
    assert_eq!(long.content, b"long");
    assert_eq!(odd.record("mtime"), Some(&b"-100"[..]));
    assert_eq!(odd.record("hdrcharset"), Some(&b"BINARY"[..]));
}

#[test]
fn entries_of_a_subfolder_keep_their_path() {
    let (out, _) = dumped("/middle/", Some(ArchiveKind::Tar)).unwrap();
    assert_eq!(tar_entries(&out)[0].name(), [b"middle/".to_vec(), vec![b'd'; 200], b"/".to_vec()].concat());
}

#[test]
fn a_zip_reads_back() {
    let (out, report) = dumped("/", Some(ArchiveKind::Zip)).unwrap();
    assert_eq!(report.entries, 6);
    let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(out)).unwrap();
    assert_eq!(archive.len(), 6);
    let mut file = archive.by_name("file").unwrap();
    // The reader hides set-uid bits from its callers.
    assert_eq!(file.unix_mode(), Some(0o100_755));
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"one two three");
    drop(file);
    let link = (0..6).find(|n| archive.by_index(*n).unwrap().is_symlink()).unwrap();
    let mut target = Vec::new();
    archive.by_index(link).unwrap().read_to_end(&mut target).unwrap();
    assert_eq!(target, b"../..//\xff/target");
}

#[test]
fn a_lost_chunk_is_an_error_and_names_the_file() {
    let (table, root) = hostile();
    let lost = format::hash(b"long");
    table.data.lock().unwrap().remove(&lost);
    for archive in [ArchiveKind::Tar, ArchiveKind::Zip] {
        let request = DumpRequest { path: b"/".to_vec(), archive: Some(archive) };
        let error = write(&table, &root, &request, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::BlobUnknown { id, .. } if id == lost), "{error}");
    }
}

/// A writer that takes only so much.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_output_ends_the_dump_with_its_own_error() {
    let (table, root) = hostile();
    for archive in [ArchiveKind::Tar, ArchiveKind::Zip] {
        for room in [0, 1, 600, 2000] {
            let request = DumpRequest { path: b"/".to_vec(), archive: Some(archive) };
            let mut out = Full(room);
            match write(&table, &root, &request, &mut out, &mut Vec::new()) {
                Err(Error::Local { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::StorageFull),
                Ok(_) => assert!(room >= 2000 && archive == ArchiveKind::Zip),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn chunks_stay_in_order_however_they_are_read() {
    let table = Table::default();
    let content: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
    let root = {
        let file = table.file("file", &content);
        table.folder(vec![file])
    };
    let mut out = Vec::new();
    let request = DumpRequest { path: b"/file".to_vec(), archive: None };
    write(&table, &root, &request, &mut out, &mut Vec::new()).unwrap();
    assert_eq!(out, content);
}
