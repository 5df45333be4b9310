//! Sealing: AES-256 in counter mode, authenticated by Poly1305-AES, under one master key per repository.
//!
//! A sealed message is `nonce (16) | ciphertext | mac (16)`. The mac covers the ciphertext; the nonce enters it
//! as Poly1305-AES prescribes, encrypted by AES-128 under `k` (Bernstein, "The Poly1305-AES message-authentication
//! code", 2005). Nonces are 128 random bits each (see [`crate::nonce`]).
//!
//! This room knows no files and no blobs. It never returns a byte that the mac does not vouch for.

use std::fmt;

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use kernels::keystream::{BLOCK_BYTES, Keystream};
use kernels::poly1305::Authenticator;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{FormatError, Result};
use crate::nonce::fresh_nonce;

/// Length of the nonce in front of a sealed message.
pub const NONCE_BYTES: usize = 16;
/// Length of the mac behind a sealed message.
pub const MAC_BYTES: usize = 16;
/// By how much sealing lengthens a message.
pub const SEAL_OVERHEAD_BYTES: usize = NONCE_BYTES + MAC_BYTES;

/// How much [`MasterKey::opens_to`] decrypts at once: it stays in the processor's first cache beside what it is
/// compared with.
const OPENED_PIECE_BYTES: usize = 8 << 10;

/// The same for messages that are no longer.
const OPENED_SHORT_BYTES: usize = 1 << 10;

/// The raw key material, as it stands in a key file.
#[derive(Clone, Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
pub(crate) struct KeyMaterial {
    pub(crate) encrypt: [u8; 32],
    pub(crate) mac_k: [u8; 16],
    pub(crate) mac_r: [u8; 16],
}

/// The key that seals everything in a repository except its key files, which hold it sealed by a password.
///
/// The AES key schedules and the authenticator's powers are kept, so that sealing a small blob does not pay for them
/// again. All of them are wiped when dropped.
#[derive(Clone)]
pub struct MasterKey {
    material: KeyMaterial,
    encrypt: Keystream,
    mac_nonce: Aes128,
    authenticate: Authenticator,
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
        let encrypt = Keystream::new(&material.encrypt);
        let mac_nonce = Aes128::new(&Array(material.mac_k));
        let authenticate = Authenticator::new(&material.mac_r);
        Self { material, encrypt, mac_nonce, authenticate }
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
    ///
    /// # Panics
    /// As for [`MasterKey::seal_in_place`].
    pub fn seal_into(&self, out: &mut Vec<u8>, plain: &[u8]) {
        let nonce = nonce_or_panic();
        out.reserve(plain.len() + SEAL_OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        let text = out.len();
        self.encrypt.append_to(&nonce, plain, out);
        let mac = self.mac(&nonce, &out[text..]);
        out.extend_from_slice(&mac);
    }

    /// Seals what stands in `out` from `start` on: 16 bytes of room for the nonce, then the plain text, which is
    /// encrypted where it stands; the mac is appended.
    ///
    /// # Panics
    /// When fewer than 16 bytes follow `start`, or when the operating system gives no random bytes: going on with
    /// a known nonce would give the contents away.
    pub fn seal_in_place(&self, out: &mut Vec<u8>, start: usize) {
        let nonce = nonce_or_panic();
        let mac = {
            let (head, text) = out[start..].split_at_mut(NONCE_BYTES);
            head.copy_from_slice(&nonce);
            self.encrypt.apply(&nonce, text);
            self.mac(&nonce, text)
        };
        out.extend_from_slice(&mac);
    }

    /// Opens `sealed` into a new buffer.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, text) = self.verified(sealed)?;
        let mut plain = Vec::with_capacity(text.len());
        self.encrypt.append_to(&nonce, text, &mut plain);
        Ok(plain)
    }

