//! A stand-in for Google Cloud Storage, checked by rclone, which asks it through Google's own library for Go.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize};

use super::StandIn;
use crate::certificate::pem;
use crate::process::Ended;

const SCRIPT: &str = include_str!("google.py");
const EMAIL: &str = "tester@project.example";

/// The stand-in at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct GoogleServer {
    /// `http://127.0.0.1:PORT/`.
    pub url: String,
    /// Each folder in it is a bucket.
    pub data_dir: PathBuf,
    /// The credentials file of the one service account that it knows.
    pub credentials: String,
    stand_in: StandIn,
}

impl GoogleServer {
    /// A token that it takes without having given it.
    pub const GIVEN_TOKEN: &'static str = "test-given-token";
    /// The project in which buckets can be made.
    pub const PROJECT: &'static str = "test-project";

    /// Starts one; none when there is no Python.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        let key = match KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048) {
            Ok(key) => key,
            Err(error) => panic!("cannot make the key of a service account: {error}"),
        };
        let prepare = |folder: &Path| std::fs::write(folder.join("account.json"), account_file(&key)?);
        let stand_in = StandIn::start("a stand-in for Google Cloud Storage", SCRIPT, prepare)?;
        let pem = pem("PRIVATE KEY", &key.serialize_der()).replace('\n', "\\n");
        let credentials = format!(
            "{{\"type\":\"service_account\",\"project_id\":\"{}\",\"private_key_id\":\"1\",\"private_key\":\"{pem}\",\
             \"client_email\":\"{EMAIL}\",\"token_uri\":\"{}token\"}}",
            Self::PROJECT,
            stand_in.url()
        );
        Some(Self { url: stand_in.url(), data_dir: stand_in.data_dir.clone(), credentials, stand_in })
    }

    /// Asks for something unusual, as JSON; what there is to ask for is said in the script.
    pub fn control(&self, json: &str) {
        self.stand_in.control(json);
    }

    /// Runs rclone with the remote `cloud` on it; none when that is not installed.
    pub fn rclone(&self, arguments: &[&str]) -> Option<Ended> {
        let endpoint = format!("{}storage/v1/", self.url);
        let settings = [
            ("TYPE", "google cloud storage"),
            ("ENDPOINT", endpoint.as_str()),
            ("SERVICE_ACCOUNT_CREDENTIALS", &self.credentials),
            ("PROJECT_NUMBER", Self::PROJECT),
            ("BUCKET_POLICY_ONLY", "true"),
        ];
        StandIn::rclone(&settings, arguments)
    }
}

/// What the script has to know of the service account.
fn account_file(key: &KeyPair) -> io::Result<String> {
    let (modulus, exponent) = numbers_of(key.der_bytes()).ok_or_else(|| io::Error::other("the key is not RSA"))?;
    Ok(format!(
        "{{\"client_email\":\"{EMAIL}\",\"project_id\":\"{}\",\"modulus\":\"{}\",\"exponent\":\"{}\"}}",
        GoogleServer::PROJECT,
        hex::encode(modulus),
        hex::encode(exponent)
    ))
}

/// Modulus and exponent out of a public key in DER: a sequence of two whole numbers (RFC 8017, A.1.1).
fn numbers_of(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (0x30, inner, _) = element(der)? else { return None };
    let (0x02, modulus, rest) = element(inner)? else { return None };
    let (0x02, exponent, _) = element(rest)? else { return None };
    Some((modulus, exponent))
}

/// The tag of the first element, what is in it, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(*first & 0x7f))?;
        (digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((*tag, inner, rest))
}
