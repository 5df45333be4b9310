//! Depth: many levels, and paths up to and beyond what a system call takes.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::AsFd;

use super::{HostileOptions, Maker, create};

/// Levels of short names.
const LEVELS: usize = 200;
/// Levels of 255-byte names: 15 stay below `PATH_MAX` (4096) for any sensible root, 20 are beyond it.
const LONG_LEVELS_WITHIN: usize = 12;
const LONG_LEVELS_BEYOND: usize = 20;

pub(super) fn make(maker: &mut Maker, options: &HostileOptions) {
    let short = vec![b"d".to_vec(); LEVELS];
    at_depth(maker, b"deep", "two hundred levels", &short);
    let long = |letter: u8, levels: usize| vec![vec![letter; 255]; levels];
    at_depth(maker, b"long", "a path of three thousand bytes", &long(b'p', LONG_LEVELS_WITHIN));
    if options.beyond_path_limit {
        at_depth(maker, b"beyond", "a path of five thousand bytes", &long(b'q', LONG_LEVELS_BEYOND));
    }
}

fn at_depth(maker: &mut Maker, top: &[u8], what: &str, levels: &[Vec<u8>]) {
    let mut path = top.to_vec();
    let outcome = (|| -> io::Result<()> {
        let mut folder = maker.folder_in(maker.root.as_fd(), top)?;
        for name in levels {
            folder = maker.folder_in(folder.as_fd(), name)?;
        }
        create(folder.as_fd(), &CString::new("bottom")?)?.write_all(what.as_bytes())
    })();
    for name in levels {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path.extend_from_slice(b"/bottom");
    maker.note(&path, what, outcome);
}
