//! Wide variants equal the twin: official vectors, every short length, counters about to wrap, pieces of a message.

use super::*;
use proptest::prelude::*;

/// The twin, and each width that this machine has.
fn variants() -> [Features; 3] {
    let here = Features::detect();
    [Features::PLAIN, Features { vaes_512: false, ..here }, here]
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8).collect()
}

/// The text as the twin turns it.
fn twin(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES], text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    Keystream::with_features(Features::PLAIN, key).apply(nonce, &mut text);
    text
}

fn assert_equal_to_twin(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES], text: &[u8]) {
    let expected = twin(key, nonce, text);
    for features in variants() {
        let stream = Keystream::with_features(features, key);
        let mut in_place = text.to_vec();
        stream.apply(nonce, &mut in_place);
        assert!(in_place == expected, "{features:?}, nonce {nonce:x?}, {} bytes", text.len());
        let mut beside = vec![0xee; text.len()];
        stream.apply_to(nonce, 0, text, &mut beside);
        assert!(beside == expected, "{features:?}, nonce {nonce:x?}, {} bytes beside", text.len());
        let mut appended = b"head".to_vec();
        stream.append_to(nonce, text, &mut appended);
        assert!(appended[..4] == *b"head" && appended[4..] == expected, "{features:?}, {} appended", text.len());
    }
}

/// NIST SP 800-38A, F.5.5: CTR-AES256.Encrypt.
#[test]
fn official_vector() {
    let key = hex::decode("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4").unwrap();
    let nonce = hex::decode("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").unwrap();
    let text = concat!(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    );
    let sealed = concat!(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    );
    for features in variants() {
        let stream = Keystream::with_features(features, key.as_slice().try_into().unwrap());
        let mut found = hex::decode(text).unwrap();
        stream.apply(nonce.as_slice().try_into().unwrap(), &mut found);
        assert_eq!(hex::encode(found), sealed, "{features:?}");
    }
}

#[test]
fn every_short_length() {
    let text = bytes(2100);
    for length in 0..2060 {
        assert_equal_to_twin(&[7; KEY_BYTES], &[length as u8; NONCE_BYTES], &text[..length]);
    }
}

/// The counter counts in all its bits: nonces so near a carry out of each byte that it happens in the message.
#[test]
fn carries_reach_every_byte_and_wrap_around() {
    let text = bytes(1500);
    for byte in 0..NONCE_BYTES {
        for before in [0, 1, 2, 3, 5, 15, 16, 31, 33, 70] {
            let carry = u128::MAX.checked_shr(8 * byte as u32).unwrap();
            let nonce = carry.wrapping_sub(before).to_be_bytes();
            assert_equal_to_twin(&[9; KEY_BYTES], &nonce, &text);
        }
    }
    // And against blocks that were each encrypted by their own counter, so that the twin's carry is proven too.
    for nonce in [u128::MAX - 2, u128::from(u64::MAX) - 2, u128::MAX - u128::from(u64::MAX) - 1] {
        let together = twin(&[9; KEY_BYTES], &nonce.to_be_bytes(), &text[..160]);
        for block in 0..10 {
            let own = nonce.wrapping_add(block as u128).to_be_bytes();
            let alone = twin(&[9; KEY_BYTES], &own, &text[16 * block..16 * block + 16]);
            assert_eq!(together[16 * block..16 * block + 16], alone);
        }
    }
}

#[test]
fn a_message_piece_by_piece() {
    let text = bytes(40_000);
    let (key, nonce) = ([3; KEY_BYTES], (u128::from(u64::MAX) - 700).to_be_bytes());
    let expected = twin(&key, &nonce, &text);
    for features in variants() {
        let stream = Keystream::with_features(features, &key);
        for piece_blocks in [1, 3, 16, 100, 1024] {
            let (mut beside, mut in_place) = (vec![0; text.len()], text.clone());
            let pieces = text.chunks(piece_blocks * BLOCK_BYTES).zip(beside.chunks_mut(piece_blocks * BLOCK_BYTES));
            for (at, (from, to)) in pieces.enumerate() {
                stream.apply_to(&nonce, (at * piece_blocks) as u64, from, to);
            }
            for (at, piece) in in_place.chunks_mut(piece_blocks * BLOCK_BYTES).enumerate() {
                stream.apply_at(&nonce, (at * piece_blocks) as u64, piece);
            }
            assert!(beside == expected && in_place == expected, "{features:?}, {piece_blocks}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_key_nonce_and_text(
        key: [u8; KEY_BYTES],
        nonce: [u8; NONCE_BYTES],
        text in prop::collection::vec(any::<u8>(), 0..20_000),
    ) {
        assert_equal_to_twin(&key, &nonce, &text);
    }
}
