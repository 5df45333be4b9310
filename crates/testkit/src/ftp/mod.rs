//! FTP servers with TLS, each for one test: ProFTPD, which lists for programs and for people, wants a data connection to
//! resume the TLS session of its control connection and never renames over a file; vsftpd, which wants the same, lists for
//! people alone and keeps back what begins with a dot; and pyftpdlib, which does none of this.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::certificate::{CertificateFiles, CertificateFlaw, make_certificate};
use crate::components;
use crate::process::{Server, ServerPlan};

const PROFTPD_SETTINGS: &str = include_str!("proftpd.conf");
const VSFTPD_SETTINGS: &str = include_str!("vsftpd.conf");
const PYFTPDLIB: &str = include_str!("server.py");
/// Where data connections may be: below what systems give to those who ask for any port.
const FIRST_DATA_PORT: u16 = 10_000;
const DATA_PORTS: u16 = 64;
/// Servers of different processes begin at different places among these.
const DATA_PORT_PLACES: u32 = 300;
/// What ProFTPD becomes when root starts it.
const NOBODY: u32 = 65534;
/// SHA-512 crypt of [`FtpServer::PASSWORD`].
const PASSWORD_HASH: &str =
    "$6$triplicate$/A0kKB0uSCS/M4YYXTk6KQWcwZMtODjteDZ5gBK94XFN2yAj.MV8k73UIFtTVmNtE/vUW6Z0o.GB7rvXBhVUB.";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FtpKind {
    /// ProFTPD.
    Proftpd,
    /// ProFTPD that knows no listings for programs, as vsftpd does not.
    ProftpdForPeople,
    /// ProFTPD that speaks nothing older than TLS 1.3.
    ProftpdWithNewestTls,
    /// pyftpdlib.
    Pyftpdlib,
    /// vsftpd, of which nothing can be had but to read.
    Vsftpd,
    /// vsftpd with TLS from the first byte on.
    VsftpdImplicit,
}

/// An FTP server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct FtpServer {
    /// The certificates.
    pub certificates: CertificateFiles,
    /// The folder on disk where every account starts.
    pub data_dir: PathBuf,
    /// Where it opens its data connections, if that was asked for; nowhere in particular otherwise.
    pub data_ports: Range<u16>,
    /// The process: to freeze, kill and start again.
    pub server: Server,
}

impl FtpServer {
    /// The account that may do everything. pyftpdlib has two more with the same password: `keeper` may remove nothing,
    /// `reader` may only read.
    pub const USER: &'static str = "alice";
    /// The only account of vsftpd. What it may not enter or read begins with `closed`.
    pub const ANYBODY: &'static str = "anonymous";
    /// The password of every account.
    pub const PASSWORD: &'static str = "open sesame";

    /// Starts one; none when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(kind: FtpKind, flaw: CertificateFlaw) -> Option<Self> {
        Self::start_at(kind, flaw, 0..0)
    }

    /// The same with its data connections at a few ports, for a relay in front of it. Whoever asks for many in a short
    /// time may find them all taken.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start_for_relay(kind: FtpKind) -> Option<Self> {
        Self::start_at(kind, CertificateFlaw::None, data_ports())
    }

    fn start_at(kind: FtpKind, flaw: CertificateFlaw, data_ports: Range<u16>) -> Option<Self> {
        let component = match kind {
            FtpKind::Pyftpdlib => components::pyftpdlib()?,
            FtpKind::Vsftpd | FtpKind::VsftpdImplicit => components::vsftpd_rootfs()?,
            _ => components::ftp_rootfs()?,
        };
        match Self::start_installed(kind, &component, flaw, data_ports) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start an FTP server: {error}"),
        }
    }

    fn start_installed(
        kind: FtpKind,
        component: &Path,
        flaw: CertificateFlaw,
        data_ports: Range<u16>,
    ) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-ftp-").tempdir()?.keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let data_dir = folder.join("data");
        std::fs::create_dir(&data_dir)?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&data_dir, Some(NOBODY), Some(NOBODY))?;
        }
        let certificates = make_certificate(&folder, flaw)?;
        let passive = match data_ports.is_empty() {
            true => String::new(),
            false => format!("PassivePorts {} {}\n", data_ports.start, data_ports.end - 1),
        };
        let of_proftpd =
            |more: &str| proftpd(component, &folder, &data_dir, &certificates, &format!("{passive}{more}"));
        let of_vsftpd = |more: &str| vsftpd(component, &folder, &data_dir, &certificates, &data_ports, more);
        let plan = match kind {
            FtpKind::Vsftpd => of_vsftpd("")?,
            FtpKind::VsftpdImplicit => of_vsftpd("implicit_ssl=YES\n")?,
            FtpKind::Pyftpdlib => pyftpdlib(component, &folder, &data_dir, &certificates, &data_ports)?,
            FtpKind::Proftpd => of_proftpd("")?,
            FtpKind::ProftpdWithNewestTls => of_proftpd("TLSProtocol TLSv1.3\n")?,
            FtpKind::ProftpdForPeople => of_proftpd("<Limit MLSD MLST>\n DenyAll\n</Limit>\nFactsAdvertise off\n")?,
        };
        Ok(Self { certificates, data_dir, data_ports, server: Server::start(plan)? })
    }

    /// The address of a folder for one of the accounts.
    pub fn location(&self, user: &str, path: &str) -> String {
        format!("ftps://{user}@127.0.0.1:{}/{path}", self.server.port())
    }
}

