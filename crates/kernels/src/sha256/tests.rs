//! Lanes equal the twin: official vectors, every short length, lists of odd lengths.

use super::*;
use proptest::prelude::*;

/// The twin, and what this machine has.
fn variants() -> [Features; 2] {
    [Features::PLAIN, Features::detect()]
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 56) as u8
        })
        .collect()
}

fn assert_equal_to_twin(messages: &[&[u8]]) {
    let expected: Vec<[u8; HASH_BYTES]> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
    for features in variants() {
        let mut found = vec![[0; HASH_BYTES]; messages.len()];
        hash_each_with(features, messages, &mut found);
        assert!(found == expected, "{features:?}, lengths {:?}", messages.iter().map(|m| m.len()).collect::<Vec<_>>());
    }
}

/// FIPS 180-2, appendix B, and the empty message of the NIST test suite.
#[test]
fn official_vectors() {
    let million = vec![b'a'; 1_000_000];
    let vectors: [(&[u8], &str); 4] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ];
    for features in variants() {
        let mut found = [[0; HASH_BYTES]; 4];
        hash_each_with(features, &vectors.map(|(message, _)| message), &mut found);
        assert_eq!(found.map(hex::encode), vectors.map(|(_, hash)| hash.to_owned()));
    }
    assert_eq!(hex::encode(hash(b"abc")), vectors[1].1);
    assert_eq!(hash_two(b"abc", b""), [hash(b"abc"), hash(b"")]);
    hash_each(&[], &mut []);
}

#[test]
fn every_short_length_alone_and_beside_others() {
    let text = bytes(2100, 1);
    for length in 0..2050 {
        assert_equal_to_twin(&[&text[..length]]);
        assert_equal_to_twin(&[&text[..length], &text[3..3 + (length * 7) % 300], &text[1..1 + (length * 13) % 2000]]);
    }
}

#[test]
fn every_pair_around_block_boundaries() {
    let text = bytes(200, 2);
    for one in 0..140 {
        for other in 0..140 {
            assert_equal_to_twin(&[&text[..one], &text[7..7 + other]]);
        }
    }
}

#[test]
fn long_messages_among_short_ones() {
    let text = bytes(1 << 20, 3);
    assert_equal_to_twin(&[&text, &text[1..], b"", &text[..999], b"x"]);
    assert_equal_to_twin(&[b"", &text[..63], &text[..64], &text[5..700_001], b""]);
}

#[test]
#[should_panic(expected = "one place for each hash")]
fn a_missing_place_is_refused() {
    hash_each(&[b"a"], &mut []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_list_of_messages(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..20)) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        assert_equal_to_twin(&messages);
    }
}

/// A stream alone and two side by side, in pieces of all kinds, equal the twin.
#[test]
fn pieces_of_one_and_of_two() {
    let text = bytes(9000, 4);
    for step in [1, 3, 55, 63, 64, 65, 127, 128, 500, 4096] {
        for length in [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 3000, 8999] {
            let (one, other) = (&text[..length], &text[1..1 + length / 2]);
            let mut alone = Stream::new();
            one.chunks(step).for_each(|piece| alone.update(piece));
            assert_eq!(alone.bytes(), length as u64);
            assert_eq!(hex::encode(alone.finish()), hex::encode(hash(one)), "{length} in steps of {step}");
            for features in variants() {
                let mut streams = [Stream::new(), Stream::new()];
                let (mut pieces, mut others) = (one.chunks(step), other.chunks(step + 7));
                loop {
                    let next = (pieces.next(), others.next());
                    if next == (None, None) {
                        break;
                    }
                    let [first, second] = &mut streams;
                    let next = (next.0.unwrap_or_default(), next.1.unwrap_or_default());
                    update_two_with(features, (first, next.0), (second, next.1));
                }
                assert_eq!(streams.map(Stream::finish), [hash(one), hash(other)], "{length} in steps of {step}");
            }
        }
    }
}
