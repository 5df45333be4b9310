//! How a part of a run ended, and how parts add up.

use serde::{Deserialize, Serialize};

/// The end of one stage for one source on one copy. Ordered from best to worst: a whole is never better
/// than its worst part, so verdicts are combined with `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was asked for was done.
    Ok,
    /// Done, and somebody should look at something.
    Warning,
    /// Not started, on purpose.
    Skipped,
    /// Part of it was done; what is missing is counted and named.
    Partial,
    /// Due, and it never started.
    Missed,
    /// Not done.
    Failed,
}

impl Verdict {
    /// The verdict of a whole made of these parts; a whole without parts is `ok`.
    pub fn worst(parts: impl IntoIterator<Item = Verdict>) -> Verdict {
        parts.into_iter().max().unwrap_or(Verdict::Ok)
    }

    /// The word used in the command line, the API and the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Skipped => "skipped",
            Verdict::Partial => "partial",
            Verdict::Missed => "missed",
            Verdict::Failed => "failed",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, *};

    #[test]
    fn a_whole_is_never_better_than_its_worst_part() {
        assert_eq!(Verdict::worst([Ok, Partial, Warning]), Partial);
        assert_eq!(Verdict::worst([Failed, Ok]), Failed);
        assert_eq!(Verdict::worst([]), Ok);
    }
}
