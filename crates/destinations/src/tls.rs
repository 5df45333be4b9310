//! Which certificates are believed: the system's, and those of a PEM file that the user names; or one alone, which the
//! user pinned. And which certificate we show, where a server asks for one.
//!
//! The usual way to run restic's REST server is one self-signed certificate that is also what `--cacert` names, and
//! such a certificate mostly says of itself that it is an authority. The verifier of `rustls` refuses an authority as
//! a server's certificate, so a certificate that is byte for byte one of the file is accepted when nothing but that
//! speaks against it: dates and name still have to be right.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme, SupportedProtocolVersion,
};
use rustls_platform_verifier::Verifier;
use sha2::{Digest as _, Sha256};

use crate::TlsAccess;

/// A PEM file with more than this is not a list of certificates.
const PEM_LIMIT_BYTES: u64 = 16 << 20;

/// The TLS set-up that the user asked for; none where the usual one will do.
pub(crate) fn set_up(tls: &TlsAccess) -> Result<Option<ClientConfig>, String> {
    let TlsAccess { ca_certificate, pinned_certificate, client_certificate, client_key, proxy: _ } = tls;
    let is_usual = ca_certificate.is_none() && pinned_certificate.is_none() && client_certificate.is_none();
    if is_usual && client_key.is_none() { Ok(None) } else { config(tls, rustls::DEFAULT_VERSIONS).map(Some) }
}

/// The TLS set-up that the user asked for, or the usual one, of these versions of TLS.
pub(crate) fn config(tls: &TlsAccess, versions: &[&'static SupportedProtocolVersion]) -> Result<ClientConfig, String> {
    let TlsAccess { ca_certificate, pinned_certificate, client_certificate, client_key, proxy: _ } = tls;
    if client_key.is_some() && client_certificate.is_none() {
        return Err("a client key is of no use without the client certificate that belongs to it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |error: Error| format!("TLS cannot be set up: {error}");
    let rule = match pinned_certificate {
        Some(text) => Rule::Pinned(parse_pin(text)?),
        None => {
            let certificates = ca_certificate.as_deref().map(certificates_of).transpose()?.unwrap_or_default();
            let system = Verifier::new_with_extra_roots(certificates.iter().cloned(), Arc::clone(&provider));
            Rule::Named { system: system.map_err(unusable)?, certificates }
        }
    };
    let verifier = Arc::new(Believed { rule, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(path) = client_certificate else { return Ok(builder.with_no_client_auth()) };
    let key_path = client_key.as_deref().unwrap_or(path);
    let key = PrivateKeyDer::from_pem_slice(&pem_of(key_path)?)
        .map_err(|error| format!("the key file `{}` holds no key: {error}", key_path.display()))?;
    let config = builder.with_client_auth_cert(certificates_of(path)?, key);
    config.map_err(|error| format!("the client certificate `{}` cannot be used: {error}", path.display()))
}

fn pem_of(path: &Path) -> Result<Vec<u8>, String> {
    let named = |why: String| format!("the certificate file `{}` {why}", path.display());
    let unreadable = |error: std::io::Error| named(format!("cannot be read: {error}"));
    if PEM_LIMIT_BYTES < std::fs::metadata(path).map_err(unreadable)?.len() {
        return Err(named("is too long to hold certificates".to_owned()));
    }
    std::fs::read(path).map_err(unreadable)
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = |why: String| format!("the certificate file `{}` {why}", path.display());
    let certificates = CertificateDer::pem_slice_iter(&pem_of(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| named(format!("is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(named("holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// A SHA-256 as `openssl x509 -fingerprint -sha256` shows it, or plainly.
fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
    let mut pin = [0; 32];
    hex::decode_to_slice(digits, &mut pin)
        .map_err(|_| "a pinned certificate is given by its SHA-256, 64 hexadecimal digits".to_owned())?;
    Ok(pin)
}

/// Whether an error says that the two sides cannot agree on TLS: trying again cannot help then.
pub(crate) fn is_about_certificates(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error shows what it carries by `get_ref`, not as its source.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<Error>().or_else(|| carried.and_then(|inner| inner.downcast_ref::<Error>()));
        if let Some(tls) = tls {
            return matches!(
                tls,
                Error::InvalidCertificate(_)
                    | Error::NoCertificatesPresented
                    | Error::UnsupportedNameType
                    | Error::InvalidCertRevocationList(_)
                    | Error::AlertReceived(_)
                    | Error::InvalidMessage(_)
                    | Error::PeerIncompatible(_)
            );
        }
        next = carried.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

/// Which servers are believed.
#[derive(Debug)]
struct Believed {
    rule: Rule,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Rule {
    /// Those that show the certificate with this SHA-256. Who pins one does not ask an authority, and mostly has none.
    Pinned([u8; 32]),
    /// Those that the system believes, with these certificates beside its own.
    Named { system: Verifier, certificates: Vec<CertificateDer<'static>> },
}

/// The server showed another certificate than the pinned one.
#[derive(thiserror::Error)]
#[error("the server shows another certificate than the pinned one, with the SHA-256 {0}")]
struct NotPinned(String);

impl std::fmt::Debug for NotPinned {
    /// In words: this is how `rustls` shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

fn is_pinned(pin: &[u8; 32], end_entity: &CertificateDer<'_>) -> Result<ServerCertVerified, Error> {
    let shown = Sha256::digest(end_entity);
    if shown[..] == *pin {
        return Ok(ServerCertVerified::assertion());
    }
    let not_pinned = OtherError(Arc::new(NotPinned(hex::encode(shown))));
    Err(Error::InvalidCertificate(CertificateError::Other(not_pinned)))
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (system, certificates) = match &self.rule {
            Rule::Pinned(pin) => return is_pinned(pin, end_entity),
            Rule::Named { system, certificates } => (system, certificates),
        };
        let verdict = system.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // Dates are looked at before this one is said (the test with an expired certificate holds us to it), the
            // name is not.
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string().contains("CaUsedAsEndEntity")
                    && certificates.iter().any(|named| named.as_ref() == end_entity.as_ref()) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
