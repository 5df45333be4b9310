//! A line of an FTP server's listing, for programs or for people, is an entry, nothing of an entry, or an error.
#![no_main]

use ftps_listing::{EntryKind, entry};
use libfuzzer_sys::fuzz_target;

/// The parser alone: all that is around it in its crate speaks to networks and takes minutes to build.
#[path = "../../crates/destinations/src/ftps/listing.rs"]
mod ftps_listing;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        for is_exact in [true, false] {
            match entry(line, is_exact) {
                Ok(Some(found)) => {
                    assert!(line.contains(&found.name) || found.kind == EntryKind::Link, "`{}` is not there", found.name);
                    let _ = (found.size, found.modified);
                }
                Ok(None) => {}
                Err(why) => assert!(why.chars().all(|c| !c.is_control()), "a terminal is told what to do: {why:?}"),
            }
        }
    }
});
