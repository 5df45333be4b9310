//! Every kind of place that can hold a copy, behind one small trait.
//!
//! A destination stores whole files under the names of [`format::FileName`] and knows nothing of what is in them.
//! Retry, stall limits and (in tests) faults are decorators around the same trait, so that any of them can be put
//! anywhere. [`open`] puts them around a place in the order that makes sense outside of tests:
//! retries, then turns ([`Crowding`]), then the pace ([`Pacing`]), then the stall limit, then the place.

mod access;
mod around;
mod azure;
mod b2;
mod bucket;
mod dropbox;
mod ftps;
mod gs;
mod http;
pub mod limits;
mod local;
mod location;
mod oauth;
mod pace;
mod program;
mod rclone;
pub mod reach;
mod rest;
mod rsync;
mod s3;
pub mod settings;
mod sftp;
mod site;
mod temporary;
mod tls;
mod webdav;
mod xml_error;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::{Fault, FaultKind, Id};

pub use access::{
    Access, AzureAccess, B2Access, DropboxAccess, FtpsAccess, GoogleAccess, LocalAccess, RcloneAccess, RestAccess,
    S3Access, SshAccess, TlsAccess, WebdavAccess,
};
pub use around::{Crowding, HotAndCold, Metering, Pacing, RetryListener, RetryNotice, Retrying, Stalling};
pub use azure::AzureContainer;
pub use b2::B2Bucket;
pub use dropbox::DropboxFolder;
pub use ftps::FtpsFolder;
pub use gs::GoogleBucket;
pub use limits::Limits;
pub use local::LocalFolder;
pub use location::{
    AccountPlace, BucketPlace, DropboxLocation, LocalLocation, Location, LocationError, RcloneLocation, RestLocation,
    S3Location, WebdavLocation,
};
pub use pace::{Pace, Rates, Timetable, TimetableError};
pub use rest::RestServer;
pub use rsync::RsyncFolder;
pub use s3::S3Bucket;
pub use settings::Settings;
pub use sftp::SftpFolder;
pub use site::{CostClass, Site};
pub use webdav::WebdavFolder;

/// No file of a repository is longer: places inside packs are 32-bit numbers.
pub const FILE_LIMIT_BYTES: u64 = 1 << 32;

/// The copy at `location`, with retries and limits around it. Nothing is asked of the place yet.
pub fn open(location: &Location, access: &Access, limits: &Limits) -> Result<Arc<dyn Destination>, Fault> {
    open_heard(location, access, limits, None)
}

/// As [`open`]; `listener` hears of each retry.
pub fn open_heard(
    location: &Location,
    access: &Access,
    limits: &Limits,
    listener: Option<RetryListener>,
) -> Result<Arc<dyn Destination>, Fault> {
    open_on(location, access, Terms { limits: *limits, listener, pace: None })
}

/// On what terms a place is used.
#[derive(Clone, Default)]
pub struct Terms {
    /// How hard and how long it is tried.
    pub limits: Limits,
    /// How fast it may be used; as fast as it goes otherwise.
    pub pace: Option<Pace>,
    /// Who hears of each retry.
    pub listener: Option<RetryListener>,
}

/// As [`open`], on these terms.
pub fn open_on(location: &Location, access: &Access, terms: Terms) -> Result<Arc<dyn Destination>, Fault> {
    let Terms { mut limits, pace, listener } = terms;
    let place: Arc<dyn Destination> = match location {
        Location::Local(local) => {
            limits.retry_total_seconds = limits.retry_total_seconds.min(limits::LOCAL_RETRY_TOTAL_SECONDS);
            Arc::new(LocalFolder::new(local).with_marker(access.local.marker.as_deref()))
        }
        Location::Rest(rest) => Arc::new(RestServer::new(rest, access, &limits)?),
        Location::S3(s3) => Arc::new(S3Bucket::new(s3, access, &limits)?),
        Location::Azure(place) => Arc::new(AzureContainer::new(place, access, &limits)?),
        Location::B2(place) => Arc::new(B2Bucket::new(place, access, &limits)?),
        Location::Google(place) => Arc::new(GoogleBucket::new(place, access, &limits)?),
        Location::Dropbox(dropbox) => Arc::new(DropboxFolder::new(dropbox, access, &limits)?),
        Location::Webdav(webdav) => Arc::new(WebdavFolder::new(webdav, access, &limits)?),
        Location::Sftp(place) => Arc::new(SftpFolder::new(place, &access.ssh, &limits)?),
        Location::Ftps(place) => Arc::new(FtpsFolder::new(place, &access.ftps, &access.tls, &limits)?),
        Location::Rsync(place) => Arc::new(RsyncFolder::new(place, &access.ssh, &limits)?),
        Location::Rclone(remote) => Arc::new(rclone::open(remote, &access.rclone)?),
    };
    let watched: Arc<dyn Destination> = Arc::new(Stalling::new(place, limits.stall()));
    // What speaks through `http`, and SFTP, meters its steps; the others are handed whole files.
    let metering = match location {
        Location::Local(_) | Location::Rsync(_) | Location::Ftps(_) => Metering::ByFile,
        _ => Metering::ByStep,
    };
    let paced = match pace.filter(|pace| !pace.rates.are_unlimited()) {
        Some(pace) => Arc::new(Pacing::new(watched, &pace, metering)),
        None => watched,
    };
    let in_turn = Arc::new(Crowding::new(paced, limits.connections));
    Ok(Arc::new(Retrying::new(in_turn, &limits, listener)))
}

