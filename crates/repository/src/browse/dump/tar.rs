//! A tar archive in POSIX.1-2001 form, written as it goes.
//!
//! What fits the old header goes there; everything else is told by an extended header in front of the entry: long
//! names and names that are not ASCII, large numbers, fractions of seconds, extended attributes (`SCHILY.xattr.`) and
//! ACLs (`SCHILY.acl.`), which is what GNU tar, bsdtar and restic's own dumps use. Files with several names come once
//! for each name, as restic writes them.

use std::io::{Result, Write};

use format::{Moment, Node, NodeKind};
use tar::{EntryType, Header};

use super::{Archive, Entry, acl};

const BLOCK_BYTES: usize = 512;
/// The largest numbers that fit the header's octal fields of 8 and of 12 bytes.
const SMALL_NUMBER_MAX: u64 = 0o7_777_777;
const LARGE_NUMBER_MAX: u64 = 0o77_777_777_777;
const NAME_BYTES_MAX: usize = 100;
const PREFIX_BYTES_MAX: usize = 155;
const USER_BYTES_MAX: usize = 31;

pub(super) struct TarArchive<'a> {
    out: &'a mut dyn Write,
    /// Bytes of the open entry's content.
    written: u64,
}

/// Records of an extended header.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// A record is `length key=value\n`, and the length counts itself.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} ").as_bytes());
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

impl<'a> TarArchive<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, written: 0 }
    }

    fn pad(&mut self, length: u64) -> Result<()> {
        let over = (length % BLOCK_BYTES as u64) as usize;
        if over > 0 { self.out.write_all(&[0; BLOCK_BYTES][over..]) } else { Ok(()) }
    }

    fn extended_header(&mut self, records: &[u8], name: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_size(records.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let base = name.strip_suffix(b"/").unwrap_or(name).rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        put(&mut header.as_old_mut().name, &printable(&[b"PaxHeaders.0/", base].concat()));
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(records)?;
        self.pad(records.len() as u64)
    }
}

impl Archive for TarArchive<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<Vec<String>> {
        let node = &entry.node;
        let name = entry.name();
        let link = if node.kind == NodeKind::Symlink { node.link_target.as_deref() } else { None };
        let mut records = Records::default();
        let mut header = Header::new_ustar();
        let is_text = std::str::from_utf8(&name).is_ok() && link.is_none_or(|link| std::str::from_utf8(link).is_ok());
        if !is_text {
            records.add(b"hdrcharset", b"BINARY");
        }
        header.set_entry_type(match node.kind {
            NodeKind::Dir => EntryType::Directory,
            NodeKind::Symlink => EntryType::Symlink,
            _ => EntryType::Regular,
        });
        header.set_mode(node.mode & 0o7777);
        set_name(&mut header, &mut records, &name);
        if let Some(link) = link {
            if !link.is_ascii() || link.len() > NAME_BYTES_MAX {
                records.add(b"linkpath", link);
            }
            put(&mut header.as_old_mut().linkname, &printable(link));
        }
        set_owner(&mut header, &mut records, node);
        set_numbers(&mut header, &mut records, node, entry.size);
        let skipped = add_attributes(&mut records, node);
        if !records.0.is_empty() {
            self.extended_header(&records.0, &name)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.written = 0;
        Ok(skipped)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn end(&mut self) -> Result<()> {
        self.pad(self.written)
    }

    fn finish(&mut self) -> Result<()> {
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()
    }
}

/// Copies as much as fits; the rest of the field stays zero.
fn put(field: &mut [u8], value: &[u8]) {
    field.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
}

/// For fields that an extended header overrules: old readers shall see something harmless.
fn printable(value: &[u8]) -> Vec<u8> {
    value.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte } else { b'_' }).collect()
}

fn set_name(header: &mut Header, records: &mut Records, name: &[u8]) {
    let split = split_name(name);
    if split.is_none() {
        records.add(b"path", name);
    }
    let shown = printable(name);
    let (prefix, rest) = match split {
        Some(at) if at > 0 => (shown.get(..at).unwrap_or_default(), shown.get(at + 1..).unwrap_or_default()),
        _ => (&[][..], shown.as_slice()),
    };
    if let Some(ustar) = header.as_ustar_mut() {
        put(&mut ustar.prefix, prefix);
        put(&mut ustar.name, rest);
    }
}

/// Where a name is split between the old header's two fields: 0 when it needs only one, none when it does not fit.
fn split_name(name: &[u8]) -> Option<usize> {
    if !name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return None;
    }
    if name.len() <= NAME_BYTES_MAX {
        return Some(0);
    }
    let from = name.len().saturating_sub(NAME_BYTES_MAX + 1);
    let slash = name.iter().enumerate().skip(from.max(1)).find(|(_, byte)| **byte == b'/').map(|(at, _)| at)?;
    (slash <= PREFIX_BYTES_MAX && slash + 1 < name.len()).then_some(slash)
}

