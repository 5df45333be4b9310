//! Content: nothing, holes, zeros, noise, and sizes around the borders that programs have.

use std::io::{Seek, SeekFrom, Write};

use rustix::fs::{FallocateFlags, fallocate};

use super::{HostileOptions, Maker, create};
use crate::random::Random;

/// Any seed is good here; a fixed one makes the same tree everywhere.
const NOISE_SEED: u64 = 0x7219;

pub(super) fn make(maker: &mut Maker, options: &HostileOptions) {
    let mut random = Random::new(NOISE_SEED);
    maker.file(b"content/empty", "no bytes", b"");
    maker.file(b"content/one", "one byte", b"x");
    maker.file(b"content/one-zero", "one byte of zero", b"\0");
    maker.file(b"content/zeros", "nothing but zeros", &vec![0; 1 << 20]);
    maker.file(b"content/smallest-chunk-1", "a byte less than the smallest chunk", &random.bytes((512 << 10) - 1));
    maker.file(b"content/smallest-chunk", "the smallest chunk", &random.bytes(512 << 10));
    maker.file(b"content/smallest-chunk+1", "a byte more than the smallest chunk", &random.bytes((512 << 10) + 1));
    maker.file(b"content/largest-chunk", "zeros as long as the largest chunk", &vec![0; 8 << 20]);
    maker.file(b"content/largest-chunk+1", "zeros, a byte more than the largest chunk", &vec![0; (8 << 20) + 1]);
    let noise = random.bytes(usize::try_from(options.large_bytes).unwrap_or(0));
    maker.file(b"content/noise", "noise of several chunks", &noise);
    maker.file(b"content/noise-again", "the same noise again", &noise);
    maker.file(b"content/noise-shifted", "the same noise behind one byte", &[b"x".as_slice(), &noise].concat());
    maker.file(b"content/json", "a file that looks like a tree", br#"{"nodes":[{"name":"../x","type":"file"}]}"#);
    maker.file(b"content/newlines", "nothing but newlines", &vec![b'\n'; 100_000]);

    let sparse = options.sparse_bytes;
    maker.entry(b"content/sparse", "a few bytes in a large hole", |folder, name| {
        let mut file = create(folder, name)?;
        file.write_all(b"beginning")?;
        file.seek(SeekFrom::Start(sparse / 2))?;
        file.write_all(b"middle")?;
        file.set_len(sparse)
    });
    maker.entry(b"content/sparse-ends-in-data", "a hole and then data", |folder, name| {
        let mut file = create(folder, name)?;
        file.seek(SeekFrom::Start(3 << 20))?;
        file.write_all(b"end")
    });
    maker.entry(b"content/all-hole", "a hole and nothing else", |folder, name| create(folder, name)?.set_len(12 << 20));
    maker.entry(b"content/reserved", "room beyond the end", |folder, name| {
        let mut file = create(folder, name)?;
        file.write_all(b"short")?;
        Ok(fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20)?)
    });
}
