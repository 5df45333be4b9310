//! The list of settings. Names are restic's where restic has one.

use super::{Setting, Slot};

/// The kinds that are reached over HTTP.
const OVER_HTTP: &[&str] = &["azure", "b2", "dropbox", "gs", "rest", "s3", "webdav"];

/// The kinds that are reached over TLS: those, and FTP.
const OVER_TLS: &[&str] = &["azure", "b2", "dropbox", "ftps", "gs", "rest", "s3", "webdav"];

/// Every setting of every kind.
pub const ALL: &[Setting] = &[
    Setting {
        name: "connections",
        kinds: &[],
        meaning: "How many requests may be under way at one time",
        slot: Slot::Count(|settings| &mut settings.limits.connections),
    },
    Setting {
        name: "stall_limit",
        kinds: &[],
        meaning: "An attempt in which nothing moved for this long is given up and made again",
        slot: Slot::Seconds(|settings| &mut settings.limits.stall_limit_seconds),
    },
    Setting {
        name: "retry_total",
        kinds: &[],
        meaning: "For how long a request that fails is tried again",
        slot: Slot::Seconds(|settings| &mut settings.limits.retry_total_seconds),
    },
    Setting {
        name: "limit_upload",
        kinds: &[],
        meaning: "How much goes to it in a second: `512` KiB, `2M`, or by the hour `10M, 08:00-18:00 2M`",
        slot: Slot::Rate(|settings| &mut settings.rates.upload),
    },
    Setting {
        name: "limit_download",
        kinds: &[],
        meaning: "How much comes from it in a second",
        slot: Slot::Rate(|settings| &mut settings.rates.download),
    },
    Setting {
        name: "limit_requests",
        kinds: &[],
        meaning: "How many requests may begin in a second",
        slot: Slot::Count(|settings| &mut settings.rates.requests_per_second),
    },
    Setting {
        name: "ca_certificate",
        kinds: OVER_TLS,
        meaning: "A PEM file of certificates that are trusted besides the system's",
        slot: Slot::Path(|settings| &mut settings.access.tls.ca_certificate),
    },
    Setting {
        name: "pinned_certificate",
        kinds: OVER_TLS,
        meaning: "The SHA-256 of the one certificate that the server may show",
        slot: Slot::Text(|settings| &mut settings.access.tls.pinned_certificate),
    },
    Setting {
        name: "client_certificate",
        kinds: OVER_TLS,
        meaning: "A PEM file of the certificate that we show",
        slot: Slot::Path(|settings| &mut settings.access.tls.client_certificate),
    },
    Setting {
        name: "client_key",
        kinds: OVER_TLS,
        meaning: "A PEM file of its key, where that is not in the same file",
        slot: Slot::Path(|settings| &mut settings.access.tls.client_key),
    },
    Setting {
        name: "proxy",
        kinds: OVER_HTTP,
        meaning: "The proxy, as `http://user:password@host:port`; `none` is none whatever the environment says",
        slot: Slot::Secret(|settings| &mut settings.access.tls.proxy),
    },
    Setting {
        name: "username",
        kinds: &["rest"],
        meaning: "The user; one in the address wins",
        slot: Slot::Text(|settings| &mut settings.access.rest.username),
    },
    Setting {
        name: "password",
        kinds: &["rest"],
        meaning: "The password; one in the address wins",
        slot: Slot::Secret(|settings| &mut settings.access.rest.password),
    },
    Setting {
        name: "username",
        kinds: &["webdav"],
        meaning: "The user; one in the address wins",
        slot: Slot::Text(|settings| &mut settings.access.webdav.username),
    },
    Setting {
        name: "password",
        kinds: &["webdav"],
        meaning: "The password; one in the address wins",
        slot: Slot::Secret(|settings| &mut settings.access.webdav.password),
    },
    Setting {
        name: "bearer_token",
        kinds: &["webdav"],
        meaning: "A token that is sent instead of user and password",
        slot: Slot::Secret(|settings| &mut settings.access.webdav.bearer_token),
    },
    Setting {
        name: "password",
        kinds: &["ftps"],
        meaning: "The password of the account, whose name is in the address",
        slot: Slot::Secret(|settings| &mut settings.access.ftps.password),
    },
    Setting {
        name: "marker",
        kinds: &["local"],
        meaning: "A file on the disk, absolute or in the folder above the copy's; without it the disk is not mounted",
        slot: Slot::Text(|settings| &mut settings.access.local.marker),
    },
    Setting {
        name: "account_name",
        kinds: &["azure"],
        meaning: "The name of the account",
        slot: Slot::Text(|settings| &mut settings.access.azure.account_name),
    },
    Setting {
        name: "account_key",
        kinds: &["azure"],
        meaning: "The account's key",
        slot: Slot::Secret(|settings| &mut settings.access.azure.account_key),
    },
    Setting {
        name: "account_sas",
        kinds: &["azure"],
        meaning: "A shared access signature; a key wins",
        slot: Slot::Secret(|settings| &mut settings.access.azure.account_sas),
    },
    Setting {
        name: "endpoint_suffix",
        kinds: &["azure"],
        meaning: "What follows `ACCOUNT.blob.`; without it, `core.windows.net`",
        slot: Slot::Text(|settings| &mut settings.access.azure.endpoint_suffix),
    },
    Setting {
        name: "endpoint",
        kinds: &["azure"],
        meaning: "The whole address of the account's blobs, for servers that only speak as Azure does",
        slot: Slot::Text(|settings| &mut settings.access.azure.endpoint),
    },
    Setting {
        name: "account_id",
        kinds: &["b2"],
        meaning: "The id of the key",
        slot: Slot::Text(|settings| &mut settings.access.b2.account_id),
    },
    Setting {
        name: "account_key",
        kinds: &["b2"],
        meaning: "The key",
        slot: Slot::Secret(|settings| &mut settings.access.b2.account_key),
    },
    Setting {
        name: "endpoint",
        kinds: &["b2"],
        meaning: "Another server than Backblaze's own",
        slot: Slot::Text(|settings| &mut settings.access.b2.endpoint),
    },
    Setting {
        name: "credentials",
        kinds: &["gs"],
        meaning: "The JSON file of a service account, or of a user, as Google gives it out",
        slot: Slot::Secret(|settings| &mut settings.access.google.credentials),
    },
    Setting {
        name: "access_token",
        kinds: &["gs"],
        meaning: "A token that was fetched already; it wins, and is not renewed",
        slot: Slot::Secret(|settings| &mut settings.access.google.access_token),
    },
    Setting {
        name: "project_id",
        kinds: &["gs"],
        meaning: "The project in which a missing bucket is made; without it, the one of the service account",
        slot: Slot::Text(|settings| &mut settings.access.google.project_id),
    },
    Setting {
        name: "endpoint",
        kinds: &["gs"],
        meaning: "Another server than Google's own",
        slot: Slot::Text(|settings| &mut settings.access.google.endpoint),
    },
    Setting {
        name: "app_key",
        kinds: &["dropbox"],
        meaning: "The key of the application",
        slot: Slot::Text(|settings| &mut settings.access.dropbox.app_key),
    },
    Setting {
        name: "app_secret",
        kinds: &["dropbox"],
        meaning: "The secret of the application; one that was let in with PKCE has none",
        slot: Slot::Secret(|settings| &mut settings.access.dropbox.app_secret),
    },
    Setting {
        name: "refresh_token",
        kinds: &["dropbox"],
        meaning: "The token that access tokens are fetched with",
        slot: Slot::Secret(|settings| &mut settings.access.dropbox.refresh_token),
    },
    Setting {
        name: "access_key_id",
        kinds: &["s3"],
        meaning: "The name of the key",
        slot: Slot::Text(|settings| &mut settings.access.s3.key_id),
    },
    Setting {
        name: "secret_access_key",
        kinds: &["s3"],
        meaning: "The key",
        slot: Slot::Secret(|settings| &mut settings.access.s3.key),
    },
    Setting {
        name: "session_token",
        kinds: &["s3"],
        meaning: "The token that goes with a temporary key",
        slot: Slot::Secret(|settings| &mut settings.access.s3.session_token),
    },
    Setting {
        name: "region",
        kinds: &["s3"],
        meaning: "The region to sign for; without it, the one that the endpoint's name tells, or `us-east-1`",
        slot: Slot::Text(|settings| &mut settings.access.s3.region),
    },
    Setting {
        name: "bucket_lookup",
        kinds: &["s3"],
        meaning: "Where the bucket is written: into the path, or into the host name",
        slot: Slot::Word(&["auto", "dns", "path"], |settings, word| {
            settings.access.s3.bucket_in_path = [None, Some(false), Some(true)][word];
        }),
    },
    Setting {
        name: "storage_class",
        kinds: &["s3"],
        meaning: "The class for packs of data, such as `STANDARD_IA` or `DEEP_ARCHIVE`; listings and indexes stay in the usual one",
        slot: Slot::Text(|settings| &mut settings.access.s3.storage_class),
    },
    Setting {
        name: "restore_days",
        kinds: &["s3"],
        meaning: "For how many days a pack stays readable that was asked for from an archive; 7 without it",
        slot: Slot::Count(|settings| &mut settings.access.s3.restore_days),
    },
    Setting {
        name: "restore_tier",
        kinds: &["s3"],
        meaning: "How fast an archive is asked to be, which is a matter of price",
        slot: Slot::Word(&["standard", "bulk", "expedited"], |settings, word| {
            settings.access.s3.restore_tier = ["Standard", "Bulk", "Expedited"].get(word).copied();
        }),
    },
    Setting {
        name: "object_lock_days",
        kinds: &["s3"],
        meaning: "For how many days `copies extend` locks what snapshots need, in a bucket with object lock",
        slot: Slot::Count(|settings| &mut settings.access.s3.object_lock_days),
    },
    Setting {
        name: "object_lock_mode",
        kinds: &["s3"],
        meaning: "Whether the owner of the bucket can take locks away; with `compliance` nobody can",
        slot: Slot::Word(&["governance", "compliance"], |settings, word| {
            settings.access.s3.object_lock_is_final = word == 1;
        }),
    },
    Setting {
        name: "password",
        kinds: &["sftp"],
        meaning: "The password of the account",
        slot: Slot::Secret(|settings| &mut settings.access.ssh.password),
    },
    Setting {
        name: "key_file",
        kinds: &["sftp", "rsync"],
        meaning: "The file of a private key; without it those of `~/.ssh` are tried",
        slot: Slot::Path(|settings| &mut settings.access.ssh.key_file),
    },
    Setting {
        name: "key_passphrase",
        kinds: &["sftp"],
        meaning: "The passphrase of an encrypted key file",
        slot: Slot::Secret(|settings| &mut settings.access.ssh.key_passphrase),
    },
    Setting {
        name: "known_hosts",
        kinds: &["sftp", "rsync"],
        meaning: "The file of host keys that are believed",
        slot: Slot::Path(|settings| &mut settings.access.ssh.known_hosts),
    },
    Setting {
        name: "host_fingerprint",
        kinds: &["sftp"],
        meaning: "The one host key that is believed, as `SHA256:...`",
        slot: Slot::Text(|settings| &mut settings.access.ssh.host_fingerprint),
    },
    Setting {
        name: "program",
        kinds: &["rsync"],
        meaning: "The `rsync` program",
        slot: Slot::Path(|settings| &mut settings.access.ssh.rsync_program),
    },
    Setting {
        name: "program",
        kinds: &["rclone"],
        meaning: "The `rclone` program",
        slot: Slot::Path(|settings| &mut settings.access.rclone.program),
    },
];
