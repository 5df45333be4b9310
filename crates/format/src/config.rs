//! The `config` file: which repository this is, and where its files are cut.

use model::Id;
use serde::Deserialize;

use crate::error::{FormatError, Result};
use crate::go_json::JsonObject;
use crate::polynomial::Polynomial;
use crate::seal::fill_random;
use crate::wire;

const WHAT: &str = "the config file";

/// The longest plain config; restic's has about 150 bytes.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// The oldest version that is read and written.
pub const VERSION_MIN: u32 = 1;
/// The newest version that is read and written, and the one that new repositories get.
pub const VERSION_MAX: u32 = 2;

/// What rustic writes into the `config` of a hot part.
const IS_HOT: &str = "is_hot";

fn fields(plain: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_slice(plain).map_err(|error| FormatError::malformed(WHAT, error))
}

/// A repository's fixed properties. Never rewritten, so fields of other versions need not be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// 1 or 2.
    pub version: u32,
    /// The repository's id: random, the same in all copies.
    pub id: Id,
    /// Decides where files are cut.
    pub chunker_polynomial: Polynomial,
}

#[derive(Deserialize)]
struct ConfigJson {
    version: u32,
    #[serde(deserialize_with = "wire::id")]
    id: Id,
    chunker_polynomial: String,
}

impl Config {
    /// A new repository of the newest version, with a random id and polynomial.
    pub fn generate() -> Result<Self> {
        let mut id = [0; Id::LENGTH];
        fill_random(&mut id)?;
        Ok(Self { version: VERSION_MAX, id: Id::from_bytes(id), chunker_polynomial: Polynomial::random()? })
    }

    /// Reads the plain JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "the config file (bytes)", limit: CONFIG_BYTES_MAX as u64 });
        }
        let json: ConfigJson = serde_json::from_slice(bytes).map_err(|error| FormatError::malformed(WHAT, error))?;
        if !(VERSION_MIN..=VERSION_MAX).contains(&json.version) {
            let why = format!("repository version {}; versions {VERSION_MIN} to {VERSION_MAX} are", json.version);
            return Err(FormatError::Unsupported { what: WHAT, why });
        }
        let chunker_polynomial: Polynomial = json.chunker_polynomial.parse()?;
        if chunker_polynomial.degree() != Some(Polynomial::DEGREE) || !chunker_polynomial.is_irreducible() {
            let why = "its polynomial is not irreducible and of degree 53";
            return Err(FormatError::malformed(WHAT, why));
        }
        Ok(Self { version: json.version, id: json.id, chunker_polynomial })
    }

    /// The plain JSON of another `config` of the same repository, for the hot part of a pair of places: rustic's, which
    /// wants to be told there that it is hot. Whatever else stands in `plain` stays.
    pub fn hot_twin(plain: &[u8]) -> Result<Vec<u8>> {
        Self::parse(plain)?;
        let mut fields = fields(plain)?;
        fields.insert(IS_HOT.to_owned(), true.into());
        serde_json::to_vec(&fields).map_err(|error| FormatError::malformed(WHAT, error))
    }

    /// Whether `twin` is the `config` of the hot part that belongs to the repository of `plain`.
    pub fn is_hot_twin(twin: &[u8], plain: &[u8]) -> bool {
        let (Ok(of_twin), Ok(of_plain)) = (Self::parse(twin), Self::parse(plain)) else { return false };
        of_twin == of_plain && Self::is_hot(twin)
    }

    /// Whether a `config` says that it is the one of a hot part, which is no repository by itself.
    pub fn is_hot(plain: &[u8]) -> bool {
        fields(plain).is_ok_and(|fields| fields.get(IS_HOT) == Some(&true.into()))
    }

    /// The plain JSON, which the caller seals.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        let mut object = JsonObject::open(&mut out);
        object.number("version", u64::from(self.version));
        object.id("id", &self.id);
        object.text("chunker_polynomial", &self.chunker_polynomial.to_string());
        object.close();
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_config_of_a_hot_part_is_another_one_of_the_same_repository() {
        let config = Config::generate().unwrap();
        let plain = String::from_utf8(config.to_bytes()).unwrap();
        // A field of rustic's, which must not be lost.
        let plain = plain.replacen('{', "{\"compression\":3,", 1).into_bytes();
        let twin = Config::hot_twin(&plain).unwrap();
        assert_eq!(Config::parse(&twin).unwrap(), config);
        assert!(String::from_utf8_lossy(&twin).contains("\"compression\":3"));
        assert!(Config::is_hot(&twin) && !Config::is_hot(&plain));
        assert!(Config::is_hot_twin(&twin, &plain));
        assert!(!Config::is_hot_twin(&plain, &plain), "it does not say that it is hot");
        let other = Config::generate().unwrap().to_bytes();
        assert!(!Config::is_hot_twin(&twin, &other) && !Config::is_hot_twin(b"{}", &plain));
        assert!(Config::hot_twin(b"{\"is_hot\":true}").is_err());
    }
}
