//! Pipes, sockets, devices, modes, owners and times.

use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chmodat, chownat, makedev, mknodat};

use super::links::hard_link;
use super::{Maker, create, set_time};

pub(super) fn make(maker: &mut Maker, root: &Path) {
    node(maker, b"special/pipe", "a pipe, which blocks whoever opens it", FileType::Fifo, 0);
    hard_link(maker, b"special/pipe", b"special/pipe-again", "the second name of the pipe");
    node(maker, b"special/null", "a character device", FileType::CharacterDevice, makedev(1, 3));
    node(
        maker,
        b"special/large-numbers",
        "a device with large numbers",
        FileType::CharacterDevice,
        makedev(511, 300_000),
    );
    node(maker, b"special/zero", "a device that never ends", FileType::CharacterDevice, makedev(1, 5));
    node(maker, b"special/loop", "a block device", FileType::BlockDevice, makedev(7, 200));
    let path = root.join("special/socket");
    // The socket stays when its listener is closed; nobody answers, as after a crash.
    maker.note(b"special/socket", "a socket", UnixListener::bind(path).map(drop));

    for (name, mode, what) in [
        (b"modes/000".as_slice(), 0o000, "a file that nobody may read"),
        (b"modes/0400", 0o400, "a file that nobody may write"),
        (b"modes/0111", 0o111, "a file that may only be run"),
        (b"modes/0777", 0o777, "a file that everybody may do everything to"),
        (b"modes/setuid", 0o4755, "setuid"),
        (b"modes/setgid", 0o2755, "setgid"),
        (b"modes/setgid-no-group", 0o2701, "setgid without the group's right to run"),
        (b"modes/sticky", 0o1644, "a sticky file"),
        (b"modes/all", 0o7777, "every bit"),
    ] {
        maker.entry(name, what, |folder, name| {
            create(folder, name)?;
            Ok(chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
        });
    }
    for (name, uid, gid, what) in [
        (b"owners/other".as_slice(), 12_345, 54_321, "an owner without a name"),
        (b"owners/largest", u32::MAX - 1, u32::MAX - 1, "the largest owner"),
        (b"owners/group-only", 0, 12, "another group"),
    ] {
        maker.entry(name, what, |folder, name| {
            create(folder, name)?;
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            Ok(chownat(folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?)
        });
    }
    // An owner takes setuid away from a file, so a restore must set it in the right order.
    maker.entry(b"owners/setuid-of-other", "setuid of another owner", |folder, name| {
        create(folder, name)?;
        chownat(folder, name, Some(Uid::from_raw(1234)), Some(Gid::from_raw(1234)), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(chmodat(folder, name, Mode::from_raw_mode(0o6755), AtFlags::empty())?)
    });
    maker.entry(b"owners/link-of-other", "a symbolic link of another owner", |folder, name| {
        rustix::fs::symlinkat("target", folder, name)?;
        Ok(chownat(folder, name, Some(Uid::from_raw(1234)), Some(Gid::from_raw(1234)), AtFlags::SYMLINK_NOFOLLOW)?)
    });
    for (name, mode, what) in [
        (b"modes/folder-0000".as_slice(), 0o000, "a folder that nobody may enter"),
        (b"modes/folder-0555", 0o555, "a folder that nobody may write to"),
        (b"modes/folder-0111", 0o111, "a folder that cannot be listed"),
        (b"modes/folder-1777", 0o1777, "a sticky folder"),
        (b"modes/folder-2775", 0o2775, "a folder that gives its group away"),
    ] {
        maker.file(&[name, b"/inside"].concat(), "a file in a folder of an odd mode", b"inside\n");
        maker.entry(name, what, |folder, name| Ok(chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?));
    }
}

fn node(maker: &mut Maker, path: &[u8], what: &str, kind: FileType, device: u64) {
    maker.entry(path, what, |folder, name| Ok(mknodat(folder, name, kind, Mode::from_raw_mode(0o640), device)?));
}

/// Times come last: making an entry changes its folder's.
pub(super) fn make_times(maker: &mut Maker) {
    /// 2100-01-01, beyond what 32 bits hold.
    const YEAR_2100: i64 = 4_102_444_800;
    for (name, seconds, nanoseconds, what) in [
        (b"times/before-1970".as_slice(), -100, 0, "a time before 1970"),
        (b"times/before-1970-fraction", -1, 999_999_999, "a nanosecond before 1970"),
        (b"times/epoch", 0, 0, "1970 itself"),
        (b"times/one-nanosecond", 1, 1, "one nanosecond"),
        (b"times/all-nanoseconds", 1_600_000_000, 999_999_999, "the last nanosecond of a second"),
        (b"times/year-2038", 2_147_483_648, 0, "a second beyond 31 bits"),
        (b"times/year-2100", YEAR_2100, 123_456_789, "the year 2100"),
        (b"times/year-1901", -2_147_483_648, 0, "the smallest 32-bit time"),
    ] {
        maker.entry(name, what, |folder, name| {
            create(folder, name)?;
            set_time(folder, name, seconds, nanoseconds)
        });
    }
    maker.entry(b"times/link", "a symbolic link of 1999", |folder, name| {
        rustix::fs::symlinkat("epoch", folder, name)?;
        set_time(folder, name, 930_000_000, 5)
    });
    maker.file(b"times/folder/inside", "a file in a folder of 1999", b"inside\n");
    maker.entry(b"times/folder", "a folder of 1999", |folder, name| set_time(folder, name, 930_000_000, 7));
    maker.entry(b"special", "a folder before 1970", |folder, name| set_time(folder, name, -5, 7));
    maker.entry(b"names", "a folder of the year 2100", |folder, name| set_time(folder, name, YEAR_2100, 1));
}
