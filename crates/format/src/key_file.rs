//! Key files: the master key, sealed by a key that scrypt derives from a password.
//!
//! A key file is plain JSON that anyone with access to the destination can replace, so its scrypt parameters are
//! bounded before they are used: a parameter can ask for any amount of memory and time.

use model::{ExposeSecret, Secret};
use scrypt::Params;
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::{FormatError, Result};
use crate::go_json::JsonObject;
use crate::moment::Moment;
use crate::seal::{KeyMaterial, MasterKey, fill_random};
use crate::wire;

const WHAT: &str = "the key file";

/// The longest key file; restic's have about 450 bytes.
pub const KEY_FILE_BYTES_MAX: usize = 64 << 10;

/// The memory that scrypt may take: 128 · N · r bytes.
pub const SCRYPT_MEMORY_BYTES_MAX: u64 = 1 << 30;

/// The work that scrypt may do, as N · r · p: about 10 seconds of a present-day core.
pub const SCRYPT_WORK_MAX: u64 = 1 << 25;

/// The memory of scrypt's first and last step: 128 · r · p bytes.
const SCRYPT_LANES_BYTES_MAX: u64 = 64 << 20;

/// restic writes and accepts this length only.
const SALT_BYTES: usize = 64;

/// The longest sealed master key; restic's has 182 bytes.
const SEALED_KEY_BYTES_MAX: usize = 4 << 10;

/// How expensive it is to try a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    /// log2 of N: memory and time.
    pub log_n: u8,
    /// Block size: memory and time.
    pub r: u32,
    /// Lanes: time.
    pub p: u32,
}

impl ScryptCost {
    /// 32 MiB and about a tenth of a second.
    pub const STANDARD: ScryptCost = ScryptCost { log_n: 15, r: 8, p: 1 };

    /// Worthless against guessing; makes tests fast.
    pub const FAST_FOR_TESTS: ScryptCost = ScryptCost { log_n: 4, r: 8, p: 1 };

    /// Refuses what would take too much memory or time.
    fn check(self) -> Result<()> {
        let n = 1_u64.checked_shl(u32::from(self.log_n)).filter(|n| *n >= 2);
        let Some(n) = n.filter(|_| self.r > 0 && self.p > 0) else {
            return Err(FormatError::malformed(WHAT, "scrypt parameters out of range"));
        };
        let block = 128_u128 * u128::from(self.r);
        if block * u128::from(n) > u128::from(SCRYPT_MEMORY_BYTES_MAX) {
            return Err(FormatError::TooLarge { what: "scrypt's memory (bytes)", limit: SCRYPT_MEMORY_BYTES_MAX });
        }
        if u128::from(n) * u128::from(self.r) * u128::from(self.p) > u128::from(SCRYPT_WORK_MAX)
            || block * u128::from(self.p) > u128::from(SCRYPT_LANES_BYTES_MAX)
        {
            return Err(FormatError::TooLarge { what: "scrypt's work (N · r · p)", limit: SCRYPT_WORK_MAX });
        }
        Ok(())
    }

    fn derive(self, password: &Secret, salt: &[u8]) -> Result<MasterKey> {
        self.check()?;
        let refused = |_| FormatError::malformed(WHAT, "scrypt parameters out of range");
        let params = Params::new(self.log_n, self.r, self.p).map_err(refused)?;
        let mut derived = Zeroizing::new([0; 64]);
        scrypt::scrypt(password.expose_secret().as_bytes(), salt, &params, derived.as_mut_slice())
            .map_err(|_| FormatError::malformed(WHAT, "scrypt refused the length of its output"))?;
        Ok(MasterKey::from_derived(&derived))
    }
}

/// Who makes a key, and when: shown by `key list`.
#[derive(Debug, Clone)]
pub struct KeyOwner {
    /// The machine.
    pub hostname: String,
    /// The account.
    pub username: String,
    /// The moment, in local time.
    pub created: jiff::Zoned,
}

