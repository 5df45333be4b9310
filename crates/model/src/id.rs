//! The 32-byte names of restic's world: SHA-256 of a file's bytes, or of a blob's plain text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 value that names a file of a repository or a blob in it (restic design, "Terminology").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; 32]);

impl Id {
    /// Length in bytes.
    pub const LENGTH: usize = 32;

    /// Takes 32 bytes as they are; whoever calls this has computed or checked the hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 8 digits, as restic shows ids to people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }

    /// True for the id of zeros, which restic uses for "no id".
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: 64 lower-case hexadecimal digits are needed")]
pub struct ParseIdError {
    /// What was found, cut to a length that is fit to show.
    pub text: String,
}

impl FromStr for Id {
    type Err = ParseIdError;

    /// Upper case is refused: a name has one spelling, or two names could mean one file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseIdError { text: text.chars().take(80).collect() };
        let is_name = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_name {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refused())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        let text = "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2";
        let id: Id = text.parse().expect("a plain id");
        assert_eq!(id.to_hex(), text);
        assert_eq!(id.short(), "c3ab8ff1");
        for wrong in ["", "c3", &text.to_uppercase(), &format!("{text}0"), &text.replace('c', "g"), "../config"] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }
}
