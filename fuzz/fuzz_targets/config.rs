//! A config that is accepted is written so that it reads the same.
#![no_main]

use format::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Config::parse(bytes) {
        assert_eq!(Config::parse(&read.to_bytes()).as_ref(), Ok(&read));
    }
});
