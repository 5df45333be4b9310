//! Trees of other machines, read as they are: no mount, no root, nothing on a disk between, and nothing ever written
//! there.
//!
//! A listing is whole or an error. A file whose connection drops goes on at the byte where it was while the server says
//! that it is what it was; otherwise it is read anew once. Names are bytes and stay as they came.
//!
//! | room | its matter |
//! |---|---|
//! | [`tree`] | what each kind of server has to offer |
//! | [`origin`] | a tree as the engine reads it: retries, stall limit, what an error costs |
//! | [`pour`] | one file on its way, across connections that drop |
//! | [`reader`] | the same file as the engine reads it |
//! | [`ftps`], [`sftp`], [`webdav`], [`s3`] | the servers |
//!
//! It must not write, and must not look outside of the folder that it was given.

mod ftps;
mod origin;
mod pour;
mod reader;
mod s3;
mod sftp;
mod tree;
mod webdav;

use std::sync::Arc;

use destinations::{Access, Limits, Location, RetryListener};
use model::Fault;
use repository::backup::{Origin, OriginError};
use tokio::runtime::Handle;

use self::origin::RemoteOrigin;
use self::tree::Tree;

/// FTP servers and SSH servers count logins; more than this are not made.
const LOGINS_MOST: usize = 4;

/// How a remote tree is reached.
#[derive(Clone, Default)]
pub struct RemoteSettings {
    /// Credentials, and whom to believe.
    pub access: Access,
    /// How many connections, and how hard and how long they are tried.
    pub limits: Limits,
    /// TLS from the first byte on, on port 990 if no other is named; FTP only.
    pub implicit_tls: bool,
    /// Who hears of each retry.
    pub listener: Option<RetryListener>,
}

impl std::fmt::Debug for RemoteSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteSettings")
            .field("access", &self.access)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The tree at `location`, to be backed up; nothing is asked of it yet. Connections live on `runtime`, and the origin is
/// read from threads that are none of its own.
///
/// # Errors
/// When the settings make no sense, or the location is of a kind that is not read.
pub fn remote_tree(
    location: &Location,
    settings: &RemoteSettings,
    runtime: Handle,
) -> Result<Arc<dyn Origin>, OriginError> {
    let RemoteSettings { access, limits, implicit_tls, .. } = settings;
    let few = Limits { connections: limits.connections.clamp(1, LOGINS_MOST), ..*limits };
    let misconfigured = |fault: Fault| origin::error_of(fault);
    let (tree, lanes): (Arc<dyn Tree>, usize) = match location {
        Location::Ftps(place) => {
            let tree = ftps::FtpsTree::new(place, access, *implicit_tls, few.connections).map_err(misconfigured)?;
            (Arc::new(tree), few.connections)
        }
        Location::Sftp(place) => {
            (Arc::new(sftp::SftpTree::new(place, &access.ssh, &few).map_err(misconfigured)?), few.connections)
        }
        Location::Webdav(place) => {
            let tree = webdav::WebdavTree::new(place, access, limits).map_err(misconfigured)?;
            (Arc::new(tree), limits.connections.max(1))
        }
        Location::S3(place) => {
            (Arc::new(s3::S3Tree::new(place, access, limits).map_err(misconfigured)?), limits.connections.max(1))
        }
        other => {
            let cause = format!("trees are not read from `{}:`", other.kind());
            let hint = "trees are read from `ftps:`, `sftp:`, `webdav:` and `s3:`";
            return Err(OriginError::new("use", "", cause).hint(hint));
        }
    };
    Ok(Arc::new(RemoteOrigin::new(location.kind(), tree, settings, lanes, runtime)))
}
