//! Sealing: AES-256 in counter mode, authenticated by Poly1305-AES, under one master key per repository.
//!
//! A sealed message is `nonce (16) | ciphertext | mac (16)`. The mac covers the ciphertext; the nonce enters it
//! as Poly1305-AES prescribes, encrypted by AES-128 under `k` (Bernstein, "The Poly1305-AES message-authentication
//! code", 2005). Nonces come from the operating system, 128 random bits each.
//!
//! This room knows no files and no blobs. It never returns a byte that the mac does not vouch for.

use std::fmt;

use aes::cipher::{Array, BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::CtrCore;
use ctr::cipher::StreamCipherCoreWrapper;
use ctr::flavors::Ctr128BE as BigEndian;
use poly1305::Poly1305;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{FormatError, Result};

/// Length of the nonce in front of a sealed message.
pub const NONCE_BYTES: usize = 16;
/// Length of the mac behind a sealed message.
pub const MAC_BYTES: usize = 16;
/// By how much sealing lengthens a message.
pub const SEAL_OVERHEAD_BYTES: usize = NONCE_BYTES + MAC_BYTES;

/// The raw key material, as it stands in a key file.
#[derive(Clone, Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
pub(crate) struct KeyMaterial {
    pub(crate) encrypt: [u8; 32],
    pub(crate) mac_k: [u8; 16],
    pub(crate) mac_r: [u8; 16],
}

/// The key that seals everything in a repository except its key files, which hold it sealed by a password.
///
/// The AES key schedules are kept, so that sealing a small blob does not pay for them again.
#[derive(Clone)]
pub struct MasterKey {
    material: KeyMaterial,
    encrypt: Aes256,
    mac_nonce: Aes128,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([REDACTED])")
    }
}

/// Fills `bytes` from the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| FormatError::NoRandomness { why: error.to_string() })
}

impl MasterKey {
    /// A new random key.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 64]);
        fill_random(bytes.as_mut_slice())?;
        Ok(Self::from_derived(&bytes))
    }

    /// From 64 bytes in the order in which scrypt yields them: AES-256 key, then `k`, then `r`.
    pub(crate) fn from_derived(bytes: &[u8; 64]) -> Self {
        let mut material = KeyMaterial { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        material.encrypt.copy_from_slice(&bytes[..32]);
        material.mac_k.copy_from_slice(&bytes[32..48]);
        material.mac_r.copy_from_slice(&bytes[48..]);
        Self::from_material(material)
    }

    pub(crate) fn from_material(material: KeyMaterial) -> Self {
        let encrypt = Aes256::new(&Array(material.encrypt));
        let mac_nonce = Aes128::new(&Array(material.mac_k));
        Self { material, encrypt, mac_nonce }
    }

    pub(crate) fn material(&self) -> &KeyMaterial {
        &self.material
    }

    /// Seals `plain` into a new buffer.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + SEAL_OVERHEAD_BYTES);
        self.seal_into(&mut out, plain);
        out
    }

    /// Appends the sealed form of `plain` to `out`.
    pub fn seal_into(&self, out: &mut Vec<u8>, plain: &[u8]) {
        let start = out.len();
        out.reserve(plain.len() + SEAL_OVERHEAD_BYTES);
        out.extend_from_slice(&[0; NONCE_BYTES]);
        out.extend_from_slice(plain);
        self.seal_in_place(out, start);
    }

    /// Seals what stands in `out` from `start` on: 16 bytes of room for the nonce, then the plain text, which is
    /// encrypted where it stands; the mac is appended.
    ///
    /// # Panics
    /// When fewer than 16 bytes follow `start`, or when the operating system gives no random bytes: going on with
    /// a known nonce would give the contents away.
    pub fn seal_in_place(&self, out: &mut Vec<u8>, start: usize) {
        let mut nonce = [0; NONCE_BYTES];
        #[expect(clippy::expect_used, reason = "see the doc comment")]
        // invariant: the master key itself came from the same source or was opened after it; it does not dry up.
        fill_random(&mut nonce).expect("the operating system gives random bytes");
        let mac = {
            let (head, text) = out[start..].split_at_mut(NONCE_BYTES);
            head.copy_from_slice(&nonce);
            self.apply_keystream(&nonce, text);
            self.mac(&nonce, text)
        };
        out.extend_from_slice(&mac);
    }

    /// Opens `sealed` into a new buffer.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, text) = self.verified(sealed)?;
        let mut plain = text.to_vec();
        self.apply_keystream(&nonce, &mut plain);
        Ok(plain)
    }

    /// Opens `sealed` where it stands and returns the plain text in it. On an error nothing has been changed.
    pub fn open_in_place<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let (nonce, text) = self.verified(sealed)?;
        let range = NONCE_BYTES..NONCE_BYTES + text.len();
        let plain = sealed.get_mut(range).ok_or(FormatError::Sealed { what: "a message" })?;
        self.apply_keystream(&nonce, plain);
        Ok(plain)
    }

    /// Splits a sealed message and checks its mac, in a time that does not depend on where it differs.
    fn verified<'a>(&self, sealed: &'a [u8]) -> Result<([u8; NONCE_BYTES], &'a [u8])> {
        let refused = FormatError::Sealed { what: "a message" };
        let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE_BYTES>() else { return Err(refused) };
        let Some((text, mac)) = rest.split_last_chunk::<MAC_BYTES>() else { return Err(refused) };
        // restic refuses a nonce of zeros too: no random source gives it, a zero-filled file does.
        if *nonce == [0; NONCE_BYTES] || !bool::from(self.mac(nonce, text).ct_eq(mac)) {
            return Err(refused);
        }
        Ok((*nonce, text))
    }

    fn apply_keystream(&self, nonce: &[u8; NONCE_BYTES], text: &mut [u8]) {
        type Stream<'a> = StreamCipherCoreWrapper<CtrCore<&'a Aes256, BigEndian>>;
        let core = CtrCore::inner_iv_init(&self.encrypt, &Array(*nonce));
        Stream::from_core(core).apply_keystream(text);
    }

    fn mac(&self, nonce: &[u8; NONCE_BYTES], text: &[u8]) -> [u8; MAC_BYTES] {
        let mut pad = Array(*nonce);
        self.mac_nonce.encrypt_block(&mut pad);
        let mut one_time_key = Zeroizing::new([0; 32]);
        one_time_key[..16].copy_from_slice(&self.material.mac_r);
        one_time_key[16..].copy_from_slice(&pad);
        Poly1305::new(&Array(*one_time_key)).compute_unpadded(text).into()
    }
}
