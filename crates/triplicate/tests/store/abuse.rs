//! Bodies that lie, crowds, bombs and guesses: what an attacker sends when the names are right.

use std::io::ErrorKind;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clock::{Clock, SystemClock};
use format::FileKind;
use testkit::process::wait_until;
use testkit::raw_http::{Answer, Connection, Door, Request};
use testkit::store_server::{Account, StoreServer};
use testkit::{Random, seed};

use crate::ground::{
    Asker, PRUNER, assert_no_panic, binary, everybody, files_below, is_exhaustive, memory_mib, options, points, served,
    served_plainly, unsound_files, uploads,
};
use crate::peer::{ALICE, BOB, address};

const ROOT: &str = "/alice/main/";
const MEMORY_MIB_MAX: u64 = 256;
/// How long a server may take to notice that a client is gone.
const SWEEP_LIMIT: Duration = Duration::from_secs(30);

fn create(door: &Door) {
    let request = Request::post(format!("{ROOT}?create=true"), b"");
    assert_eq!(door.ask(&request.login(ALICE.0, ALICE.1)).unwrap().status, 200);
}

fn pack(bytes: &[u8]) -> String {
    address(ROOT, FileKind::Pack, bytes)
}

fn post(target: &str, body: &[u8]) -> Request {
    Request::post(target, body).login(ALICE.0, ALICE.1)
}

/// What a broken exchange came to: an answer, or nothing. Nothing more is sent after it.
fn sent(door: &Door, pieces: &[&[u8]]) -> Option<Answer> {
    let mut connection = begun(door, pieces);
    let _ = connection.finish();
    connection.answer(false).ok()
}

fn begun(door: &Door, pieces: &[&[u8]]) -> Connection {
    let mut connection = door.connect().unwrap();
    for piece in pieces {
        if connection.send(piece).is_err() {
            break;
        }
    }
    connection
}

/// Nothing was stored, and no upload is left after a moment.
fn assert_nothing_stored(server: &StoreServer, before: usize, what: &str) {
    let files = files_below(&server.ground.repositories());
    assert_eq!(files.len(), before, "{what}: {:?}", files.keys());
    assert!(wait_until(SWEEP_LIMIT, || uploads(&server.ground) == 0), "{what}: an upload was left");
}

