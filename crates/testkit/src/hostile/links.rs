//! Symbolic links that lead nowhere, in circles or outside, and files with several names.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, linkat};

use super::Maker;

/// The longest target that Linux takes.
const TARGET_LIMIT_BYTES: usize = 4095;

pub(super) fn make(maker: &mut Maker, root: &Path) {
    maker.file(b"links/target", "what links point to", b"target\n");
    maker.folder(b"links/folder", "a folder that links point to");
    let links: &[(&[u8], &str, &[u8])] = &[
        (b"to-file", "a link to a file", b"target"),
        (b"to-folder", "a link to a folder", b"folder"),
        (b"to-folder-slash", "a link with a slash at its end", b"folder/"),
        (b"dangling", "a link to nothing", b"nothing-here"),
        (b"to-itself", "a link to itself", b"to-itself"),
        (b"loop-a", "one half of a circle", b"loop-b"),
        (b"loop-b", "the other half", b"loop-a"),
        (b"to-dot", "a link to its own folder", b"."),
        (b"to-parent", "a link to the folder above", b".."),
        (b"absolute", "an absolute link", b"/etc/hostname"),
        (b"to-root", "a link to the root of everything", b"/"),
        (b"outside", "a link far above the tree", b"../../../../../../../../../../etc/passwd"),
        (b"not-utf8", "a target that is not UTF-8", b"\xff\xfe-\xe4"),
        (b"newline", "a target with a newline", b"new\nline\"quote"),
        (b"escape", "a target that looks escaped", b"\\x41\\\\"),
        (b"replacement", "a target with the replacement character", b"\xef\xbf\xbd"),
        (b"html", "a target that JSON writers escape", b"<a>&b"),
        (b"blank", "a target of a blank", b" "),
        (b"proc", "a link to a file that never ends", b"/proc/self/fd/0"),
        (b"\xff\xfe", "a link whose own name is not UTF-8", b"target"),
    ];
    for (name, what, target) in links {
        maker.link(&[b"links/", *name].concat(), what, target);
    }
    maker.link(b"links/long", "the longest target", &vec![b't'; TARGET_LIMIT_BYTES]);
    let into_tree = root.join("content").into_os_string().into_encoded_bytes();
    maker.link(b"links/absolute-inside", "an absolute link into the tree", &into_tree);

    maker.file(b"hard/first", "a file with four names", b"four names\n");
    hard_link(maker, b"hard/first", b"hard/second", "its second name");
    hard_link(maker, b"hard/first", b"hard/deeper/third", "its third name, in another folder");
    hard_link(maker, b"hard/first", b"a-hard-link", "its fourth name, which sorts first");
    maker.file(b"hard/empty", "an empty file with two names", b"");
    hard_link(maker, b"hard/empty", b"hard/empty-again", "the second name of the empty file");
    maker.file(b"hard/twin", "a file equal to the first and not the same", b"four names\n");
    maker.link(b"hard/link", "a symbolic link with two names", b"first");
    hard_link(maker, b"hard/link", b"hard/link-again", "the second name of the symbolic link");
    maker.file(b"hard/\xff", "a file with two names that are not UTF-8", b"bytes\n");
    hard_link(maker, b"hard/\xff", b"hard/\xfe", "its second name");
}

pub(super) fn hard_link(maker: &mut Maker, from: &[u8], to: &[u8], what: &str) {
    let root = maker.root.try_clone();
    maker.entry(to, what, |folder, name| {
        let from = CString::new(from)?;
        Ok(linkat(root?.as_fd(), &from, folder, name, AtFlags::empty())?)
    });
}
