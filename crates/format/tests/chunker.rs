//! The shipped chunker against a literal one: byte by byte with a ring buffer, as restic's is described.
#![allow(clippy::unwrap_used, missing_docs)]

use format::{Chunker, Polynomial};
use proptest::prelude::*;

const WINDOW: usize = 64;
const MIN: usize = Chunker::MIN_BYTES;
const MAX: usize = Chunker::MAX_BYTES;

/// Slow and obvious: remainders by long division, a ring buffer, every byte behind `MIN - WINDOW` hashed.
struct Literal {
    polynomial: u64,
    out: Vec<u64>,
    reduce: Vec<u64>,
}

impl Literal {
    fn new(polynomial: u64) -> Self {
        let mut literal = Self { polynomial, out: Vec::new(), reduce: Vec::new() };
        for byte in 0..256_u64 {
            let mut digest = literal.remainder(byte);
            for _ in 0..WINDOW - 1 {
                digest = literal.remainder(digest << 8);
            }
            literal.out.push(digest);
            literal.reduce.push(literal.remainder(byte << 53) | byte << 53);
        }
        literal
    }

    fn remainder(&self, mut value: u64) -> u64 {
        while value >= 1 << 53 {
            value ^= self.polynomial << (value.ilog2() - 53);
        }
        value
    }

    fn slide(&self, digest: u64, window: &mut [u8; WINDOW], at: &mut usize, byte: u8) -> u64 {
        let gone = std::mem::replace(&mut window[*at], byte);
        *at = (*at + 1) % WINDOW;
        let digest = digest ^ self.out[usize::from(gone)];
        let top = (digest >> 45) as usize;
        ((digest << 8) | u64::from(byte)) ^ self.reduce[top]
    }

    fn cut(&self, data: &[u8]) -> usize {
        let (mut window, mut at) = ([0; WINDOW], 0);
        let mut digest = self.slide(0, &mut window, &mut at, 1);
        for (position, &byte) in data.iter().enumerate().skip(MIN - WINDOW) {
            digest = self.slide(digest, &mut window, &mut at, byte);
            let length = position + 1;
            if length >= MIN && (digest & ((1 << 20) - 1) == 0 || length >= MAX) {
                return length;
            }
        }
        data.len()
    }
}

fn cuts(mut data: &[u8], cut: impl Fn(&[u8]) -> usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let length = cut(data);
        lengths.push(length);
        data = &data[length..];
    }
    lengths
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

#[test]
fn irreducible_polynomials_are_told_from_others() {
    // The examples in the documents of restic and of its chunker.
    for text in ["25b468838dcb75", "3da3358b4dc173"] {
        let polynomial: Polynomial = text.parse().unwrap();
        assert!(polynomial.is_irreducible(), "{text}");
        assert_eq!(polynomial.to_string(), text);
    }
    for reducible in [0, 1, 1 << 53, 0x3d_a335_8b4d_c173 ^ 1, (1 << 53) | 0b11, 0b101, 0b110] {
        assert!(!Polynomial(reducible).is_irreducible(), "{reducible:x}");
    }
    for irreducible in [0b10, 0b11, 0b111, 0b1011, 0b1101, 0b1_0011, 0x11b] {
        assert!(Polynomial(irreducible).is_irreducible(), "{irreducible:x}");
    }
    // All of degree 8, counted by the necklace formula: (2^8 - 2^4) / 8.
    assert_eq!((1 << 8..1 << 9).filter(|bits| Polynomial(*bits).is_irreducible()).count(), 30);
    for wrong in ["", "x", "0x1", "-1", "+1", " 1", "11111111111111111"] {
        assert!(wrong.parse::<Polynomial>().is_err(), "{wrong}");
    }
}

#[test]
fn random_polynomials_are_irreducible_and_differ() {
    let polynomials: Vec<u64> = (0..20).map(|_| Polynomial::random().unwrap().0).collect();
    for polynomial in &polynomials {
        assert_eq!(polynomial.ilog2(), 53);
        assert!(Polynomial(*polynomial).is_irreducible());
    }
    let distinct: std::collections::HashSet<u64> = polynomials.iter().copied().collect();
    assert_eq!(distinct.len(), polynomials.len());
}

