//! Where repositories lie: a folder, a REST server beside us or far away, a bucket.
//!
//! Servers are real ones, started for one turn of one tool and stopped after it. What they cost is not counted; that
//! they share the machine is the same for every tool.

mod delay;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Bucket, CephServer, RestServer, RestServerOptions};

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
}

impl Place {
    pub(super) const ALL: [Self; 4] = [Self::Local, Self::Rest, Self::Far, Self::S3];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Rest => "rest",
            Self::Far => "far",
            Self::S3 => "s3",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Local => "In a folder",
            Self::Rest => "On a REST server on loopback",
            Self::Far => "On a REST server 40 ms away",
            Self::S3 => "In an S3 bucket (Ceph) on loopback",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|place| place.name() == word);
        found.ok_or_else(|| format!("`{word}` is no place: local, rest, far or s3"))
    }
}

/// The servers of one turn; dropping it stops them.
pub(super) enum Site {
    Folder(PathBuf),
    Rest { server: RestServer, line: Option<DelayLine> },
    S3 { bucket: Bucket, _server: CephServer },
}

impl Site {
    /// Starts what `place` needs; repositories in a folder go below `folder`.
    pub(super) fn open(place: Place, folder: &Path) -> Result<Self, String> {
        let missing = |what: &str| format!("{what} is not installed; scripts/components installs it");
        match place {
            Place::Local => Ok(Self::Folder(folder.to_path_buf())),
            Place::Rest | Place::Far => {
                let server = RestServer::start(&RestServerOptions::open());
                let server = server.ok_or_else(|| missing("restic's REST server"))?;
                let line = (place == Place::Far).then(|| DelayLine::start(server.server.port(), FAR_ONE_WAY));
                let line = line.transpose().map_err(|error| format!("cannot start the delay line: {error}"))?;
                Ok(Self::Rest { server, line })
            }
            Place::S3 => {
                let server = CephServer::start().ok_or_else(|| missing("Ceph"))?;
                Ok(Self::S3 { bucket: server.new_bucket(), _server: server })
            }
        }
    }

    /// One repository.
    pub(super) fn seat(&self, number: usize) -> Seat {
        let name = format!("repository-{number}");
        match self {
            Self::Folder(folder) => Seat::folder(folder.join(name)),
            Self::Rest { server, line } => {
                let port = line.as_ref().map_or(server.server.port(), DelayLine::port);
                let place = if line.is_some() { Place::Far } else { Place::Rest };
                let data = server.folder(&name);
                Seat { place, address: format!("rest:http://127.0.0.1:{port}/{name}/"), data: Some(data), bucket: None }
            }
            Self::S3 { bucket, .. } => {
                let address = bucket.repository(&name);
                Seat { place: Place::S3, address, data: None, bucket: Some((bucket.clone(), name)) }
            }
        }
    }
}

/// Where one repository is.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) place: Place,
    address: String,
    /// Its files, where they are files.
    pub(super) data: Option<PathBuf>,
    bucket: Option<(Bucket, String)>,
}

impl Seat {
    pub(super) fn folder(path: PathBuf) -> Self {
        Self { place: Place::Local, address: path.display().to_string(), data: Some(path), bucket: None }
    }

    /// What a tool is given as its repository.
    pub(super) fn name(&self, tool: ToolKind) -> String {
        if self.bucket.is_some() && tool == ToolKind::Rustic { "opendal:s3".to_owned() } else { self.address.clone() }
    }

    /// What a tool needs to be allowed in.
    pub(super) fn variables(&self, tool: ToolKind) -> Vec<(String, OsString)> {
        let Some((bucket, name)) = &self.bucket else { return Vec::new() };
        let pairs = if tool == ToolKind::Rustic {
            vec![
                ("OPENDAL_ENDPOINT", bucket.endpoint.as_str()),
                ("OPENDAL_BUCKET", &bucket.name),
                ("OPENDAL_ROOT", name),
                ("OPENDAL_REGION", bucket.region),
                ("OPENDAL_ACCESS_KEY_ID", &bucket.access_key),
                ("OPENDAL_SECRET_ACCESS_KEY", &bucket.secret_key),
            ]
        } else {
            vec![
                ("AWS_ACCESS_KEY_ID", bucket.access_key.as_str()),
                ("AWS_SECRET_ACCESS_KEY", &bucket.secret_key),
                ("AWS_DEFAULT_REGION", bucket.region),
                ("AWS_REGION", bucket.region),
            ]
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), OsString::from(value))).collect()
    }

    /// How many bytes it holds.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        match (&self.data, &self.bucket) {
            (Some(folder), _) => super::compare::bytes_below(folder),
            (None, Some((bucket, name))) => {
                let objects = bucket.list(&format!("{name}/")).map_err(|error| format!("cannot list: {error}"))?;
                Ok(objects.iter().map(|(_, bytes)| bytes).sum())
            }
            (None, None) => Ok(0),
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
