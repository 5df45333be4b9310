//! TLS, with a certificate that can be renewed while the server runs.
//!
//! Version 1.3 only: every client of this protocol knows it, and what is not spoken cannot be attacked. HTTP/1.1 is the
//! one protocol offered inside.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::StoreError;

/// Where certificate and key are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key; may be the same file.
    pub key: PathBuf,
}

/// What a file was like when it was read.
type Mark = Option<(u64, u64, i64, i64, u64)>;

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    in_use: RwLock<(Arc<ServerConfig>, [Mark; 2])>,
}

/// What became of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Unchanged,
    Renewed,
    /// The old one stays in use.
    Refused(String),
}

impl Certificate {
    pub(super) fn read(files: TlsFiles) -> Result<Self, StoreError> {
        // Marked before they are read: a change in between is seen at the next look.
        let marks = marks(&files);
        let config = config(&files)?;
        Ok(Self { files, in_use: RwLock::new((config, marks)) })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&in_use.0))
    }

    /// Reads the files again when they have changed, or in any case. Blocks.
    pub(super) fn renew(&self, in_any_case: bool) -> Renewal {
        let now = marks(&self.files);
        let is_unchanged = self.in_use.read().unwrap_or_else(PoisonError::into_inner).1 == now;
        if is_unchanged && !in_any_case {
            return Renewal::Unchanged;
        }
        let config = config(&self.files);
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        // Also when it is refused: it is told once, and tried again when something changes.
        in_use.1 = now;
        match config {
            Ok(config) => {
                in_use.0 = config;
                Renewal::Renewed
            }
            Err(error) => Renewal::Refused(error.to_string()),
        }
    }
}

fn marks(files: &TlsFiles) -> [Mark; 2] {
    [&files.certificate, &files.key].map(|path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.dev(), facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.size()))
    })
}

fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, StoreError> {
    let refused = |path: &Path, reason: String| StoreError::Certificate { path: path.to_owned(), reason };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| refused(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(refused(&files.certificate, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refused(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| refused(&files.certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refused(&files.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{CertificateFlaw, make_certificate};

    #[test]
    fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let made = make_certificate(folder.path(), CertificateFlaw::None).unwrap();
        let files = TlsFiles { certificate: made.certificate.clone(), key: made.key.clone() };
        let certificate = Certificate::read(files.clone()).unwrap();
        assert_eq!(certificate.renew(false), Renewal::Unchanged);
        std::fs::write(&made.key, "no key").unwrap();
        assert!(matches!(certificate.renew(false), Renewal::Refused(reason) if reason.contains("key.pem")));
        assert_eq!(certificate.renew(false), Renewal::Unchanged);
        make_certificate(folder.path(), CertificateFlaw::None).unwrap();
        assert_eq!(certificate.renew(false), Renewal::Renewed);
        std::fs::remove_file(&made.certificate).unwrap();
        assert!(matches!(Certificate::read(files), Err(StoreError::Certificate { .. })));
    }
}