    /// Opens `sealed` where it stands and returns the plain text in it. On an error nothing has been changed.
    pub fn open_in_place<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let (nonce, text) = self.verified(sealed)?;
        let range = NONCE_BYTES..NONCE_BYTES + text.len();
        let plain = sealed.get_mut(range).ok_or(FormatError::Sealed { what: "a message" })?;
        self.encrypt.apply(&nonce, plain);
        Ok(plain)
    }

    /// Whether `sealed` is authentic and holds exactly `plain`. Takes no memory of the message's size.
    ///
    /// The comparison of the texts stops at the first difference, and may: it is made by who has just sealed `plain`
    /// and looks for faults of memory and processor. Nobody who chose `sealed` is there to take the time.
    pub fn opens_to(&self, sealed: &[u8], plain: &[u8]) -> bool {
        let Ok((nonce, text)) = self.verified(sealed) else { return false };
        if text.len() != plain.len() {
            return false;
        }
        // Clearing the room of a long message would take longer than all else for a short one.
        if text.len() <= OPENED_SHORT_BYTES {
            self.decrypts_to::<OPENED_SHORT_BYTES>(&nonce, text, plain)
        } else {
            self.decrypts_to::<OPENED_PIECE_BYTES>(&nonce, text, plain)
        }
    }

    /// Whether `text` decrypts to `plain`, which is as long, looked at in pieces of so many bytes.
    fn decrypts_to<const PIECE: usize>(&self, nonce: &[u8; NONCE_BYTES], text: &[u8], plain: &[u8]) -> bool {
        let mut room = [0; PIECE];
        let pieces = text.chunks(PIECE).zip(plain.chunks(PIECE));
        for (at_block, (text, plain)) in (0..).step_by(PIECE / BLOCK_BYTES).zip(pieces) {
            let opened = &mut room[..text.len()];
            self.encrypt.apply_to(nonce, at_block, text, opened);
            if opened != plain {
                return false;
            }
        }
        true
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

    fn mac(&self, nonce: &[u8; NONCE_BYTES], text: &[u8]) -> [u8; MAC_BYTES] {
        let mut pad = Array(*nonce);
        self.mac_nonce.encrypt_block(&mut pad);
        let mac = self.authenticate.tag(&pad.0, text);
        // The pad is as good as the key for this one message.
        pad.0.zeroize();
        mac
    }
}

