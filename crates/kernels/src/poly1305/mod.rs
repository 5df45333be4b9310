//! Poly1305 with a multiplier that stays, as Poly1305-AES has it: `r` belongs to the key, and only the pad that is
//! added in the end changes from message to message.
//!
//! So the powers of `r` that a wide evaluation needs are made once per key, and a message of a hundred bytes pays for
//! none of them. They are wiped when dropped and shown to nobody.
//!
//! The plain twin is the crate `poly1305`. It has AVX2 but wants the multiplier anew for each message, which costs more
//! than a short message does; where AVX-512 is missing, it gets the long ones.

#[cfg(target_arch = "x86_64")]
mod eight_lanes;
mod limbs;

use poly1305::universal_hash::{KeyInit, UniversalHash};
use poly1305::{Block, Poly1305};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cpu::Features;

/// Length of the multiplier.
pub const MULTIPLIER_BYTES: usize = 16;
/// Length of the pad, and of a tag.
pub const TAG_BYTES: usize = 16;
/// What is multiplied at once.
#[cfg(target_arch = "x86_64")]
const BLOCK_BYTES: usize = 16;

/// Up to this length the crate takes longer to prepare than one block after the other takes in all.
const SHORT_BYTES_MAX: usize = 2 << 10;

/// A multiplier, ready to authenticate.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Authenticator {
    multiplier: [u8; MULTIPLIER_BYTES],
    #[cfg(target_arch = "x86_64")]
    powers: Option<eight_lanes::Powers>,
}

impl Authenticator {
    /// Prepares `r`, of which the bits that Poly1305 does not use are ignored.
    pub fn new(r: &[u8; MULTIPLIER_BYTES]) -> Self {
        Self::with_features(Features::get(), r)
    }

    /// As [`Authenticator::new`], with what `features` allow.
    pub fn with_features(features: Features, r: &[u8; MULTIPLIER_BYTES]) -> Self {
        let _ = features;
        Self {
            multiplier: *r,
            #[cfg(target_arch = "x86_64")]
            powers: (features.ifma_512 && Features::detect().ifma_512).then(|| eight_lanes::Powers::new(r)),
        }
    }

    /// The tag of `text` under `pad`, which must never serve for another text.
    pub fn tag(&self, pad: &[u8; TAG_BYTES], text: &[u8]) -> [u8; TAG_BYTES] {
        #[cfg(target_arch = "x86_64")]
        if let Some(powers) = &self.powers {
            // SAFETY: the powers exist only where the processor has what they are for.
            return unsafe { eight_lanes::tag(powers, pad, text) };
        }
        if text.len() <= SHORT_BYTES_MAX {
            return limbs::tag(&self.multiplier, pad, text);
        }
        self.tag_of_long(pad, text)
    }

    fn tag_of_long(&self, pad: &[u8; TAG_BYTES], text: &[u8]) -> [u8; TAG_BYTES] {
        let mut key = Zeroizing::new([0; MULTIPLIER_BYTES + TAG_BYTES]);
        key[..MULTIPLIER_BYTES].copy_from_slice(&self.multiplier);
        key[MULTIPLIER_BYTES..].copy_from_slice(pad);
        let mut state = Poly1305::new((&*key).into());
        // Whole blocks go through the wide path, which is nearly twice as fast; the other one knows the short last
        // block that Poly1305 has and universal hashes in general do not.
        let (blocks, rest) = Block::slice_as_chunks(text);
        state.update(blocks);
        state.compute_unpadded(rest).into()
    }
}

#[cfg(test)]
mod tests;
