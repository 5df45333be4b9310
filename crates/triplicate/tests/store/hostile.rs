//! Paths, names and requests that have led servers out of their folders, with every file name watched that the server's
//! system calls were about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use format::FileKind;
use testkit::process::{free_port, wait_until};
use testkit::raw_http::{Door, Request};
use testkit::store_server::StoreGround;
use testkit::traced::{CallKind, Scope, Traced, Watch};
use testkit::{Grounds, Requests, hostile_paths, hostile_users, seed};

use crate::ground::{Asker, PRUNER, READER, binary, everybody, files_below, options, points, served, unsound_files};
use crate::peer::{ALICE, BOB, Peer, address};

const PACK: &[u8] = b"a pack that both of them have";
/// A fuzzed server may be traced for so long.
const RUN_LIMIT: Duration = Duration::from_secs(3600);
const START_LIMIT: Duration = Duration::from_secs(30);
/// No answer to what is refused is longer.
const REFUSAL_BYTES_MAX: usize = 300;

fn grounds() -> Grounds {
    Grounds {
        account: ALICE.0.to_owned(),
        repository: "main".to_owned(),
        victim: BOB.0.to_owned(),
        pack: format::hash(PACK).to_hex(),
    }
}

/// alice and bob have a repository each, with one pack.
fn fill(door: &Door) {
    for (user, password) in [ALICE, BOB] {
        let root = format!("/{user}/main/");
        for request in [
            Request::post(format!("{root}?create=true"), b""),
            Request::post(format!("{root}config"), b"a config"),
            Request::post(address(&root, FileKind::Pack, PACK), PACK),
        ] {
            assert_eq!(door.ask(&request.login(user, password)).unwrap().status, 200);
        }
    }
}

/// Serves a filled store under the tracer, does something with it, and gives every name that it was about meanwhile.
fn names_touched(work: impl FnOnce(&Door, &StoreGround)) -> (StoreGround, BTreeMap<PathBuf, &'static str>) {
    let ground = StoreGround::make(binary(), &options(everybody(), true, &[])).unwrap();
    let port = free_port().unwrap();
    let mut command = Command::new(binary());
    command.args(ground.serve_words(port)).env("HOME", &ground.folder);
    let watch = Watch::naming();
    let traced = Traced::new(command, &[Path::new("/")]).counting(Scope::of(&CallKind::BY_NAME)).watched(&watch);
    let seen = std::thread::scope(|scope| {
        let run = scope.spawn(|| traced.within(RUN_LIMIT).run());
        let door = ground.door(port);
        let ends = Ending(&watch);
        assert!(wait_until(START_LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
        fill(&door);
        watch.begin();
        work(&door, &ground);
        watch.pause();
        let seen = watch.seen();
        drop(ends);
        let outcome = run.join().unwrap().unwrap();
        assert_eq!(outcome.ended.code, Some(0), "{}", outcome.ended.errors);
        assert!(!outcome.ended.errors.contains("panicked"), "{}", outcome.ended.errors);
        seen
    });
    (ground, seen)
}

/// Ends the server also when the test fails.
struct Ending<'a>(&'a Arc<Watch>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.terminate();
    }
}

/// Names that no account chooses: the state, uploads, certificates, and what the system's libraries read.
fn is_the_servers_own(ground: &StoreGround, path: &Path) -> bool {
    let data = ground.data();
    let state = ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "store.sqlite-journal"];
    let certificates = ["certificate.pem", "key.pem"];
    state.iter().any(|name| path == data.join(name))
        || path.starts_with(data.join("incoming"))
        || certificates.iter().any(|name| path == ground.folder.join(name))
        || path == data
        || path == data.join("repositories")
        || path.starts_with("/proc/self")
        || path.starts_with("/proc/meminfo")
        || path.starts_with("/sys/fs/cgroup")
        // How many processors there are, for the C library's allocator.
        || path == Path::new("/sys/devices/system/cpu/online")
}

/// The server's limit of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

