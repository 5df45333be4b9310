//! Lanes equal the twin: official vectors, every short length, numbers at the edge of the modulus.

use super::*;
use proptest::prelude::*;

/// The twin, and what this machine has.
fn variants() -> [Features; 2] {
    [Features::PLAIN, Features::detect()]
}

fn assert_equal_to_twin(r: &[u8; MULTIPLIER_BYTES], pad: &[u8; TAG_BYTES], text: &[u8]) {
    let mut key = [0; 32];
    key[..16].copy_from_slice(r);
    key[16..].copy_from_slice(pad);
    // The crate's plain path, block by block: neither of the paths that `tag` takes.
    let expected: [u8; TAG_BYTES] = Poly1305::new((&key).into()).compute_unpadded(text).into();
    for features in variants() {
        let found = Authenticator::with_features(features, r).tag(pad, text);
        assert_eq!(found, expected, "{features:?}, r {r:x?}, pad {pad:x?}, {} bytes", text.len());
    }
    // Short for the one, long for the other: both have to be right on either side of the border.
    let plain = Authenticator::with_features(Features::PLAIN, r);
    assert_eq!(plain.tag_of_long(pad, text), expected, "by the crate's wide path: {} bytes", text.len());
    assert_eq!(limbs::tag(r, pad, text), expected, "block by block: {} bytes", text.len());
}

fn array(text: &str) -> [u8; 16] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// RFC 8439, 2.5.2 and appendix A.3, tests 7 to 11: r, s, text, tag. The latter are made to provoke wrong carries.
#[test]
fn official_vectors() {
    let zero = "00000000000000000000000000000000";
    let ones = "ffffffffffffffffffffffffffffffff";
    let vectors = [
        (
            "85d6be7857556d337f4452fe42d506a8",
            "0103808afb0db2fd4abff6af4149f51b",
            hex::encode(b"Cryptographic Forum Research Group"),
            "a8061dc1305136c6c22b8baf0c0127a9",
        ),
        ("02000000000000000000000000000000", zero, ones.to_owned(), "03000000000000000000000000000000"),
        (
            "02000000000000000000000000000000",
            ones,
            "02000000000000000000000000000000".to_owned(),
            "03000000000000000000000000000000",
        ),
        (
            "01000000000000000000000000000000",
            zero,
            [ones, "f0ffffffffffffffffffffffffffffff", "11000000000000000000000000000000"].concat(),
            "05000000000000000000000000000000",
        ),
        (
            "01000000000000000000000000000000",
            zero,
            [ones, "fbfefefefefefefefefefefefefefefe", "01010101010101010101010101010101"].concat(),
            zero,
        ),
        (
            "02000000000000000000000000000000",
            zero,
            "fdffffffffffffffffffffffffffffff".to_owned(),
            "faffffffffffffffffffffffffffffff",
        ),
    ];
    for features in variants() {
        for (r, pad, text, tag) in &vectors {
            let found = Authenticator::with_features(features, &array(r)).tag(&array(pad), &hex::decode(text).unwrap());
            assert_eq!(hex::encode(found), *tag, "{features:?}");
        }
    }
}

#[test]
fn every_short_length() {
    let text: Vec<u8> = (0..9000_u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8).collect();
    for length in (0..2090).chain([4096, 4097, 8200]) {
        assert_equal_to_twin(&[0xa5; 16], &[length as u8; 16], &text[..length]);
    }
}

/// The largest of everything, and the smallest: every limb as full as it gets.
#[test]
fn extreme_numbers_carry() {
    for r in [[0xff; 16], [0; 16], [1; 16], 1_u128.to_le_bytes(), 2_u128.to_le_bytes(), (1_u128 << 123).to_le_bytes()] {
        for byte in [0xff, 0xfe, 0xfb, 0x00, 0x01, 0x80] {
            for length in (0..700).chain([4096, 65_535, 65_536, 65_537]) {
                assert_equal_to_twin(&r, &[0xff; 16], &vec![byte; length]);
            }
        }
    }
}

/// Sums that end within a few units of the modulus, from both sides.
#[test]
fn results_around_the_modulus() {
    let one = 1_u128.to_le_bytes();
    for low in 0..=255_u8 {
        // With r = 1 the tag is the sum of the blocks: 4 blocks of 2^128 + x make 2^130 + 4x, give or take.
        for rest in [0xff_u8, 0x00] {
            let mut text = [0xff; 64];
            text[0] = low;
            text[1..16].fill(rest);
            assert_equal_to_twin(&one, &[0; 16], &text[..48]);
            assert_equal_to_twin(&one, &[0; 16], &text);
            text[16..].fill(0);
            assert_equal_to_twin(&one, &[0; 16], &text[..63]);
            assert_equal_to_twin(&one, &[0; 16], &text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_key_and_text(
        r: [u8; MULTIPLIER_BYTES],
        pad: [u8; TAG_BYTES],
        text in prop::collection::vec(any::<u8>(), 0..20_000),
    ) {
        assert_equal_to_twin(&r, &pad, &text);
    }
}
