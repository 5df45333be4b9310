//! A stand-in for Dropbox, of which no package registry has a server: a script that follows the documentation of
//! Dropbox's HTTP interface, checked by Dropbox's own client library for Python where that is installed.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::certificate::{CertificateFiles, CertificateFlaw, make_certificate};
use crate::components;
use crate::process::{Ended, Server, ServerPlan, run};

const SERVER: &str = include_str!("server.py");
const OFFICIAL_CLIENT: &str = include_str!("official_client.py");
const CLIENT_LIMIT_SECONDS: u64 = 120;

/// The stand-in at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct DropboxServer {
    /// `http://127.0.0.1:PORT/`, or `https` with certificates.
    pub url: String,
    /// The certificates, with TLS.
    pub certificates: Option<CertificateFiles>,
    /// The folder on disk that is the top of the Dropbox.
    pub data_dir: PathBuf,
    /// The process: to freeze, kill and start again. Tokens and cursors do not survive that.
    pub server: Server,
}

impl DropboxServer {
    /// The key of the one application that it knows.
    pub const APP_KEY: &'static str = "test-app-key";
    /// That application's secret, which a client may leave out.
    pub const APP_SECRET: &'static str = "test-app-secret";
    /// The refresh token that it takes.
    pub const REFRESH_TOKEN: &'static str = "test-refresh-token";

    /// Starts one; none when there is no Python.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(with_tls: bool) -> Option<Self> {
        let program = components::python()?;
        match Self::start_program(program, with_tls) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start the stand-in for Dropbox: {error}"),
        }
    }

    fn start_program(program: PathBuf, with_tls: bool) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-dropbox-").tempdir()?.keep();
        let data_dir = folder.join("data");
        std::fs::create_dir(&data_dir)?;
        let script = folder.join("server.py");
        std::fs::write(&script, SERVER)?;
        let certificates = with_tls.then(|| make_certificate(&folder, CertificateFlaw::None)).transpose()?;
        let mut more: Vec<OsString> = vec![data_dir.clone().into()];
        if let Some(files) = &certificates {
            more.extend([files.certificate.clone().into(), files.key.clone().into()]);
        }
        let arguments = move |port: u16| {
            let first: [OsString; 3] = ["-I".into(), script.clone().into(), port.to_string().into()];
            first.into_iter().chain(more.iter().cloned()).collect()
        };
        let plan = ServerPlan { name: "a stand-in for Dropbox", program, arguments: Box::new(arguments), folder };
        let server = Server::start(plan)?;
        let scheme = if with_tls { "https" } else { "http" };
        Ok(Self { url: format!("{scheme}://127.0.0.1:{}/", server.port()), certificates, data_dir, server })
    }

    /// Asks for something unusual, as JSON; what there is to ask for is said in the script.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn control(&self, json: &str) {
        let file = self.server.folder().join("control");
        let new = file.with_extension("next");
        let written = std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, &file));
        assert!(written.is_ok(), "cannot write {}", file.display());
    }

    /// Runs Dropbox's own client library against it, which needs TLS; none when that is not installed.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn official_client(&self) -> Option<Ended> {
        let library = components::dropbox_library()?;
        let python = components::python()?;
        let authority = self.certificates.as_ref().map(|files| files.authority.clone()).unwrap_or_default();
        let script = self.server.folder().join("official_client.py");
        let host = format!("127.0.0.1:{}", self.server.port());
        let mut command = Command::new(python);
        // What this machine's environment says about authorities counts for the library more than what it is told.
        command.arg(&script).arg(&authority).env("REQUESTS_CA_BUNDLE", &authority).env("NO_PROXY", "127.0.0.1");
        command.env("PYTHONPATH", library).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("DROPBOX_API_HOST", &host).env("DROPBOX_API_CONTENT_HOST", &host);
        let ended = std::fs::write(&script, OFFICIAL_CLIENT)
            .and_then(|()| run(&mut command, Duration::from_secs(CLIENT_LIMIT_SECONDS)));
        match ended {
            Ok(ended) => Some(ended),
            Err(error) => panic!("cannot run Dropbox's own client: {error}"),
        }
    }
}
