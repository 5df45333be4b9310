//! Which certificates are believed: the system's, and those of a PEM file that the user names.
//!
//! The usual way to run restic's REST server is one self-signed certificate that is also what `--cacert` names, and
//! such a certificate mostly says of itself that it is an authority. The verifier of `rustls` refuses an authority as
//! a server's certificate, so a certificate that is byte for byte one of the file is accepted when nothing but that
//! speaks against it: dates and name still have to be right.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// A PEM file with more than this is not a list of certificates.
const PEM_LIMIT_BYTES: u64 = 16 << 20;

/// A TLS set-up that trusts the system's certificates and those of the file.
pub(crate) fn with_certificates_of(path: &Path) -> Result<ClientConfig, String> {
    let named = |why: String| format!("the certificate file `{}` {why}", path.display());
    let is_too_long =
        std::fs::metadata(path).map_err(|error| named(format!("cannot be read: {error}")))?.len().gt(&PEM_LIMIT_BYTES);
    if is_too_long {
        return Err(named("is too long to hold certificates".to_owned()));
    }
    let pem = std::fs::read(path).map_err(|error| named(format!("cannot be read: {error}")))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| named(format!("is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(named("holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let system = Verifier::new_with_extra_roots(certificates.iter().cloned(), Arc::clone(&provider))
        .map_err(|error| named(format!("cannot be used: {error}")))?;
    let verifier = Arc::new(NamedCertificates { system, certificates });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| named(format!("cannot be used: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
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

#[derive(Debug)]
struct NamedCertificates {
    system: Verifier,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.system.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // Dates are looked at before this one is said (the test with an expired certificate holds us to it), the
            // name is not.
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string().contains("CaUsedAsEndEntity")
                    && self.certificates.iter().any(|named| named.as_ref() == end_entity.as_ref()) =>
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
        self.system.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.system.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.system.supported_verify_schemes()
    }
}
