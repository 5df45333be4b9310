//! A server of restic's REST protocol that a test talks to: ours, or restic's own as the reference.

use format::FileKind;
use testkit::raw_http::Door;
use testkit::{CertificateFlaw, RestServer, RestServerOptions};

/// The account that every test has.
pub const ALICE: (&str, &str) = ("alice", "open sesame");
/// Somebody else.
pub const BOB: (&str, &str) = ("bob", "another password");

/// A server at work.
pub struct Peer {
    pub name: &'static str,
    pub door: Door,
    /// What stops it when it is dropped.
    _held: Box<dyn std::any::Any>,
}

impl Peer {
    pub fn new(name: &'static str, door: Door, held: impl std::any::Any) -> Self {
        Self { name, door, _held: Box::new(held) }
    }

    /// restic's own server; none when it is not installed.
    pub fn reference() -> Option<Self> {
        let users = [ALICE, BOB].map(|(user, password)| (user.to_owned(), password.to_owned())).to_vec();
        let options = RestServerOptions {
            users,
            tls: Some(CertificateFlaw::None),
            private_repositories: true,
            ..RestServerOptions::default()
        };
        let server = RestServer::start(&options)?;
        let door = Door::tls(server.server.port(), server.ca_file.as_deref().unwrap());
        Some(Self::new("rest-server", door, server))
    }
}

/// The address of a file, and its name: the hash of its bytes.
pub fn address(repository: &str, kind: FileKind, bytes: &[u8]) -> String {
    match kind {
        FileKind::Config => format!("{repository}config"),
        _ => format!("{repository}{}/{}", kind.folder(), format::hash(bytes).to_hex()),
    }
}
