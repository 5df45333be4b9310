//! Holds a bug on purpose: a fuzzing rig that does not find it within seconds finds nothing.
#![no_main]

use std::hint::black_box;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // One byte at a time, each behind its own branch: only coverage leads from one to the next.
    let mut right = 0;
    for (found, wanted) in bytes.iter().zip(b"bug!") {
        if black_box(found) != wanted {
            return;
        }
        right += 1;
        match black_box(right) {
            1 => std::mem::drop(black_box(vec![1_u8])),
            2 => std::mem::drop(black_box(vec![2_u16; 2])),
            3 => std::mem::drop(black_box(String::from("3"))),
            _ => panic!("found: the rig works"),
        }
    }
});
