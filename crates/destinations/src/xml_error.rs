//! An error as S3 and Azure say it in XML.
//!
//! Nothing else of this crate is used here: fuzzing takes this file and those that read answers.

use serde::Deserialize;

/// An error in the server's own words.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServerError {
    /// The word that programs branch on.
    #[serde(default)]
    pub(crate) code: String,
    /// The words for people.
    #[serde(default)]
    pub(crate) message: String,
    /// Where a bucket of S3 lives, when that is the trouble.
    #[serde(default)]
    pub(crate) region: String,
}
