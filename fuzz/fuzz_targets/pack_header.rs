//! Entries of a header, authentic but arbitrary, fill the pack or are refused.
#![no_main]

use std::sync::LazyLock;

use format::{HeaderRead, MasterKey, parse_header};
use libfuzzer_sys::fuzz_target;

static MASTER: LazyLock<MasterKey> = LazyLock::new(|| MasterKey::generate().unwrap());

fuzz_target!(|input: (u64, &[u8])| {
    let (pack_size, bytes) = input;
    // As they are: only the length field gets so far.
    let _ = parse_header(&MASTER, pack_size, bytes);
    // Sealed, as by someone who has the key.
    let sealed = MASTER.seal(bytes);
    let tail = [sealed.as_slice(), &(sealed.len() as u32).to_le_bytes()].concat();
    let body = pack_size % (1 << 33);
    if let Ok(HeaderRead::Complete(blobs)) = parse_header(&MASTER, body + tail.len() as u64, &tail) {
        assert_eq!(blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>(), body);
        assert!(blobs.windows(2).all(|pair| pair[0].end() == u64::from(pair[1].offset)));
    }
});
