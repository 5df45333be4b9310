//! A lock that is accepted is written so that it reads the same.
#![no_main]

use format::Lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Lock::parse(bytes) {
        assert_eq!(Lock::parse(&read.to_bytes()).as_ref(), Ok(&read));
    }
});
