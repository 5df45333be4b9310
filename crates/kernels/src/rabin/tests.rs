//! Every variant against the algorithm written down literally: each window's remainder by long division.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The polynomial of restic's own examples, and others: of few terms, of many, of none between the ends, reducible.
const POLYNOMIALS: [u64; 14] = [
    0x3d_a335_8b4d_c173,
    0x25_b468_838d_cb75,
    0x20_0000_0000_0001,
    0x3f_ffff_ffff_ffff,
    0x20_0000_0000_0047,
    0x30_0000_0010_0001,
    0x2a_aaaa_aaaa_aaab,
    0x35_5555_5555_5555,
    0x21_0842_1084_2109,
    0x3b_1c6d_0a9f_5e27,
    0x27_7d3f_e1b0_9c8d,
    0x20_0000_000f_ffff,
    0x3f_ffff_fff0_0001,
    0x29_6e5a_7710_4bc3,
];

const SPLIT: u64 = (1 << 20) - 1;

/// Slow and obvious: the remainder of a window, bit by bit.
fn literal_fingerprint(polynomial: u64, window: &[u8]) -> u64 {
    window.iter().fold(0, |digest, &byte| {
        (0..8).rev().fold(digest, |digest, bit| {
            let digest = digest << 1 | u64::from(byte >> bit & 1);
            if digest >> 53 == 1 { digest ^ polynomial } else { digest }
        })
    })
}

/// Byte by byte over a ring buffer, with tables that hold long divisions: as restic's chunker is described.
fn literal_first_cut(polynomial: u64, data: &[u8], from: usize, to: usize) -> Option<usize> {
    let mut expired = [0_u64; 256];
    for (byte, expired) in expired.iter_mut().enumerate() {
        let mut window = [0; 65];
        window[0] = byte as u8;
        *expired = literal_fingerprint(polynomial, &window);
    }
    let from = from.max(64);
    let (mut ring, mut digest) = ([0_u8; 64], 0_u64);
    for place in from - 64..to.min(data.len()) {
        let gone = std::mem::replace(&mut ring[place % 64], data[place]);
        digest = literal_step(polynomial, digest, data[place]) ^ expired[usize::from(gone)];
        if place + 1 >= from && digest & SPLIT == 0 {
            return Some(place + 1);
        }
    }
    None
}

fn literal_step(polynomial: u64, digest: u64, byte: u8) -> u64 {
    let mut digest = digest << 8 | u64::from(byte);
    for bit in (53..61).rev() {
        if digest >> bit & 1 == 1 {
            digest ^= polynomial << (bit - 53);
        }
    }
    digest
}

/// All variants that this processor can run; the plain one is always among them.
fn scanners(polynomial: u64) -> Vec<(&'static str, Scanner)> {
    let detected = Features::detect();
    let mut scanners = vec![("plain", Scanner::with_features(polynomial, Features::PLAIN))];
    if detected.avx2 {
        scanners.push(("avx2", Scanner::with_features(polynomial, Features { avx2: true, ..Features::PLAIN })));
    }
    if detected.gfni_512 {
        scanners.push(("gfni", Scanner::with_features(polynomial, Features { gfni_512: true, ..Features::PLAIN })));
    }
    scanners.push(("of this run", Scanner::new(polynomial)));
    scanners
}

fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// 64 bytes that a polynomial divides: a multiple of it, added to noise that it divides too.
fn window_that_cuts(polynomial: u64, seed: u64) -> [u8; 64] {
    let mut window = [0; 64];
    window.copy_from_slice(&random_bytes(64, seed));
    // Append what is missing to a fingerprint of zero in the low bits.
    let remainder = literal_fingerprint(polynomial, &window);
    for (byte, missing) in window.iter_mut().rev().zip(remainder.to_le_bytes()) {
        *byte ^= missing;
    }
    assert_eq!(literal_fingerprint(polynomial, &window), 0);
    window
}

/// Calls for no cut for a long time, under any polynomial of these tests with more than two terms.
fn dull_bytes(polynomial: u64, length: usize) -> Vec<u8> {
    let fill = (1..=255).find(|&byte| literal_fingerprint(polynomial, &[byte; 64]) & SPLIT != 0);
    vec![fill.unwrap(); length]
}

#[test]
fn variants_differ_where_the_processor_has_them() {
    let detected = Features::detect();
    let way = |features| Scanner::with_features(POLYNOMIALS[0], features).way_name();
    assert_eq!(way(Features::PLAIN), "plain");
    if detected.avx2 {
        assert_eq!(way(Features { avx2: true, ..Features::PLAIN }), "avx2");
    }
    if detected.gfni_512 {
        assert_eq!(way(Features { gfni_512: true, ..Features::PLAIN }), "gfni");
        assert_eq!(way(detected), "gfni");
    }
}

#[test]
fn every_kind_of_data_under_every_polynomial() {
    for polynomial in POLYNOMIALS {
        let random = random_bytes(500_003, polynomial);
        let text: Vec<u8> = random.iter().map(|byte| b"etaoin shrdlu\n"[usize::from(byte % 14)]).collect();
        let bits: Vec<u8> = random.iter().map(|byte| byte & 1).collect();
        let period: Vec<u8> = random[..50_003].iter().copied().cycle().take(300_007).collect();
        let mut zeros = random[..300_000].to_vec();
        zeros[150_000..].fill(0);
        for (kind, data) in
            [("random", &random), ("text", &text), ("bits", &bits), ("period", &period), ("zeros", &zeros)]
        {
            for from in [0, 4097] {
                let expected = literal_first_cut(polynomial, data, from, data.len());
                for (name, scanner) in scanners(polynomial) {
                    assert_eq!(scanner.first_cut(data, from, data.len()), expected, "{name} {kind} {polynomial:x}");
                }
            }
        }
        // All cuts, one after the other, as long as there are some.
        for (name, scanner) in scanners(polynomial) {
            let mut from = 64;
            while let Some(cut) = scanner.first_cut(&random, from, random.len()) {
                assert_eq!(literal_first_cut(polynomial, &random, from, random.len()), Some(cut), "{name}");
                from = cut + 1;
            }
        }
    }
}

