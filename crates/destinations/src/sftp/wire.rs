//! The packets of SFTP version 3 (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL file for extensions), as pure
//! functions.
//!
//! Paths and handles are bytes here, as they are on the wire: handles of servers are no text, and one name that is
//! not UTF-8 must not break a listing. A packet that was cut or says more than it holds is an error, never a guess.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The version that everybody speaks.
const VERSION: u32 = 3;

const INIT: u8 = 1;
const VERSION_ANSWER: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const EXTENDED: u8 = 200;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRIBUTES: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

const OPEN_READ: u32 = 0x01;
const OPEN_WRITE: u32 = 0x02;
const OPEN_CREATE: u32 = 0x08;
const OPEN_EXCLUSIVE: u32 = 0x20;

const HAS_SIZE: u32 = 0x1;
const HAS_OWNER: u32 = 0x2;
const HAS_PERMISSIONS: u32 = 0x4;
const HAS_TIMES: u32 = 0x8;
const HAS_EXTENDED: u32 = 0x8000_0000;

const FILE_TYPE_BITS: u32 = 0o170_000;
const FILE_TYPE_REGULAR: u32 = 0o100_000;
const FILE_TYPE_FOLDER: u32 = 0o040_000;

/// Extensions that are used where a server offers them.
pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";
pub(super) const FSYNC: &str = "fsync@openssh.com";
pub(super) const HARDLINK: &str = "hardlink@openssh.com";
pub(super) const LIMITS: &str = "limits@openssh.com";
pub(super) const STATVFS: &str = "statvfs@openssh.com";

