//! One backup of 20,000 files to places of five kinds at once, each by its name with its own credentials: the copies are
//! the same to the byte, and restic or rustic opens each.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod stage;

use std::path::PathBuf;

use stage::{PASSWORD, Place, Stage, sums_in};
use testkit::process::{Ended, run};
use testkit::{
    CertificateFlaw, FtpKind, FtpServer, Manifest, Oracle, SshServer, SshServerOptions, WebdavKind, WebdavOptions,
    WebdavServer, manifest,
};

const FILES: usize = 20_000;
const KINDS: [&str; 5] = ["@rest", "@s3", "@webdav", "@sftp", "@ftps"];
const LIMIT: std::time::Duration = std::time::Duration::from_secs(300);

/// The servers that a stage has not.
struct Servers {
    webdav: WebdavServer,
    ssh: SshServer,
    ftp: FtpServer,
}

impl Servers {
    fn start() -> Option<Self> {
        let with_tls = WebdavOptions { tls: Some(CertificateFlaw::None), ..WebdavOptions::plain(WebdavKind::Apache) };
        Some(Self {
            webdav: WebdavServer::start(&with_tls)?,
            ssh: SshServer::start(&SshServerOptions::default())?,
            ftp: FtpServer::start(FtpKind::Proftpd, CertificateFlaw::None)?,
        })
    }

    /// The copies on disk.
    fn folders(&self) -> [PathBuf; 3] {
        [self.webdav.data_dir.join("repo"), self.ssh.home.join("repo"), self.ftp.data_dir.join("repo")]
    }
}

fn configure(stage: &Stage, servers: &Servers) {
    let (rest, bucket) = (stage.rest.as_ref().unwrap(), stage.bucket.as_ref().unwrap());
    let tables = format!(
        r#"version = 1
[destinations.rest]
url = "{}"
username = "{}"
password = {{ env = "RESTIC_REST_PASSWORD" }}
ca_certificate = "{}"
[destinations.s3]
url = "{}"
access_key_id = "{}"
secret_access_key = {{ env = "AWS_SECRET_ACCESS_KEY" }}
region = "{}"
[destinations.webdav]
url = "{}"
username = "{}"
password = {{ file = "sesame" }}
ca_certificate = "{}"
[destinations.sftp]
url = "{}"
key_file = "{}"
known_hosts = "{}"
[destinations.ftps]
url = "{}"
password = {{ file = "sesame" }}
ca_certificate = "{}"
"#,
        stage.address(Place::Rest),
        rest.user,
        rest.ca_file.as_ref().unwrap().display(),
        stage.address(Place::S3),
        bucket.access_key,
        bucket.region,
        servers.webdav.repository("repo"),
        WebdavServer::USER,
        servers.webdav.certificates.as_ref().unwrap().authority.display(),
        servers.ssh.location("sftp", "repo"),
        servers.ssh.key_file.display(),
        servers.ssh.known_hosts.display(),
        servers.ftp.location(FtpServer::USER, "repo"),
        servers.ftp.certificates.authority.display(),
    );
    let folder = stage.path("home/.config/triplicate");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("triplicate.toml"), tables).unwrap();
    std::fs::write(folder.join("sesame"), WebdavServer::PASSWORD).unwrap();
    assert_eq!(WebdavServer::PASSWORD, FtpServer::PASSWORD);
}

#[test]
fn a_backup_to_five_kinds_at_once_is_the_same_on_each() {
    let stage = Stage::full();
    let (Some(servers), true) = (Servers::start(), stage.places().len() == 3) else { return };
    configure(&stage, &servers);
    let source = stage.path("source");
    testkit::corpus::small_files(&source, FILES, 41).unwrap();
    let names = KINDS.map(str::to_owned);
    let ours = |words: &[&str]| -> Ended { run(stage.command_on(&names).args(words), LIMIT).unwrap().expect_code(0) };
    ours(&["init"]);
    ours(&["backup", "source"]);
    ours(&["copies", "status"]);

    let first = stage.sums(Place::Rest);
    assert!(4 < first.len());
    assert_eq!(stage.sums(Place::S3), first, "S3");
    for folder in servers.folders() {
        let mut sums = sums_in(&folder);
        sums.retain(|name, _| !name.starts_with("locks/"));
        assert_eq!(sums, first, "{}", folder.display());
    }

    let expected = manifest(&source).unwrap();
    let plain = servers.folders().map(|folder| folder.to_str().unwrap().to_owned());
    let judges = [
        stage.restic("0.19", Place::Rest),
        stage.rustic(Place::S3),
        Oracle::restic("0.14", &plain[0], PASSWORD),
        Oracle::restic("0.18", &plain[1], PASSWORD),
        Oracle::rustic(&plain[2], PASSWORD),
    ];
    for judge in judges.into_iter().flatten() {
        judge.check(true);
    }
    // What comes back from the last of them alone is what was there.
    let target = stage.path("target");
    let words = ["restore", "latest", "--target", target.to_str().unwrap()];
    run(stage.command_on(&names[4..]).args(words), LIMIT).unwrap().expect_code(0);
    let difference = Manifest::difference(&expected, &manifest(target.join("source")).unwrap());
    assert!(difference.is_empty(), "{:#?}", &difference[..difference.len().min(20)]);
}
