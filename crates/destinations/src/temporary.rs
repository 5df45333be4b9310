//! The names of files that are not finished yet, beside the name that they will get.
//!
//! No listing shows them: they are no ids. restic's temporary files have `-tmp-` and digits; the letter keeps ours
//! apart, so that only our own are ever swept.

use format::FileName;
use model::Id;

const MARK: &str = "-tmp-t";
const RANDOM_BYTES: usize = 8;
/// A temporary file that was not touched for a day belongs to no living process.
pub(crate) const LEFTOVER_AGE_SECONDS: i64 = 24 * 60 * 60;

/// What to append to the name of a file for one attempt to write it.
pub(crate) fn suffix() -> Result<String, getrandom::Error> {
    Ok(format!("{MARK}{}", random()?))
}

/// Letters and digits that tell two attempts apart.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)?;
    Ok(hex::encode(random))
}

/// Whether a file of this name (without folders) is an unfinished one of ours.
pub(crate) fn is_one(name: &str) -> bool {
    name.split_once(MARK).is_some_and(|(stem, random)| {
        (stem == FileName::CONFIG.path() || stem.parse::<Id>().is_ok())
            && random.len() == 2 * RANDOM_BYTES
            && random.bytes().all(|b| b.is_ascii_hexdigit())
    })
}
