//! WebDAV servers, each for one test: Apache with mod_dav, sabre/dav on PHP's own web server, and a stand-in for
//! Nextcloud (which no package registry has) made of sabre/dav and the rules of Nextcloud's manual.
//!
//! The programs come from an unpacked file system and run through that file system's own loader: no root, and nothing
//! of the host's is touched.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::certificate::{CertificateFiles, CertificateFlaw, make_certificate};
use crate::components;
use crate::process::{Server, ServerPlan};
use crate::rest_server::percent_encoded;

const APACHE_SETTINGS: &str = include_str!("apache.conf");
const SABRE: &str = include_str!("sabre.php");
const NEXTCLOUD: &str = include_str!("nextcloud.php");
const ACCOUNTS: &str = include_str!("accounts.php");

/// What PHP needs for sabre/dav.
const PHP_EXTENSIONS: [&str; 6] = ["ctype", "dom", "iconv", "mbstring", "simplexml", "xmlreader"];
/// The password as Apache checks it fastest, which it does at every request.
const PASSWORD_HASH: &str = "{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=";
/// What Apache becomes when root starts it.
const NOBODY: u32 = 65534;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebdavKind {
    /// Apache's mod_dav.
    Apache,
    /// sabre/dav.
    Sabre,
    /// The stand-in for Nextcloud.
    Nextcloud,
}

/// What a test wants of its server.
#[derive(Debug, Clone)]
pub struct WebdavOptions {
    /// Which server.
    pub kind: WebdavKind,
    /// TLS, and what is wrong with its certificate; Apache only.
    pub tls: Option<CertificateFlaw>,
    /// Only clients with a certificate of the test's authority get in; with TLS only.
    pub wants_client_certificate: bool,
    /// No more bytes than this; sabre/dav only.
    pub quota_bytes: Option<u64>,
    /// No larger request than this; Apache only.
    pub largest_body_bytes: Option<u64>,
}

impl WebdavOptions {
    /// Plain HTTP, and no limits.
    pub fn plain(kind: WebdavKind) -> Self {
        Self { kind, tls: None, wants_client_certificate: false, quota_bytes: None, largest_body_bytes: None }
    }
}

/// A WebDAV server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct WebdavServer {
    /// The folder that everybody may use, with a slash at the end: `http://127.0.0.1:PORT/`.
    pub url: String,
    /// The certificates, with TLS.
    pub certificates: Option<CertificateFiles>,
    /// The folder on disk that `url` shows.
    pub data_dir: PathBuf,
    /// The process: to freeze, kill and start again.
    pub server: Server,
}

impl WebdavServer {
    /// The account that may do everything. Apache has two more with the same password: `keeper` may remove nothing,
    /// `reader` may only read.
    pub const USER: &'static str = "alice";
    /// The password of every account.
    pub const PASSWORD: &'static str = "open sesame";

    /// Starts one; none when the programs are not installed.
    ///
    /// # Panics
    /// When they are installed and the server does not start.
    pub fn start(options: &WebdavOptions) -> Option<Self> {
        let rootfs = components::webdav_rootfs()?;
        match Self::start_unpacked(&rootfs, options) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start a WebDAV server: {error}"),
        }
    }

    fn start_unpacked(rootfs: &Path, options: &WebdavOptions) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-webdav-").tempdir()?.keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let data_dir = folder.join("data");
        for name in ["data", "lock", "run"] {
            std::fs::create_dir(folder.join(name))?;
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(folder.join(name), Some(NOBODY), Some(NOBODY))?;
            }
        }
        let certificates = options.tls.map(|flaw| make_certificate(&folder, flaw)).transpose()?;
        let settings = Settings { folder: &folder, data_dir: &data_dir, options, certificates: certificates.as_ref() };
        let (name, arguments): (_, Arguments) = match options.kind {
            WebdavKind::Apache => ("apache", settings.apache(rootfs)?),
            WebdavKind::Sabre => ("sabre/dav", settings.php(rootfs, SABRE)?),
            WebdavKind::Nextcloud => ("a stand-in for Nextcloud", settings.php(rootfs, NEXTCLOUD)?),
        };
        let plan = ServerPlan { name, program: "env".into(), arguments, folder };
        let server = Server::start(plan)?;
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let (path, data_dir) = match options.kind {
            WebdavKind::Nextcloud => ("remote.php/dav/files/alice/", data_dir.join("files/alice")),
            WebdavKind::Apache | WebdavKind::Sabre => ("", data_dir),
        };
        Ok(Self { url: format!("{scheme}://127.0.0.1:{}/{path}", server.port()), certificates, data_dir, server })
    }

    /// The repository at `path` for `-r`, without credentials.
    pub fn repository(&self, path: &str) -> String {
        format!("webdav:{}{path}/", self.url)
    }

    /// The same for one of the accounts, with the password in it.
    pub fn repository_of(&self, user: &str, path: &str) -> String {
        let login = format!("{user}:{}@", percent_encoded(Self::PASSWORD));
        self.repository(path).replacen("://", &format!("://{login}"), 1)
    }
}

