//! The key stream and the authenticator: each variant of this machine beside the best crates.
#![allow(missing_docs, reason = "`criterion_group!` makes a public function without a comment")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin may stop")]

use std::hint::black_box;

use aes::cipher::KeyInit;
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::cpu::Features;
use kernels::keystream::Keystream;
use kernels::poly1305::Authenticator;
use poly1305::universal_hash::UniversalHash;
use poly1305::{Block, Poly1305};

const LENGTHS: [usize; 4] = [100, 1 << 10, 16 << 10, 1 << 20];

fn variants() -> [(&'static str, Features); 3] {
    let here = Features::detect();
    [
        ("512 bits", here),
        ("256 bits", Features { vaes_512: false, ifma_512: false, ..here }),
        ("plain", Features::PLAIN),
    ]
}

fn keystream(criterion: &mut Criterion) {
    let (key, nonce) = ([7; 32], [9; 16]);
    for length in LENGTHS {
        let mut text = vec![0x5a; length];
        let mut group = criterion.benchmark_group(format!("aes-256-ctr/{length}"));
        group.throughput(Throughput::Bytes(length as u64)).sample_size(10);
        for (name, features) in variants() {
            let stream = Keystream::with_features(features, &key);
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| stream.apply(black_box(&nonce), &mut text));
            });
        }
        let lc_key = UnboundCipherKey::new(&AES_256, &key).unwrap();
        let lc_key = EncryptingKey::ctr(lc_key).unwrap();
        group.bench_function(BenchmarkId::from_parameter("aws-lc-rs"), |bencher| {
            bencher.iter(|| {
                let context = EncryptionContext::Iv128(black_box(nonce).into());
                lc_key.less_safe_encrypt(&mut text, context).unwrap()
            });
        });
    }
}

fn poly1305_aes(criterion: &mut Criterion) {
    let (r, pad) = ([0xa5; 16], [9; 16]);
    for length in LENGTHS {
        let text = vec![0x5a; length];
        let mut group = criterion.benchmark_group(format!("poly1305/{length}"));
        group.throughput(Throughput::Bytes(length as u64)).sample_size(10);
        for (name, features) in [variants()[0], variants()[2]] {
            let authenticator = Authenticator::with_features(features, &r);
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| authenticator.tag(black_box(&pad), black_box(&text)));
            });
        }
        group.bench_function(BenchmarkId::from_parameter("poly1305"), |bencher| {
            bencher.iter(|| {
                let mut state = Poly1305::new(black_box(&[0xa5; 32]).into());
                let (blocks, rest) = Block::slice_as_chunks(black_box(&text));
                state.update(blocks);
                state.compute_unpadded(rest)
            });
        });
    }
}

criterion_group!(benches, keystream, poly1305_aes);
criterion_main!(benches);
