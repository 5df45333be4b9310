//! `cargo xtask bench store`: many accounts that back up at once, to our storage server, restic's own and rclone's.
//!
//! Clients and server share the machine, so the clients have to be cheap: a load of our own speaks the protocol with
//! packs that were prepared, over TLS, and leaves the processors to the server. Servers take turns and change places
//! from round to round, and each begins with an empty folder. The server's CPU seconds are the figure to compare.

mod load;
mod restic;
mod servers;
mod table;

use std::fs;
use std::path::PathBuf;

use clock::SystemClock;

use load::Load;
use servers::{Running, ServerKind};
use table::Row;

use super::machine;

const FIGURES: &str = "bench/store/results.tsv";
const PAGE: &str = "bench/store/RESULTS.md";

const HELP: &str = "\
usage: cargo xtask bench store [options]

  --accounts N       how many back up at once (default 100)
  --packs N          packs of each account (default 3)
  --pack-mib N       size of a pack (default 16)
  --rounds N         turns of each server (default 3)
  --servers LIST     of store, rest-server, rclone (default: all)
  --restic N         also so many real restic clients at once, one round (default: none)
  --folder PATH      where the servers keep their data (default /dev/shm)
  --binary PATH      the triplicate to measure (default: a release build of this checkout)
  --record           write bench/store/results.tsv and bench/store/RESULTS.md";

#[derive(Debug)]
struct Options {
    load: Load,
    rounds: usize,
    servers: Vec<ServerKind>,
    restic: usize,
    folder: PathBuf,
    binary: Option<PathBuf>,
    record: bool,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            load: Load { accounts: 100, packs: 3, pack_mib: 16 },
            rounds: 3,
            servers: ServerKind::ALL.to_vec(),
            restic: 0,
            folder: PathBuf::from("/dev/shm"),
            binary: None,
            record: false,
        };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if word == "--record" {
                options.record = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` is unknown or lacks its value\n\n{HELP}"))?;
            let count = || match value.parse::<usize>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("`{word} {value}`: a number above 0 is needed")),
            };
            match word {
                "--accounts" => options.load.accounts = count()?,
                "--packs" => options.load.packs = count()?,
                "--pack-mib" => options.load.pack_mib = count()?,
                "--rounds" => options.rounds = count()?,
                "--restic" => options.restic = count()?,
                "--servers" => {
                    options.servers = value.split(',').map(ServerKind::parse).collect::<Result<_, _>>()?;
                }
                "--folder" => options.folder = PathBuf::from(value),
                "--binary" => options.binary = Some(PathBuf::from(value)),
                _ => return Err(format!("`{word}` is unknown\n\n{HELP}")),
            }
        }
        Ok(options)
    }
}

/// Measures as the options say; fails when any request of any account failed.
pub(super) fn run(words: &[&str]) -> Result<(), String> {
    if words.contains(&"--help") {
        println!("{HELP}");
        return Ok(());
    }
    let options = Options::parse(words)?;
    if cfg!(debug_assertions) {
        return super::run_released(&[&["store"], words].concat());
    }
    let folder = options.folder.join("triplicate-bench-store");
    super::remove(&folder)?;
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
    // Servers keep their data where temporary files are made.
    let _ = tempfile::env::override_temp_dir(&folder);
    let measured = measure(&options, &folder);
    super::remove(&folder)?;
    let (circumstances, rows) = measured?;
    let page = table::page(&circumstances, &rows);
    println!("{page}");
    if options.record {
        super::write(FIGURES, &table::to_text(&rows))?;
        super::write(PAGE, &page)?;
    }
    match rows.iter().map(|row| row.errors).sum::<u64>() {
        0 => Ok(()),
        errors => Err(format!("{errors} requests failed")),
    }
}

fn measure(options: &Options, folder: &std::path::Path) -> Result<(Vec<String>, Vec<Row>), String> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => super::tools::release_build("triplicate")?,
    };
    let clock = SystemClock::new();
    let mut circumstances = vec![
        format!("machine: {}", machine::describe()),
        format!("data on {}; clients and server share the machine", machine::file_system(folder)),
        format!("load: {}", options.load.describe()),
    ];
    let mut rows = Vec::new();
    for round in 0..options.rounds {
        for seat in 0..options.servers.len() {
            let kind = options.servers[(seat + round) % options.servers.len()];
            let server = Running::start(kind, options.load.accounts, &binary)?;
            if round == 0 {
                circumstances.push(format!("{}: {}", kind.name(), server.version));
            }
            let row = load::run(&options.load, &server, round, &clock)?;
            println!("{}", row.describe());
            rows.push(row);
        }
    }
    if options.restic > 0 {
        circumstances.push(format!("restic: {} clients of restic 0.19 at once, each {}", options.restic, restic::DATA));
        for kind in &options.servers {
            let server = Running::start(*kind, options.restic, &binary)?;
            let row = restic::run(options.restic, &server, folder, &clock)?;
            println!("{}", row.describe());
            rows.push(row);
        }
    }
    Ok((circumstances, rows))
}
