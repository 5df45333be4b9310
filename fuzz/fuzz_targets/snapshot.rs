//! A snapshot that is accepted is written so that it reads the same.
#![no_main]

use format::Snapshot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Snapshot::parse(bytes) {
        assert_eq!(Snapshot::parse(&read.to_bytes()).as_ref(), Ok(&read));
    }
});
