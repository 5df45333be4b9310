//! Numbers modulo 2^130 - 5 in three limbs of 44, 44 and 42 bits, one at a time: powers of the multiplier, the end, and
//! messages too short for anything wider.

/// Bits of the two lower limbs.
pub(super) const LIMB_BITS: u32 = 44;
/// The bits of one of them.
pub(super) const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;
/// Bits of the upper limb: 130 in all.
const TOP_BITS: u32 = 42;
const TOP_MASK: u64 = (1 << TOP_BITS) - 1;

/// The bits of `r` that count (RFC 8439, 2.5.1).
const MULTIPLIER_MASK: u128 = 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;

/// From the lowest limb up.
pub(super) type Limbs = [u64; 3];

/// The multiplier that 16 bytes stand for.
pub(super) fn multiplier(bytes: &[u8; 16]) -> Limbs {
    let r = u128::from_le_bytes(*bytes) & MULTIPLIER_MASK;
    [r as u64 & LIMB_MASK, (r >> LIMB_BITS) as u64 & LIMB_MASK, (r >> (2 * LIMB_BITS)) as u64]
}

/// `a * b`. Each limb of `a` is below 2^46 and of `b` below 2^45, as those of the product are.
pub(super) fn product(a: Limbs, b: Limbs) -> Limbs {
    let wide = |x: u64, y: u64| u128::from(x) * u128::from(y);
    // A product that is worth 2^132 or more comes back down as 4 * 5 times as much.
    let (b1, b2) = (b[1] * 20, b[2] * 20);
    let low = wide(a[0], b[0]) + wide(a[1], b2) + wide(a[2], b1);
    let middle = wide(a[0], b[1]) + wide(a[1], b[0]) + wide(a[2], b2) + (low >> LIMB_BITS);
    let high = wide(a[0], b[2]) + wide(a[1], b[1]) + wide(a[2], b[0]) + (middle >> LIMB_BITS);
    // `high` is below 2^94: what is above its 42 bits comes back down as 5 times as much.
    let low = u128::from(low as u64 & LIMB_MASK) + (high >> TOP_BITS) * 5;
    let middle = (middle as u64 & LIMB_MASK) + (low >> LIMB_BITS) as u64;
    [low as u64 & LIMB_MASK, middle, high as u64 & TOP_MASK]
}

/// The tag of `text`, block by block.
pub(super) fn tag(r: &[u8; 16], pad: &[u8; 16], text: &[u8]) -> [u8; 16] {
    let r = multiplier(r);
    let mut sum = [0; 3];
    let mut add = |block: u128, above: u64| {
        let low = block as u64 & LIMB_MASK;
        let middle = (block >> LIMB_BITS) as u64 & LIMB_MASK;
        let high = (block >> (2 * LIMB_BITS)) as u64 | above << (128 - 2 * LIMB_BITS);
        sum = product([sum[0] + low, sum[1] + middle, sum[2] + high], r);
    };
    let (blocks, rest) = text.as_chunks::<16>();
    blocks.iter().for_each(|block| add(u128::from_le_bytes(*block), 1));
    if !rest.is_empty() {
        let mut block = [0; 16];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 1;
        add(u128::from_le_bytes(block), 0);
    }
    finish(sum, pad)
}

/// `(a mod 2^130 - 5) + pad mod 2^128`. Each limb of `a` is below 2^60.
pub(super) fn finish(a: Limbs, pad: &[u8; 16]) -> [u8; 16] {
    let [mut low, mut middle, mut high] = a;
    // Three rounds bring every number into range: the first leaves a small excess, the second at most one unit, which
    // is carried by the third.
    for _ in 0..3 {
        middle += low >> LIMB_BITS;
        low &= LIMB_MASK;
        high += middle >> LIMB_BITS;
        middle &= LIMB_MASK;
        low += (high >> TOP_BITS) * 5;
        high &= TOP_MASK;
    }
    middle += low >> LIMB_BITS;
    low &= LIMB_MASK;
    // What is 2^130 - 5 or more loses that much, in a time that does not tell.
    let low_less = low + 5;
    let middle_less = middle + (low_less >> LIMB_BITS);
    let high_less = high.wrapping_add(middle_less >> LIMB_BITS).wrapping_sub(1 << TOP_BITS);
    let keep = 0_u64.wrapping_sub(high_less >> 63);
    let choose = |kept: u64, less: u64| (kept & keep) | (less & !keep);
    let low = choose(low, low_less & LIMB_MASK);
    let middle = choose(middle, middle_less & LIMB_MASK);
    let high = choose(high, high_less);
    let whole = u128::from(low) + (u128::from(middle) << LIMB_BITS) + (u128::from(high) << (2 * LIMB_BITS));
    whole.wrapping_add(u128::from_le_bytes(*pad)).to_le_bytes()
}
