//! Holds a bug on purpose: a fuzzing rig that does not find it finds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(!bytes.starts_with(b"bug"), "found: the rig works");
});
