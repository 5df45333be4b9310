//! A key file that is accepted is written so that it reads the same; opening it is refused or cheap.
#![no_main]

use format::KeyFile;
use libfuzzer_sys::fuzz_target;

/// scrypt with parameters within the limits may still take seconds, which a fuzzer has not.
const CHEAP_WORK: u64 = 1 << 12;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = KeyFile::parse(bytes) {
        assert_eq!(KeyFile::parse(&key.to_bytes()).as_ref(), Ok(&key));
        let work = u128::from(key.n) * u128::from(key.r) * u128::from(key.p);
        if work <= u128::from(CHEAP_WORK) || work > u128::from(format::SCRYPT_WORK_MAX) {
            let _ = key.open(&model::Secret::from("password"));
        }
    }
});
