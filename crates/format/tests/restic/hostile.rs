//! A folder of files that are hard to spell: names, link targets, attributes, times, modes.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

const NAMES: &[&[u8]] = &[
    b"plain",
    b"with space",
    b"quote\"d",
    b"back\\slash",
    b"'single'",
    b"<tag>&amp;",
    b"tab\tname",
    b"line\nfeed",
    b"bell\x07\x08\x0b\x0c\r",
    b"\x01\x1f\x7f",
    b"latin\xe9",
    b"\xff\xfe",
    b"\xed\xa0\x80surrogate",
    b"\xe2\x82",
    b"cut\xf0\x9f\x98",
    b"\xc0\xaf",
    "ümläut".as_bytes(),
    "日本語".as_bytes(),
    "😀".as_bytes(),
    "sep\u{2028}\u{2029}".as_bytes(),
    "\u{feff}bom".as_bytes(),
    "nbsp\u{a0}soft\u{ad}".as_bytes(),
    "replacement\u{fffd}".as_bytes(),
    "private\u{e000}\u{10fffd}".as_bytes(),
    "combining e\u{301}".as_bytes(),
    "rtl\u{202e}txt".as_bytes(),
    "new\u{1c89}\u{1fadf}".as_bytes(),
    b"\\x41",
    b"\\u0041",
    b"...",
    b"..dots",
    b"-dash",
    b"\\",
    b"%00",
    b"$HOME`id`",
    b"a:b*c?d|e",
];

const TARGETS: &[&[u8]] = &[
    b"plain",
    b"/absolute/path",
    b"../up",
    b"<&>\"\\",
    b"line\nfeed\t\x01\x7f",
    "😀\u{2028}\u{fffd}".as_bytes(),
    b"does/not/exist",
    b".",
];

/// Names and targets that restic 0.14 spells in its own way and that every restic since 0.17 would spell anew when it
/// rewrote such a tree: characters of Unicode 14 and 15 escaped, targets that are not UTF-8 without their raw bytes,
/// `\b` and `\f` in their long form.
const NAMES_SINCE_0_17: &[&[u8]] = &["\u{1fae8}\u{1df00}".as_bytes()];
const TARGETS_SINCE_0_17: &[&[u8]] = &[b"\xff\xfe", b"half\xe2\x82", b"\x08\x0c"];

/// Makes the folder.
pub(crate) fn make(root: &Path, since_0_17: bool) {
    fs::create_dir_all(root).unwrap();
    let more = |list: &'static [&'static [u8]]| if since_0_17 { list } else { &[] };
    for (at, name) in NAMES.iter().chain(more(NAMES_SINCE_0_17)).enumerate() {
        fs::write(root.join(OsStr::from_bytes(name)), format!("contents {at}")).unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(&[b'n'; 255])), b"").unwrap();
    for (at, target) in TARGETS.iter().chain(more(TARGETS_SINCE_0_17)).enumerate() {
        symlink(OsStr::from_bytes(target), root.join(format!("link-{at}"))).unwrap();
    }
    fs::create_dir_all(root.join("empty/nested/deeper")).unwrap();
    make_modes(&root.join("modes"));
    make_times(&root.join("times"));
    make_links(&root.join("links"));
    make_attributes(&root.join("attributes"));
    make_big(&root.join("big"));
}

fn make_modes(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for mode in [0, 0o1, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o7777] {
        let path = folder.join(format!("{mode:o}"));
        fs::write(&path, b"x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    for mode in [0o1777, 0o2750, 0o700] {
        let path = folder.join(format!("dir-{mode:o}"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let made = std::process::Command::new("mkfifo").arg(folder.join("fifo")).status();
    assert!(made.unwrap().success());
    drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
    // Devices can only be made by root; without them the test is smaller, not wrong.
    for arguments in [["c", "1", "3"], ["b", "7", "0"]] {
        let _ = std::process::Command::new("mknod").arg(folder.join(arguments[0])).args(arguments).status();
    }
}

fn make_times(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let moments = [
        (-2_208_988_800, 0),
        (-5_000_000_000, 1),
        (-100, 500_000_000),
        (-1, 999_999_999),
        (0, 0),
        (1, 100),
        (86_399, 120_000_000),
        (951_782_400, 1),
        (4_107_542_400, 123_456_789),
        (15_000_000_000, 10),
    ];
    for (at, (seconds, nanoseconds)) in moments.into_iter().enumerate() {
        let path = folder.join(format!("{at}"));
        let file = File::create(&path).unwrap();
        let from = SystemTime::UNIX_EPOCH;
        let whole = Duration::from_secs(i64::unsigned_abs(seconds));
        let whole = if seconds < 0 { from - whole } else { from + whole };
        let time = whole + Duration::from_nanos(nanoseconds);
        // A file system that cannot hold the time keeps another; either is a time to be spelled.
        file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).unwrap();
    }
}

fn make_links(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("a"), b"several names").unwrap();
    fs::hard_link(folder.join("a"), folder.join("b")).unwrap();
    fs::hard_link(folder.join("a"), folder.join("c")).unwrap();
}

fn make_attributes(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let path = folder.join("file");
    fs::write(&path, b"x").unwrap();
    for (name, value) in [("user.text", "value"), ("user.empty", ""), ("user.<&>", "<&>\0"), ("user.ümläut", "ü")] {
        // Not every file system has attributes.
        let _ = rustix::fs::setxattr(&path, name, value.as_bytes(), rustix::fs::XattrFlags::CREATE);
    }
}

/// Files that are cut into several chunks: random, low-entropy and of lengths around the limits.
fn make_big(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let random = random_bytes(20 << 20, 0x2545_f491_4f6c_dd1d);
    fs::write(folder.join("random"), &random).unwrap();
    let mut sparse = vec![0; 19 << 20];
    sparse[..3 << 20].copy_from_slice(&random[..3 << 20]);
    sparse[15 << 20..17 << 20].copy_from_slice(&random[5 << 20..7 << 20]);
    fs::write(folder.join("zeros"), &sparse).unwrap();
    let text: Vec<u8> = random[..6 << 20].iter().map(|byte| b"abcdefgh\n e"[usize::from(byte % 11)]).collect();
    fs::write(folder.join("text"), &text).unwrap();
    for length in [(512 << 10) - 1, 512 << 10, (512 << 10) + 1, (512 << 10) + 63, 8 << 20, (8 << 20) + 1] {
        fs::write(folder.join(format!("length-{length}")), &random[1000..1000 + length]).unwrap();
        fs::write(folder.join(format!("ones-{length}")), vec![1; length]).unwrap();
    }
}

pub(crate) fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
