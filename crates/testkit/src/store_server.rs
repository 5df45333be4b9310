//! The product's own storage server, run as the program that ships: TLS with an authority of its own, accounts made by
//! its own commands.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificate::{CertificateFiles, CertificateFlaw, make_certificate};
use crate::process::{Ended, Server, ServerPlan, run};
use crate::raw_http::Door;

/// How long one call of the program may take.
const CALL_LIMIT_SECONDS: u64 = 120;

/// A credential that a test logs in with, and the account that it belongs to.
#[derive(Debug, Clone)]
pub struct Account {
    /// The account's name.
    pub name: String,
    /// Which of its credentials; none is the account's first.
    pub label: Option<String>,
    /// The password.
    pub password: String,
    /// `read`, `append` or `full`.
    pub role: &'static str,
    /// More words for the command that makes it: quotas, limits, the minimum age.
    pub options: Vec<String>,
}

impl Account {
    /// An account whose first credential has this role. Files may be removed at once.
    pub fn new(name: &str, password: &str, role: &'static str) -> Self {
        let options = ["--minimum-age", "0"].map(str::to_owned).to_vec();
        Self { name: name.to_owned(), label: None, password: password.to_owned(), role, options }
    }

    /// The same that may only add.
    pub fn append(name: &str, password: &str) -> Self {
        Self::new(name, password, "append")
    }

    /// One more credential of an account that was named before.
    pub fn credential(name: &str, label: &str, password: &str, role: &'static str) -> Self {
        Self { label: Some(label.to_owned()), options: Vec::new(), ..Self::new(name, password, role) }
    }

    /// With other options for the command that makes it.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self
    }

    /// What a client writes as its user name.
    pub fn login(&self) -> String {
        self.label.as_ref().map_or_else(|| self.name.clone(), |label| format!("{}+{label}", self.name))
    }
}

/// What a test wants of its server.
#[derive(Debug, Clone)]
pub struct StoreServerOptions {
    /// Accounts and their credentials, in the order in which they are made.
    pub accounts: Vec<Account>,
    /// TLS; plain HTTP otherwise.
    pub tls: bool,
    /// More words for `store serve`.
    pub serve: Vec<String>,
}

impl Default for StoreServerOptions {
    /// TLS and one account that may do everything.
    fn default() -> Self {
        Self { accounts: vec![Account::new("alice", "open sesame", "full")], tls: true, serve: Vec::new() }
    }
}

/// A store on the disk, and the program that serves it.
#[derive(Debug, Clone)]
pub struct StoreGround {
    /// The program.
    pub binary: PathBuf,
    /// Everything of this store: data, certificates, passwords, the log.
    pub folder: PathBuf,
    certificates: Option<CertificateFiles>,
    serve: Vec<String>,
}

impl StoreGround {
    /// Makes the store and its accounts in a new folder, which whoever calls removes.
    ///
    /// # Errors
    /// When a command of the program fails.
    pub fn make(binary: &Path, options: &StoreServerOptions) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-store-").tempdir()?.keep();
        let certificates = options.tls.then(|| make_certificate(&folder, CertificateFlaw::None)).transpose()?;
        let ground = Self { binary: binary.to_path_buf(), folder, certificates, serve: options.serve.clone() };
        ground.ok(&["init"])?;
        for account in &options.accounts {
            ground.add(account)?;
        }
        Ok(ground)
    }

    /// The folder that the program serves.
    pub fn data(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// The folder with the accounts' folders.
    pub fn repositories(&self) -> PathBuf {
        self.data().join("repositories")
    }

    /// The authority to trust, with TLS.
    pub fn authority(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|files| files.authority.as_path())
    }

    /// The way to a server of this store on that port.
    pub fn door(&self, port: u16) -> Door {
        self.authority().map_or_else(|| Door::plain(port), |authority| Door::tls(port, authority))
    }

    /// `triplicate store WORDS`, on this store.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("store").args(words).env("TRIPLICATE_STORE", self.data()).env("HOME", &self.folder);
        command.env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
        command
    }

    /// Runs `triplicate store WORDS`, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn call(&self, words: &[&str]) -> io::Result<Ended> {
        run(&mut self.command(words), Duration::from_secs(CALL_LIMIT_SECONDS))
    }

    /// Runs it; it must succeed.
    ///
    /// # Errors
    /// When it does not, with what it said.
    pub fn ok(&self, words: &[&str]) -> io::Result<Ended> {
        let ended = self.call(words)?;
        match ended.code {
            Some(0) => Ok(ended),
            code => Err(io::Error::other(format!("`store {words:?}` ended with {code:?}: {}", ended.errors))),
        }
    }

    /// Makes an account or one more credential of one.
    ///
    /// # Errors
    /// When the program refuses.
    pub fn add(&self, account: &Account) -> io::Result<()> {
        let file = self.folder.join("password");
        std::fs::write(&file, &account.password)?;
        let file = file.to_string_lossy().into_owned();
        let mut words = match &account.label {
            None => vec!["account", "add", &account.name],
            Some(label) => vec!["credential", "add", &account.name, "--label", label],
        };
        words.extend(["--role", account.role, "--password-file", &file]);
        words.extend(account.options.iter().map(String::as_str));
        self.ok(&words).map(drop)
    }

    /// The words that serve it on this port, for those who start the program themselves.
    pub fn serve_words(&self, port: u16) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["store".into(), "serve".into(), "--data".into(), self.data().into()];
        words.extend(["--listen".into(), format!("127.0.0.1:{port}").into()]);
        if let Some(files) = &self.certificates {
            words.extend(["--tls-certificate".into(), files.certificate.clone().into()]);
            words.extend(["--tls-key".into(), files.key.clone().into()]);
        }
        words.extend(self.serve.iter().map(OsString::from));
        words
    }
}

/// A storage server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct StoreServer {
    /// `https://127.0.0.1:PORT/`, without credentials.
    pub url: String,
    /// The authority to trust, with TLS.
    pub ca_file: Option<PathBuf>,
    /// The store itself, to call its commands.
    pub ground: StoreGround,
    /// The process: to freeze, kill and start again.
    pub server: Server,
}

impl StoreServer {
    /// Makes a store and serves it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(binary: &Path, options: &StoreServerOptions) -> Self {
        match StoreGround::make(binary, options).and_then(Self::serve) {
            Ok(server) => server,
            Err(error) => panic!("cannot start the storage server: {error}"),
        }
    }

    /// Serves a store that was made before.
    ///
    /// # Errors
    /// When it does not start.
    pub fn serve(ground: StoreGround) -> io::Result<Self> {
        let words = ground.clone();
        let plan = ServerPlan {
            name: "triplicate store",
            program: ground.binary.clone(),
            arguments: Box::new(move |port| words.serve_words(port)),
            folder: ground.folder.clone(),
        };
        let server = Server::start(plan)?;
        let scheme = if ground.authority().is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}/", server.port());
        Ok(Self { url, ca_file: ground.authority().map(Path::to_path_buf), ground, server })
    }

    /// The way to it.
    pub fn door(&self) -> Door {
        self.ground.door(self.server.port())
    }

    /// The repository at `path` for `-r`, with credentials in it.
    pub fn repository(&self, login: &str, password: &str, path: &str) -> String {
        let encoded = |text: &str| crate::rest_server::percent_encoded(text);
        let url = self.url.replacen("://", &format!("://{}:{}@", encoded(login), encoded(password)), 1);
        format!("rest:{url}{path}/")
    }
}