/// A key file, still sealed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct KeyFile {
    /// When it was made; rustic does not say.
    #[serde(default, deserialize_with = "wire::optional_time")]
    pub created: Option<Moment>,
    /// By which account.
    #[serde(default)]
    pub username: String,
    /// On which machine.
    #[serde(default)]
    pub hostname: String,
    /// Always `scrypt`.
    pub kdf: String,
    /// scrypt's N.
    #[serde(rename = "N")]
    pub n: u64,
    /// scrypt's r.
    pub r: u32,
    /// scrypt's p.
    pub p: u32,
    /// scrypt's salt.
    #[serde(deserialize_with = "wire::bytes")]
    pub salt: Vec<u8>,
    /// The sealed master key.
    #[serde(deserialize_with = "wire::bytes")]
    pub data: Vec<u8>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl KeyFile {
    /// Seals `master` by `password`.
    pub fn seal(master: &MasterKey, password: &Secret, who: &KeyOwner, cost: ScryptCost) -> Result<Self> {
        let mut salt = vec![0; SALT_BYTES];
        fill_random(&mut salt)?;
        let user = cost.derive(password, &salt)?;
        Ok(Self {
            created: Some(Moment::from(&who.created)),
            username: who.username.clone(),
            hostname: who.hostname.clone(),
            kdf: "scrypt".to_owned(),
            n: 1 << cost.log_n,
            r: cost.r,
            p: cost.p,
            salt,
            data: user.seal(&master_key_json(master)),
            other: Map::new(),
        })
    }

    /// Reads a key file. Its parameters are checked when it is opened.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "a key file (bytes)", limit: KEY_FILE_BYTES_MAX as u64 });
        }
        serde_json::from_slice(bytes).map_err(|error| FormatError::malformed(WHAT, error))
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut object = JsonObject::open(&mut out);
        if let Some(created) = &self.created {
            object.time("created", created);
        }
        object.text("username", &self.username);
        object.text("hostname", &self.hostname);
        object.text("kdf", &self.kdf);
        object.number("N", self.n);
        object.number("r", u64::from(self.r));
        object.number("p", u64::from(self.p));
        object.base64("salt", &self.salt);
        object.base64("data", &self.data);
        object.unknown(&self.other);
        object.close();
        out
    }

    /// Opens it. [`FormatError::WrongPassword`] means that another key file may still fit the password.
    pub fn open(&self, password: &Secret) -> Result<MasterKey> {
        let cost = self.cost()?;
        let user = cost.derive(password, &self.salt)?;
        let plain = user.open(&self.data).map_err(|_| FormatError::WrongPassword)?;
        parse_master_key(&Zeroizing::new(plain))
    }

    /// Its scrypt parameters, checked.
    fn cost(&self) -> Result<ScryptCost> {
        if self.kdf != "scrypt" {
            let why = format!("key derivation `{}`", self.kdf.chars().take(40).collect::<String>());
            return Err(FormatError::Unsupported { what: WHAT, why });
        }
        if !self.n.is_power_of_two() {
            return Err(FormatError::malformed(WHAT, "scrypt's N is not a power of two"));
        }
        if self.salt.len() != SALT_BYTES {
            return Err(FormatError::malformed(WHAT, format!("a salt of {} bytes, not {SALT_BYTES}", self.salt.len())));
        }
        if self.data.len() > SEALED_KEY_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "a sealed key (bytes)", limit: SEALED_KEY_BYTES_MAX as u64 });
        }
        let cost = ScryptCost { log_n: self.n.trailing_zeros() as u8, r: self.r, p: self.p };
        cost.check()?;
        Ok(cost)
    }
}

fn master_key_json(master: &MasterKey) -> Zeroizing<Vec<u8>> {
    let material = master.material();
    let mut out = Zeroizing::new(Vec::with_capacity(256));
    let mut object = JsonObject::open(&mut out);
    let mut mac = JsonObject::open(object.field("mac"));
    mac.base64("k", &material.mac_k);
    mac.base64("r", &material.mac_r);
    mac.close();
    object.base64("encrypt", &material.encrypt);
    object.close();
    out
}

#[derive(Deserialize)]
struct MasterKeyJson {
    mac: MacKeyJson,
    #[serde(deserialize_with = "wire::bytes")]
    encrypt: Vec<u8>,
}

#[derive(Deserialize)]
struct MacKeyJson {
    #[serde(deserialize_with = "wire::bytes")]
    k: Vec<u8>,
    #[serde(deserialize_with = "wire::bytes")]
    r: Vec<u8>,
}

