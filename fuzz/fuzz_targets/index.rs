//! An index file that is accepted is written so that it reads the same; sums never overflow.
#![no_main]

use format::IndexFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = IndexFile::parse(bytes) {
        for pack in &read.packs {
            assert!(pack.overlap().is_none_or(|(left, right)| left != right));
            assert!(pack.blobs.iter().all(|blob| blob.end() <= u64::from(u32::MAX)));
        }
        for pack in &read.packs_to_delete {
            assert!(pack.blobs.iter().all(|blob| blob.end() <= u64::from(u32::MAX)));
        }
        assert_eq!(IndexFile::parse(&read.to_bytes()).as_ref(), Ok(&read));
    }
});
