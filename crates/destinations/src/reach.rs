//! Ways to servers for whoever reads there what is no copy: a source that lies elsewhere.
//!
//! Login, trust, limits and what an answer means are the same as for copies, and so is the code. Nothing here can write.

use std::time::Duration;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use crate::around::progress::Progress;
use crate::{TlsAccess, tls};

pub use crate::around::{Patience, Series};
pub use crate::ftps::kind_of_refusal as kind_of_ftp_refusal;
pub use crate::http::{WebFacts, WebFile};
pub use crate::s3::{S3FolderPage, S3Object, S3Reader};
pub use crate::sftp::{SftpFacts, SftpFile, SftpReader};
pub use crate::webdav::{WebdavEntry, WebdavReader};

/// TLS as the user wants it: with version 1.2, whose sessions can be resumed as often as one likes, and with 1.3 for
/// servers that speak nothing older.
///
/// # Errors
/// When files cannot be read or make no sense.
pub fn tls_by_version(access: &TlsAccess) -> Result<[ClientConfig; 2], String> {
    Ok([tls::config(access, &[&TLS12])?, tls::config(access, &[&TLS13])?])
}

/// Whether an error says that the two sides cannot agree on TLS: trying again cannot help then.
pub fn is_about_certificates(error: &(dyn std::error::Error + 'static)) -> bool {
    tls::is_about_certificates(error)
}

/// Runs `attempt`; none when nothing moved for `limit`.
pub async fn watched<T>(limit: Duration, attempt: impl Future<Output = T>) -> Option<T> {
    Progress::watch(limit, attempt).await
}

/// Says that something moved, to whoever [watches](watched) this task.
pub fn moved() {
    Progress::current().note();
}
