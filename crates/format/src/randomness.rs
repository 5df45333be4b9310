//! Whether bytes look random, so that compressing them would be time lost: archives, pictures, what is encrypted.
//!
//! Only the frequencies of bytes in a few samples are looked at, at some 30 GB/s; zstd needs a quarter of a second for
//! a GiB of random bytes to give up. Whoever repeats random bytes within one chunk is stored longer than need be,
//! never wrongly.

/// Shorter messages are not worth a look: zstd gives up on them as fast.
const LENGTH_MIN: usize = 64 << 10;

/// Samples, spread evenly.
const SAMPLES: usize = 16;

/// Bytes of one sample.
const SAMPLE_BYTES: usize = 1 << 10;

/// Bits of information in a byte, from which on Huffman's code saves less than 1 %. 16 KiB of truly random bytes show
/// 7.989 on average.
const ENTROPY_BITS_MIN: f64 = 7.95;

/// True when the bytes' frequencies are those of random bytes. False for anything shorter than 64 KiB.
pub(crate) fn looks_random(bytes: &[u8]) -> bool {
    if bytes.len() < LENGTH_MIN {
        return false;
    }
    // Four tables, because increments of one place right after the other wait for each other.
    let mut tables = [[0_u16; 256]; 4];
    let stride = (bytes.len() - SAMPLE_BYTES) / (SAMPLES - 1);
    for sample in 0..SAMPLES {
        let start = sample * stride;
        for four in bytes[start..start + SAMPLE_BYTES].chunks_exact(4) {
            for (table, &byte) in tables.iter_mut().zip(four) {
                table[usize::from(byte)] += 1;
            }
        }
    }
    let total = (SAMPLES * SAMPLE_BYTES) as f64;
    let surprise = |byte: usize| {
        let count: f64 = tables.iter().map(|table| f64::from(table[byte])).sum();
        if count > 0.0 { count * (total / count).log2() } else { 0.0 }
    };
    (0..256).map(surprise).sum::<f64>() / total >= ENTROPY_BITS_MIN
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compression::{Compression, Compressor};

    fn random(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn random_bytes_do_and_nothing_that_compresses() {
        for length in [LENGTH_MIN, LENGTH_MIN + 1, 1 << 20, (8 << 20) - 7] {
            let bytes = random(length);
            assert!(looks_random(&bytes), "{length}");
            let hex = hex::encode(&bytes);
            assert!(!looks_random(hex.as_bytes()));
            let mostly_small: Vec<u8> = bytes.iter().map(|byte| byte & 0x7f).collect();
            assert!(!looks_random(&mostly_small));
            // One byte in twenty is a zero: zstd saves some per cent.
            let holed: Vec<u8> = bytes.iter().enumerate().map(|(at, &b)| if at % 20 == 0 { 0 } else { b }).collect();
            assert!(!looks_random(&holed));
        }
        assert!(!looks_random(&random(LENGTH_MIN - 1)));
        assert!(!looks_random(&[]));
    }

    #[test]
    fn what_is_passed_over_would_not_have_become_shorter() {
        for length in [LENGTH_MIN, 1 << 20] {
            assert_eq!(Compressor::new(Compression::Max).compress(&random(length)), None);
        }
    }
}