#[test]
fn zeros_call_for_a_cut_at_once() {
    for (name, scanner) in scanners(POLYNOMIALS[0]) {
        let data = vec![0; 200_000];
        for (from, to) in [(0, 200_000), (64, 64), (100, 5000), (199_999, 200_000), (200_000, 200_000)] {
            assert_eq!(scanner.first_cut(&data, from, to), Some(from.max(64)), "{name} {from} {to}");
        }
    }
}

#[test]
fn a_cut_at_every_place_of_interest_is_found_and_the_first_one_wins() {
    let polynomial = POLYNOMIALS[9];
    let dull = dull_bytes(polynomial, 160_000);
    let cutting = window_that_cuts(polynomial, 5);
    let (lane_32, lane_64) = (23 * 64, 17 * 64);
    for (name, scanner) in scanners(polynomial) {
        assert_eq!(scanner.first_cut(&dull, 64, dull.len()), None, "{name}");
        let mut places = vec![64, 65, 127, 128, 129, 159_999, 160_000];
        for lane in [lane_32, lane_64, 32 * lane_32, 64 * lane_64, 2 * 64 * lane_64, 4288, 4 * 4288] {
            for around in [0, 9, 10, 11, 19] {
                places.extend([lane + 54 + around, lane + 118 + around, 2 * lane + 54 + around]);
            }
        }
        places.retain(|place| *place <= dull.len());
        for place in places {
            for further in [0, 1, lane_32 - 7, lane_32 + 3, lane_64 - 7, lane_64 + 3, 5 * lane_64 - 40] {
                let mut data = dull.clone();
                for place in [(place + further).min(data.len()), place] {
                    data[place - 64..place].copy_from_slice(&cutting);
                }
                assert_eq!(scanner.first_cut(&data, 64, data.len()), Some(place), "{name} {place} {further}");
            }
            let mut data = dull.clone();
            data[place - 64..place].copy_from_slice(&cutting);
            assert_eq!(scanner.first_cut(&data, 64, place), Some(place), "{name} {place}");
            assert_eq!(scanner.first_cut(&data, place, place), Some(place), "{name} {place}");
            assert_eq!(scanner.first_cut(&data[..place], 64, usize::MAX), Some(place), "{name} {place}");
            assert_eq!(scanner.first_cut(&data, 64, place - 1), None, "{name} {place}");
            assert_eq!(scanner.first_cut(&data[..place - 1], 64, place), None, "{name} {place}");
        }
    }
}

#[test]
fn each_of_the_20_bits_counts() {
    // A window whose fingerprint is one power of x: cut or not by whether its exponent is below 20.
    let polynomial = POLYNOMIALS[10];
    let dull = dull_bytes(polynomial, 9000);
    for (name, scanner) in scanners(polynomial) {
        for bit in 0..53 {
            for place in [700, 701, 5003] {
                let mut window = window_that_cuts(polynomial, bit);
                window[63 - (bit / 8) as usize] ^= 1 << (bit % 8);
                let mut data = dull.clone();
                data[place - 64..place].copy_from_slice(&window);
                let expected = literal_first_cut(polynomial, &data, 64, data.len());
                assert_eq!(expected.is_some(), bit >= 20, "{bit}");
                assert_eq!(scanner.first_cut(&data, 64, data.len()), expected, "{name} {bit}");
            }
        }
    }
}

#[test]
fn every_short_length() {
    let polynomial = POLYNOMIALS[11];
    let random = random_bytes(9000, 3);
    let cutting = window_that_cuts(polynomial, 8);
    for (name, scanner) in scanners(polynomial) {
        for length in (0..700).chain([2047, 2048, 2049, 4095, 4096, 4097, 4160, 4161, 8191, 8193, 8999]) {
            let mut data = random[..length].to_vec();
            let none = literal_first_cut(polynomial, &data, 64, length);
            assert_eq!(scanner.first_cut(&data, 64, length), none, "{name} {length}");
            if length >= 64 {
                data[length - 64..].copy_from_slice(&cutting);
                let end = literal_first_cut(polynomial, &data, 64, length);
                assert!(end.is_some());
                assert_eq!(scanner.first_cut(&data, 64, length), end, "{name} {length}");
                assert_eq!(scanner.first_cut(&data, length, length), Some(length), "{name} {length}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_polynomial_any_data(
        seed: u64,
        below in 0_u64..1 << 52,
        length in 0_usize..300_000,
        alphabet in 1_u8..=255,
        from in 0_usize..5000,
        less in 0_usize..200,
        cut_at in 0_usize..300_000,
    ) {
        let polynomial = 1 << 53 | below << 1 | 1;
        let mut data = random_bytes(length, seed);
        data.iter_mut().for_each(|byte| *byte %= alphabet);
        if (64..=length).contains(&cut_at) {
            data[cut_at - 64..cut_at].copy_from_slice(&window_that_cuts(polynomial, seed));
        }
        let to = length.saturating_sub(less);
        let expected = literal_first_cut(polynomial, &data, from, to);
        for (name, scanner) in scanners(polynomial) {
            prop_assert_eq!(scanner.first_cut(&data, from, to), expected, "{}", name);
        }
    }
}
