//! Each of the real servers as a kind of place: its addresses, its credentials, and where its files lie.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use destinations::{
    Access, AzureAccess, B2Access, DropboxAccess, FtpsAccess, GoogleAccess, RcloneAccess, RestAccess, S3Access,
    SshAccess, TlsAccess, WebdavAccess,
};
use format::FileName;
use model::Secret;
use testkit::process::Server as Process;
use testkit::{
    AzureServer, B2Server, Bucket, DropboxServer, FtpServer, GoogleServer, Oracle, RestServer, SshServer, WebdavServer,
};

use super::kinds::{BUCKET, Found, Front, Real, USER, USER_PASSWORD, files_as_listed, is_ours};

/// The same way in with other credentials.
fn but(way_in: (String, Access), change: impl FnOnce(&mut Access)) -> Option<(String, Access)> {
    let (location, mut access) = way_in;
    change(&mut access);
    Some((location, access))
}

fn wrong() -> Option<Secret> {
    Some(Secret::from("not-this-one"))
}

impl Real for RestServer {
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let rest = RestAccess { username: Some(USER.to_owned()), password: Some(Secret::from(USER_PASSWORD)) };
        let tls = TlsAccess { ca_certificate: self.ca_file.clone(), ..TlsAccess::default() };
        (front.through(&self.repository(name)), Access { rest, tls, ..Access::default() })
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| access.rest.password = wrong())
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Some(RestServer::folder(self, name))
    }
    fn process(&mut self) -> Option<&mut Process> {
        Some(&mut self.server)
    }
}

impl Real for Bucket {
    fn port(&self) -> u16 {
        self.endpoint.rsplit(':').next().unwrap().parse().unwrap()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = S3Access {
            key_id: Some(self.access_key.clone()),
            key: Some(Secret::from(self.secret_key.as_str())),
            ..S3Access::default()
        };
        (front.through(&self.repository(name)), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| access.s3.key = wrong())
    }
    fn folder(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn plant(&self, name: &str, files: &BTreeMap<FileName, Bytes>) {
        for (file, bytes) in files {
            self.put(&format!("{name}/{}", file.path()), bytes).unwrap();
        }
    }
    fn files(&self, name: &str) -> Found {
        let prefix = format!("{name}/");
        let listed = self.list(&prefix).unwrap().into_iter();
        let files = listed.map(|(key, _)| (key[prefix.len()..].to_owned(), self.get(&key).unwrap()));
        files.filter(|(path, _)| is_ours(path)).collect()
    }
    fn restic(&self, name: &str, password: &str) -> Option<Oracle> {
        let oracle = Oracle::restic("0.19", &self.repository(name), password)?;
        Some(oracle.with_login(self).with("AWS_DEFAULT_REGION", self.region))
    }
    fn process(&mut self) -> Option<&mut Process> {
        None
    }
}

impl Real for WebdavServer {
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = WebdavAccess {
            username: Some(Self::USER.to_owned()),
            password: Some(Secret::from(Self::PASSWORD)),
            ..WebdavAccess::default()
        };
        (front.through(&self.repository(name)), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| access.webdav.password = wrong())
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.data_dir.join(name))
    }
    fn process(&mut self) -> Option<&mut Process> {
        Some(&mut self.server)
    }
}

impl Real for DropboxServer {
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = DropboxAccess {
            app_key: Some(Self::APP_KEY.to_owned()),
            app_secret: Some(Secret::from(Self::APP_SECRET)),
            refresh_token: Some(Secret::from(Self::REFRESH_TOKEN)),
            api_url: Some(front.through(&self.url)),
            content_url: Some(front.through(&self.url)),
        };
        (format!("dropbox:/{name}"), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| access.dropbox.refresh_token = wrong())
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.data_dir.join(name))
    }
    fn process(&mut self) -> Option<&mut Process> {
        Some(&mut self.server)
    }
}

impl Real for AzureServer {
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = AzureAccess {
            account_name: Some(Self::ACCOUNT.to_owned()),
            account_key: Some(Secret::from(Self::KEY)),
            endpoint: Some(front.through(&self.endpoint)),
            ..AzureAccess::default()
        };
        (format!("azure:{BUCKET}:/{name}"), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        let other = Secret::from("bm90IHRoaXMgb25l");
        but(self.way_in(name, front), |access| access.azure.account_key = Some(other))
    }
    fn folder(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn plant(&self, name: &str, files: &BTreeMap<FileName, Bytes>) {
        let put = self.planter(BUCKET);
        files.iter().for_each(|(file, bytes)| put(&format!("{name}/{}", file.path()), bytes));
    }
    fn files(&self, name: &str) -> Found {
        files_as_listed(self, name)
    }
    fn process(&mut self) -> Option<&mut Process> {
        Some(&mut self.server)
    }
}

impl Real for GoogleServer {
    fn port(&self) -> u16 {
        self.url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = GoogleAccess {
            credentials: Some(Secret::from(front.through(&self.credentials))),
            endpoint: Some(front.through(&self.url)),
            ..GoogleAccess::default()
        };
        (format!("gs:{BUCKET}:/{name}"), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| {
            access.google.credentials = None;
            access.google.access_token = wrong();
        })
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.data_dir.join(BUCKET).join(name))
    }
    fn process(&mut self) -> Option<&mut Process> {
        None
    }
}

