//! Where repositories lie: a folder; a REST server, a bucket or an SSH server, beside us or far away.
//!
//! Servers are real ones, started for one turn of one tool and stopped after it. What they cost is not counted; that
//! they share the machine is the same for every tool.

mod delay;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Bucket, CephServer, RestServer, RestServerOptions, SshServer, SshServerOptions, components};

use super::tools::ToolKind;
use delay::DelayLine;

/// Each way; there and back it is 40 ms, a line from one country to the next but one.
const FAR_ONE_WAY: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Local,
    Rest,
    Far,
    S3,
    FarS3,
    Sftp,
    FarSftp,
}

impl Place {
    pub(super) const ALL: [Self; 7] =
        [Self::Local, Self::Rest, Self::Far, Self::S3, Self::FarS3, Self::Sftp, Self::FarSftp];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Rest => "rest",
            Self::Far => "far",
            Self::S3 => "s3",
            Self::FarS3 => "far-s3",
            Self::Sftp => "sftp",
            Self::FarSftp => "far-sftp",
        }
    }

    pub(super) fn is_far(self) -> bool {
        matches!(self, Self::Far | Self::FarS3 | Self::FarSftp)
    }

    /// Whether rclone can put plain files there.
    pub(super) fn takes_plain_files(self) -> bool {
        matches!(self, Self::S3 | Self::FarS3 | Self::Sftp | Self::FarSftp)
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Local => "In a folder",
            Self::Rest => "On a REST server on loopback",
            Self::Far => "On a REST server 40 ms away",
            Self::S3 => "In an S3 bucket (Ceph) on loopback",
            Self::FarS3 => "In an S3 bucket (Ceph) 40 ms away",
            Self::Sftp => "On an SSH server by SFTP on loopback",
            Self::FarSftp => "On an SSH server by SFTP 40 ms away",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|place| place.name() == word);
        found.ok_or_else(|| format!("`{word}` is no place: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The servers of one turn; dropping it stops them.
pub(super) struct Site {
    place: Place,
    server: Server,
    line: Option<DelayLine>,
}

enum Server {
    Folder(PathBuf),
    Rest(RestServer),
    S3 { bucket: Bucket, _server: CephServer },
    Ssh(SshServer),
}

impl Server {
    fn port(&self) -> Option<u16> {
        match self {
            Self::Folder(_) => None,
            Self::Rest(server) => Some(server.server.port()),
            Self::S3 { bucket, .. } => bucket.endpoint.rsplit(':').next().and_then(|port| port.parse().ok()),
            Self::Ssh(server) => Some(server.server.port()),
        }
    }
}

impl Site {
    /// Starts what `place` needs; repositories in a folder go below `folder`.
    pub(super) fn open(place: Place, folder: &Path) -> Result<Self, String> {
        let missing = |what: &str| format!("{what} is not installed; scripts/components installs it");
        let server = match place {
            Place::Local => Server::Folder(folder.to_path_buf()),
            Place::Rest | Place::Far => {
                let server = RestServer::start(&RestServerOptions::open());
                Server::Rest(server.ok_or_else(|| missing("restic's REST server"))?)
            }
            Place::S3 | Place::FarS3 => {
                let server = CephServer::start().ok_or_else(|| missing("Ceph"))?;
                Server::S3 { bucket: server.new_bucket(), _server: server }
            }
            Place::Sftp | Place::FarSftp => {
                let server = SshServer::start(&SshServerOptions::default());
                Server::Ssh(server.ok_or_else(|| missing("OpenSSH"))?)
            }
        };
        let port = server.port().filter(|_| place.is_far());
        let line = port.map(|port| DelayLine::start(port, FAR_ONE_WAY)).transpose();
        Ok(Self { place, server, line: line.map_err(|error| format!("cannot start the delay line: {error}"))? })
    }

    /// One repository.
    pub(super) fn seat(&self, number: usize) -> Result<Seat, String> {
        let (place, name) = (self.place, format!("repository-{number}"));
        let port = self.line.as_ref().map(DelayLine::port).or(self.server.port()).unwrap_or_default();
        Ok(match &self.server {
            Server::Folder(folder) => Seat::folder(folder.join(name)),
            Server::Rest(server) => {
                let (address, data) = (format!("rest:http://127.0.0.1:{port}/{name}/"), server.folder(&name));
                Seat { place, address, data: Some(data), door: Door::Open }
            }
            Server::S3 { bucket, .. } => {
                let endpoint = format!("http://127.0.0.1:{port}");
                let address = format!("s3:{endpoint}/{}/{name}", bucket.name);
                Seat { place, address, data: None, door: Door::Bucket { bucket: bucket.clone(), endpoint, name } }
            }
            Server::Ssh(server) => {
                let known_hosts =
                    server.known_at(port).map_err(|error| format!("cannot write known hosts: {error}"))?;
                let (user, key_file) = (server.user, server.key_file.clone());
                let ssh_program = server.programs.join("ssh");
                let address = format!("sftp://{user}@127.0.0.1:{port}/{name}");
                let data = server.home.join(&name);
                let door = Door::Ssh(Account { user, port, key_file, known_hosts, ssh_program, name });
                Seat { place, address, data: Some(data), door }
            }
        })
    }
}

/// Where one repository is.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) place: Place,
    address: String,
    /// Its files, where they are files.
    pub(super) data: Option<PathBuf>,
    door: Door,
}

/// What is needed to be let in.
#[derive(Debug, Clone)]
enum Door {
    Open,
    Bucket { bucket: Bucket, endpoint: String, name: String },
    Ssh(Account),
}

#[derive(Debug, Clone)]
struct Account {
    user: &'static str,
    port: u16,
    key_file: PathBuf,
    known_hosts: PathBuf,
    ssh_program: PathBuf,
    name: String,
}

impl Seat {
    pub(super) fn folder(path: PathBuf) -> Self {
        Self { place: Place::Local, address: path.display().to_string(), data: Some(path), door: Door::Open }
    }

    /// What a tool is given as its repository. rustic has no SFTP of its own and goes through rclone's.
    pub(super) fn name(&self, tool: ToolKind) -> String {
        match (&self.door, tool) {
            (Door::Bucket { .. }, ToolKind::Rustic) => "opendal:s3".to_owned(),
            (Door::Bucket { bucket, name, .. }, ToolKind::Rclone) => format!("cloud:{}/{name}", bucket.name),
            (Door::Ssh(account), ToolKind::Rustic) => format!("rclone:cloud:{}", account.name),
            (Door::Ssh(account), ToolKind::Rclone) => format!("cloud:{}", account.name),
            _ => self.address.clone(),
        }
    }

    /// Options that a tool needs besides.
    pub(super) fn options(&self, tool: ToolKind) -> Vec<String> {
        let Door::Ssh(Account { user, port, key_file, known_hosts, ssh_program, .. }) = &self.door else {
            return Vec::new();
        };
        let (key_file, known_hosts) = (key_file.display(), known_hosts.display());
        let options = match tool {
            ToolKind::Triplicate | ToolKind::Fastest => {
                vec![format!("sftp.key_file={key_file}"), format!("sftp.known_hosts={known_hosts}")]
            }
            ToolKind::Restic => vec![format!(
                "sftp.command={} -F /dev/null -o UserKnownHostsFile={known_hosts} -o IdentityFile={key_file} \
                 -o IdentitiesOnly=yes -o BatchMode=yes -p {port} {user}@127.0.0.1 -s sftp",
                ssh_program.display()
            )],
            _ => Vec::new(),
        };
        options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect()
    }

    /// What a tool needs to be allowed in.
    pub(super) fn variables(&self, tool: ToolKind) -> Vec<(String, OsString)> {
        let pairs: Vec<(&str, OsString)> = match (&self.door, tool) {
            (Door::Open, _) => Vec::new(),
            (Door::Bucket { bucket, endpoint, name }, ToolKind::Rustic) => vec![
                ("OPENDAL_ENDPOINT", endpoint.into()),
                ("OPENDAL_BUCKET", (&bucket.name).into()),
                ("OPENDAL_ROOT", name.into()),
                ("OPENDAL_REGION", bucket.region.into()),
                ("OPENDAL_ACCESS_KEY_ID", (&bucket.access_key).into()),
                ("OPENDAL_SECRET_ACCESS_KEY", (&bucket.secret_key).into()),
            ],
            (Door::Bucket { bucket, endpoint, .. }, ToolKind::Rclone) => vec![
                ("RCLONE_CONFIG", "/dev/null".into()),
                ("RCLONE_CONFIG_CLOUD_TYPE", "s3".into()),
                ("RCLONE_CONFIG_CLOUD_PROVIDER", "Ceph".into()),
                ("RCLONE_CONFIG_CLOUD_ENDPOINT", endpoint.into()),
                ("RCLONE_CONFIG_CLOUD_ACCESS_KEY_ID", (&bucket.access_key).into()),
                ("RCLONE_CONFIG_CLOUD_SECRET_ACCESS_KEY", (&bucket.secret_key).into()),
            ],
            (Door::Bucket { bucket, .. }, _) => vec![
                ("AWS_ACCESS_KEY_ID", (&bucket.access_key).into()),
                ("AWS_SECRET_ACCESS_KEY", (&bucket.secret_key).into()),
                ("AWS_DEFAULT_REGION", bucket.region.into()),
                ("AWS_REGION", bucket.region.into()),
            ],
            (Door::Ssh(account), ToolKind::Rustic | ToolKind::Rclone) => account.for_rclone(),
            (Door::Ssh(_), _) => Vec::new(),
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// How many bytes it holds.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        match (&self.data, &self.door) {
            (Some(folder), _) => super::compare::bytes_below(folder),
            (None, Door::Bucket { bucket, name, .. }) => {
                let objects = bucket.list(&format!("{name}/")).map_err(|error| format!("cannot list: {error}"))?;
                Ok(objects.iter().map(|(_, bytes)| bytes).sum())
            }
            (None, _) => Ok(0),
        }
    }

    /// Gives its memory back before the next repository is made, where that is a matter of removing files.
    pub(super) fn remove(&self) -> Result<(), String> {
        match &self.data {
            Some(folder) => super::remove(folder),
            None => Ok(()),
        }
    }
}

impl Account {
    /// The remote `cloud` of an rclone that is found on the search path.
    fn for_rclone(&self) -> Vec<(&'static str, OsString)> {
        let mut path = OsString::new();
        if let Some(folder) = components::rclone().as_deref().and_then(Path::parent) {
            path.push(folder);
            path.push(":");
        }
        path.push(std::env::var_os("PATH").unwrap_or_default());
        vec![
            ("PATH", path),
            ("RCLONE_CONFIG", "/dev/null".into()),
            ("RCLONE_CONFIG_CLOUD_TYPE", "sftp".into()),
            ("RCLONE_CONFIG_CLOUD_HOST", "127.0.0.1".into()),
            ("RCLONE_CONFIG_CLOUD_PORT", self.port.to_string().into()),
            ("RCLONE_CONFIG_CLOUD_USER", self.user.into()),
            ("RCLONE_CONFIG_CLOUD_KEY_FILE", (&self.key_file).into()),
            ("RCLONE_CONFIG_CLOUD_KNOWN_HOSTS_FILE", (&self.known_hosts).into()),
        ]
    }
}
