//! restic's own REST server, for one test: TLS with an authority of its own, a password file, append-only if asked.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::certificate::{CertificateFlaw, make_certificate};
use crate::components;
use crate::process::{Server, ServerPlan};

/// bcrypt's cheapest cost: the server checks it on every request, and tests make thousands.
const PASSWORD_COST: u32 = 4;

/// What a test wants of its server.
#[derive(Debug, Clone)]
pub struct RestServerOptions {
    /// Names and passwords; empty lets everybody in.
    pub users: Vec<(String, String)>,
    /// TLS, and what is wrong with its certificate; none is plain HTTP.
    pub tls: Option<CertificateFlaw>,
    /// Refuse deletion and overwriting.
    pub append_only: bool,
    /// A user may only use paths below its own name.
    pub private_repositories: bool,
    /// No more bytes than this.
    pub quota_bytes: Option<u64>,
}

impl Default for RestServerOptions {
    /// TLS and one user.
    fn default() -> Self {
        Self {
            users: vec![("alice".to_owned(), "open sesame".to_owned())],
            tls: Some(CertificateFlaw::None),
            append_only: false,
            private_repositories: false,
            quota_bytes: None,
        }
    }
}

impl RestServerOptions {
    /// Plain HTTP and nobody to log in: for tests of something else.
    pub fn open() -> Self {
        Self { users: Vec::new(), tls: None, ..Self::default() }
    }
}

/// A REST server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct RestServer {
    /// `https://127.0.0.1:PORT/`, without credentials.
    pub url: String,
    /// The first user, or nothing.
    pub user: String,
    /// The first user's password, or nothing.
    pub password: String,
    /// The authority to trust, with TLS.
    pub ca_file: Option<PathBuf>,
    /// The folder with the repositories, as the server lays them out: the same files as a local copy.
    pub data_dir: PathBuf,
    /// The process: to freeze, kill and start again.
    pub server: Server,
}

impl RestServer {
    /// Starts one; none when the server is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(options: &RestServerOptions) -> Option<Self> {
        let program = components::rest_server()?;
        match Self::start_program(program, options) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start the REST server: {error}"),
        }
    }

    fn start_program(program: PathBuf, options: &RestServerOptions) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-rest-server-").tempdir()?.keep();
        let data_dir = folder.join("data");
        std::fs::create_dir(&data_dir)?;
        let mut arguments: Vec<OsString> = vec!["--path".into(), data_dir.clone().into()];
        arguments.extend(login_arguments(&folder, options)?);
        let mut ca_file = None;
        if let Some(flaw) = options.tls {
            let files = make_certificate(&folder, flaw)?;
            arguments.push("--tls".into());
            arguments.extend(["--tls-cert".into(), files.certificate.into()]);
            arguments.extend(["--tls-key".into(), files.key.into()]);
            ca_file = Some(files.authority);
        }
        if options.append_only {
            arguments.push("--append-only".into());
        }
        if let Some(bytes) = options.quota_bytes {
            arguments.extend(["--max-size".into(), bytes.to_string().into()]);
        }
        let plan = ServerPlan {
            name: "restic-rest-server",
            program,
            arguments: Box::new(move |port| {
                let listen: [OsString; 2] = ["--listen".into(), format!("127.0.0.1:{port}").into()];
                arguments.iter().cloned().chain(listen).collect()
            }),
            folder,
        };
        let server = Server::start(plan)?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let (user, password) = options.users.first().cloned().unwrap_or_default();
        Ok(Self { url: format!("{scheme}://127.0.0.1:{}/", server.port()), user, password, ca_file, data_dir, server })
    }

    /// The repository at `path` for `-r`, without credentials: `rest:https://127.0.0.1:PORT/path/`.
    pub fn repository(&self, path: &str) -> String {
        format!("rest:{}{path}/", self.url)
    }

    /// The repository at `path` for `-r`, with the first user's credentials in it.
    pub fn repository_with_credentials(&self, path: &str) -> String {
        if self.user.is_empty() {
            return self.repository(path);
        }
        let login = format!("{}:{}@", percent_encoded(&self.user), percent_encoded(&self.password));
        self.repository(path).replacen("://", &format!("://{login}"), 1)
    }

    /// Where the files of the repository at `path` are on the server's disk.
    pub fn folder(&self, path: &str) -> PathBuf {
        self.data_dir.join(path)
    }
}

fn login_arguments(folder: &Path, options: &RestServerOptions) -> io::Result<Vec<OsString>> {
    if options.users.is_empty() {
        return Ok(vec!["--no-auth".into()]);
    }
    let file = folder.join("passwords");
    std::fs::write(&file, password_lines(&options.users)?)?;
    let mut arguments: Vec<OsString> = vec!["--htpasswd-file".into(), file.into()];
    if options.private_repositories {
        arguments.push("--private-repos".into());
    }
    Ok(arguments)
}

/// A password file as Apache's `htpasswd -B` writes it.
pub(crate) fn password_lines(users: &[(String, String)]) -> io::Result<String> {
    let mut lines = String::new();
    for (user, password) in users {
        let hash = bcrypt::hash(password, PASSWORD_COST).map_err(|error| io::Error::other(error.to_string()))?;
        lines.push_str(&format!("{user}:{hash}\n"));
    }
    Ok(lines)
}

/// Everything but letters and digits, which is more than needed and never wrong.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