#[test]
fn cuts_are_those_of_the_literal_chunker_for_every_kind_of_data() {
    for polynomial in [0x3d_a335_8b4d_c173, Polynomial::random().unwrap().0, Polynomial::random().unwrap().0] {
        println!("polynomial {polynomial:x}");
        let (literal, chunker) = (Literal::new(polynomial), Chunker::new(Polynomial(polynomial)));
        let random = random_bytes(24 << 20, polynomial);
        let mut zeros = vec![0; 20 << 20];
        zeros[9 << 20..12 << 20].copy_from_slice(&random[..3 << 20]);
        let text: Vec<u8> = random[..8 << 20].iter().map(|byte| b"etaoin shrdlu\n"[usize::from(byte % 14)]).collect();
        let period: Vec<u8> = random[..1 << 20].iter().copied().cycle().take(9 << 20).collect();
        for data in [&random, &zeros, &text, &period, &vec![0xff; 9 << 20]] {
            let expected = cuts(data, |rest| literal.cut(rest));
            assert_eq!(cuts(data, |rest| chunker.cut(rest)), expected);
        }
        // About 16 chunks; that chance makes only 8 of them happens once in some hundred polynomials, 4 never does.
        assert!(cuts(&random, |rest| chunker.cut(rest)).len() > 4);
    }
}

#[test]
fn lengths_around_the_limits() {
    let polynomial = 0x3d_a335_8b4d_c173;
    let (literal, chunker) = (Literal::new(polynomial), Chunker::new(Polynomial(polynomial)));
    let block = 4 * (4096 + 192);
    let around = |length: usize| [length - 65, length - 64, length - 1, length, length + 1, length + 63, length + 64];
    let lengths = [MIN, MIN + block, MIN + 2 * block, MAX].into_iter().flat_map(around);
    for length in lengths.chain([0, 1, 63, 64, 65, MIN / 2]) {
        // No cut in zeros but at the limits; none for a while in most random data.
        for data in [vec![0; length], random_bytes(length, 77)] {
            assert_eq!(chunker.cut(&data), literal.cut(&data), "{length}");
        }
    }
}

/// A window whose fingerprint is zero, put at chosen places: 64 bytes that the polynomial divides are easy to make.
#[test]
fn a_cut_at_every_place_of_interest_is_found_and_the_first_one_wins() {
    let polynomial = 0x3d_a335_8b4d_c173_u64;
    let (literal, chunker) = (Literal::new(polynomial), Chunker::new(Polynomial(polynomial)));
    // Bytes that hash to zero behind a window of zeros: the polynomial itself, as the last 7 bytes.
    let cut_here = &polynomial.to_be_bytes()[1..];
    let block = 4 * (4096 + 192);
    let mut places = vec![MIN, MIN + 1, MAX - 1, MAX];
    for lane in 0..9 {
        let edge = MIN + lane * (4096 + 192);
        places.extend([edge.saturating_sub(1), edge, edge + 1, edge + 7, edge + 64]);
    }
    places.extend([MIN + block + 5, MAX - block, MAX - 10]);
    for &first in &places {
        for second in [first + 100, first + 4288, first + 3 * 4288] {
            // Ones around it, or a window of zeros would cut everywhere.
            let mut data = vec![1; MAX + 100];
            for place in [first, second] {
                if (WINDOW..=data.len()).contains(&place) {
                    data[place - WINDOW..place].fill(0);
                    data[place - 7..place].copy_from_slice(cut_here);
                }
            }
            assert_eq!(chunker.cut(&data), literal.cut(&data), "{first} {second}");
            if (MIN..=MAX).contains(&first) {
                assert_eq!(chunker.cut(&data), first);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_polynomial_any_data(seed: u64, below in 0_u64..1 << 52, length in 0..3 * MIN, alphabet in 1_u8..=255) {
        // The tables need no irreducible polynomial, so any of degree 53 will do.
        let polynomial = 1 << 53 | below << 1 | 1;
        let (literal, chunker) = (Literal::new(polynomial), Chunker::new(Polynomial(polynomial)));
        let mut data = random_bytes(length, seed);
        data.iter_mut().for_each(|byte| *byte %= alphabet);
        prop_assert_eq!(cuts(&data, |rest| chunker.cut(rest)), cuts(&data, |rest| literal.cut(rest)));
    }
}
