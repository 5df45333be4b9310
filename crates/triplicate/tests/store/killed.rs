//! Killed at every system call of storing and removing: nothing is under a final name that is not whole, what was
//! acknowledged is there, and the client that tries again gets through.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use format::FileKind;
use testkit::process::{free_port, wait_until};
use testkit::proxy::{HttpFault, Rule};
use testkit::raw_http::{Door, Request};
use testkit::store_server::StoreGround;
use testkit::traced::{Deed, Injection, Scope, Traced, Watch};
use testkit::{FaultProxy, Random, seed};

use crate::ground::{PRUNER, binary, everybody, files_below, options, points, served_plainly, unsound_files, uploads};
use crate::peer::{ALICE, address};

const START_LIMIT: Duration = Duration::from_secs(60);
/// Several windows of the server's, and an end that fills none.
const PACK_BYTES: usize = 1_300_000;
/// Every so many turns the making of the repository is among the points.
const MAKING_EVERY: usize = 8;

/// One thing that a client wants, and wants again until it is told that it is done.
pub struct Wish {
    pub method: &'static str,
    pub path: String,
    pub body: Vec<u8>,
    pub login: (&'static str, &'static str),
}

/// A file's whole life, and that of its repository. Only the last needs more than the append credential.
pub fn wishes(turn: usize, random: &mut Random) -> Vec<Wish> {
    let root = format!("/alice/turn{turn}/");
    let wish = |method, path: String, body: Vec<u8>| Wish { method, path, body, login: ALICE };
    let mut wishes = vec![
        wish("POST", format!("{root}?create=true"), Vec::new()),
        wish("POST", format!("{root}config"), random.bytes(155)),
    ];
    let mut file = |kind, bytes| {
        let body = random.bytes(bytes);
        wish("POST", address(&root, kind, &body), body)
    };
    let (key, lock, pack) = (file(FileKind::Key, 450), file(FileKind::Lock, 150), file(FileKind::Pack, PACK_BYTES));
    let (index, snapshot) = (file(FileKind::Index, 3000), file(FileKind::Snapshot, 300));
    let again = wish("POST", pack.path.clone(), pack.body.clone());
    let unlock = wish("DELETE", lock.path.clone(), Vec::new());
    let remove = Wish { login: PRUNER, ..wish("DELETE", pack.path.clone(), Vec::new()) };
    wishes.extend([key, lock, pack, again, index, snapshot, unlock, remove]);
    wishes
}

/// Wishes until the first that is not answered; gives how many were.
pub fn pursue(door: &Door, wishes: &[Wish], when: &str) -> usize {
    for (number, wish) in wishes.iter().enumerate() {
        let request = Request::new(wish.method, wish.path.clone()).body(wish.body.clone());
        match door.ask(&request.login(wish.login.0, wish.login.1)) {
            Ok(answer) => assert_eq!(answer.status, 200, "{when}: {} {}: {}", wish.method, wish.path, answer.text()),
            Err(_) => return number,
        }
    }
    wishes.len()
}

/// A traced server on the store.
pub struct Life {
    pub door: Door,
    pub watch: Arc<Watch>,
    run: std::thread::JoinHandle<std::io::Result<testkit::traced::Outcome>>,
}

