//! The command line as types. Words, short options and environment are restic's.
//!
//! `-r` may stand before and after the command's name, and every one counts: a copy that is silently left out would be
//! found out on the worst day. So `-r` is added to each level by hand here, and all levels are read.

mod choices;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands;
use crate::failure::{Failure, code};
use crate::screen;

pub(crate) use choices::{ExcludeArguments, SelectionArguments, SnapshotArguments, WarmUpArguments, parse_duration};

/// One read of your files into several places: restic repositories, byte-identical, each enough to restore from.
#[derive(Debug, Parser)]
#[command(name = "triplicate", version, propagate_version = false, max_term_width = 120)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Read the locations of the copies from a file, one in each line
    ///
    /// Without it, RESTIC_REPOSITORY_FILE names the file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) repository_file: Option<PathBuf>,
    /// Read the repository's password from a file
    ///
    /// Without it, RESTIC_PASSWORD_FILE names the file, or RESTIC_PASSWORD has the password.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Run a command that writes the repository's password
    ///
    /// Without it, RESTIC_PASSWORD_COMMAND has the command. No shell is involved.
    #[arg(long, global = true, value_name = "COMMAND")]
    pub(crate) password_command: Option<String>,
    /// Write JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice names every file
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Write no lock and heed none, for places that are read-only
    #[arg(long, global = true)]
    pub(crate) no_lock: bool,
    /// Wait this long for a lock that somebody else holds: `30s`, `5m`, `1h`
    #[arg(long, global = true, value_name = "DURATION", value_parser = choices::parse_duration)]
    pub(crate) retry_lock: Option<Duration>,
    /// Try a copy that fails again for this long before it is given up; 15m otherwise
    #[arg(long, global = true, value_name = "DURATION", value_parser = choices::parse_duration)]
    pub(crate) retry_total: Option<Duration>,
    /// Read the places that `-r @name` names from this file
    ///
    /// Without it, TRIPLICATE_CONFIG names the file; otherwise it is `triplicate/triplicate.toml` in $XDG_CONFIG_HOME
    /// or ~/.config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set something for every copy of a kind: `-o s3.region=eu-west-1`
    ///
    /// A secret is never written here, but where it is: `env:NAME`, `file:PATH`, `command:PROGRAM` or
    /// `credential:NAME`.
    #[arg(short, long, global = true, value_name = "KIND.NAME=VALUE")]
    pub(crate) option: Vec<String>,
    /// Send no more than this to each copy in a second: `512` KiB, `2M`; by the hour `10M, 08:00-18:00 2M`
    ///
    /// Each copy has this limit for itself. Windows may pass midnight, and their hours are those of this machine's time
    /// zone, or of another one: `10M, 22:00-06:00 unlimited, zone Europe/Berlin`.
    #[arg(long, global = true, value_name = "RATE")]
    pub(crate) limit_upload: Option<destinations::Timetable>,
    /// Fetch no more than this from each copy in a second, written as for --limit-upload
    #[arg(long, global = true, value_name = "RATE")]
    pub(crate) limit_download: Option<destinations::Timetable>,
    /// Begin at most so many requests in a second at each copy
    #[arg(long, global = true, value_name = "NUMBER")]
    pub(crate) limit_requests: Option<std::num::NonZeroUsize>,
    /// Keep at most so much in memory for each copy that is slower than the others; 48M otherwise
    #[arg(long, global = true, value_name = "SIZE", value_parser = choices::size)]
    pub(crate) queue_size: Option<u64>,
    /// Trust the certificates in this PEM file too
    ///
    /// Without it, RESTIC_CACERT names the file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// How hard to compress: off, fastest, auto, better or max
    #[arg(long, global = true, value_name = "MODE", env = "RESTIC_COMPRESSION", default_value = "auto",
          value_parser = choices::parse_compression)]
    pub(crate) compression: format::Compression,
    /// Keep the cache in this folder
    ///
    /// Without it, RESTIC_CACHE_DIR names the folder; otherwise it is `triplicate` in $XDG_CACHE_HOME or ~/.cache.
    /// The cache is sealed like the repository, and can be removed at any time.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Use no cache
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Quickstart(commands::quickstart::Arguments),
    Init(commands::init::Arguments),
    Backup(Box<commands::backup::Arguments>),
    Snapshots(commands::snapshots::Arguments),
    Ls(commands::ls::Arguments),
    Explain(Box<commands::explain::Arguments>),
    Find(commands::find::Arguments),
    Diff(commands::diff::Arguments),
    Dump(commands::dump::Arguments),
    Restore(Box<commands::restore::Arguments>),
    Check(commands::check::Arguments),
    Forget(Box<commands::forget::Arguments>),
    Prune(commands::prune::Arguments),
    Repair(commands::repair::Arguments),
    Stats(commands::stats::Arguments),
    Copies(commands::copies::Arguments),
    Key(commands::key::Arguments),
    Unlock(commands::unlock::Arguments),
    Store(Box<commands::store::Arguments>),
    Cache(commands::cache::Arguments),
    Cat(commands::cat::Arguments),
    Completions(commands::completions::Arguments),
    Man(commands::man::Arguments),
    Version(commands::version::Arguments),
}