#[test]
fn a_body_that_is_not_what_it_says_is_not_stored() {
    let random = &mut Random::new(seed("bodies that lie"));
    let server = served_plainly();
    let door = server.door();
    create(&door);
    let bytes = random.bytes(900_000);
    let other = random.bytes(900_000);
    let target = pack(&bytes);
    let head = |headers: &[(&str, &str)]| {
        let request = Request::new("POST", target.clone()).login(ALICE.0, ALICE.1);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).head_bytes()
    };
    let length = |bytes: usize| head(&[("Content-Length", &bytes.to_string())]);
    let chunked = head(&[("Transfer-Encoding", "chunked")]);
    let as_chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let half = &bytes[..bytes.len() / 2];
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("other bytes", vec![length(other.len()), other.clone()]),
        ("nothing", vec![length(0)]),
        ("a byte too few, and so announced", vec![length(bytes.len() - 1), bytes[1..].to_vec()]),
        ("a byte too many, and so announced", vec![length(bytes.len() + 1), bytes.clone(), b"x".to_vec()]),
        ("half of what was announced", vec![length(bytes.len()), half.to_vec()]),
        ("less announced than sent", vec![length(half.len()), bytes.clone()]),
        ("nothing announced", vec![head(&[("X-Nothing", "")]), bytes.clone()]),
        ("chunks without an end", vec![chunked.clone(), as_chunk(half)]),
        ("a chunk that is cut", vec![chunked.clone(), as_chunk(half)[..1000].to_vec()]),
        ("all chunks and no end", vec![chunked.clone(), as_chunk(&bytes)]),
        ("other chunks", vec![chunked.clone(), as_chunk(&other), b"0\r\n\r\n".to_vec()]),
        ("a chunk of no size", vec![chunked.clone(), b"zz\r\nxx\r\n0\r\n\r\n".to_vec()]),
        ("a chunk of an endless size", vec![chunked.clone(), b"ffffffffffffffffff\r\n".to_vec(), bytes.clone()]),
        ("a negative length", vec![head(&[("Content-Length", "-1")]), bytes.clone()]),
        ("a length that is no number", vec![head(&[("Content-Length", "many")]), bytes.clone()]),
        ("an endless length", vec![head(&[("Content-Length", "18446744073709551616")]), bytes.clone()]),
        ("two lengths", vec![head(&[("Content-Length", "900000"), ("Content-Length", "450000")]), bytes.clone()]),
        (
            "a packed body",
            vec![head(&[("Content-Encoding", "gzip"), ("Content-Length", &other.len().to_string())]), other.clone()],
        ),
    ];
    for (what, pieces) in &cases {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let answer = sent(&door, &pieces);
        let status = answer.as_ref().map(|answer| answer.status);
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{what}: {status:?}");
        assert_nothing_stored(&server, 0, what);
    }
    // Both ways of telling a length at once: who stands between may understand the other one.
    let both = head(&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]);
    let answer = sent(&door, &[&both, &as_chunk(&bytes), b"0\r\n\r\n"]);
    let status = answer.map(|answer| answer.status);
    assert!(status.is_none_or(|status| status == 200 || (400..500).contains(&status)), "{status:?}");
    let stored = files_below(&server.ground.repositories());
    assert!(stored.values().all(|content| *content == bytes));
    // And the truth is stored, in chunks too.
    let pieces: [&[u8]; 4] = [&chunked, &as_chunk(half), &as_chunk(&bytes[half.len()..]), b"0\r\n\r\n"];
    let answer = begun(&door, &pieces).answer(false).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_nothing_stored(&server, 1, "the truth");
    // No header, option or word of a client switches the look at the hash off.
    for (header, value) in [("X-HTTP-Method-Override", "DELETE"), ("X-No-Verify", "1"), ("X-Method-Override", "PUT")] {
        let answer = door.ask(&post(&target, &other).header(header, value)).unwrap();
        assert_eq!(answer.status, 400, "{header}");
    }
    for query in ["?verify=false", "?no-verify-upload=true", "?create=true"] {
        let answer = door.ask(&post(&format!("{target}{query}"), &other)).unwrap();
        assert!((400..500).contains(&answer.status), "{query}: {}", answer.status);
    }
    let unsound = unsound_files(&server.ground.repositories());
    assert!(unsound.is_empty(), "{unsound:?}");
    assert_no_panic(&server);
}

