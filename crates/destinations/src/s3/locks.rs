//! Objects that nobody can remove for a time: S3's object lock.
//!
//! Buckets with locks keep versions. A plain removal there hides an object, locked or not, and reports success; so what is
//! removed here is the version itself, which the server refuses while it is locked.

use bytes::Bytes;
use format::FileName;
use jiff::Timestamp;
use model::{Fault, FaultKind};
use percent_encoding::utf8_percent_encode;
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode};

use super::{IN_QUERY, Outgoing, S3Bucket, hash};
use crate::S3Access;
use crate::http::{self, Matter};

/// Nobody wants to wait longer for a slip of the pen to pass.
const LOCK_DAYS_MAX: u32 = 3653;
/// So many versions of one name nobody makes by writing the same again.
const VERSIONS_LIMIT: usize = 100;
const MODE_USUAL: &str = "GOVERNANCE";
const VERSION: HeaderName = HeaderName::from_static("x-amz-version-id");
const LOCKED_UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");

/// How files are locked.
#[derive(Debug)]
pub(super) struct ObjectLock {
    pub(super) days: u32,
    /// S3's word for who can take a lock away.
    mode: &'static str,
}

/// What was set of locks; none where nothing was.
pub(super) fn object_lock(access: &S3Access) -> Result<Option<ObjectLock>, &'static str> {
    let days = u32::try_from(access.object_lock_days).ok().filter(|days| *days <= LOCK_DAYS_MAX);
    let days = days.ok_or("`object_lock_days` is more than ten years")?;
    let mode = if access.object_lock_is_final { "COMPLIANCE" } else { MODE_USUAL };
    Ok((days != 0).then_some(ObjectLock { days, mode }))
}

impl S3Bucket {
    /// Removes what is there, and not its name alone: in a bucket with locks a plain removal hides a file, locked or not,
    /// and says that all went well.
    pub(super) async fn remove_versions(&self, matter: &Matter, key: &str) -> Result<(), Fault> {
        for _ in 0..VERSIONS_LIMIT {
            let head = match self.ask(matter, Method::HEAD, key, Outgoing::default()).await? {
                Ok(response) => response,
                Err(refusal) if refusal.status == StatusCode::NOT_FOUND => return Ok(()),
                Err(refusal) => return Err(self.refused(matter, &refusal)),
            };
            let text = |name| head.headers().get(name).and_then(|value| value.to_str().ok());
            let query = text(VERSION).map(|version| format!("versionId={}", utf8_percent_encode(version, IN_QUERY)));
            let until = text(LOCKED_UNTIL).map(http::reason);
            if let Err(refusal) =
                self.ask(matter, Method::DELETE, key, Outgoing { query, ..Outgoing::default() }).await?
            {
                let mut fault = self.refused(matter, &refusal);
                if let (FaultKind::Denied, Some(until)) = (fault.kind, until) {
                    fault.cause = format!("it is locked until {until} ({})", fault.cause);
                }
                return Err(fault);
            }
        }
        Err(self.http.fault(
            FaultKind::Failing,
            matter,
            format!("{VERSIONS_LIMIT} versions were removed and it is still there"),
        ))
    }

    /// Until when an object is locked by now.
    async fn locked_until(&self, matter: &Matter, key: &str) -> Result<Option<Timestamp>, Fault> {
        let head = self.ask_plainly(matter, Method::HEAD, key).await?;
        Ok(head.headers().get(LOCKED_UNTIL).and_then(|value| value.to_str().ok()?.parse().ok()))
    }

    /// Locks a file; one that is locked longer stays so.
    pub(super) async fn lock(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        let (matter, key) = (Matter::new("lock", name.path()), self.key(name));
        let mode = self.object_lock.as_ref().map_or(MODE_USUAL, |lock| lock.mode);
        let body = Bytes::from(format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            until.strftime("%Y-%m-%dT%H:%M:%SZ")
        ));
        let id = hash(&body);
        let outgoing = Outgoing { query: Some("retention=".to_owned()), body: Some((body, id)), ..Outgoing::default() };
        let Err(refusal) = self.ask(&matter, Method::PUT, &key, outgoing).await? else { return Ok(()) };
        let fault = self.refused(&matter, &refusal);
        // A lock cannot be made shorter, and need not.
        let is_longer = fault.kind == FaultKind::Denied
            && self.locked_until(&matter, &key).await?.is_some_and(|locked| until <= locked);
        if is_longer { Ok(()) } else { Err(fault) }
    }
}
