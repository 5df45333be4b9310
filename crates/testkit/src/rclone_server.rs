//! rclone as a server of restic's REST protocol: TLS, a password file, a folder for each user.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::certificate::{CertificateFlaw, make_certificate};
use crate::components;
use crate::process::{Server, ServerPlan};
use crate::rest_server::password_lines;

/// An rclone at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct RcloneServer {
    /// The authority to trust.
    pub ca_file: PathBuf,
    /// The folder with the repositories: `USER/REPOSITORY`.
    pub data_dir: PathBuf,
    /// The process.
    pub server: Server,
}

impl RcloneServer {
    /// Starts one that these users may log in to; none when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(users: &[(String, String)]) -> Option<Self> {
        let program = components::rclone()?;
        match Self::start_program(program, users) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start rclone: {error}"),
        }
    }

    fn start_program(program: PathBuf, users: &[(String, String)]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-rclone-").tempdir()?.keep();
        let data_dir = folder.join("data");
        std::fs::create_dir(&data_dir)?;
        let passwords = folder.join("passwords");
        std::fs::write(&passwords, password_lines(users)?)?;
        let files = make_certificate(&folder, CertificateFlaw::None)?;
        // An own, empty configuration: the developer's must not count.
        let configuration = folder.join("rclone.conf");
        std::fs::write(&configuration, "")?;
        let arguments: Vec<OsString> = vec![
            "serve".into(),
            "restic".into(),
            "--config".into(),
            configuration.into(),
            "--private-repos".into(),
            "--htpasswd".into(),
            passwords.into(),
            "--cert".into(),
            files.certificate.into(),
            "--key".into(),
            files.key.into(),
        ];
        let place: OsString = data_dir.clone().into();
        let plan = ServerPlan {
            name: "rclone",
            program,
            arguments: Box::new(move |port| {
                let listen: [OsString; 3] = ["--addr".into(), format!("127.0.0.1:{port}").into(), place.clone()];
                arguments.iter().cloned().chain(listen).collect()
            }),
            folder,
        };
        Ok(Self { ca_file: files.authority, data_dir, server: Server::start(plan)? })
    }
}
