//! What a prune is asked to do.

use std::str::FromStr;
use std::time::Duration;

use format::Compression;

use crate::copies::warm;
use crate::error::Error;
use crate::filter::parse_size;
use crate::packing::PACK_BYTES_TARGET;

/// How long a pack that nobody needs stays before it is deleted, unless the user says otherwise.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// What `--repack-small` calls small: less than four fifths of a full pack, as restic has it.
pub const SMALL_PACK_BYTES: u64 = PACK_BYTES_TARGET as u64 / 5 * 4;

/// How much that nobody needs may stay in packs that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxUnused {
    /// So much of a hundred of all that stays.
    Percent(f64),
    /// So many bytes.
    Bytes(u64),
    /// Any amount: packs are only ever removed whole.
    Unlimited,
}

impl MaxUnused {
    /// The same in bytes, beside so many bytes that are used.
    pub(super) fn bytes(self, used: u64) -> u64 {
        match self {
            // A share of what stays, used and unused; a float becomes the nearest number that there is.
            MaxUnused::Percent(percent) => (percent / (100.0 - percent) * used as f64) as u64,
            MaxUnused::Bytes(bytes) => bytes,
            MaxUnused::Unlimited => u64::MAX,
        }
    }
}

impl FromStr for MaxUnused {
    type Err = Error;

    /// restic's forms: `5%`, `10G`, `unlimited`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::Request(format!("`{text}` is no limit for unused data: {why}"));
        if text == "unlimited" {
            return Ok(MaxUnused::Unlimited);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| refused("use a number before the `%`"))?;
            let is_share = (0.0..100.0).contains(&percent);
            return if is_share { Ok(MaxUnused::Percent(percent)) } else { Err(refused("use 0% to 99%")) };
        }
        let bytes = parse_size(text).map_err(|_| refused("use `5%`, a size such as `10G`, or `unlimited`"))?;
        Ok(MaxUnused::Bytes(bytes))
    }
}

/// How to prune.
#[derive(Debug, Clone)]
pub struct PruneRequest {
    /// How much unused data may stay.
    pub max_unused: MaxUnused,
    /// Stop repacking after packs of so many bytes.
    pub max_repack_bytes: Option<u64>,
    /// Pack the content of full-used packs below this size together.
    pub repack_smaller_than: Option<u64>,
    /// Compress what was stored as it is; version 2 repositories only.
    pub repack_uncompressed: bool,
    /// Touch packs of folder listings only, which every machine has in its cache.
    pub repack_cacheable_only: bool,
    /// How long a pack that nobody needs stays marked before it is deleted.
    pub grace: Duration,
    /// Make a plan and change nothing.
    pub dry_run: bool,
    /// Believe listings that show far fewer files than this machine saw before.
    pub believe_listings: bool,
    /// How hard to compress where that is asked for.
    pub compression: Compression,
    /// Worker threads; one for each core otherwise.
    pub threads: Option<usize>,
    /// How long to wait for packs to be repacked that lie in an archive; without it such packs are a reason to refuse.
    pub patience: Option<warm::Patience>,
}

impl Default for PruneRequest {
    fn default() -> Self {
        Self {
            max_unused: MaxUnused::Percent(5.0),
            max_repack_bytes: None,
            repack_smaller_than: None,
            repack_uncompressed: false,
            repack_cacheable_only: false,
            grace: GRACE_DEFAULT,
            dry_run: false,
            believe_listings: false,
            compression: Compression::Auto,
            threads: None,
            patience: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_are_restics() {
        assert_eq!("5%".parse::<MaxUnused>().unwrap(), MaxUnused::Percent(5.0));
        assert_eq!("0%".parse::<MaxUnused>().unwrap().bytes(1000), 0);
        assert_eq!("unlimited".parse::<MaxUnused>().unwrap().bytes(1000), u64::MAX);
        assert_eq!("10k".parse::<MaxUnused>().unwrap().bytes(1000), 10 << 10);
        assert_eq!("0".parse::<MaxUnused>().unwrap().bytes(1000), 0);
        // A twentieth of what stays is a nineteenth of what is used.
        assert_eq!("5%".parse::<MaxUnused>().unwrap().bytes(1900), 100);
        assert_eq!("99.9%".parse::<MaxUnused>().unwrap().bytes(1), 999);
        for wrong in ["", "100%", "-1%", "%", "NaN%", "infinite", "5 %%", "-3"] {
            assert!(wrong.parse::<MaxUnused>().is_err(), "{wrong}");
        }
    }
}
