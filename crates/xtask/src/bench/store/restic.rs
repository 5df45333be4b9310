//! Real clients: many restics at once. They cost more than any server, so what they show is that nothing fails and what
//! the server's own share is, not how fast it could be.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clock::Clock;
use testkit::{Random, components};

use super::servers::Running;
use super::table::Row;

pub(super) const DATA: &str = "32 MiB of noise in 8 files";
const FILES: usize = 8;
const FILE_BYTES: usize = 4 << 20;
const SEED: u64 = 6;
const POLL: Duration = Duration::from_millis(20);

/// All of them make a repository, then back up at once.
pub(super) fn run(clients: usize, server: &Running, folder: &Path, clock: &dyn Clock) -> Result<Row, String> {
    let program = components::restic("0.19").ok_or("restic 0.19 is not installed; scripts/components installs it")?;
    let source = folder.join("source");
    std::fs::create_dir_all(&source).map_err(|error| format!("cannot make `{}`: {error}", source.display()))?;
    let random = &mut Random::new(SEED);
    for number in 0..FILES {
        std::fs::write(source.join(number.to_string()), random.bytes(FILE_BYTES)).map_err(|error| error.to_string())?;
    }
    let command = |user: &(String, String)| {
        let repository = format!("rest:https://{}:{}@127.0.0.1:{}/{}/main/", user.0, user.1, server.port(), user.0);
        let mut command = Command::new(&program);
        command.args(["--no-cache", "-q", "-r", &repository, "--cacert"]).arg(&server.authority);
        command.env("RESTIC_PASSWORD", "password").env("GOMAXPROCS", "2").stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    for user in server.users.iter().take(clients) {
        let made = command(user).arg("init").status().map_err(|error| format!("cannot start restic: {error}"))?;
        if !made.success() {
            return Err(format!("restic could not make a repository on {}", server.kind.name()));
        }
    }
    let load_before = super::servers::load_average();
    let (cpu_before, began) = (server.cpu_seconds(), clock.monotonic());
    let mut running: Vec<Child> = Vec::new();
    for user in server.users.iter().take(clients) {
        let child = command(user).arg("backup").arg(&source).spawn();
        running.push(child.map_err(|error| format!("cannot start restic: {error}"))?);
    }
    let mut times = Vec::new();
    let mut errors = 0;
    while !running.is_empty() {
        std::thread::sleep(POLL);
        running.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) if status.success() => {
                times.push(clock.monotonic() - began);
                false
            }
            _ => {
                errors += 1;
                false
            }
        });
    }
    let wall = (clock.monotonic() - began).as_secs_f64();
    let cpu = server.cpu_seconds() - cpu_before;
    let bytes = (clients * FILES * FILE_BYTES) as u64;
    let what = "restic clients".to_owned();
    Ok(Row::new(what, server, 0, clients, bytes, wall, [cpu, 0.0], &mut times, errors, load_before))
}
