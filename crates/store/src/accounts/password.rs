//! Passwords and what is kept of them.
//!
//! New ones are kept as Argon2id with parameters that cost an attacker 19 MiB for each guess. Hashes that come from
//! an htpasswd file are bcrypt and stay so, for nobody knows their passwords.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{ExposeSecret, Secret};
use subtle::ConstantTimeEq;

/// What each check of a password takes of memory, while it runs.
pub const HASHING_MEMORY_KIB: u32 = 19 << 10;
const HASHING_PASSES: u32 = 2;
const SALT_BYTES: usize = 16;
/// A generated password: more than anybody can try, and short enough to be copied.
const GENERATED_BYTES: usize = 24;
/// A chosen password that is shorter is guessed in spite of everything.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// Nobody types more, and hashing takes time with each byte.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Each step doubles the time of a check: with more, a few wrong passwords would keep a processor for seconds.
const BCRYPT_COST_MAX: u32 = 14;
const BCRYPT_CHARACTERS: usize = 60;
/// How an Argon2id hash begins.
const ARGON_MARK: &str = "$argon2id$";

/// What is kept of a password. It does not show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Why a text is no password, or no hash of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// Easily guessed.
    #[error("a password has at least {PASSWORD_CHARACTERS_MIN} characters")]
    Short,
    /// Nobody types it.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    Long,
    /// Clients send it in one line of a header.
    #[error("a password has no control characters")]
    Control,
    /// Another scheme than bcrypt in an htpasswd file.
    #[error("only bcrypt hashes are taken (`htpasswd -B`)")]
    Scheme,
    /// Not a hash as bcrypt writes them.
    #[error("this is no whole bcrypt hash")]
    Malformed,
    /// A bcrypt hash that takes too long to check.
    #[error("a bcrypt hash has a cost of at most {BCRYPT_COST_MAX}")]
    Cost,
    /// The system has no random bytes, or no memory.
    #[error("the password could not be hashed")]
    Failed,
}

/// A new password that nobody has to think of.
pub fn generated() -> Result<Secret, Unsuitable> {
    let mut bytes = [0; GENERATED_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| Unsuitable::Failed)?;
    Ok(Secret::from(URL_SAFE_NO_PAD.encode(bytes)))
}

fn argon() -> Result<Argon2<'static>, Unsuitable> {
    let params = Params::new(HASHING_MEMORY_KIB, HASHING_PASSES, 1, None).map_err(|_| Unsuitable::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The memory of checks that are done, for the next ones. Given back, it stays with the allocator, in a piece for each of
/// the many threads that ever check a password.
static CHECKING_MEMORY: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());
/// As many as are checked side by side, without those that commands make.
const CHECKING_MEMORIES_MAX: usize = 2;

fn checking_memory() -> Vec<Block> {
    CHECKING_MEMORY.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn keep_checking_memory(memory: Vec<Block>) {
    let mut kept = CHECKING_MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < CHECKING_MEMORIES_MAX {
        kept.push(memory);
    }
}

/// Whether a hash is of this password; nothing for a hash that cannot be checked.
fn is_argon_of(hash: &phc::PasswordHash, password: &[u8]) -> Option<bool> {
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::try_from(hash).ok()?);
    let mut memory = checking_memory();
    memory.resize(argon.params().block_count(), Block::default());
    let mut output = vec![0; expected.len()];
    let hashed = argon.hash_password_into_with_memory(password, salt.as_ref(), &mut output, &mut memory);
    keep_checking_memory(memory);
    hashed.ok()?;
    Some(output.ct_eq(expected.as_bytes()).into())
}

impl PasswordHash {
    /// Hashes a password that somebody chose or that was [`generated`].
    pub fn of(password: &Secret) -> Result<Self, Unsuitable> {
        let text = password.expose_secret();
        if text.chars().count() < PASSWORD_CHARACTERS_MIN {
            return Err(Unsuitable::Short);
        }
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(Unsuitable::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(Unsuitable::Control);
        }
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| Unsuitable::Failed)?;
        let hash: phc::PasswordHash =
            argon()?.hash_password_with_salt(text.as_bytes(), &salt).map_err(|_| Unsuitable::Failed)?;
        Ok(Self(hash.to_string()))
    }

    /// A hash from an htpasswd file.
    pub fn imported(text: &str) -> Result<Self, Unsuitable> {
        if !["$2y$", "$2b$", "$2a$"].iter().any(|mark| text.starts_with(mark)) {
            return Err(Unsuitable::Scheme);
        }
        let parts: bcrypt::HashParts =
            if text.len() == BCRYPT_CHARACTERS { text.parse().ok() } else { None }.ok_or(Unsuitable::Malformed)?;
        if parts.get_cost() > BCRYPT_COST_MAX { Err(Unsuitable::Cost) } else { Ok(Self(text.to_owned())) }
    }

    /// A hash as it was kept; nothing when it is none.
    pub(crate) fn kept(text: String) -> Option<Self> {
        let is_one = match text.starts_with(ARGON_MARK) {
            true => phc::PasswordHash::new(&text).is_ok(),
            false => Self::imported(&text).is_ok(),
        };
        is_one.then_some(Self(text))
    }

    /// One that no password has, for logins that do not exist: the same work, and never a success.
    pub(crate) fn of_nobody() -> Result<Self, Unsuitable> {
        Self::of(&generated()?)
    }

    /// As it is kept. Whoever calls this writes it to the state and nowhere else.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is the password. Takes tens of milliseconds of a processor and [`HASHING_MEMORY_KIB`].
    pub fn is_of(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        if !self.0.starts_with(ARGON_MARK) {
            return bcrypt::verify(password, &self.0).unwrap_or(false);
        }
        let Ok(hash) = phc::PasswordHash::new(&self.0) else { return false };
        is_argon_of(&hash, password).unwrap_or(false)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let password = generated().unwrap();
        let hash = PasswordHash::of(&password).unwrap();
        assert!(hash.is_of(password.expose_secret().as_bytes()));
        assert!(!hash.is_of(b"") && !hash.is_of(b"another password"));
        assert_eq!(PasswordHash::kept(hash.text().to_owned()), Some(hash.clone()));
        assert_ne!(PasswordHash::of(&password).unwrap(), hash, "each has a salt of its own");
        assert!(!format!("{hash:?}").contains("argon"));
    }

    #[test]
    fn bcrypt_is_taken_from_a_file() {
        let text = bcrypt::hash("the old password", 4).unwrap();
        let hash = PasswordHash::imported(&text).unwrap();
        assert!(hash.is_of(b"the old password") && !hash.is_of(b"the new password"));
        assert!(!format!("{hash:?}").contains(&text));
        assert_eq!(PasswordHash::imported("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), Err(Unsuitable::Scheme));
        assert_eq!(PasswordHash::imported("secret"), Err(Unsuitable::Scheme));
        assert_eq!(PasswordHash::imported(&text[..59]), Err(Unsuitable::Malformed));
        assert_eq!(PasswordHash::imported(&text.replace("$04$", "$31$")), Err(Unsuitable::Cost));
    }

    #[test]
    fn passwords_that_are_none() {
        for (text, why) in [
            ("", Unsuitable::Short),
            ("1234567", Unsuitable::Short),
            ("a password\nof two lines", Unsuitable::Control),
            (&"x".repeat(PASSWORD_BYTES_MAX + 1), Unsuitable::Long),
        ] {
            assert_eq!(PasswordHash::of(&Secret::from(text)), Err(why));
        }
    }
}
