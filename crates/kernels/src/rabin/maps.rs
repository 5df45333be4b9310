//! The two linear maps of a step, in the form in which vectors of bytes take them.
//!
//! Kernels keep the digests of their lanes in seven *planes*: plane i holds byte i of every lane's digest, one lane
//! per byte of the vector. A step, which multiplies by x^8, then moves each plane one up at no cost, and what it adds
//! is for each plane a linear map of the byte that left at the top, and one of the byte that left the window.
//!
//! Two turns make this exact without more work per step:
//! - Digests are kept times x^3, so that 53 bits end where the seventh plane ends and the top plane is the index of
//!   the reduction. Their lowest three bits would be zero; they hold the highest three of the *next* byte instead, and
//!   a step takes in 5 bits of one byte and 3 of the following: `(before & 0x1f) | (byte & 0xe0)`.
//! - For this to need no shifts, each byte of a plane is stored turned right by 3 bits.
//!
//! So after the step that saw the byte at p, a lane holds the fingerprint of the window that ends *before* p.

use super::tables::Tables;

/// Bytes of a digest of 53 bits.
pub(super) const PLANES: usize = 7;

/// By how many bits digests are shifted up, to fill their planes.
const SHIFT: u32 = 3;

/// The bits that a step takes from the byte before; the others come from the byte itself.
pub(super) const TAKEN_FROM_BYTE_BEFORE: u8 = 0xff >> SHIFT;

/// The bits of plane 0, 1 and 2 that hold the 20 lowest of the fingerprint.
pub(super) const SPLIT_BITS: [u8; 3] =
    [0xf8_u8.rotate_right(SHIFT), 0xff_u8.rotate_right(SHIFT), 0x7f_u8.rotate_right(SHIFT)];

/// A linear map from bytes to bytes, given by what it makes of each bit.
pub(super) type ByteMap = [u8; 8];

/// What a step adds to each plane.
pub(super) struct Maps {
    /// A map of the top plane.
    pub(super) reduced: [ByteMap; PLANES],
    /// A map of the byte that left the window.
    pub(super) expired: [ByteMap; PLANES],
}

impl Maps {
    pub(super) fn new(tables: &Tables) -> Self {
        let mut maps = Self { reduced: [[0; 8]; PLANES], expired: [[0; 8]; PLANES] };
        for bit in 0..8 {
            let byte = 1_u8 << bit;
            let reduced = tables.reduced(byte.rotate_left(SHIFT)) << SHIFT;
            let expired = tables.expired(byte) << SHIFT;
            for plane in 0..PLANES {
                maps.reduced[plane][bit] = reduced.to_le_bytes()[plane].rotate_right(SHIFT);
                maps.expired[plane][bit] = expired.to_le_bytes()[plane].rotate_right(SHIFT);
            }
        }
        maps
    }
}

/// What a map makes of 0 to 15, and of 16 times these: a sum of both is the map of a byte.
pub(super) fn nibble_tables(map: &ByteMap) -> [[u8; 16]; 2] {
    [0, 4].map(|first_bit| {
        std::array::from_fn(|nibble| {
            (0..4).filter(|bit| nibble >> bit & 1 == 1).fold(0, |sum, bit| sum ^ map[first_bit + bit])
        })
    })
}

/// A map as the operand of `gf2p8affineqb`: byte 7 - i selects the bits of the input whose sum is bit i of the output.
pub(super) fn matrix(map: &ByteMap) -> u64 {
    let mut rows = [0_u8; 8];
    for (input, image) in map.iter().enumerate() {
        for output in 0..8 {
            rows[7 - output] |= (image >> output & 1) << input;
        }
    }
    u64::from_le_bytes(rows)
}
