//! Values that must not reach argv, logs, `Debug` output, error texts or world-readable files.

pub use secrecy::ExposeSecret;

/// A passphrase, token or password. `Debug` shows `[REDACTED]`, memory is wiped on drop, and every place that
/// reads the value says so by calling `expose_secret`.
pub type Secret = secrecy::SecretString;
