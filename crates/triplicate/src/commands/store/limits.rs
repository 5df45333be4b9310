//! How limits of an account are written on the command line.

use std::str::FromStr;
use std::time::Duration;

use repository::filter::parse_size;

use crate::arguments::parse_duration;

/// A number, or `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount(Option<u64>);

impl Amount {
    /// The limit, if there is one.
    pub(super) fn limit(self) -> Option<u64> {
        self.0
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|number| Self(Some(number))).map_err(|_| "use a number, or `none`".to_owned()),
        }
    }
}

/// A size such as `500M` or `2T`, or `none`.
fn size(text: &str) -> Result<Amount, String> {
    match text {
        "none" => Ok(Amount(None)),
        _ => parse_size(text).map(|bytes| Amount(Some(bytes))).map_err(|error| error.why.to_owned()),
    }
}

/// A duration as elsewhere, or in days.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    match days {
        Some(days) => days.checked_mul(24 * 3600).map(Duration::from_secs).ok_or_else(|| "too many days".to_owned()),
        None if text == "0" => Ok(Duration::ZERO),
        None => parse_duration(text).map_err(|_| "use a number with s, m, h or d, such as `7d`".to_owned()),
    }
}

/// What an account may hold, and for how long it must.
#[derive(Debug, clap::Args)]
pub(super) struct QuotaArguments {
    /// Bytes of all its files: `500M`, `2T`, or `none` for no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) quota_bytes: Option<Amount>,
    /// Its files, or `none`
    #[arg(long, value_name = "NUMBER")]
    pub(super) quota_files: Option<Amount>,
    /// Its repositories, or `none`
    #[arg(long, value_name = "NUMBER")]
    pub(super) quota_repositories: Option<Amount>,
    /// How long after it was received nobody can remove a file: `36h`, `7d`; a day when an account is made
    #[arg(long, value_name = "DURATION", value_parser = age)]
    pub(super) minimum_age: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_numbers_or_none() {
        assert_eq!("none".parse(), Ok(Amount(None)));
        assert_eq!("7".parse(), Ok(Amount(Some(7))));
        assert_eq!(size("2K"), Ok(Amount(Some(2048))));
        assert!("".parse::<Amount>().is_err() && "-1".parse::<Amount>().is_err() && size("2X").is_err());
    }

    #[test]
    fn ages_may_be_in_days() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(age("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(age("0"), Ok(Duration::ZERO));
        assert!(age("7").is_err() && age("d").is_err() && age("99999999999999999999d").is_err());
    }
}