/// Some ports in a row. Two servers that begin at the same place do not meet: each takes what is free among them.
fn data_ports() -> Range<u16> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id().wrapping_add(NUMBER.fetch_add(7, Ordering::Relaxed)) % DATA_PORT_PLACES;
    let first = FIRST_DATA_PORT + u16::try_from(place).unwrap_or(0) * DATA_PORTS;
    first..first + DATA_PORTS
}

fn proftpd(
    rootfs: &Path,
    folder: &Path,
    data_dir: &Path,
    certificates: &CertificateFiles,
    more: &str,
) -> io::Result<ServerPlan> {
    let (own_id, group_id) = (rustix::process::getuid(), rustix::process::getgid());
    let (uid, gid, becomes) = match own_id.is_root() {
        true => (NOBODY, NOBODY, "User nobody\nGroup nogroup\n"),
        false => (own_id.as_raw(), group_id.as_raw(), ""),
    };
    let (user, home, users) = (FtpServer::USER, data_dir.display(), folder.join("users"));
    std::fs::write(&users, format!("{user}:{PASSWORD_HASH}:{uid}:{gid}::{home}:/bin/sh\n"))?;
    // It refuses a list of passwords that others may read.
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600))?;
    let shown = |path: &Path| path.display().to_string();
    let text = PROFTPD_SETTINGS
        .replace("@FOLDER@", &shown(folder))
        .replace("@MODULES@", &shown(&rootfs.join("usr/lib/proftpd")))
        .replace("@CERTIFICATE@", &shown(&certificates.certificate))
        .replace("@KEY@", &shown(&certificates.key))
        .replace("@MORE@", &format!("{becomes}{more}"));
    let file = folder.join("proftpd.conf");
    let program = components::unpacked_program(rootfs, "usr/sbin/proftpd")?;
    let arguments = Box::new(move |port: u16| {
        // The port has no argument of its own.
        let _ = std::fs::write(&file, text.replace("@PORT@", &port.to_string()));
        program.iter().cloned().chain(["--nodaemon".into(), "--config".into(), file.clone().into()]).collect()
    });
    Ok(ServerPlan { name: "proftpd", program: "env".into(), arguments, folder: folder.to_owned() })
}

fn vsftpd(
    rootfs: &Path,
    folder: &Path,
    data_dir: &Path,
    certificates: &CertificateFiles,
    data_ports: &Range<u16>,
    more: &str,
) -> io::Result<ServerPlan> {
    let shown = |path: &Path| path.display().to_string();
    let text = VSFTPD_SETTINGS
        .replace("@FOLDER@", &shown(folder))
        .replace("@DATA@", &shown(data_dir))
        .replace("@CERTIFICATE@", &shown(&certificates.certificate))
        .replace("@KEY@", &shown(&certificates.key))
        .replace("@FIRST_PORT@", &data_ports.start.to_string())
        .replace("@LAST_PORT@", &data_ports.end.saturating_sub(1).to_string())
        .replace("@MORE@", more);
    let file = folder.join("vsftpd.conf");
    std::fs::write(&file, text)?;
    let program = components::unpacked_program(rootfs, "usr/sbin/vsftpd")?;
    let arguments = Box::new(move |port: u16| {
        let own: [OsString; 2] = [file.clone().into(), format!("-olisten_port={port}").into()];
        program.iter().cloned().chain(own).collect()
    });
    Ok(ServerPlan { name: "vsftpd", program: "env".into(), arguments, folder: folder.to_owned() })
}

fn pyftpdlib(
    library: &Path,
    folder: &Path,
    data_dir: &Path,
    certificates: &CertificateFiles,
    data_ports: &Range<u16>,
) -> io::Result<ServerPlan> {
    let script = folder.join("server.py");
    std::fs::write(&script, PYFTPDLIB)?;
    let python = components::python().ok_or_else(|| io::Error::other("there is no Python"))?;
    let mut rest = [library, data_dir, &certificates.certificate, &certificates.key].map(OsString::from).to_vec();
    rest.extend([data_ports.start, data_ports.end].map(|port| OsString::from(port.to_string())));
    let arguments = Box::new(move |port: u16| {
        let first: [OsString; 3] = ["-I".into(), script.clone().into(), port.to_string().into()];
        first.into_iter().chain(rest.iter().cloned()).collect()
    });
    Ok(ServerPlan { name: "pyftpdlib", program: python, arguments, folder: folder.to_owned() })
}