#[test]
fn a_crowd_that_stores_one_name_leaves_one_sound_file() {
    let random = &mut Random::new(seed("a crowd"));
    let crowd = points(200, 1000);
    let server = served();
    let door = server.door();
    create(&door);
    let bytes = random.bytes(200_000);
    let wrong = random.bytes(200_000);
    let target = pack(&bytes);
    let (start, stored, refused) = (Barrier::new(crowd), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..crowd {
            let (door, start, target, bytes, wrong) = (&door, &start, &target, &bytes, &wrong);
            let (stored, refused) = (&stored, &refused);
            scope.spawn(move || {
                let mut connection = door.connect().unwrap();
                start.wait();
                match number % 4 {
                    // Every fourth breaks off, and every fourth has other bytes.
                    0 => {
                        let request = post(target, bytes).bytes();
                        let _ = connection.send(&request[..request.len() / 2]);
                    }
                    1 => {
                        assert_eq!(connection.ask(&post(target, wrong)).unwrap().status, 400);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {
                        assert_eq!(connection.ask(&post(target, bytes)).unwrap().status, 200);
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("{crowd} at once: {stored:?} stored it, {refused:?} were refused");
    let files = files_below(&server.ground.repositories());
    assert_eq!(files.len(), 1);
    assert!(files.values().all(|content| *content == bytes));
    assert!(wait_until(SWEEP_LIMIT, || uploads(&server.ground) == 0), "uploads were left");
    assert_no_panic(&server);
}

#[test]
fn those_who_store_and_remove_one_name_at_once_leave_it_whole_or_gone() {
    let random = &mut Random::new(seed("store and remove"));
    let server = served();
    let door = server.door();
    create(&door);
    let bytes = random.bytes(50_000);
    let target = pack(&bytes);
    let turns = points(20, 200);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (door, target, bytes) = (&door, &target, &bytes);
            scope.spawn(move || {
                let mut asker = Asker::new(door);
                for _ in 0..turns {
                    let request = if number % 2 == 0 {
                        post(target, bytes)
                    } else {
                        Request::new("DELETE", target.clone()).login(PRUNER.0, PRUNER.1)
                    };
                    assert_eq!(asker.ask(&request).unwrap().status, 200);
                    let read = asker.ask(&Request::get(target.clone()).login(ALICE.0, ALICE.1)).unwrap();
                    assert!(read.status == 404 || (read.status == 200 && read.body == *bytes), "{}", read.status);
                }
            });
        }
    });
    // What was acknowledged last counts, for the disk and for the quota's books alike.
    assert_eq!(door.ask(&post(&target, &bytes)).unwrap().status, 200);
    assert_eq!(files_below(&server.ground.repositories()).len(), 1);
    assert_no_panic(&server);
}

#[test]
fn a_body_without_measure_is_refused_and_costs_nothing() {
    const GIB: u64 = 1 << 30;
    let accounts = [
        everybody(),
        vec![Account::append("carol", "sixth password").with(&["--minimum-age", "0", "--quota-bytes", "20971520"])],
    ];
    let server = StoreServer::start(binary(), &options(accounts.concat(), false, &[]));
    let door = server.door();
    create(&door);
    let target = pack(b"never");
    // Told beforehand: refused before a byte of it is taken.
    let request =
        Request::new("POST", target).login(ALICE.0, ALICE.1).header("Content-Length", &(10 * GIB).to_string());
    let mut connection = door.connect().unwrap();
    connection.send(&request.head_bytes()).unwrap();
    assert_eq!(connection.answer(false).unwrap().status, 413);
    // Small kinds have a small measure.
    for kind in [FileKind::Key, FileKind::Lock, FileKind::Config] {
        let bytes = vec![7; (1 << 20) + 1];
        let answer = door.ask(&post(&address(ROOT, kind, &bytes), &bytes)).unwrap();
        assert_eq!(answer.status, 413, "{kind:?}");
    }
    // Not told beforehand: until the quota, or the largest file, is reached.
    let login = |request: Request| request.login("carol", "sixth password");
    assert_eq!(door.ask(&login(Request::post("/carol/main/?create=true", b""))).unwrap().status, 200);
    let target = address("/carol/main/", FileKind::Pack, b"never");
    assert_eq!(flood(&door, &login(Request::new("POST", target)), 10 * GIB), Some(507));
    if is_exhaustive() {
        let endless = Request::new("POST", pack(b"never")).login(ALICE.0, ALICE.1);
        assert_eq!(flood(&door, &endless, 10 * GIB), Some(413));
    }
    assert_nothing_stored(&server, 0, "a flood");
    let (_, peak) = memory_mib(server.server.pid());
    println!("peak memory {peak} MiB");
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
    // What a refused upload held of the quota was given back.
    let bytes = vec![1; 15 << 20];
    let answer = door.ask(&login(Request::post(address("/carol/main/", FileKind::Pack, &bytes), bytes))).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bytes = vec![2; 15 << 20];
    let answer = door.ask(&login(Request::post(address("/carol/main/", FileKind::Pack, &bytes), bytes))).unwrap();
    assert_eq!(answer.status, 507);
    assert!(answer.text().chars().any(|c| c.is_ascii_digit()), "the remaining figure: {}", answer.text());
    assert_no_panic(&server);
}

/// Sends chunks until so many bytes are sent or the server has had enough; gives what it said.
fn flood(door: &Door, request: &Request, bytes: u64) -> Option<u16> {
    let piece = vec![5_u8; 1 << 20];
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    let mut connection = door.connect().unwrap();
    connection.send(&request.clone().header("Transfer-Encoding", "chunked").head_bytes()).unwrap();
    for _ in 0..bytes / piece.len() as u64 {
        if connection.send(&chunk).is_err() {
            break;
        }
    }
    connection.answer(false).ok().map(|answer| answer.status)
}

#[test]
fn bombs_of_headers_are_refused() {
    let server = served_plainly();
    let door = server.door();
    create(&door);
    let line = b"GET /alice/main/data/ HTTP/1.1\r\nHost: x\r\n".to_vec();
    let long = vec![b'a'; 4 << 20];
    let many: Vec<u8> = (0..100_000).flat_map(|number| format!("X-{number}: y\r\n").into_bytes()).collect();
    for (what, pieces) in [
        ("a long header", vec![line.clone(), b"X: ".to_vec(), long.clone(), b"\r\n\r\n".to_vec()]),
        ("a long name", vec![line.clone(), long.clone(), b": y\r\n\r\n".to_vec()]),
        ("many headers", vec![line.clone(), many, b"\r\n".to_vec()]),
        ("a long path", vec![b"GET /".to_vec(), long.clone(), b" HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()]),
        ("a long method", vec![long.clone(), b" / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()]),
        ("no line at all", vec![long.clone()]),
        ("no HTTP", vec![b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), long.clone()]),
        ("a version that is none", vec![b"GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_vec()]),
        ("HTTP/2 without asking", vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()]),
        ("a long login", vec![line.clone(), b"Authorization: Basic ".to_vec(), long, b"\r\n\r\n".to_vec()]),
    ] {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let status = sent(&door, &pieces).map(|answer| answer.status);
        assert!(status.is_none_or(|status| (400..500).contains(&status) || status == 505), "{what}: {status:?}");
    }
    let (_, peak) = memory_mib(server.server.pid());
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
    let list = Request::get("/alice/main/data/").login(ALICE.0, ALICE.1);
    assert_eq!(door.ask(&list).unwrap().status, 200);
    assert_no_panic(&server);
}

#[test]
fn a_crowd_that_does_nothing_keeps_nobody_out() {
    let crowd = points(1500, 10_000);
    let server = served();
    let door = server.door();
    create(&door);
    // A third says nothing, a third has begun a head, a third has begun a body. No more than the server lets in are held;
    // those whom it turns away are turned away at once.
    let mut held: Vec<Connection> = Vec::new();
    let mut turned_away = 0;
    let body = post(&pack(b"slow"), &vec![9; 100_000]).bytes();
    for number in 0..crowd {
        let Ok(mut connection) = door.connect() else {
            turned_away += 1;
            continue;
        };
        let begun = match number % 3 {
            0 => Ok(()),
            1 => connection.send(b"GET /alice/main/data/ HTTP/1.1\r\nHo"),
            _ => connection.send(&body[..body.len() / 2]),
        };
        match begun {
            Ok(()) => held.push(connection),
            Err(_) => turned_away += 1,
        }
    }
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let list = Request::get("/alice/main/data/").login(ALICE.0, ALICE.1);
    let served_others = (0..20).filter(|_| door.ask(&list).is_ok_and(|answer| answer.status == 200)).count();
    let bytes = vec![3; 4 << 20];
    let stored = door.ask(&post(&pack(&bytes), &bytes)).map(|answer| answer.status);
    let seconds = (clock.monotonic() - began).as_secs_f64();
    let (now, peak) = memory_mib(server.server.pid());
    println!(
        "{} held, {turned_away} turned away; 20 lists and 4 MiB in {seconds:.2} s; memory {now} MiB, peak {peak}",
        held.len()
    );
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
    assert_eq!(served_others, 20, "others are served");
    assert_eq!(stored.unwrap(), 200);
    if is_exhaustive() {
        // A begun head is cut after 30 s: with a word of why, or without.
        let mut slow = held.swap_remove(1);
        let clock = SystemClock::new();
        let began = clock.monotonic();
        let cut = match slow.answer(false) {
            Ok(answer) => answer.status == 408,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        println!("a begun head was cut after {:.0} s more", (clock.monotonic() - began).as_secs_f64());
        assert!(cut && (clock.monotonic() - began) < Duration::from_secs(60));
    }
    assert_no_panic(&server);
}

#[test]
fn many_tiny_files_cost_little_memory() {
    let files = points(2000, 1_000_000);
    const THREADS: usize = 16;
    let server = served_plainly();
    let door = server.door();
    create(&door);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let door = &door;
            scope.spawn(move || {
                let mut asker = Asker::new(door);
                for number in 0..files / THREADS {
                    let bytes = format!("{thread} {number}").into_bytes();
                    assert_eq!(asker.ask(&post(&pack(&bytes), &bytes)).unwrap().status, 200);
                }
            });
        }
    });
    let list = Request::get("/alice/main/data/").login(ALICE.0, ALICE.1);
    let listed = door.ask(&list).unwrap().text().matches('"').count() / 2;
    assert_eq!(listed, files / THREADS * THREADS);
    let (_, peak) = memory_mib(server.server.pid());
    println!("{listed} files, peak memory {peak} MiB");
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
}

#[test]
fn guesses_are_slowed_and_learn_nothing() {
    let server = served();
    let door = server.door();
    create(&door);
    let ask = |target: &str, login: Option<(&str, &str)>| {
        let request = Request::get(target);
        door.ask(&match login {
            Some((user, password)) => request.login(user, password),
            None => request,
        })
        .unwrap()
    };
    // Before any limit: the same bytes for whatever is wrong, and wherever.
    let shown = |answer: &Answer| {
        let headers =
            answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.to_lowercase().as_str()));
        (answer.status, headers.cloned().collect::<Vec<_>>(), answer.body.clone())
    };
    let nobody = shown(&ask("/alice/main/config", None));
    assert_eq!(nobody.0, 401);
    for (what, target, login) in [
        ("an unknown account", "/alice/main/config", Some(("nobody", "wrong"))),
        ("a wrong password", "/alice/main/config", Some((ALICE.0, "wrong"))),
        ("an unknown label", "/alice/main/config", Some(("alice+nothing", "wrong"))),
        ("another's account", "/alice/main/config", Some(BOB)),
        ("an account that is not", "/carol/main/config", Some(BOB)),
        ("a path that is not", "/alice/main/nothing/", Some((ALICE.0, "wrong"))),
        ("a repository that is not", "/alice/other/config", Some((ALICE.0, "wrong"))),
        ("no path", "/", None),
    ] {
        assert_eq!(shown(&ask(target, login)), nobody, "{what}");
    }
    // A guesser is slowed down; who knows the password is not, from the same address and for the same account.
    let wanted = points(300, 10_000);
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let (mut refused, mut slowed) = (0, 0);
    let mut asker = Asker::new(&door);
    let mut own = Asker::new(&door);
    for number in 0..wanted {
        let guess = Request::get("/alice/main/config").login(ALICE.0, &format!("guess {number}"));
        match asker.ask(&guess).unwrap().status {
            401 => refused += 1,
            429 => slowed += 1,
            status => panic!("{status}"),
        }
        if number % 50 == 0 {
            let list = Request::get("/alice/main/data/").login(ALICE.0, ALICE.1);
            assert_eq!(own.ask(&list).unwrap().status, 200, "the owner after {number} guesses of another");
        }
    }
    let seconds = (clock.monotonic() - began).as_secs_f64();
    println!("{wanted} guesses in {seconds:.1} s: {refused} refused, {slowed} slowed");
    assert!(refused * 3 < wanted, "{refused} of {wanted} guesses were looked at");
    let (_, peak) = memory_mib(server.server.pid());
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
}
