//! The servers, each with the same users, over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::raw_http::Door;
use testkit::store_server::{Account, StoreServer, StoreServerOptions};
use testkit::{CertificateFlaw, RcloneServer, RestServer, RestServerOptions, components};

/// How many clock ticks of `/proc/PID/stat` are a second: the same on every Linux that we know of.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerKind {
    Store,
    RestServer,
    Rclone,
}

impl ServerKind {
    pub(super) const ALL: [Self; 3] = [Self::Store, Self::RestServer, Self::Rclone];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::RestServer => "rest-server",
            Self::Rclone => "rclone",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == word);
        found.ok_or_else(|| format!("`{word}` is no server: store, rest-server or rclone"))
    }
}

/// What stops a server when it is let go.
enum Held {
    Store(StoreServer),
    RestServer(RestServer),
    Rclone(RcloneServer),
}

/// A server at work.
pub(super) struct Running {
    pub(super) kind: ServerKind,
    pub(super) version: String,
    pub(super) door: Door,
    pub(super) users: Vec<(String, String)>,
    pub(super) authority: PathBuf,
    held: Held,
}

impl Running {
    pub(super) fn start(kind: ServerKind, accounts: usize, binary: &Path) -> Result<Self, String> {
        let users: Vec<(String, String)> =
            (0..accounts).map(|number| (format!("account{number}"), format!("password-{number}"))).collect();
        let missing = || format!("{} is not installed; scripts/components installs it", kind.name());
        let (version, port, authority, held) = match kind {
            ServerKind::Store => {
                let accounts = users.iter().map(|(name, password)| Account::append(name, password)).collect();
                let server =
                    StoreServer::start(binary, &StoreServerOptions { accounts, ..StoreServerOptions::default() });
                let authority = server.ca_file.clone().unwrap_or_default();
                (first_line(binary, "version"), server.server.port(), authority, Held::Store(server))
            }
            ServerKind::RestServer => {
                let options = RestServerOptions {
                    users: users.clone(),
                    tls: Some(CertificateFlaw::None),
                    private_repositories: true,
                    append_only: true,
                    quota_bytes: None,
                };
                let server = RestServer::start(&options).ok_or_else(missing)?;
                let program = components::rest_server().unwrap_or_default();
                let authority = server.ca_file.clone().unwrap_or_default();
                (first_line(&program, "--version"), server.server.port(), authority, Held::RestServer(server))
            }
            ServerKind::Rclone => {
                let server = RcloneServer::start(&users).ok_or_else(missing)?;
                let program = components::rclone().unwrap_or_default();
                let authority = server.ca_file.clone();
                (first_line(&program, "version"), server.server.port(), authority, Held::Rclone(server))
            }
        };
        let door = Door::tls(port, &authority);
        Ok(Self { kind, version, door, users, authority, held })
    }

    fn pid(&self) -> u32 {
        match &self.held {
            Held::Store(server) => server.server.pid(),
            Held::RestServer(server) => server.server.pid(),
            Held::Rclone(server) => server.server.pid(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        match &self.held {
            Held::Store(server) => server.server.port(),
            Held::RestServer(server) => server.server.port(),
            Held::Rclone(server) => server.server.port(),
        }
    }

    /// User and system, of all its threads, since it started.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The name in parentheses may hold blanks; fields 14 and 15 are the 12th and 13th behind it.
        let fields: Vec<f64> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
        fields.get(11..13).map_or(f64::NAN, |ticks| ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    pub(super) fn peak_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
    }
}

/// How many processes want to run, on the average of the last minute.
pub(super) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

fn first_line(program: &Path, word: &str) -> String {
    let output = Command::new(program).arg(word).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
}
