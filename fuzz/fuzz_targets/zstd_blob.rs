//! Decompression stays within its limit and agrees with itself.
#![no_main]

use format::Decompressor;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut decompressor = Decompressor::new();
    if let Ok(plain) = decompressor.decompress(bytes, None, LIMIT) {
        assert!(plain.len() <= LIMIT);
        assert_eq!(decompressor.decompress(bytes, Some(plain.len()), LIMIT).as_ref(), Ok(&plain));
    }
    let _ = decompressor.decompress(bytes, Some(bytes.len().saturating_mul(7)), LIMIT);
});
