//! What shapes the listings of a backup beside the entries themselves.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::Id;

use super::Bond;
use crate::repository::Repository;

/// Raised whenever listings are made of entries in another way, or this file's form changes. The program's version is
/// in the digest too; this number is for those who build from source.
const MEMORY_VERSION: u32 = 1;

/// Times for which the zone's offsets are compared: all of 1900 to 2099. Folders with other times are not remembered.
pub(super) const TIMES: std::ops::Range<i64> = -2_208_988_800..4_102_444_800;

/// Changes of the offset in these times that a zone may have; real ones have fewer than 500.
const ZONE_CHANGES_MAX: usize = 10_000;

/// Where a memory lies, and a digest of what it was made under.
pub(super) struct Circumstances {
    pub(super) file_name: String,
    pub(super) digest: Id,
}

impl Circumstances {
    pub(super) fn of(repository: &Repository, bond: &Bond<'_>) -> Self {
        let mut sources = Vec::new();
        append(&mut sources, bond.hostname.as_bytes());
        for path in bond.paths {
            append(&mut sources, std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        }
        let sources = format::hash(&sources);
        let mut all = MEMORY_VERSION.to_le_bytes().to_vec();
        append(&mut all, env!("CARGO_PKG_VERSION").as_bytes());
        all.extend_from_slice(repository.config().id.as_bytes());
        all.extend_from_slice(sources.as_bytes());
        append_zone(&mut all, &repository.clock().time_zone());
        Self { file_name: format!("folders-{}", sources.to_hex()), digest: format::hash(&all) }
    }
}

fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends every offset that the zone has in [`TIMES`].
fn append_zone(out: &mut Vec<u8>, zone: &TimeZone) {
    let first = Timestamp::from_second(TIMES.start).unwrap_or(Timestamp::UNIX_EPOCH);
    out.extend_from_slice(&zone.to_offset(first).seconds().to_le_bytes());
    let changes = zone.following(first).take_while(|change| change.timestamp().as_second() < TIMES.end);
    for change in changes.take(ZONE_CHANGES_MAX) {
        out.extend_from_slice(&change.timestamp().as_second().to_le_bytes());
        out.extend_from_slice(&change.offset().seconds().to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn zones_differ_when_any_offset_does() {
        let digest = |name: &str| {
            let mut out = Vec::new();
            append_zone(&mut out, &TimeZone::posix(name).unwrap());
            out
        };
        assert_eq!(digest("EST5EDT,M3.2.0,M11.1.0"), digest("XXX5YYY,M3.2.0,M11.1.0"), "names are not written");
        assert_ne!(digest("EST5EDT,M3.2.0,M11.1.0"), digest("EST5EDT,M3.2.0,M11.2.0"));
        assert_ne!(digest("EST5"), digest("EST6"));
        assert!(digest("EST5EDT,M3.2.0,M11.1.0").len() > 400 * 12);
    }
}