fn is_cut_off(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

#[test]
fn no_hostile_path_leads_anywhere() {
    let mut asked = 0;
    let (ground, seen) = names_touched(|door, ground| {
        let before = files_below(&ground.repositories());
        let mut asker = Asker::new(door);
        for path in hostile_paths(&grounds()) {
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                let request = Request::new(method, path.target.clone()).body(if method == "POST" { PACK } else { b"" });
                // Who may do everything in the account is refused for the path alone.
                let answer = match asker.ask(&request.login(PRUNER.0, PRUNER.1)) {
                    Ok(answer) => answer,
                    // A head that is too long is answered before it is read to its end. Then the connection is closed,
                    // and bytes that were still on their way may cost the answer.
                    Err(error) if path.target.len() > HEAD_BYTES_MAX && is_cut_off(&error) => continue,
                    Err(error) => panic!("{method} {}: {error}", path.what),
                };
                assert!((400..500).contains(&answer.status), "{method} {}: {}", path.what, answer.status);
                assert!(answer.body.len() <= REFUSAL_BYTES_MAX, "{method} {}: {}", path.what, answer.text());
                asked += 1;
            }
        }
        assert!(before == files_below(&ground.repositories()), "files were changed");
    });
    let strange: Vec<_> = seen.iter().filter(|(path, _)| !is_the_servers_own(&ground, path)).collect();
    std::fs::remove_dir_all(&ground.folder).unwrap();
    println!("{asked} requests for hostile paths, {} names touched", seen.len());
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn fuzzed_requests_stay_in_their_account() {
    const THREADS: usize = 4;
    let seed = seed("fuzzed requests");
    let wanted = points(6000, 1_000_000);
    let statuses: [AtomicUsize; 6] = Default::default();
    let (ground, seen) = names_touched(|door, ground| {
        let victims = files_below(&ground.repositories().join(BOB.0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (statuses, door) = (&statuses, door);
                scope.spawn(move || fuzz(door, seed.wrapping_add(thread as u64), wanted / THREADS, statuses));
            }
        });
        assert!(victims == files_below(&ground.repositories().join(BOB.0)), "bob's files were changed");
        let unsound = unsound_files(&ground.repositories());
        assert!(unsound.is_empty(), "{unsound:?}");
    });
    let counted: Vec<usize> = statuses.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    println!("{wanted} requests: statuses 1xx to 5xx, and none: {counted:?}; {} names touched", seen.len());
    let own = ground.repositories().join(ALICE.0);
    let strange: Vec<_> = seen
        .iter()
        .filter(|(path, _)| !path.starts_with(&own) && !is_the_servers_own(&ground, path))
        .take(20)
        .collect();
    std::fs::remove_dir_all(&ground.folder).unwrap();
    assert!(strange.is_empty(), "{strange:#?}");
    assert_eq!(counted[4], 0, "a server's failure");
    assert!(counted[1] > wanted / 300 && counted[3] > wanted / 2, "the requests are not what they should be");
}

fn fuzz(door: &Door, seed: u64, requests: usize, statuses: &[AtomicUsize; 6]) {
    // No wrong passwords: an address that fails too often is not listened to, and would be no attacker any more.
    let logins = [ALICE, PRUNER, READER].map(|(user, password)| (user.to_owned(), password.to_owned())).to_vec();
    let mut source = Requests::new(grounds(), logins, seed);
    let mut asker = Asker::new(door);
    for _ in 0..requests {
        let request = source.next_request();
        let place = match asker.ask(&request) {
            Ok(answer) => {
                let what = || format!("{:?}: {}", String::from_utf8_lossy(&request.head_bytes()), answer.text());
                assert!(answer.status < 500, "{} to {}", answer.status, what());
                usize::from(answer.status / 100) - 1
            }
            Err(_) => 5,
        };
        statuses[place].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_user_name_opens_what_is_not_its_own() {
    let server = served();
    let door = server.door();
    fill(&door);
    let before = files_below(&server.ground.repositories());
    let read = |user: &str, password: &str| door.ask(&Request::get("/bob/main/config").login(user, password)).unwrap();
    let refused = read("nobody", "wrong");
    assert_eq!(refused.status, 401);
    for (what, user) in hostile_users(ALICE.0, BOB.0) {
        for password in [ALICE.1, ""] {
            let answer = read(&user, password);
            assert!([401, 429, 431, 400].contains(&answer.status), "{what}: {}", answer.status);
            assert!(answer.status != 401 || answer.body == refused.body, "{what}: {}", answer.text());
        }
    }
    // After all these failures whoever is known still gets in.
    assert_eq!(read(BOB.0, BOB.1).status, 200);
    assert!(before == files_below(&server.ground.repositories()));
}

#[test]
fn the_reference_is_asked_the_same() {
    let Some(reference) = Peer::reference() else { return };
    fill(&reference.door);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut asker = Asker::new(&reference.door);
    for path in hostile_paths(&grounds()) {
        for method in ["GET", "HEAD", "POST"] {
            let request = Request::new(method, path.target.clone()).body(if method == "POST" { PACK } else { b"" });
            // It hangs up on some of them, which is an answer too.
            let status = asker.ask(&request.login(ALICE.0, ALICE.1)).map_or(0, |answer| answer.status);
            *statuses.entry(status).or_default() += 1;
        }
    }
    println!("restic's own server: {statuses:?}");
    // If it refused everything as we do, or nothing, these requests would not be what they are meant to be.
    assert!(statuses.keys().any(|status| (400..500).contains(status)));
    let read = Request::get("/bob/main/config").login(BOB.0, BOB.1);
    assert_eq!(reference.door.ask(&read).unwrap().body, b"a config");
}