/// A file that a listing showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its id.
    pub id: Id,
    /// Its size in bytes.
    pub size: u64,
}

/// Which bytes of a file to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All of it.
    Whole,
    /// `length` bytes from `offset`; a shorter answer is a fault.
    Range {
        /// First byte.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// Whether a file can be read, or lies in an archive from which it has to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmth {
    /// It can be read.
    Warm,
    /// It was asked for, and takes its time.
    Warming,
    /// It has to be asked for.
    Cold,
}

/// A place that holds one copy of one repository.
///
/// Every verb is complete or a fault: a listing that broke off, a read that came back short and a write of which
/// nobody said that it is safe are all `Err`. "Not there" is [`model::FaultKind::NotFound`] and is never used for
/// "could not look".
#[async_trait]
pub trait Destination: Send + Sync + std::fmt::Debug {
    /// What to call this place in front of people: an address without secrets.
    fn place(&self) -> &str;

    /// Makes the empty layout of a repository (folders, the server's account space). Harmless when it is there.
    async fn create(&self) -> Result<(), Fault>;

    /// All files of one kind, in no order. Names that the format does not know are left out. For
    /// [`FileKind::Config`] use [`Destination::stat`].
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault>;

    /// The size of a file in bytes.
    async fn stat(&self, name: FileName) -> Result<u64, Fault>;

    /// The bytes of a file. They are not checked against the name here: that is the reader's duty, which holds the key.
    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault>;

    /// As [`Destination::read`], for a reader that wants the bytes to itself, to decrypt them where they stand. A place
    /// that fills memory itself fills `buffer`, whatever is in it: fresh memory costs as much as reading.
    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        drop(buffer);
        self.read(name, span).await.map(Vec::from)
    }

    /// Stores a whole file; when this returns, it survives a power cut, and no reader ever saw a part of it. The same
    /// bytes under the same name are a success; other bytes replace a file named by its hash (the old ones were
    /// damaged), but never `config`.
    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault>;

    /// As [`Destination::write`], for a pack that holds pieces of files and no listing: it is needed when something is
    /// restored and at no other time, and a place may keep it where reading is slow and costs money.
    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.write(name, bytes).await
    }

    /// Removes a file; one that is not there is a success.
    async fn remove(&self, name: FileName) -> Result<(), Fault>;

    /// Whether packs of data may lie in an archive here. Where this is false, nobody needs to ask [`Destination::warmth`].
    fn may_be_cold(&self) -> bool {
        false
    }

    /// Whether a file can be read now.
    async fn warmth(&self, _name: FileName) -> Result<Warmth, Fault> {
        Ok(Warmth::Warm)
    }

    /// Asks the place to make a file readable, which may take it hours. Nothing is waited for; asking again is harmless.
    async fn warm_up(&self, _name: FileName) -> Result<(), Fault> {
        Ok(())
    }

    /// For how many days files are to be locked here, where the place can do that and was told to.
    fn lock_days(&self) -> Option<u32> {
        None
    }

    /// Locks a file: until then nobody can remove it, with whatever credential. A lock that lasts longer stays.
    async fn lock_until(&self, name: FileName, _until: Timestamp) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Refused, "lock", name.path(), self.place(), "this place locks no files"))
    }

    /// The two places that this one is made of, for whoever has to look at the hot one by itself.
    fn as_pair(&self) -> Option<&HotAndCold> {
        None
    }
}