type Arguments = Box<dyn Fn(u16) -> Vec<OsString> + Send + Sync>;

/// What a server's settings are made of.
struct Settings<'a> {
    folder: &'a Path,
    data_dir: &'a Path,
    options: &'a WebdavOptions,
    certificates: Option<&'a CertificateFiles>,
}

impl Settings<'_> {
    fn filled(&self, template: &str) -> String {
        let shown = |path: &Path| path.display().to_string();
        template
            .replace("@FOLDER@", &shown(self.folder))
            .replace("@DATA@", &shown(self.data_dir))
            .replace("@QUOTA_BYTES@", &self.options.quota_bytes.unwrap_or(0).to_string())
            .replace("@LARGEST_BODY_BYTES@", &self.options.largest_body_bytes.unwrap_or(0).to_string())
    }

    fn apache(&self, rootfs: &Path) -> io::Result<Arguments> {
        let lines = [WebdavServer::USER, "keeper", "reader"].map(|user| format!("{user}:{PASSWORD_HASH}\n"));
        std::fs::write(self.folder.join("passwords"), lines.concat())?;
        let modules = rootfs.join("usr/lib/apache2/modules");
        let text = self
            .filled(APACHE_SETTINGS)
            .replace("@MODULES@", &modules.display().to_string())
            .replace("@LIBRARIES@", &components::libraries(rootfs)?.display().to_string())
            .replace("@TLS@", &self.apache_tls());
        let file = self.folder.join("apache.conf");
        let program = components::unpacked_program(rootfs, "usr/sbin/apache2")?;
        Ok(Box::new(move |port| {
            // The port has no argument of its own.
            let _ = std::fs::write(&file, text.replace("@PORT@", &port.to_string()));
            // One process, so that there is one to kill.
            let mode: [OsString; 3] = ["-X".into(), "-f".into(), file.clone().into()];
            program.iter().cloned().chain(mode).collect()
        }))
    }

    fn apache_tls(&self) -> String {
        let Some(files) = self.certificates else { return String::new() };
        let mut text = format!(
            "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}\n",
            files.certificate.display(),
            files.key.display()
        );
        if self.options.wants_client_certificate {
            text.push_str(&format!("SSLVerifyClient require\nSSLCACertificateFile {}\n", files.authority.display()));
        }
        text
    }

    fn php(&self, rootfs: &Path, script: &str) -> io::Result<Arguments> {
        std::fs::write(self.folder.join("accounts.php"), ACCOUNTS)?;
        let file = self.folder.join("server.php");
        std::fs::write(&file, self.filled(script))?;
        let extensions = components::only_child(&rootfs.join("usr/lib/php"), |path| path.join("dom.so").exists())?;
        let mut settings = vec![
            format!("extension_dir={}", extensions.display()),
            format!("include_path={}", rootfs.join("usr/share/php").display()),
            "zend_extension=opcache".to_owned(),
            "opcache.enable_cli=1".to_owned(),
            // The library is older than this PHP, which has words about that.
            "error_reporting=0".to_owned(),
            "display_errors=0".to_owned(),
            "memory_limit=-1".to_owned(),
        ];
        settings.extend(PHP_EXTENSIONS.map(|name| format!("extension={name}")));
        let mut fixed = components::unpacked_program(rootfs, "usr/bin/php8.2")?;
        fixed.push("-n".into());
        fixed.extend(settings.into_iter().flat_map(|setting| [OsString::from("-d"), setting.into()]));
        Ok(Box::new(move |port| {
            let listen: [OsString; 3] = ["-S".into(), format!("127.0.0.1:{port}").into(), file.clone().into()];
            fixed.iter().cloned().chain(listen).collect()
        }))
    }
}