fn set_owner(header: &mut Header, records: &mut Records, node: &Node) {
    for (key, value) in [(b"uname", &node.user), (b"gname", &node.group)] {
        if !value.is_ascii() || value.len() > USER_BYTES_MAX {
            records.add(key, value.as_bytes());
        }
    }
    for (key, value) in [(b"uid", node.uid), (b"gid", node.gid)] {
        if u64::from(value) > SMALL_NUMBER_MAX {
            records.add(key, value.to_string().as_bytes());
        }
    }
    let fitting = |id: u32| if u64::from(id) > SMALL_NUMBER_MAX { 0 } else { u64::from(id) };
    header.set_uid(fitting(node.uid));
    header.set_gid(fitting(node.gid));
    if let Some(ustar) = header.as_ustar_mut() {
        let cut = |value: &str| printable(value.as_bytes()).into_iter().take(USER_BYTES_MAX).collect::<Vec<_>>();
        put(&mut ustar.uname, &cut(&node.user));
        put(&mut ustar.gname, &cut(&node.group));
    }
}

fn set_numbers(header: &mut Header, records: &mut Records, node: &Node, size: u64) {
    if size > LARGE_NUMBER_MAX {
        records.add(b"size", size.to_string().as_bytes());
    }
    header.set_size(if size > LARGE_NUMBER_MAX { 0 } else { size });
    let seconds = u64::try_from(node.mtime.seconds).ok().filter(|seconds| *seconds <= LARGE_NUMBER_MAX);
    if seconds.is_none() || node.mtime.nanoseconds > 0 {
        records.add(b"mtime", decimal(&node.mtime).as_bytes());
    }
    header.set_mtime(seconds.unwrap_or_default());
}

/// Seconds since 1970 with a fraction; before 1970 the fraction counts backwards, as in every decimal number.
fn decimal(time: &Moment) -> String {
    const SECOND_NANOSECONDS: i128 = 1_000_000_000;
    let total = i128::from(time.seconds) * SECOND_NANOSECONDS + i128::from(time.nanoseconds);
    let (sign, total) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
    let (seconds, fraction) = (total / SECOND_NANOSECONDS as u128, total % SECOND_NANOSECONDS as u128);
    if fraction == 0 { format!("{sign}{seconds}") } else { format!("{sign}{seconds}.{fraction:09}") }
}

fn add_attributes(records: &mut Records, node: &Node) -> Vec<String> {
    let mut skipped = Vec::new();
    for (name, value) in &node.extended_attributes {
        let acl_key: Option<&[u8]> = match name.as_slice() {
            b"system.posix_acl_access" => Some(b"SCHILY.acl.access"),
            b"system.posix_acl_default" => Some(b"SCHILY.acl.default"),
            _ => None,
        };
        let shown = || String::from_utf8_lossy(name).into_owned();
        match acl_key {
            Some(key) => match acl::text(value) {
                Some(text) => records.add(key, text.as_bytes()),
                None => skipped.push(format!("its `{}` is no ACL that we know", shown())),
            },
            None if name.contains(&b'=') => {
                skipped.push(format!("tar cannot tell an attribute with `=` in its name: `{}`", shown()));
            }
            None => records.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value),
        }
    }
    skipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_length_counts_itself() {
        let record = |key: &str, value: &str| {
            let mut records = Records::default();
            records.add(key.as_bytes(), value.as_bytes());
            String::from_utf8(records.0).unwrap_or_default()
        };
        assert_eq!(record("path", "x"), "9 path=x\n");
        assert_eq!(record("path", "a\nb"), "12 path=a\nb\n");
        for length in 0..2000_usize {
            let text = record("k", &"v".repeat(length));
            assert_eq!(text.split_once(' ').map(|(digits, _)| digits.parse()), Some(Ok(text.len())));
        }
    }

    #[test]
    fn fractions_count_from_zero() {
        let time = |seconds, nanoseconds| decimal(&Moment { seconds, nanoseconds, offset_seconds: 0 });
        assert_eq!(time(12, 0), "12");
        assert_eq!(time(12, 5), "12.000000005");
        assert_eq!(time(-1, 500_000_000), "-0.500000000");
        assert_eq!(time(-100, 0), "-100");
        assert_eq!(time(i64::MIN, 0), "-9223372036854775808");
    }

    #[test]
    fn names_are_split_where_they_fit() {
        let name = |folder: usize, file: usize| [vec![b'd'; folder], b"/".to_vec(), vec![b'f'; file]].concat();
        assert_eq!(split_name(b"short"), Some(0));
        assert_eq!(split_name(&name(50, 100)), Some(50));
        assert_eq!(split_name(&name(155, 100)), Some(155));
        assert_eq!(split_name(&name(156, 100)), None);
        assert_eq!(split_name(&name(50, 101)), None);
        assert_eq!(split_name(&[b'd'; 150]), None);
        assert_eq!(split_name("ü".as_bytes()), None);
        assert_eq!(split_name(&[name(120, 0), b"x/".to_vec()].concat()), Some(120));
    }
}
