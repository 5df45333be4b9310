//! What can happen to a real server and not to the network: it is killed, its disk is full or takes nothing, it does
//! not let us in any more. The other two copies are well, the run says so, and the next run brings the copy up to date.
//!
//! `TRIPLICATE_EXHAUSTIVE=1` kills at every moment instead of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod network;
mod room;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use model::{FaultKind, Verdict};
use network::{Base, Kind, LIMITS, SHORT_LIMITS, Server, Three, chosen, patient};
use repository::backup::BackupReport;
use testkit::process::{Signal, family, is_running, run, signal, wait_until};
use testkit::proxy::{Lane, Relay, Way};

/// What a run backs up.
const NEW_BYTES: usize = 150_000;

const TOOL_LIMIT: Duration = Duration::from_secs(30);

/// How many requests or logins somebody may try whom nobody lets in.
const TRIES_OF_A_STRANGER_MAX: u64 = 12;

/// What the copy on the server came to.
fn fault_of(three: &Three<'_, Relay>, report: &BackupReport) -> model::Fault {
    let place = three.behind.destination(&LIMITS).place().to_owned();
    let outcome = report.copies.iter().find(|outcome| outcome.copy == place).unwrap();
    outcome.fault.clone().unwrap_or_else(|| panic!("partial, and no fault of this copy: {report:?}"))
}

fn is_partial_and_the_others_are_well(three: &Three<'_, Relay>, report: &BackupReport) -> model::Fault {
    assert_eq!(report.verdict, Verdict::Partial, "{:?}", report.copies);
    three.healthy_copies_are_whole(report).unwrap();
    three.nothing_wrong_is_there().unwrap();
    fault_of(three, report)
}

/// Kills a server and all that it started when so many thousandths of what a run sends have come, and starts it again
/// at once or after the run.
fn killed_in_the_middle(kind: Kind) {
    let Some(mut server) = Server::start(kind) else { return };
    let base = Base::new(NEW_BYTES);
    let bytes = {
        let three = Three::with(&base, server.behind_relay());
        three.run(&patient(LIMITS)).unwrap();
        three.behind.proxy.passed(Lane::Main, Way::Up)
    };
    let moments = [5, 100, 200, 300, 400, 500, 600, 700, 800].to_vec();
    for thousandths in chosen(moments, 1, &format!("a killed {kind:?}")) {
        let pid = server.real.process().unwrap().pid();
        let three = Three::with(&base, server.behind_relay());
        let relay = &three.behind.proxy;
        let report = std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let _inside = base.room.runtime.enter();
                three.run(&patient(SHORT_LIMITS)).unwrap()
            });
            let due = || relay.passed(Lane::Main, Way::Up) >= bytes * thousandths / 1000;
            assert!(wait_until(Duration::from_secs(60), || due() || running.is_finished()));
            let family = family(pid);
            family.iter().for_each(|pid| signal(*pid, Signal::KILL));
            assert!(wait_until(TOOL_LIMIT, || !family.iter().any(|pid| is_running(*pid))));
            running.join().unwrap()
        });
        println!("{kind:?} killed at {thousandths}: {:?}", report.verdict);
        if report.verdict != Verdict::Ok {
            is_partial_and_the_others_are_well(&three, &report);
        }
        let Three { behind, healthy, .. } = three;
        let name = behind.name.clone();
        drop(behind);
        server.real.process().unwrap().start_again().unwrap();
        let mut behind = server.behind_relay();
        behind.name = name;
        let three = Three { base: &base, behind, healthy };
        three.next_run_heals().unwrap();
        three.behind.restic_check().unwrap();
    }
}

mod a_server_that_is_killed_in_the_middle_is_healed_later {
    crate::network::for_kinds!(super::killed_in_the_middle, of files);
}