/// Why is never told in detail: the reason would quote the key.
fn parse_master_key(plain: &[u8]) -> Result<MasterKey> {
    let refused = || FormatError::malformed("the master key", "not the three keys of restic");
    let json: MasterKeyJson = serde_json::from_slice(plain).map_err(|_| refused())?;
    let (encrypt, k, r) = (Zeroizing::new(json.encrypt), Zeroizing::new(json.mac.k), Zeroizing::new(json.mac.r));
    let material = KeyMaterial {
        encrypt: encrypt.as_slice().try_into().map_err(|_| refused())?,
        mac_k: k.as_slice().try_into().map_err(|_| refused())?,
        mac_r: r.as_slice().try_into().map_err(|_| refused())?,
    };
    // A key of zeros seals nothing; restic refuses it too.
    if material.encrypt == [0; 32] || material.mac_k == [0; 16] || material.mac_r == [0; 16] {
        return Err(refused());
    }
    Ok(MasterKey::from_material(material))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn owner() -> KeyOwner {
        let created = jiff::Timestamp::from_second(1_700_000_000).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        KeyOwner { hostname: "host".to_owned(), username: "user".to_owned(), created }
    }

    /// RFC 7914, section 12, the second and third vector.
    #[test]
    fn scrypt_official_vectors() {
        let vectors = [
            (
                ("password", "NaCl", ScryptCost { log_n: 10, r: 8, p: 16 }),
                "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
            ),
            (
                ("pleaseletmein", "SodiumChloride", ScryptCost { log_n: 14, r: 8, p: 1 }),
                "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
            ),
        ];
        for ((password, salt, cost), expected) in vectors {
            let key = cost.derive(&Secret::from(password), salt.as_bytes()).unwrap();
            let material = key.material();
            let derived = [material.encrypt.as_slice(), &material.mac_k, &material.mac_r].concat();
            assert_eq!(hex::encode(derived), expected);
        }
    }

    #[test]
    fn only_the_password_opens() {
        let master = MasterKey::generate().unwrap();
        let password = Secret::from("correct horse");
        let key = KeyFile::seal(&master, &password, &owner(), ScryptCost::FAST_FOR_TESTS).unwrap();
        let key = KeyFile::parse(&key.to_bytes()).unwrap();
        assert!(key.open(&password).unwrap().material() == master.material());
        assert_eq!(key.open(&Secret::from("correct horsf")).unwrap_err(), FormatError::WrongPassword);
        let text = String::from_utf8(key.to_bytes()).unwrap();
        assert!(text.starts_with(
            r#"{"created":"2023-11-14T22:13:20Z","username":"user","hostname":"host","kdf":"scrypt","N":16,"r":8,"p":1,"salt":""#
        ));
    }

    #[test]
    fn parameters_are_refused_before_they_are_used() {
        let master = MasterKey::generate().unwrap();
        let password = Secret::from("x");
        let good = KeyFile::seal(&master, &password, &owner(), ScryptCost::FAST_FOR_TESTS).unwrap();
        for (n, r, p) in [
            (1 << 24, 8, 1),
            (1 << 63, 1, 1),
            (1 << 20, 9, 1),
            (0, 8, 1),
            (1, 8, 1),
            (15, 8, 1),
            (u64::MAX, 8, 1),
            (16, 0, 1),
            (16, 8, 0),
            (2, u32::MAX, 1),
            (2, 1, u32::MAX),
            (1 << 20, 8, 5),
            (1 << 15, 8, 1 << 20),
        ] {
            let hostile = KeyFile { n, r, p, ..good.clone() };
            // `cost` only looks at the parameters; `open` asks it first.
            let error = hostile.cost().unwrap_err();
            assert_eq!(hostile.open(&password).unwrap_err(), error);
            assert!(
                matches!(error, FormatError::Malformed { .. } | FormatError::TooLarge { .. }),
                "{n} {r} {p}: {error}"
            );
        }
        let odd_kdf = KeyFile { kdf: "argon2".to_owned(), ..good.clone() };
        assert!(matches!(odd_kdf.open(&password), Err(FormatError::Unsupported { .. })));
        let short_salt = KeyFile { salt: vec![0; 8], ..good };
        assert!(matches!(short_salt.open(&password), Err(FormatError::Malformed { .. })));
    }

    #[test]
    fn the_reason_never_quotes_the_key() {
        let error = parse_master_key(br#"{"mac":{"k":"c2VjcmV0","r":"c2VjcmV0"},"encrypt":"c2VjcmV0"}"#).unwrap_err();
        assert!(!error.to_string().contains("c2Vj"));
    }
}
