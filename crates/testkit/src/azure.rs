//! Azurite, Microsoft's own emulator of Azure's blob storage, on a free loopback port.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::components;
use crate::process::{Server, ServerPlan};
use crate::raw_http::{Door, Request};

/// Azurite at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct AzureServer {
    /// Where the account's blobs are: `http://127.0.0.1:PORT/ACCOUNT`.
    pub endpoint: String,
    /// The process: to freeze, kill and start again.
    pub server: Server,
}

impl AzureServer {
    /// The one account that it knows, as its manual has it.
    pub const ACCOUNT: &'static str = "devstoreaccount1";
    /// That account's key, which is in the manual too.
    pub const KEY: &'static str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    /// A signature for everything, made with that key and good until the year 2100.
    pub const ALL_SAS: &'static str = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2100-01-01T00%3A00%3A00Z\
                                       &spr=https%2Chttp&sig=c6qd5vdZbKqXsJKFMbfWj8puY7sv9%2FqKKWddooCZhcw%3D";
    /// One for reading and listing alone.
    pub const READ_SAS: &'static str = "sv=2021-12-02&ss=b&srt=sco&sp=rl&se=2100-01-01T00%3A00%3A00Z\
                                        &spr=https%2Chttp&sig=067Ef%2FcztFcbHab7wlSvvk9mFW9uv56aofhhO7LPNwo%3D";
    /// One for reading, listing and new blobs: what is there is not written over.
    pub const CREATE_SAS: &'static str = "sv=2021-12-02&ss=b&srt=sco&sp=rcl&se=2100-01-01T00%3A00%3A00Z\
                                          &spr=https%2Chttp&sig=Npbv3U0hD%2B41zuH%2BZdPCiGm%2FkjPOCv%2BVaqCo3x56t5A%3D";
    /// One for everything but removing.
    pub const KEEP_SAS: &'static str = "sv=2021-12-02&ss=b&srt=sco&sp=rwlc&se=2100-01-01T00%3A00%3A00Z\
                                        &spr=https%2Chttp&sig=Eu%2BRxqdTZWIqIBj7lFJ89WrWGoWYyMtQ5ImzH1SMms4%3D";

    /// Starts one; none when it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        let node = components::node()?;
        let azurite = components::azurite()?;
        match Self::start_program(node, azurite) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start Azurite: {error}"),
        }
    }

    fn start_program(program: PathBuf, script: PathBuf) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-azurite-").tempdir()?.keep();
        let data = folder.join("data");
        std::fs::create_dir(&data)?;
        let arguments = move |port: u16| {
            let mut words: Vec<OsString> = vec![script.clone().into(), "--blobPort".into(), port.to_string().into()];
            words.extend(["--location".into(), data.clone().into(), "--silent".into(), "--disableTelemetry".into()]);
            words
        };
        let plan = ServerPlan { name: "Azurite", program, arguments: Box::new(arguments), folder };
        let server = Server::start(plan)?;
        Ok(Self { endpoint: format!("http://127.0.0.1:{}/{}", server.port(), Self::ACCOUNT), server })
    }

    /// Puts bytes under a name, behind the back of the client under test; panics when they are not taken.
    pub fn planter(&self, container: &str) -> impl Fn(&str, &[u8]) + use<> {
        let (port, container) = (self.server.port(), container.to_owned());
        move |key, bytes| plant(port, &container, key, bytes)
    }
}

fn plant(port: u16, container: &str, key: &str, bytes: &[u8]) {
    let escaped: String = key.bytes().map(escaped).collect();
    let target = format!("/{}/{container}/{escaped}?{}", AzureServer::ACCOUNT, AzureServer::ALL_SAS);
    let request = Request::new("PUT", target).body(bytes).header("x-ms-blob-type", "BlockBlob");
    let status = Door::plain(port).ask(&request).map(|answer| answer.status);
    assert!(matches!(status, Ok(201)), "cannot put `{key}`: {status:?}");
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
