//! AES-256 in counter mode.
//!
//! The counter is the whole block: 128 bits, highest byte first, that begin anywhere and wrap around. The key schedule
//! is kept, so that a message of a hundred bytes does not pay for it; it is wiped when dropped and shown to nobody.
//!
//! The plain twin are the crates `aes` and `ctr`.

#[cfg(target_arch = "x86_64")]
mod schedule;
#[cfg(target_arch = "x86_64")]
mod wide;

use aes::Aes256;
use aes::cipher::{Array, InnerIvInit, KeyInit, StreamCipher};
use ctr::CtrCore;
use ctr::cipher::StreamCipherCoreWrapper;
use ctr::flavors::Ctr128BE as BigEndian;

use crate::cpu::Features;

/// Length of a key.
pub const KEY_BYTES: usize = 32;
/// Length of a nonce, which is the first counter.
pub const NONCE_BYTES: usize = 16;
/// What one value of the counter covers.
pub const BLOCK_BYTES: usize = 16;

/// A key, ready to encrypt and decrypt, which are the same.
#[derive(Clone)]
pub struct Keystream {
    plain: Aes256,
    #[cfg(target_arch = "x86_64")]
    wide: Option<(wide::Width, schedule::Schedule)>,
}

impl Keystream {
    /// Prepares `key`.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self::with_features(Features::get(), key)
    }

    /// As [`Keystream::new`], with what `features` allow.
    pub fn with_features(features: Features, key: &[u8; KEY_BYTES]) -> Self {
        let plain = Aes256::new(&Array(*key));
        #[cfg(target_arch = "x86_64")]
        {
            let wide = wide::Width::widest(features).map(|width| {
                // SAFETY: every width asks the processor for AES, which comes with SSE2 on this architecture.
                (width, unsafe { schedule::Schedule::new(key) })
            });
            Self { plain, wide }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = features;
            Self { plain }
        }
    }

    /// Encrypts or decrypts `text` where it stands.
    pub fn apply(&self, nonce: &[u8; NONCE_BYTES], text: &mut [u8]) {
        self.apply_at(nonce, 0, text);
    }

    /// Encrypts or decrypts `text` where it stands, when it begins `at_block` blocks behind the start of its message.
    pub fn apply_at(&self, nonce: &[u8; NONCE_BYTES], at_block: u64, text: &mut [u8]) {
        let counter = counter(nonce, at_block);
        #[cfg(target_arch = "x86_64")]
        if let Some((width, schedule)) = &self.wide {
            let to = text.as_mut_ptr();
            // SAFETY: the text is readable and writable over its length; source and destination are the same.
            unsafe { width.run(schedule, counter, to, to, text.len()) };
            return;
        }
        self.apply_plainly(counter, text);
    }

    /// Encrypts or decrypts `from` to `to`, when it begins `at_block` blocks behind the start of its message.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn apply_to(&self, nonce: &[u8; NONCE_BYTES], at_block: u64, from: &[u8], to: &mut [u8]) {
        assert_eq!(from.len(), to.len(), "as many bytes come out as go in");
        let counter = counter(nonce, at_block);
        #[cfg(target_arch = "x86_64")]
        if let Some((width, schedule)) = &self.wide {
            // SAFETY: both slices are as long as `from`; they do not overlap, since one is borrowed mutably.
            unsafe { width.run(schedule, counter, from.as_ptr(), to.as_mut_ptr(), from.len()) };
            return;
        }
        to.copy_from_slice(from);
        self.apply_plainly(counter, to);
    }

    /// Encrypts or decrypts the message `from` to the end of `out`.
    pub fn append_to(&self, nonce: &[u8; NONCE_BYTES], from: &[u8], out: &mut Vec<u8>) {
        let counter = counter(nonce, 0);
        #[cfg(target_arch = "x86_64")]
        if let Some((width, schedule)) = &self.wide {
            out.reserve(from.len());
            let to = out.spare_capacity_mut();
            // SAFETY: as many bytes are reserved behind the vector's end as `from` is long, and all of them are
            // written before they count; the spare room of `out` is not part of `from`.
            unsafe {
                width.run(schedule, counter, from.as_ptr(), to.as_mut_ptr().cast(), from.len());
                out.set_len(out.len() + from.len());
            }
            return;
        }
        let start = out.len();
        out.extend_from_slice(from);
        self.apply_plainly(counter, &mut out[start..]);
    }

    fn apply_plainly(&self, counter: u128, text: &mut [u8]) {
        type Stream<'a> = StreamCipherCoreWrapper<CtrCore<&'a Aes256, BigEndian>>;
        let core = CtrCore::inner_iv_init(&self.plain, &Array(counter.to_be_bytes()));
        Stream::from_core(core).apply_keystream(text);
    }
}

/// The counter of a block: all 128 bits count, and wrap around.
fn counter(nonce: &[u8; NONCE_BYTES], at_block: u64) -> u128 {
    u128::from_be_bytes(*nonce).wrapping_add(u128::from(at_block))
}

#[cfg(test)]
mod tests;
