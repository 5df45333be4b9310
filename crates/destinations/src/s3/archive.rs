//! Objects in an archive: in which class they are stored, whether they can be read, and asking for them.

use bytes::Bytes;
use format::FileName;
use model::Fault;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::{Outgoing, S3Bucket, STORAGE_CLASS, answers, hash};
use crate::http::Matter;
use crate::{S3Access, Warmth};

/// Classes from which an object has to be asked for.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];
/// For how many days an archived object stays readable when nothing else is set.
const RESTORE_DAYS: usize = 7;
const RESTORATION: HeaderName = HeaderName::from_static("x-amz-restore");
const ARCHIVE_STATUS: HeaderName = HeaderName::from_static("x-amz-archive-status");

/// True for a class from which an object has to be asked for.
pub(crate) fn is_archive(class: &str) -> bool {
    ARCHIVES.contains(&class)
}

/// A class is a word in capitals; which words there are, each server says for itself.
pub(super) fn storage_class(word: &str) -> Result<HeaderValue, &'static str> {
    let is_word = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let value = HeaderValue::from_str(word).ok().filter(|_| is_word && !word.is_empty());
    value.ok_or("`storage_class` is a word in capitals, such as `STANDARD_IA`")
}

/// The request that makes an archived object readable, where objects may be archived: because we put them there, or
/// because it was set how they are to be asked for.
pub(super) fn restoration(access: &S3Access) -> Option<Bytes> {
    let archives = access.storage_class.as_deref().is_some_and(is_archive);
    let is_set = access.restore_days != 0 || access.restore_tier.is_some();
    (archives || is_set).then(|| {
        let days = if access.restore_days == 0 { RESTORE_DAYS } else { access.restore_days };
        let tier = access.restore_tier.unwrap_or("Standard");
        Bytes::from(format!(
            "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>{days}</Days>\
             <GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters></RestoreRequest>"
        ))
    })
}

impl S3Bucket {
    /// Whether an object can be read now.
    pub(super) async fn look(&self, name: FileName) -> Result<Warmth, Fault> {
        let response = self.ask_plainly(&Matter::new("stat", name.path()), Method::HEAD, &self.key(name)).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(warmth(header(STORAGE_CLASS), header(RESTORATION), header(ARCHIVE_STATUS)))
    }

    /// Asks that an object can be read soon.
    pub(super) async fn ask_archive(&self, name: FileName) -> Result<(), Fault> {
        let matter = Matter::new("warm up", name.path());
        let body = self.restoration.clone().unwrap_or_default();
        let id = hash(&body);
        let outgoing = Outgoing { query: Some("restore=".to_owned()), body: Some((body, id)), ..Outgoing::default() };
        match self.ask(&matter, Method::POST, &self.key(name), outgoing).await? {
            Ok(_) => Ok(()),
            // Somebody has asked already, or it is in no archive.
            Err(refusal) => match answers::parse_error(&refusal.body).code.as_str() {
                "RestoreAlreadyInProgress" | "InvalidObjectState" => Ok(()),
                _ => Err(self.refused(&matter, &refusal)),
            },
        }
    }
}

/// What the headers of an object say of its archive: its class, the state of its restoration, and, for a class that moves
/// objects by itself, whether it has archived this one.
fn warmth(class: Option<&str>, restoration: Option<&str>, archived: Option<&str>) -> Warmth {
    let lies_in_archive = class.is_some_and(is_archive) || archived.is_some();
    match restoration {
        _ if !lies_in_archive => Warmth::Warm,
        Some(state) if state.contains("ongoing-request=\"true\"") => Warmth::Warming,
        Some(state) if state.contains("ongoing-request=\"false\"") => Warmth::Warm,
        _ => Warmth::Cold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_known_by_its_headers() {
        let done = Some("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"");
        for (class, restoration, archived, expected) in [
            (None, None, None, Warmth::Warm),
            (Some("STANDARD_IA"), None, None, Warmth::Warm),
            (Some("GLACIER_IR"), None, None, Warmth::Warm),
            (Some("GLACIER"), None, None, Warmth::Cold),
            (Some("DEEP_ARCHIVE"), Some("ongoing-request=\"true\""), None, Warmth::Warming),
            (Some("DEEP_ARCHIVE"), done, None, Warmth::Warm),
            (Some("INTELLIGENT_TIERING"), None, None, Warmth::Warm),
            (Some("INTELLIGENT_TIERING"), None, Some("ARCHIVE_ACCESS"), Warmth::Cold),
        ] {
            assert_eq!(warmth(class, restoration, archived), expected, "{class:?} {restoration:?} {archived:?}");
        }
    }
}
