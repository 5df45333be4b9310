//! SHA-256: pairs beside one stream and beside the best crates, for many messages of the same and of odd lengths.
#![allow(missing_docs, reason = "`criterion_group!` makes a public function without a comment")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::cpu::Features;
use kernels::sha256::{hash, hash_each_with};
use sha2::{Digest, Sha256};

/// So many bytes are hashed in each turn, in messages of one length.
const TURN_BYTES: usize = 4 << 20;

fn sha256(criterion: &mut Criterion) {
    let text: Vec<u8> = (0..TURN_BYTES as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    for length in [100, 1 << 10, 4 << 10, 1 << 20] {
        let messages: Vec<&[u8]> = text.chunks_exact(length).collect();
        let mut out = vec![[0; 32]; messages.len()];
        let mut group = criterion.benchmark_group(format!("sha256/{length}"));
        group.throughput(Throughput::Bytes((messages.len() * length) as u64)).sample_size(10);
        group.bench_function(BenchmarkId::from_parameter("pairs"), |bencher| {
            bencher.iter(|| hash_each_with(Features::detect(), black_box(&messages), &mut out));
        });
        group.bench_function(BenchmarkId::from_parameter("one stream"), |bencher| {
            bencher.iter(|| messages.iter().for_each(|message| _ = black_box(hash(message))));
        });
        group.bench_function(BenchmarkId::from_parameter("sha2"), |bencher| {
            bencher.iter(|| messages.iter().for_each(|message| _ = black_box(Sha256::digest(message))));
        });
        group.bench_function(BenchmarkId::from_parameter("aws-lc-rs"), |bencher| {
            let algorithm = &aws_lc_rs::digest::SHA256;
            bencher.iter(|| {
                messages.iter().for_each(|message| _ = black_box(aws_lc_rs::digest::digest(algorithm, message)));
            });
        });
    }
}

criterion_group!(benches, sha256);
criterion_main!(benches);
