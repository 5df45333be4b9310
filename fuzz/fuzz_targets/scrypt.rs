//! No key file makes us take more memory or work than the limits allow, whatever its parameters: it is refused first.
#![no_main]

use format::{KeyFile, SCRYPT_MEMORY_BYTES_MAX, SCRYPT_WORK_MAX};
use libfuzzer_sys::fuzz_target;

/// What is within the limits may still take seconds, which a fuzzer has not.
const CHEAP_WORK: u128 = 1 << 12;

fuzz_target!(|input: (u64, bool, u32, u32)| {
    let (n, as_power, r, p) = input;
    let n = if as_power { 1 << (n % 64) } else { n };
    let (salt, data) = ("A".repeat(86) + "==", "A".repeat(160));
    let text = format!(r#"{{"kdf":"scrypt","N":{n},"r":{r},"p":{p},"salt":"{salt}","data":"{data}"}}"#);
    let key = KeyFile::parse(text.as_bytes()).unwrap();
    let of_block = u128::from(n) * u128::from(r);
    let work = of_block * u128::from(p);
    let is_too_much = 128 * of_block > u128::from(SCRYPT_MEMORY_BYTES_MAX) || work > u128::from(SCRYPT_WORK_MAX);
    // The fuzzer's own limits of memory and time notice when it is not refused before the work begins.
    if is_too_much || work <= CHEAP_WORK {
        assert!(key.open(&model::Secret::from("password")).is_err());
    }
});
