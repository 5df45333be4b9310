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
