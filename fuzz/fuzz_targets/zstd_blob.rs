//! Decompression stays within its limit and agrees with itself, for any bytes and for damaged frames.
#![no_main]

use format::{Compression, Compressor, Decompressor};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|input: (&[u8], Vec<(u16, u8)>)| {
    let (bytes, flips) = input;
    check(bytes);
    // zstd itself is not instrumented, so that frames have to be made for it and damaged.
    if let Some(mut frame) = Compressor::new(Compression::Fastest).compress(&bytes.repeat(9)) {
        for (at, flip) in flips {
            let at = usize::from(at) % frame.len();
            frame[at] ^= flip;
        }
        check(&frame);
    }
});

fn check(bytes: &[u8]) {
    let mut decompressor = Decompressor::new();
    if let Ok(plain) = decompressor.decompress(bytes, None, LIMIT) {
        assert!(plain.len() <= LIMIT);
        assert_eq!(decompressor.decompress(bytes, Some(plain.len()), LIMIT).as_ref(), Ok(&plain));
    }
    let _ = decompressor.decompress(bytes, Some(bytes.len().saturating_mul(7)), LIMIT);
}
