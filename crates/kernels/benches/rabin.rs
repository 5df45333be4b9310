//! The scan for cuts: each variant beside the crate that rustic chunks with, over random bytes and over text, from the
//! cache and from memory.
#![allow(missing_docs, reason = "`criterion_group!` makes a public function without a comment")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::cpu::Features;
use kernels::rabin::Scanner;
use rustic_cdc::{Rabin64, RollingHash64};

const POLYNOMIAL: u64 = 0x3d_a335_8b4d_c173;
const SPLIT_MASK: u64 = (1 << 20) - 1;

fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
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

/// All cuts as chunks have them: at least 512 KiB apart, 8 MiB at most. What is counted are all bytes, also those
/// that need no scan.
fn chunks(data: &[u8], first_cut: impl Fn(&[u8], usize, usize) -> Option<usize>) -> usize {
    let (mut rest, mut count) = (data, 0);
    while rest.len() > 512 << 10 {
        let longest = rest.len().min(8 << 20);
        rest = &rest[first_cut(rest, 512 << 10, longest).unwrap_or(longest)..];
        count += 1;
    }
    count
}

/// The first stretch of `data` of this length in which each byte is looked at, because none calls for a cut.
fn without_cut<'a>(scanner: &Scanner, data: &'a [u8], length: usize) -> &'a [u8] {
    let mut start = 0;
    while let Some(cut) = scanner.first_cut(data, start + 64, start + length) {
        start = cut - 63;
    }
    &data[start..start + length]
}

/// How `rustic_cdc` is driven, without its reader: a window before the first place, then byte by byte.
fn rustic_cdc_first_cut(rabin: &Rabin64, data: &[u8], from: usize, to: usize) -> Option<usize> {
    let mut rabin = rabin.clone();
    rabin.reset_and_prefill_window(&mut data[from - 64..from].iter().copied());
    (from..to).find(|&at| {
        rabin.slide(data[at]);
        rabin.get_hash() & SPLIT_MASK == 0
    })
}

fn rabin(criterion: &mut Criterion) {
    let features = Features::detect();
    let variants = [
        Features::PLAIN,
        Features { avx2: features.avx2, ..Features::PLAIN },
        Features { gfni_512: features.gfni_512, ..Features::PLAIN },
    ];
    let scanners = variants.map(|features| Scanner::with_features(POLYNOMIAL, features));
    let rustic = Rabin64::new_with_polynom(6, &POLYNOMIAL);

    let random = random_bytes(64 << 20);
    let text: Vec<u8> = random.iter().map(|byte| b"etaoin shrdlu\n"[usize::from(byte % 14)]).collect();
    let dull = without_cut(&scanners[0], &random, 1 << 20);

    let mut group = criterion.benchmark_group("rabin/every byte of 1 MiB");
    group.throughput(Throughput::Bytes(dull.len() as u64)).sample_size(20);
    for scanner in &scanners {
        group.bench_function(BenchmarkId::from_parameter(scanner.way_name()), |bencher| {
            bencher.iter(|| scanner.first_cut(black_box(dull), 64, dull.len()));
        });
    }
    group.bench_function(BenchmarkId::from_parameter("rustic_cdc"), |bencher| {
        bencher.iter(|| rustic_cdc_first_cut(&rustic, black_box(dull), 64, dull.len()));
    });
    group.finish();

    for (kind, data) in [("random", &random), ("text", &text)] {
        let mut group = criterion.benchmark_group(format!("rabin/chunks of 64 MiB of {kind}"));
        group.throughput(Throughput::Bytes(data.len() as u64)).sample_size(10);
        for scanner in &scanners {
            group.bench_function(BenchmarkId::from_parameter(scanner.way_name()), |bencher| {
                bencher.iter(|| chunks(black_box(data), |rest, from, to| scanner.first_cut(rest, from, to)));
            });
        }
        group.bench_function(BenchmarkId::from_parameter("rustic_cdc"), |bencher| {
            bencher.iter(|| chunks(black_box(data), |rest, from, to| rustic_cdc_first_cut(&rustic, rest, from, to)));
        });
        group.finish();
    }
}

criterion_group!(benches, rabin);
criterion_main!(benches);