/// A command line that was understood.
pub(crate) struct Invocation {
    pub(crate) global: Global,
    /// Every `-r`, in order.
    pub(crate) repositories: Vec<String>,
    pub(crate) command: Command,
}

/// A command line that was not understood, or one that asks for help.
pub(crate) struct Usage {
    error: clap::Error,
    json: bool,
}

impl Usage {
    /// Prints it where it belongs and gives the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        let is_help = !self.error.use_stderr();
        if self.json && !is_help {
            let text = self.error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            eprint_line(&screen::exit_error(&Failure::usage(first)));
        } else {
            // A closed stream leaves nobody to tell.
            let _ = self.error.print();
        }
        ExitCode::from(if is_help { 0 } else { code::USAGE })
    }
}

fn eprint_line(text: &str) {
    use std::io::Write;
    // As above.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The whole command line, for parsing, completions and man pages.
pub(crate) fn command_line() -> clap::Command {
    with_repositories(CommandLine::command())
}

fn with_repositories(command: clap::Command) -> clap::Command {
    // A server has no copies: what it keeps are other people's.
    if command.get_name() == "store" {
        return command;
    }
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let wants_it = !matches!(command.get_name(), "cache" | "completions" | "man" | "version" | "quickstart");
    let command = if wants_it { command.arg(repository_argument()) } else { command };
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_repositories))
}

fn repository_argument() -> Arg {
    Arg::new("repo")
        .short('r')
        .long("repo")
        .value_name("LOCATION")
        .action(ArgAction::Append)
        .help_heading("Global options")
        .help("A copy of the repository; several times for several copies [env: RESTIC_REPOSITORY]")
        .long_help(
            "A copy of the repository: a path, `rest:https://user@host/path`, `s3:https://endpoint/bucket/prefix`, or \
             `@name` for a destination of the configuration.\n\
             Given several times it names the copies of one repository; the first is asked first when something is \
             read. Without it, RESTIC_REPOSITORY has one location.",
        )
}

/// Understands a command line.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Invocation, Usage> {
    let arguments: Vec<OsString> = arguments.collect();
    // Asked before anything is understood, so that a mistake is told in the form that was asked for.
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let refused = |error| Usage { error, json };
    let matches = command_line().try_get_matches_from(arguments).map_err(refused)?;
    let repositories = repositories_of(&matches);
    let CommandLine { global, command } = CommandLine::from_arg_matches(&matches).map_err(refused)?;
    Ok(Invocation { global, repositories, command })
}

fn repositories_of(matches: &ArgMatches) -> Vec<String> {
    let own = matches.try_get_many::<String>("repo").ok().flatten().into_iter().flatten().cloned();
    let mut all: Vec<String> = own.collect();
    if let Some((_, below)) = matches.subcommand() {
        all.extend(repositories_of(below));
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(line: &str) -> Invocation {
        match parse(line.split(' ').map(OsString::from)) {
            Ok(invocation) => invocation,
            Err(usage) => panic!("{}", usage.error),
        }
    }

    #[test]
    fn the_description_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn a_copy_counts_wherever_it_is_named() {
        let invocation = parsed("triplicate -r one backup --repo two a -r three");
        assert_eq!(invocation.repositories, ["one", "two", "three"]);
        assert_eq!(parsed("triplicate -r one copies -r two status -r three").repositories, ["one", "two", "three"]);
    }

    #[test]
    fn global_options_may_stand_behind() {
        let invocation = parsed("triplicate snapshots --json -r one --retry-lock 2m -p file");
        assert!(invocation.global.json);
        assert_eq!(invocation.global.retry_lock, Some(Duration::from_secs(120)));
        assert_eq!(invocation.global.password_file, Some(PathBuf::from("file")));
        let limited = parsed("triplicate backup a -r one --limit-upload 512 --limit-download 2MiB/s").global;
        let limits = [limited.limit_upload, limited.limit_download];
        assert_eq!(limits, [512 << 10, 2 << 20].map(|bytes| Some(destinations::Timetable::constant(bytes))));
        assert!(parse(["triplicate", "version", "--limit-upload", "fast"].map(OsString::from).into_iter()).is_err());
    }
}