impl Life {
    pub fn begin(ground: &StoreGround, injection: Option<Injection>) -> Self {
        let port = free_port().unwrap();
        let mut command = Command::new(binary());
        command.args(ground.serve_words(port)).env("HOME", &ground.folder);
        let watch = Watch::counting();
        let traced = Traced::new(command, &[&ground.data()]).counting(Scope::changes()).watched(&watch);
        let traced = match injection {
            Some(injection) => traced.with(injection),
            None => traced,
        };
        let run = std::thread::spawn(move || traced.run());
        let is_up =
            wait_until(START_LIMIT, || run.is_finished() || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        if !is_up || run.is_finished() {
            watch.kill();
            panic!("the server does not start: {:?}", run.join());
        }
        Self { door: ground.door(port), watch, run }
    }

    /// Waits for its end, however it comes.
    pub fn end(self) -> testkit::traced::Outcome {
        self.watch.terminate();
        self.run.join().unwrap().unwrap()
    }
}

/// What must be there after so many wishes were granted.
pub fn assert_kept(ground: &StoreGround, wishes: &[Wish], granted: usize, when: &str) {
    let unsound = unsound_files(&ground.repositories());
    assert!(unsound.is_empty(), "{when}: {unsound:?}");
    let files = files_below(&ground.repositories());
    let is_there = |wish: &Wish| files.values().any(|bytes| *bytes == wish.body);
    for wish in &wishes[..granted] {
        // One whose removal was begun may be there or not.
        let may_be_gone =
            wishes.iter().take(granted + 1).any(|other| other.method == "DELETE" && other.path == wish.path);
        if wish.method == "POST" && !wish.body.is_empty() && !may_be_gone {
            assert!(is_there(wish), "{when}: {} was acknowledged and is not there", wish.path);
        }
        if wish.method == "DELETE" {
            let gone = wishes.iter().find(|other| other.method == "POST" && other.path == wish.path).unwrap();
            assert!(!is_there(gone), "{when}: the removal of {} was acknowledged, and it is there", wish.path);
        }
    }
}

#[test]
fn killed_at_any_call_a_server_keeps_what_it_acknowledged() {
    let random = &mut Random::new(seed("a killed storage server"));
    let ground = StoreGround::make(binary(), &options(everybody(), false, &[])).unwrap();
    // What a whole run does, to know how many points there are. The first one also warms what every later one finds.
    let (mut calls_in_all, mut calls_of_files) = (0, 0);
    for turn in 0..4 {
        let life = Life::begin(&ground, None);
        let all = wishes(turn, random);
        let before = if turn % 2 == 0 { 0 } else { 1 };
        assert_eq!(pursue(&life.door, &all[..before], "whole"), before);
        life.watch.begin();
        assert_eq!(pursue(&life.door, &all[before..], "whole"), all.len() - before);
        life.watch.pause();
        let calls = if before == 0 { &mut calls_in_all } else { &mut calls_of_files };
        *calls = life.watch.calls();
        assert_eq!(life.end().ended.code, Some(0));
    }
    println!("{calls_in_all} calls, {calls_of_files} of them for files");
    let wanted = points(50, 1000);
    let (mut struck, mut granted_in_all) = (0, 0);
    let mut unfinished: Option<(Vec<Wish>, usize, String)> = None;
    for turn in 0..wanted {
        // A repository's hundreds of folders are one request of eleven: most points are about files.
        let before = usize::from(!turn.is_multiple_of(MAKING_EVERY));
        let span = 2 * if before == 0 { calls_in_all } else { calls_of_files };
        // Evenly over all points, each time around with a shift.
        let point = (turn as u64 * span / wanted as u64 + random.below(3)) % span;
        let deed = if point.is_multiple_of(2) { Deed::KillBefore } else { Deed::KillAfter };
        let injection = Injection::once(point / 2 + 1, deed);
        let when = format!("turn {turn}, {deed:?} {}", injection.at);
        let life = Life::begin(&ground, Some(injection));
        assert_eq!(uploads(&ground), 0, "{when}: uploads of the last life were not swept");
        // This is the restart after the last kill: its client tries again.
        if let Some((all, granted, when)) = unfinished.take() {
            assert_eq!(pursue(&life.door, &all[granted..], &when), all.len() - granted, "{when}");
            assert_kept(&ground, &all, all.len(), &when);
        }
        let all = wishes(turn + 4, random);
        assert_eq!(pursue(&life.door, &all[..before], &when), before, "{when}");
        life.watch.begin();
        let granted = before + pursue(&life.door, &all[before..], &when);
        let outcome = life.end();
        struck += usize::from(outcome.strikes > 0);
        granted_in_all += granted;
        assert!(!outcome.ended.errors.contains("panicked"), "{when}: {}", outcome.ended.errors);
        assert!(outcome.strikes > 0 || granted == all.len(), "{when}: {}", outcome.ended.errors);
        let at = outcome.struck.map_or_else(String::new, |call| format!("{} of {}", call.name, call.path.display()));
        let when = format!("{when}, {at}");
        assert_kept(&ground, &all, granted, &when);
        unfinished = Some((all, granted, when));
        if (turn + 1).is_multiple_of(100) {
            println!("{} points, {struck} struck", turn + 1);
        }
    }
    let life = Life::begin(&ground, None);
    if let Some((all, granted, when)) = unfinished {
        assert_eq!(pursue(&life.door, &all[granted..], &when), all.len() - granted, "{when}");
        assert_kept(&ground, &all, all.len(), &when);
    }
    assert_eq!(life.end().ended.code, Some(0));
    std::fs::remove_dir_all(&ground.folder).unwrap();
    println!("{wanted} points, {struck} struck, {granted_in_all} requests granted before");
    assert!(struck * 100 >= wanted * 90, "{struck} of {wanted} points were reached");
}

#[test]
fn what_was_done_and_not_heard_of_can_be_done_again() {
    let random = &mut Random::new(seed("lost replies"));
    let server = served_plainly();
    let proxy = FaultProxy::start(server.server.port());
    let (through, direct) = (Door::plain(proxy.port()), server.door());
    for wish in &wishes(0, random) {
        proxy.follow([Rule::new(HttpFault::lost_reply()).times(1)]);
        let request = Request::new(wish.method, wish.path.clone()).body(wish.body.clone());
        let request = request.login(wish.login.0, wish.login.1);
        assert!(through.ask(&request).is_err(), "{} {}: the reply was to be lost", wish.method, wish.path);
        assert_eq!(proxy.fired(), 1);
        // The append credential's second try of what is done already.
        let answer = direct.ask(&request).unwrap();
        assert_eq!(answer.status, 200, "{} {}: {}", wish.method, wish.path, answer.text());
    }
    let unsound = unsound_files(&server.ground.repositories());
    assert!(unsound.is_empty(), "{unsound:?}");
}