impl Real for B2Server {
    fn port(&self) -> u16 {
        self.url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = B2Access {
            account_id: Some(Self::KEY_ID.to_owned()),
            account_key: Some(Secret::from(Self::KEY)),
            endpoint: Some(front.through(&self.url)),
        };
        (format!("b2:{BUCKET}:{name}"), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| access.b2.account_key = wrong())
    }
    fn folder(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn plant(&self, name: &str, files: &BTreeMap<FileName, Bytes>) {
        let put = self.planter(BUCKET);
        files.iter().for_each(|(file, bytes)| put(&format!("{name}/{}", file.path()), bytes));
    }
    fn files(&self, name: &str) -> Found {
        files_as_listed(self, name)
    }
    /// It keeps everything in memory: none that is started again holds anything.
    fn process(&mut self) -> Option<&mut Process> {
        None
    }
}

/// rclone, whose own way to its files leads to a bucket: that is the network that breaks.
pub struct ThroughRclone {
    pub program: PathBuf,
    pub bucket: Bucket,
}

impl ThroughRclone {
    fn way_with(&self, name: &str, front: &dyn Front, secret_key: &str) -> (String, Access) {
        let words = ["serve", "restic", "--stdio", "--config=/dev/null", "--log-level=ERROR"];
        // Its own patience must not be longer than ours.
        let patience = ["--low-level-retries=2", "--timeout=1s", "--contimeout=1s"];
        let service = ["--s3-provider=Ceph", "--s3-force-path-style=true", "--s3-no-check-bucket"];
        let mut arguments =
            [words.as_slice(), &patience, &service].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let endpoint = front.through(&format!("{}/", self.bucket.endpoint));
        arguments.push(format!("--s3-endpoint={}", endpoint.trim_end_matches('/')));
        arguments.push(format!("--s3-access-key-id={}", self.bucket.access_key));
        arguments.push(format!("--s3-secret-access-key={secret_key}"));
        let access = RcloneAccess { program: Some(self.program.clone()), arguments: Some(arguments) };
        (format!("rclone::s3:{}/{name}", self.bucket.name), access.into())
    }
}

impl Real for ThroughRclone {
    fn port(&self) -> u16 {
        Real::port(&self.bucket)
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        self.way_with(name, front, &self.bucket.secret_key)
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        Some(self.way_with(name, front, "not-this-one"))
    }
    fn folder(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn plant(&self, name: &str, files: &BTreeMap<FileName, Bytes>) {
        self.bucket.plant(name, files);
    }
    fn files(&self, name: &str) -> Found {
        self.bucket.files(name)
    }
    fn restic(&self, name: &str, password: &str) -> Option<Oracle> {
        self.bucket.restic(name, password)
    }
    fn process(&mut self) -> Option<&mut Process> {
        None
    }
}

impl Real for SshServer {
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let known = front.port().map(|port| self.known_at(port).unwrap());
        let access = SshAccess {
            key_file: Some(self.key_file.clone()),
            known_hosts: Some(known.unwrap_or_else(|| self.known_hosts.clone())),
            ..SshAccess::default()
        };
        (front.through(&self.location("sftp", name)), access.into())
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        let key = self.new_key(&format!("stranger-to-{name}"), "ed25519", "").unwrap();
        but(self.way_in(name, front), |access| access.ssh.key_file = Some(key))
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.home.join(name))
    }
    fn process(&mut self) -> Option<&mut Process> {
        Some(&mut self.server)
    }
}

/// The same account by rsync.
pub struct ThroughRsync(pub SshServer);

impl ThroughRsync {
    fn by_rsync(&self, (location, mut access): (String, Access)) -> (String, Access) {
        let ssh = self.0.programs.join("ssh").display().to_string();
        access.ssh.ssh_program = Some(vec![ssh, "-F".to_owned(), "/dev/null".to_owned()]);
        access.ssh.rsync_program = Some(self.0.programs.join("rsync"));
        (location.replacen("sftp://", "rsync://", 1), access)
    }
}

impl Real for ThroughRsync {
    fn port(&self) -> u16 {
        self.0.server.port()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        self.by_rsync(self.0.way_in(name, front))
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        self.0.way_of_stranger(name, front).map(|way| self.by_rsync(way))
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Real::folder(&self.0, name)
    }
    fn process(&mut self) -> Option<&mut Process> {
        self.0.process()
    }
}

impl Real for FtpServer {
    fn port(&self) -> u16 {
        self.server.port()
    }
    fn further_ports(&self) -> Range<u16> {
        self.data_ports.clone()
    }
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access) {
        let access = Access {
            ftps: FtpsAccess { password: Some(Secret::from(Self::PASSWORD)) },
            // The way through a relay has another address than the certificate.
            tls: TlsAccess { pinned_certificate: Some(self.certificates.fingerprint.clone()), ..TlsAccess::default() },
            ..Access::default()
        };
        (front.through(&self.location(Self::USER, name)), access)
    }
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)> {
        but(self.way_in(name, front), |access| access.ftps.password = wrong())
    }
    fn folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.data_dir.join(name))
    }
    fn process(&mut self) -> Option<&mut Process> {
        Some(&mut self.server)
    }
}