/// What is asked of a server.
#[derive(Debug)]
pub(super) enum Ask<'a> {
    /// Opens a file to read it.
    OpenToRead(&'a [u8]),
    /// Makes a file that must not be there, with these permissions.
    OpenNew(&'a str, u32),
    Close(&'a Bytes),
    Read(&'a Bytes, u64, u32),
    /// The bytes are sent behind the packet; only their number is in it.
    Write(&'a Bytes, u64, usize),
    LinkStat(&'a [u8]),
    ReadLink(&'a [u8]),
    HandleStat(&'a Bytes),
    OpenFolder(&'a [u8]),
    ReadFolder(&'a Bytes),
    Remove(&'a str),
    MakeFolder(&'a str, u32),
    Stat(&'a str),
    Rename(&'a str, &'a str),
    PosixRename(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    Fsync(&'a Bytes),
    Limits,
    FileSystem(&'a str),
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Status { code: u32, message: String },
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<(Bytes, Attributes)>),
    Attributes(Attributes),
    Extended(Bytes),
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) modified_seconds: Option<u32>,
    /// The bits of `st_mode`, the kind of file among them.
    pub(super) permissions: Option<u32>,
    /// User and group by number.
    pub(super) owner: Option<(u32, u32)>,
}

impl Attributes {
    /// Whether it is a regular file, a folder or something else; none when the server does not tell.
    pub(super) fn is_regular(&self) -> Option<bool> {
        self.permissions.map(|bits| bits & FILE_TYPE_BITS == FILE_TYPE_REGULAR)
    }

    pub(super) fn is_folder(&self) -> Option<bool> {
        self.permissions.map(|bits| bits & FILE_TYPE_BITS == FILE_TYPE_FOLDER)
    }
}

/// The room on the file system of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) available_bytes: u64,
    pub(super) has_free_names: bool,
    pub(super) is_read_only: bool,
}

/// The largest requests that a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Largest {
    pub(super) read_bytes: u64,
    pub(super) write_bytes: u64,
}

/// A packet or a part of it that is not what it should be.
pub(super) type Malformed = &'static str;

const CUT: Malformed = "a packet was cut short";

/// The first packet.
pub(super) fn init() -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u32(5);
    packet.put_u8(INIT);
    packet.put_u32(VERSION);
    packet.freeze()
}

/// The answer to [`init`]: which of the extensions, by name.
pub(super) fn parse_version(mut packet: Bytes) -> Result<Vec<String>, Malformed> {
    if byte(&mut packet)? != VERSION_ANSWER || number(&mut packet)? < VERSION {
        return Err("the server does not speak version 3");
    }
    let mut extensions = Vec::new();
    while !packet.is_empty() {
        extensions.push(String::from_utf8_lossy(&text(&mut packet)?).into_owned());
        text(&mut packet)?;
    }
    Ok(extensions)
}

impl Ask<'_> {
    /// The packet, with its length before it.
    pub(super) fn encode(&self, id: u32) -> Bytes {
        let mut packet = BytesMut::with_capacity(128);
        packet.put_u32(0);
        let begin = |packet: &mut BytesMut, kind: u8| {
            packet.put_u8(kind);
            packet.put_u32(id);
        };
        let mut behind = 0;
        match self {
            Ask::OpenToRead(path) => {
                begin(&mut packet, OPEN);
                put(&mut packet, path);
                packet.put_u32(OPEN_READ);
                packet.put_u32(0);
            }
            Ask::OpenNew(path, mode) => {
                begin(&mut packet, OPEN);
                put(&mut packet, path.as_bytes());
                packet.put_u32(OPEN_WRITE | OPEN_CREATE | OPEN_EXCLUSIVE);
                packet.put_u32(HAS_PERMISSIONS);
                packet.put_u32(*mode);
            }
            Ask::Read(handle, offset, length) => {
                begin(&mut packet, READ);
                put(&mut packet, handle);
                packet.put_u64(*offset);
                packet.put_u32(*length);
            }
            Ask::Write(handle, offset, length) => {
                begin(&mut packet, WRITE);
                put(&mut packet, handle);
                packet.put_u64(*offset);
                packet.put_u32(*length as u32);
                behind = *length;
            }
            Ask::MakeFolder(path, mode) => {
                begin(&mut packet, MKDIR);
                put(&mut packet, path.as_bytes());
                packet.put_u32(HAS_PERMISSIONS);
                packet.put_u32(*mode);
            }
            Ask::Close(handle) => one(&mut packet, CLOSE, id, handle),
            Ask::HandleStat(handle) => one(&mut packet, FSTAT, id, handle),
            Ask::ReadFolder(handle) => one(&mut packet, READDIR, id, handle),
            Ask::LinkStat(path) => one(&mut packet, LSTAT, id, path),
            Ask::ReadLink(path) => one(&mut packet, READLINK, id, path),
            Ask::Stat(path) => one(&mut packet, STAT, id, path.as_bytes()),
            Ask::OpenFolder(path) => one(&mut packet, OPENDIR, id, path),
            Ask::Remove(path) => one(&mut packet, REMOVE, id, path.as_bytes()),
            Ask::Rename(from, to) => {
                one(&mut packet, RENAME, id, from.as_bytes());
                put(&mut packet, to.as_bytes());
            }
            Ask::PosixRename(from, to) => extended(&mut packet, id, POSIX_RENAME, &[from.as_bytes(), to.as_bytes()]),
            Ask::HardLink(from, to) => extended(&mut packet, id, HARDLINK, &[from.as_bytes(), to.as_bytes()]),
            Ask::Fsync(handle) => extended(&mut packet, id, FSYNC, &[handle]),
            Ask::Limits => extended(&mut packet, id, LIMITS, &[]),
            Ask::FileSystem(path) => extended(&mut packet, id, STATVFS, &[path.as_bytes()]),
        }
        let length = (packet.len() - 4 + behind) as u32;
        if let Some(head) = packet.first_chunk_mut() {
            *head = length.to_be_bytes();
        }
        packet.freeze()
    }
}

fn put(packet: &mut BytesMut, bytes: &[u8]) {
    packet.put_u32(bytes.len() as u32);
    packet.put_slice(bytes);
}

fn one(packet: &mut BytesMut, kind: u8, id: u32, bytes: &[u8]) {
    packet.put_u8(kind);
    packet.put_u32(id);
    put(packet, bytes);
}

fn extended(packet: &mut BytesMut, id: u32, name: &str, parts: &[&[u8]]) {
    one(packet, EXTENDED, id, name.as_bytes());
    for part in parts {
        put(packet, part);
    }
}

/// Reads an answer, without the length before it: to which question, and what.
pub(super) fn parse_answer(mut packet: Bytes) -> Result<(u32, Answer), Malformed> {
    let kind = byte(&mut packet)?;
    let id = number(&mut packet)?;
    let answer = match kind {
        STATUS => {
            let code = number(&mut packet)?;
            // Some old servers send no message.
            let message = text(&mut packet).unwrap_or_default();
            Answer::Status { code, message: String::from_utf8_lossy(&message).into_owned() }
        }
        HANDLE => Answer::Handle(text(&mut packet)?),
        DATA => Answer::Data(text(&mut packet)?),
        NAME => {
            let count = number(&mut packet)?;
            let mut names = Vec::new();
            for _ in 0..count {
                let name = text(&mut packet)?;
                // The line that `ls -l` would show.
                text(&mut packet)?;
                names.push((name, attributes(&mut packet)?));
            }
            Answer::Names(names)
        }
        ATTRIBUTES => Answer::Attributes(attributes(&mut packet)?),
        EXTENDED_REPLY => Answer::Extended(packet),
        _ => return Err("the server sent a packet of an unknown kind"),
    };
    Ok((id, answer))
}

/// The answer to [`Ask::Limits`]; a zero says that there is no limit.
pub(super) fn parse_limits(mut reply: Bytes) -> Result<Largest, Malformed> {
    let _packet_bytes = long(&mut reply)?;
    let unlimited = |bytes: u64| if bytes == 0 { u64::MAX } else { bytes };
    Ok(Largest { read_bytes: unlimited(long(&mut reply)?), write_bytes: unlimited(long(&mut reply)?) })
}

/// The answer to [`Ask::FileSystem`].
pub(super) fn parse_room(mut reply: Bytes) -> Result<Room, Malformed> {
    const READ_ONLY: u64 = 1;
    let _block_bytes = long(&mut reply)?;
    let fragment_bytes = long(&mut reply)?;
    let (_blocks, _free) = (long(&mut reply)?, long(&mut reply)?);
    let available = long(&mut reply)?;
    let (names, _free_names) = (long(&mut reply)?, long(&mut reply)?);
    let available_names = long(&mut reply)?;
    let (_id, flags) = (long(&mut reply)?, long(&mut reply)?);
    Ok(Room {
        available_bytes: available.saturating_mul(fragment_bytes),
        // File systems without a fixed number of names say that they have none at all.
        has_free_names: names == 0 || available_names != 0,
        is_read_only: flags & READ_ONLY != 0,
    })
}

fn attributes(packet: &mut Bytes) -> Result<Attributes, Malformed> {
    let flags = number(packet)?;
    let mut found = Attributes::default();
    if flags & HAS_SIZE != 0 {
        found.size = Some(long(packet)?);
    }
    if flags & HAS_OWNER != 0 {
        found.owner = Some((number(packet)?, number(packet)?));
    }
    if flags & HAS_PERMISSIONS != 0 {
        found.permissions = Some(number(packet)?);
    }
    if flags & HAS_TIMES != 0 {
        number(packet)?;
        found.modified_seconds = Some(number(packet)?);
    }
    if flags & HAS_EXTENDED != 0 {
        for _ in 0..number(packet)? {
            text(packet)?;
            text(packet)?;
        }
    }
    Ok(found)
}

fn byte(packet: &mut Bytes) -> Result<u8, Malformed> {
    packet.try_get_u8().map_err(|_| CUT)
}

fn number(packet: &mut Bytes) -> Result<u32, Malformed> {
    packet.try_get_u32().map_err(|_| CUT)
}

fn long(packet: &mut Bytes) -> Result<u64, Malformed> {
    packet.try_get_u64().map_err(|_| CUT)
}

fn text(packet: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = number(packet)? as usize;
    if packet.len() < length { Err(CUT) } else { Ok(packet.split_to(length)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_write_counts_the_bytes_behind_it() {
        let packet = Ask::Write(&Bytes::from_static(b"h"), 7, 1000).encode(3);
        let told = u32::from_be_bytes(*packet.first_chunk().unwrap()) as usize;
        assert_eq!(told, packet.len() - 4 + 1000);
        assert_eq!(packet[4..9], [WRITE, 0, 0, 0, 3]);
        assert_eq!(packet[packet.len() - 4..], 1000_u32.to_be_bytes());
    }

    #[test]
    fn names_that_are_no_text_do_not_break_a_listing() {
        let mut packet = BytesMut::new();
        packet.put_u8(NAME);
        packet.put_u32(9);
        packet.put_u32(1);
        put(&mut packet, b"\xff\xfe");
        put(&mut packet, b"-rw-------");
        packet.put_u32(HAS_SIZE | HAS_OWNER | HAS_PERMISSIONS | HAS_TIMES | HAS_EXTENDED);
        packet.put_u64(5);
        packet.put_u64(0);
        packet.put_u32(FILE_TYPE_REGULAR | 0o600);
        packet.put_u32(1);
        packet.put_u32(2);
        packet.put_u32(1);
        put(&mut packet, b"a@b");
        put(&mut packet, b"c");
        let whole = packet.freeze();
        let (id, answer) = parse_answer(whole.clone()).unwrap();
        let Answer::Names(names) = answer else { panic!("{answer:?}") };
        assert_eq!((id, &names[0].0[..]), (9, &b"\xff\xfe"[..]));
        assert_eq!((names[0].1.size, names[0].1.modified_seconds), (Some(5), Some(2)));
        assert_eq!(names[0].1.is_regular(), Some(true));
        for cut in 0..whole.len() {
            assert!(parse_answer(whole.slice(..cut)).is_err(), "{cut} bytes were enough");
        }
    }

    #[test]
    fn a_server_that_promises_more_names_than_it_sends_is_caught_at_once() {
        let mut packet = BytesMut::new();
        packet.put_u8(NAME);
        packet.put_u32(1);
        packet.put_u32(u32::MAX);
        assert_eq!(parse_answer(packet.freeze()), Err(CUT));
    }

    #[test]
    fn extensions_are_told_by_name() {
        let mut packet = BytesMut::new();
        packet.put_u8(VERSION_ANSWER);
        packet.put_u32(3);
        put(&mut packet, FSYNC.as_bytes());
        put(&mut packet, b"1");
        assert_eq!(parse_version(packet.freeze()).unwrap(), [FSYNC]);
        assert!(parse_version(Bytes::from_static(&[VERSION_ANSWER, 0, 0, 0, 2])).is_err());
    }
}
