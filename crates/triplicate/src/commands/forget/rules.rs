//! What stays, and what goes against the guards, as options.

use repository::retention::{Count, Period, Policy};

/// What stays.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rules")]
pub(super) struct Rules {
    /// Keep the last N snapshots; `unlimited` keeps all
    #[arg(
        short = 'l',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_last: Count,
    /// Keep the last of each of the last N hours that have snapshots
    #[arg(
        short = 'H',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_hourly: Count,
    /// The same for days
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_daily: Count,
    /// The same for weeks
    #[arg(
        short = 'w',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_weekly: Count,
    /// The same for months
    #[arg(
        short = 'm',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_monthly: Count,
    /// The same for years
    #[arg(
        short = 'y',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_yearly: Count,
    /// Keep what is younger than this, seen from the newest: `1y5m7d2h`
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within: Period,
    /// Keep the last of each hour within this time
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_hourly: Period,
    /// The same for days
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_daily: Period,
    /// The same for weeks
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_weekly: Period,
    /// The same for months
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_monthly: Period,
    /// The same for years
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_yearly: Period,
    /// Keep what has all of these tags; several times: any of the lists
    #[arg(long, value_name = "TAG[,TAG,...]")]
    keep_tag: Vec<String>,
}

/// What goes against the guards.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Against the guards")]
pub(super) struct Overrides {
    /// Let all snapshots of a group go: of those that --host, --tag and --path choose, or of a source whose snapshots are
    /// all named by id
    #[arg(long)]
    pub(super) unsafe_allow_remove_all: bool,
    /// Let this snapshot go although it is the last verified one of its source; give at least 8 digits of its id
    #[arg(long, value_name = "ID")]
    pub(super) unsafe_remove_last_verified: Vec<String>,
    /// A source has shrunk when its newest snapshot has less than PERCENT of the files or bytes of those before it; then
    /// nothing of it goes
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(super) shrink_limit: u8,
    /// It is all right that sources shrank, up to now
    #[arg(long)]
    pub(super) accept_shrink: bool,
    /// Go on although a copy lists far fewer snapshots than before
    #[arg(long)]
    pub(super) believe_listings: bool,
}

impl Rules {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
            within_hourly: self.keep_within_hourly,
            within_daily: self.keep_within_daily,
            within_weekly: self.keep_within_weekly,
            within_monthly: self.keep_within_monthly,
            within_yearly: self.keep_within_yearly,
            tags: self.keep_tag.iter().map(|list| list.split(',').map(|tag| tag.trim().to_owned()).collect()).collect(),
        }
    }
}
