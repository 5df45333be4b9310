//! Certificates for test servers: an authority of its own for each, and a server certificate that is sound or wrong in
//! one chosen way.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use sha2::{Digest as _, Sha256};

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFlaw {
    /// Nothing.
    None,
    /// It ended years ago.
    Expired,
    /// It is for another host.
    WrongHost,
}

/// Where the files of a certificate are.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The authority that a client is to trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The SHA-256 of the server's certificate, in hexadecimal.
    pub fingerprint: String,
    /// The server's key.
    pub key: PathBuf,
    /// A client's certificate, by the same authority.
    pub client_certificate: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
}

/// Makes an authority, a certificate for `127.0.0.1` and `localhost`, and one for a client in `folder`.
///
/// # Errors
/// When a file cannot be written.
pub fn make_certificate(folder: &Path, flaw: CertificateFlaw) -> io::Result<CertificateFiles> {
    let mut authority = CertificateParams::new(Vec::<String>::new()).map_err(io::Error::other)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Triplicate test authority");
    let authority_key = KeyPair::generate().map_err(io::Error::other)?;
    let authority_certificate = authority.self_signed(&authority_key).map_err(io::Error::other)?;

    let hosts = match flaw {
        CertificateFlaw::WrongHost => vec!["elsewhere.invalid".to_owned()],
        CertificateFlaw::None | CertificateFlaw::Expired => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
    };
    let mut server = CertificateParams::new(hosts).map_err(io::Error::other)?;
    server.distinguished_name.push(DnType::CommonName, "Triplicate test server");
    if flaw == CertificateFlaw::Expired {
        server.not_before = date_time_ymd(2001, 1, 1);
        server.not_after = date_time_ymd(2002, 1, 1);
    }
    let server_key = KeyPair::generate().map_err(io::Error::other)?;
    let issuer = Issuer::new(authority, authority_key);
    let server_certificate = server.signed_by(&server_key, &issuer).map_err(io::Error::other)?;

    let mut client = CertificateParams::new(Vec::<String>::new()).map_err(io::Error::other)?;
    client.distinguished_name.push(DnType::CommonName, "Triplicate test client");
    let client_key = KeyPair::generate().map_err(io::Error::other)?;
    let client_certificate = client.signed_by(&client_key, &issuer).map_err(io::Error::other)?;

    let files = CertificateFiles {
        authority: folder.join("authority.pem"),
        certificate: folder.join("certificate.pem"),
        fingerprint: hex::encode(Sha256::digest(server_certificate.der())),
        key: folder.join("key.pem"),
        client_certificate: folder.join("client-certificate.pem"),
        client_key: folder.join("client-key.pem"),
    };
    std::fs::write(&files.authority, pem("CERTIFICATE", authority_certificate.der()))?;
    std::fs::write(&files.certificate, pem("CERTIFICATE", server_certificate.der()))?;
    std::fs::write(&files.key, pem("PRIVATE KEY", &server_key.serialize_der()))?;
    std::fs::write(&files.client_certificate, pem("CERTIFICATE", client_certificate.der()))?;
    std::fs::write(&files.client_key, pem("PRIVATE KEY", &client_key.serialize_der()))?;
    Ok(files)
}

/// RFC 7468's text form: lines of 64.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}
