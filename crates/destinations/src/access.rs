//! Credentials and trust for destinations, handed over by whoever has read the environment or a config.
//!
//! This room reads neither: a library that looks at `AWS_SECRET_ACCESS_KEY` by itself would use one key for every
//! copy. `Debug` shows names, never values.

use std::path::PathBuf;

use model::Secret;

/// What a destination may need to let us in. What is not set is not used.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The user for REST servers; one in the URL wins.
    pub rest_username: Option<String>,
    /// The password for REST servers; one in the URL wins.
    pub rest_password: Option<Secret>,
    /// The name of the S3 key.
    pub aws_access_key_id: Option<String>,
    /// The S3 key.
    pub aws_secret_access_key: Option<Secret>,
    /// The token that goes with a temporary S3 key.
    pub aws_session_token: Option<Secret>,
    /// The S3 region; without it, the one that the endpoint's name tells, or `us-east-1`.
    pub aws_region: Option<String>,
    /// Whether the bucket is written into the path or the host name; without it, Amazon gets the host name and
    /// everybody else the path.
    pub s3_bucket_in_path: Option<bool>,
    /// A PEM file of certificates that are trusted besides the system's.
    pub ca_certificate: Option<PathBuf>,
}
