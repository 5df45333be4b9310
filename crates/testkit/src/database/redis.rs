//! Redis.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TOOL_LIMIT, folder, ran};
use crate::certificate::{CertificateFiles, CertificateFlaw, make_certificate};
use crate::components::{self, only_child};
use crate::process::{Ended, Server, ServerPlan, run};

/// What a test wants of its server.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// TLS alone, and what is wrong with its certificate.
    pub tls: Option<CertificateFlaw>,
}

/// A Redis server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct RedisServer {
    /// Where its programs are.
    pub programs: PathBuf,
    /// The socket in the file system.
    pub socket: PathBuf,
    /// The certificates, with TLS.
    pub certificates: Option<CertificateFiles>,
    /// The process.
    pub server: Server,
}

impl RedisServer {
    /// The password.
    pub const PASSWORD: &'static str = "open sesame";

    /// Starts one; none when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(options: &RedisOptions) -> Option<Self> {
        let installed = components::databases()?;
        match Self::start_installed(&installed, options) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start Redis: {error}"),
        }
    }

    fn start_installed(installed: &Path, options: &RedisOptions) -> io::Result<Self> {
        let folder = folder("triplicate-redis-")?;
        let (programs, socket) = (installed.join("bin"), folder.join("socket"));
        let certificates = options.tls.map(|flaw| make_certificate(&folder, flaw)).transpose()?;
        let mut fixed: Vec<OsString> =
            ["--bind", "127.0.0.1", "--requirepass", Self::PASSWORD].map(OsString::from).into();
        fixed.extend(["--unixsocket".into(), socket.clone().into(), "--dir".into(), folder.clone().into()]);
        fixed.extend(["--save", "", "--repl-diskless-sync-delay", "0"].map(OsString::from));
        if let Some(files) = &certificates {
            fixed.extend(["--tls-auth-clients", "no", "--tls-cert-file"].map(OsString::from));
            fixed.extend([files.certificate.clone().into(), "--tls-key-file".into(), files.key.clone().into()]);
            fixed.extend(["--tls-ca-cert-file".into(), files.authority.clone().into()]);
        }
        let has_tls = certificates.is_some();
        let arguments = move |port: u16| {
            let listen = match has_tls {
                true => ["--port".into(), "0".into(), "--tls-port".into(), port.to_string().into()].to_vec(),
                false => vec!["--port".into(), OsString::from(port.to_string())],
            };
            fixed.iter().cloned().chain(listen).collect()
        };
        let program = programs.join("redis-server");
        let plan = ServerPlan { name: "redis-server", program, arguments: Box::new(arguments), folder };
        Ok(Self { programs, socket, certificates, server: Server::start(plan)? })
    }

    /// What Redis's own tool says of a file.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn check_file(&self, file: &Path) -> Ended {
        let rootfs = self.programs.with_file_name("rootfs");
        let libraries = only_child(&rootfs.join("usr/lib"), |folder| folder.join("libssl.so.3").exists());
        let mut tool = Command::new(rootfs.join("usr/bin/redis-check-rdb"));
        match libraries.and_then(|folder| run(tool.env("LD_LIBRARY_PATH", folder).arg(file), TOOL_LIMIT)) {
            Ok(ended) => ended,
            Err(error) => panic!("cannot run redis-check-rdb: {error}"),
        }
    }

    /// Sends a command, and gives the answer as `redis-cli` shows it to programs.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        let mut client = Command::new(self.programs.join("redis-cli"));
        client.env("REDISCLI_AUTH", Self::PASSWORD).arg("-e").arg("-s").arg(&self.socket).args(words);
        ran(&mut client).text().trim_end_matches('\n').to_owned()
    }
}