/// A disk of a chosen size at a folder; root may make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(folder: &Path, kibibytes: usize) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let disk = Self(folder.to_owned());
        let made = disk.call("mount", &["-t", "tmpfs", "-o", &format!("size={kibibytes}k"), "tmpfs"]);
        if !made {
            testkit::skip("a disk of its own needs root");
            std::mem::forget(disk);
            return None;
        }
        Some(disk)
    }

    fn change(&self, options: &str) {
        assert!(self.call("mount", &["-o", &format!("remount,{options}")]), "{options}");
    }

    fn call(&self, program: &str, arguments: &[&str]) -> bool {
        run(Command::new(program).args(arguments).arg(&self.0), TOOL_LIMIT).is_ok_and(|ended| ended.code == Some(0))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.call("umount", &["--lazy"]);
    }
}

/// Three copies, of which the one on the server has a disk of its own with a little room left.
fn on_a_small_disk<'c>(base: &'c Base, server: &'c Server) -> Option<(Three<'c, Relay>, SmallDisk)> {
    let behind = server.behind_relay();
    let page_kibibytes = |bytes: usize| bytes.div_ceil(4096) * 4;
    let held: usize = base.files.values().map(|bytes| page_kibibytes(bytes.len())).sum();
    let disk = SmallDisk::new(&server.real.folder(&behind.name)?, held + NEW_BYTES / 2 / 1024)?;
    Some((Three::with(base, behind), disk))
}

fn no_room_is_left(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let base = Base::new(NEW_BYTES);
    let Some((three, disk)) = on_a_small_disk(&base, &server) else { return };
    let _inside = base.room.runtime.enter();
    let report = three.run(&SHORT_LIMITS).unwrap();
    let fault = is_partial_and_the_others_are_well(&three, &report);
    println!("{kind:?} with a full disk: {:?}: {fault}", fault.kind);
    disk.change("size=64m");
    three.next_run_heals().unwrap();
    three.behind.restic_check().unwrap();
}

mod a_full_disk_keeps_no_other_copy_from_its_snapshot {
    crate::network::for_kinds!(super::no_room_is_left, of files);
}

fn nothing_may_be_written(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let base = Base::new(NEW_BYTES);
    let Some((three, disk)) = on_a_small_disk(&base, &server) else { return };
    disk.change("size=64m");
    disk.change("ro");
    let _inside = base.room.runtime.enter();
    let report = three.run(&SHORT_LIMITS).unwrap();
    let fault = is_partial_and_the_others_are_well(&three, &report);
    println!("{kind:?} that may only be read: {:?}: {fault}", fault.kind);
    disk.change("rw");
    three.next_run_heals().unwrap();
    three.behind.restic_check().unwrap();
}

mod a_disk_that_takes_nothing_keeps_no_other_copy_from_its_snapshot {
    crate::network::for_kinds!(super::nothing_may_be_written, of files);
}

/// A password that was changed, a key that was taken away: heard once, told, and nobody knocks again and again.
fn nobody_is_let_in(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let base = Base::new(NEW_BYTES);
    let three = Three::with(&base, server.behind_relay());
    let _inside = base.room.runtime.enter();
    let stranger = three.behind.destination_of_stranger(&patient(SHORT_LIMITS)).unwrap();
    let repository = three.repository_with(stranger).unwrap();
    let report = base.room.backup(&repository, Path::new("source"));
    drop(repository);
    let fault = is_partial_and_the_others_are_well(&three, &report);
    println!("{kind:?} that lets nobody in: {:?}: {fault}", fault.kind);
    let is_told = matches!(fault.kind, FaultKind::Denied | FaultKind::Misconfigured);
    assert!(is_told || kind == Kind::Rclone, "{fault}");
    let tries = three.behind.proxy.connections();
    assert!(tries <= TRIES_OF_A_STRANGER_MAX, "{tries} connections");
    assert!(!format!("{fault} {fault:?}").contains("not-this-one"), "a secret is shown");
    three.next_run_heals().unwrap();
}

mod a_server_that_lets_nobody_in_keeps_no_other_copy_from_its_snapshot {
    crate::network::for_kinds!(super::nobody_is_let_in, over http);
    crate::network::for_kinds!(super::nobody_is_let_in, over bytes);
}