fn nonce_or_panic() -> [u8; NONCE_BYTES] {
    #[expect(clippy::expect_used, reason = "going on with a known nonce would give the contents away")]
    // invariant: the master key itself came from the same source or was opened after it; it does not dry up.
    fresh_nonce().expect("the operating system gives random bytes")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// NIST SP 800-38A, F.5.5: CTR-AES256.
    #[test]
    fn aes_256_ctr_official_vector() {
        let mut derived = [1; 64];
        derived[..32].copy_from_slice(&bytes::<32>("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"));
        let mut text = bytes::<64>(concat!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        ));
        MasterKey::from_derived(&derived).encrypt.apply(&bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), &mut text);
        let expected = concat!(
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
            "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
        );
        assert_eq!(hex::encode(text), expected);
    }

    /// All four of appendix B of the Poly1305-AES paper: message, r, k, n, mac.
    #[test]
    fn poly1305_aes_official_vectors() {
        let vectors = [
            [
                "f3f6",
                "851fc40c3467ac0be05cc20404f3f700",
                "ec074c835580741701425b623235add6",
                "fb447350c4e868c52ac3275cf9d4327e",
                "f4c633c3044fc145f84f335cb81953de",
            ],
            [
                "",
                "a0f3080000f46400d0c7e9076c834403",
                "75deaa25c09f208e1dc4ce6b5cad3fbf",
                "61ee09218d29b0aaed7e154a2c5509cc",
                "dd3fab2251f11ac759f0887129cc2ee7",
            ],
            [
                "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
                "48443d0bb0d21109c89a100b5ce2c208",
                "6acb5f61a7176dd320c5c1eb2edcdc74",
                "ae212a55399729595dea458bc621ff0e",
                "0ee1c16bb73f0f4fd19881753c01cdbe",
            ],
            [
                "ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9",
                "12976a08c4426d0ce8a82407c4f48207",
                "e1a5668a4d5b66a5f68cc5424ed5982d",
                "9ae831e743978d3a23527c7128149e3a",
                "5154ad0d2cb26e01274fc51148491f1b",
            ],
        ];
        for [message, r, k, nonce, mac] in vectors {
            let mut derived = [1; 64];
            derived[32..48].copy_from_slice(&bytes::<16>(k));
            derived[48..].copy_from_slice(&bytes::<16>(r));
            let found = MasterKey::from_derived(&derived).mac(&bytes(nonce), &hex::decode(message).unwrap());
            assert_eq!(hex::encode(found), mac);
        }
    }

    #[test]
    fn sealed_messages_open_and_nothing_else_does() {
        let master = MasterKey::generate().unwrap();
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 1000] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let sealed = master.seal(&plain);
            assert_eq!(sealed.len(), length + SEAL_OVERHEAD_BYTES);
            assert_eq!(master.open(&sealed).unwrap(), plain);
            assert_eq!(master.open_in_place(&mut sealed.clone()).unwrap(), plain);
            for bit in 0..sealed.len() * 8 {
                let mut damaged = sealed.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let before = damaged.clone();
                assert!(master.open_in_place(&mut damaged).is_err(), "bit {bit} of {length} bytes");
                assert_eq!(damaged, before);
            }
            for end in 0..sealed.len() {
                assert!(master.open(&sealed[..end]).is_err());
            }
            assert!(MasterKey::generate().unwrap().open(&sealed).is_err());
        }
    }

    #[test]
    fn a_message_opens_to_its_text_and_to_no_other() {
        let master = MasterKey::generate().unwrap();
        let piece = OPENED_PIECE_BYTES;
        for length in [
            0,
            1,
            15,
            16,
            100,
            OPENED_SHORT_BYTES,
            OPENED_SHORT_BYTES + 1,
            piece - 1,
            piece,
            piece + 1,
            3 * piece,
            3 * piece + 17,
        ] {
            let plain: Vec<u8> = (0..length).map(|at| (at * at % 251) as u8).collect();
            let sealed = master.seal(&plain);
            let mut appended = b"before".to_vec();
            master.seal_into(&mut appended, &plain);
            assert!(master.opens_to(&sealed, &plain) && master.opens_to(&appended[6..], &plain));
            assert!(!master.opens_to(&sealed, &[plain.as_slice(), b"x"].concat()));
            assert!(!MasterKey::generate().unwrap().opens_to(&sealed, &plain));
            if length > 0 {
                assert!(!master.opens_to(&sealed, &plain[1..]));
                assert!(!master.opens_to(&sealed, &plain[..length - 1]));
            }
            for at in [0, length / 2, length.saturating_sub(1)] {
                let mut other = plain.clone();
                if let Some(byte) = other.get_mut(at) {
                    *byte ^= 0x10;
                    assert!(!master.opens_to(&sealed, &other), "byte {at} of {length}");
                }
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert!(!master.opens_to(&damaged, &plain));
            }
            for end in [0, 15, 31, sealed.len() - 1] {
                assert!(!master.opens_to(&sealed[..end], &plain));
            }
        }
    }

    #[test]
    fn nonces_are_not_repeated() {
        let master = MasterKey::generate().unwrap();
        let nonces: std::collections::HashSet<Vec<u8>> =
            (0..10_000).map(|_| master.seal(b"same")[..NONCE_BYTES].to_vec()).collect();
        assert_eq!(nonces.len(), 10_000);
    }

    #[test]
    fn debug_shows_no_key() {
        let master = MasterKey::from_derived(&[0xab; 64]);
        assert_eq!(format!("{master:?}"), "MasterKey([REDACTED])");
    }
}
