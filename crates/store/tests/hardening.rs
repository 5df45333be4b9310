//! What clients that lie, stall, shout or come in thousands can do: little.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use clock::FakeClock;
use house::{House, eventually, hash, read_reply, request};
use store::{ListenAt, Role, TlsFiles};
use testkit::{CertificateFlaw, make_certificate};

const APPEND: &str = "Authorization: Basic YWxpY2U6YXBwZW5k";

fn loopback() -> ListenAt {
    ListenAt::Address("127.0.0.1:0".parse().unwrap())
}

#[test]
fn bodies_that_are_not_what_was_announced_leave_nothing() {
    let house = House::new();
    house.create();
    let content = vec![9; 700_000];
    let path = format!("/alice/main/data/{}", hash(&content));
    let other = format!("/alice/main/data/{}", hash(b"other"));
    assert_eq!(house.ask(Role::Append, "POST", &other, &[], &content).status, 400);
    // Less than announced, then silence for good; less by chunks without an end; more than announced.
    for (headers, body) in [
        (vec![APPEND, "Content-Length: 700001"], &content[..]),
        (vec![APPEND, "Content-Length: 700000"], &content[..600_000]),
        (vec![APPEND, "Transfer-Encoding: chunked"], &b"5\r\nhello\r\n"[..]),
        (vec![APPEND, "Transfer-Encoding: chunked"], &b"zz\r\nhello\r\n"[..]),
    ] {
        let mut stream = house.connect();
        stream.write_all(&request("POST", &path, &headers, body)).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_ne!(read_reply(&mut stream, false).status, 200);
    }
    for bad in [
        vec![APPEND, "Content-Length: 5", "Content-Length: 6"],
        vec![APPEND, "Content-Length: -1"],
        vec![APPEND, "Content-Length: 99999999999999999999999"],
    ] {
        assert_eq!(house.send(&request("POST", &path, &bad, b"hello")).status, 400);
    }
    eventually("nothing is left in incoming", || house.incoming() == 0);
    assert_eq!(house.gate.reserved(), 0);
    assert!(house.gate.stored.lock().unwrap().is_empty());
    assert_eq!(house.ask(Role::Read, "GET", "/alice/main/data/", &[], b"").text(), "[]");
}

#[test]
fn bodies_and_heads_have_a_size() {
    let house = House::new();
    house.create();
    for (folder, bytes) in [("keys", (1 << 20) + 1), ("locks", 10 << 30), ("data", (1_u64 << 30) + 1)] {
        let path = format!("/alice/main/{folder}/{}", hash(b"x"));
        let length = format!("Content-Length: {bytes}");
        assert_eq!(house.send(&request("POST", &path, &[APPEND, &length], b"begun")).status, 413, "{folder}");
    }
    // Without an announcement it is found out on the way.
    let mut stream = house.connect();
    let path = format!("/alice/main/keys/{}", hash(b"x"));
    stream.write_all(&request("POST", &path, &[APPEND, "Transfer-Encoding: chunked"], b"")).unwrap();
    for _ in 0..3 {
        stream.write_all(b"80000\r\n").unwrap();
        stream.write_all(&vec![b'x'; 0x80000]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut stream, false).status, 413);

    let long = format!("/alice/main/data/{}", "a".repeat(64 << 10));
    let status = house.send(&request("GET", &long, &[APPEND], b"")).status;
    assert!([414, 431].contains(&status), "{status}");
    let huge = format!("X: {}", "y".repeat(64 << 10));
    assert_eq!(house.send(&request("GET", "/alice/main/config", &[APPEND, &huge], b"")).status, 431);
    let many = vec!["X: y"; 500];
    assert_eq!(house.send(&request("GET", "/alice/main/config", &many, b"")).status, 431);
    assert_eq!(house.ask(Role::Read, "GET", "/alice/main/data/", &[], b"").status, 200);
    eventually("nothing is left in incoming", || house.incoming() == 0);
}

#[test]
fn heads_and_silence_end_in_time() {
    let clock = Arc::new(FakeClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC));
    let house = House::with_clock(clock.clone(), None, |options| options.listen.push(loopback()));
    house.create();
    let mut half_head = house.connect();
    half_head.write_all(b"GET /alice/main/config HTTP/1.1\r\nHo").unwrap();
    let mut half_body = house.connect();
    let path = format!("/alice/main/data/{}", hash(b"x"));
    half_body.write_all(&request("POST", &path, &[APPEND, "Content-Length: 300000"], &[1; 200_000])).unwrap();
    eventually("the half body is on the disk", || house.incoming() == 1);
    let mut idle = house.connect();
    idle.write_all(&request("GET", "/alice/main/config", &[APPEND], b"")).unwrap();
    assert_eq!(read_reply(&mut idle, false).status, 404);

    clock.advance(Duration::from_secs(31));
    let mut rest = Vec::new();
    assert_eq!(half_head.read_to_end(&mut rest).unwrap_or(0), 0);
    // The others still have time.
    idle.write_all(&request("GET", "/alice/main/config", &[APPEND], b"")).unwrap();
    assert_eq!(read_reply(&mut idle, false).status, 404);
    // A sign of life may be noted after the clock has moved, so time goes on until both are gone.
    eventually("the half upload is gone", || {
        clock.advance(Duration::from_secs(121));
        house.incoming() == 0
    });
    assert_eq!(idle.read_to_end(&mut rest).unwrap_or(0), 0);
    assert_eq!(half_body.read_to_end(&mut rest).unwrap_or(0), 0);
    assert_eq!(house.gate.reserved(), 0);
}

/// A byte now and then is no silence, and holds nothing for good either.
#[test]
fn a_body_that_drips_is_cut_and_one_that_is_slow_is_not() {
    let clock = Arc::new(FakeClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC));
    let house = House::with_clock(clock.clone(), None, |options| options.listen.push(loopback()));
    house.create();
    let begin = |content: &[u8]| {
        let mut stream = house.connect();
        let path = format!("/alice/main/data/{}", hash(content));
        let length = format!("Content-Length: {}", content.len());
        stream.write_all(&request("POST", &path, &[APPEND, &length], b"")).unwrap();
        stream
    };
    // A little more in a minute than has to come in two.
    let slow_content = vec![4; 3 * (130 << 10)];
    let mut slow = begin(&slow_content);
    let mut dripping = begin(&[5; 100_000]);
    let arrived = |bytes: usize| {
        eventually("what was sent is on the disk", || {
            let files = std::fs::read_dir(house.data().join("incoming")).unwrap();
            files.filter_map(|file| file.unwrap().metadata().ok()).map(|facts| facts.len()).sum::<u64>() >= bytes as u64
        });
    };
    for minute in 1..=2 {
        slow.write_all(&slow_content[(minute - 1) * (130 << 10)..minute * (130 << 10)]).unwrap();
        dripping.write_all(&[5]).unwrap();
        arrived(minute * (130 << 10) + 1);
        clock.advance(Duration::from_secs(61));
    }
    let answer = read_reply(&mut dripping, false);
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{}", answer.text());
    assert_eq!(dripping.read(&mut [0; 9]).unwrap_or(0), 0);
    slow.write_all(&slow_content[2 * (130 << 10)..]).unwrap();
    assert_eq!(read_reply(&mut slow, false).status, 200);
    eventually("nothing is left in incoming", || house.incoming() == 0);
    assert_eq!(house.gate.reserved(), 0);
}

#[test]
fn strangers_in_numbers_keep_nobody_out() {
    let house = House::with(|options| {
        options.listen.push(loopback());
        options.connections_max = 20;
    });
    house.create();
    let crowd: Vec<_> = (0..200).map(|_| house.connect()).collect();
    for mut member in &crowd {
        // Some are gone already.
        let _ = member.write_all(b"GET / HTTP/1.1\r\n");
    }
    for number in 0..20_u32 {
        house.store("locks", &number.to_le_bytes());
    }
    drop(crowd);
}

#[test]
fn many_at_once_store_one_name() {
    let house = House::new();
    house.create();
    let content: Vec<u8> = (0..900_000_u32).map(|number| (number % 241) as u8).collect();
    let path = format!("/alice/main/data/{}", hash(&content));
    let writers = if std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some() { 1000 } else { 60 };
    std::thread::scope(|scope| {
        for number in 0..writers {
            let (house, path, content) = (&house, &path, &content);
            scope.spawn(move || {
                // Some give up in the middle, some lie, and none of that may hurt the others.
                match number % 5 {
                    0 => {
                        let mut stream = house.connect();
                        let length = format!("Content-Length: {}", content.len());
                        stream.write_all(&request("POST", path, &[APPEND, &length], &content[..500_000])).unwrap();
                    }
                    1 => {
                        let lie = vec![3; content.len()];
                        assert_eq!(house.ask(Role::Append, "POST", path, &[], &lie).status, 400);
                    }
                    _ => assert_eq!(house.ask(Role::Append, "POST", path, &[], content).status, 200),
                }
            });
        }
    });
    assert!(house.ask(Role::Read, "GET", &path, &[], b"").body == content);
    eventually("nothing is left in incoming", || house.incoming() == 0);
    assert_eq!(house.gate.reserved(), 0);
}

#[test]
fn a_link_in_an_account_leads_nowhere() {
    let house = House::new();
    house.create();
    let outside = house.folder.path().join("outside");
    std::fs::create_dir_all(outside.join("keys")).unwrap();
    std::fs::write(outside.join("config"), b"not yours").unwrap();
    let account = house.data().join("repositories/alice");
    std::os::unix::fs::symlink(&outside, account.join("linked")).unwrap();
    std::fs::remove_dir(house.file("keys")).unwrap();
    std::os::unix::fs::symlink(outside.join("keys"), house.file("keys")).unwrap();
    std::os::unix::fs::symlink(outside.join("config"), house.file("config")).unwrap();
    let key = hash(b"key");
    for (method, path, body) in [
        ("GET", "/alice/linked/config".to_owned(), &b""[..]),
        ("GET", "/alice/linked/keys/".to_owned(), b""),
        ("POST", "/alice/linked/?create=true".to_owned(), b""),
        ("GET", "/alice/main/config".to_owned(), b""),
        ("POST", "/alice/main/config".to_owned(), b"mine"),
        ("GET", "/alice/main/keys/".to_owned(), b""),
        ("POST", format!("/alice/main/keys/{key}"), b"key"),
        ("DELETE", format!("/alice/main/keys/{key}"), b""),
    ] {
        let reply = house.ask(Role::Full, method, &path, &[], body);
        assert_eq!(reply.status, 500, "{method} {path}");
        assert_eq!(reply.text(), "Internal Server Error\n");
    }
    assert_eq!(std::fs::read(outside.join("config")).unwrap(), b"not yours");
    assert_eq!(std::fs::read_dir(outside.join("keys")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 2);
    eventually("the log says what the client is not told", || house.log().contains("linked"));
}

#[test]
fn a_certificate_is_renewed_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let files = make_certificate(folder.path(), CertificateFlaw::None).unwrap();
    let tls = TlsFiles { certificate: files.certificate.clone(), key: files.key.clone() };
    let house = House::with(|options| {
        options.listen.push(loopback());
        options.tls = Some(tls);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |authority: &[u8]| {
        runtime.block_on(async {
            let authority = reqwest::Certificate::from_pem(authority).unwrap();
            let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
            let url = format!("https://{}/alice/main/?create=true", house.addresses[0]);
            let answer = client.post(url).basic_auth("alice", Some("full")).send().await?;
            Ok::<_, reqwest::Error>(answer.status().as_u16())
        })
    };
    let old = std::fs::read(&files.authority).unwrap();
    assert_eq!(ask(&old).unwrap(), 200);
    make_certificate(folder.path(), CertificateFlaw::None).unwrap();
    house.asked.blocking_send(store::serve::Request::Reload).unwrap();
    let new = std::fs::read(&files.authority).unwrap();
    eventually("the new certificate is in use", || ask(&new).is_ok());
    assert!(ask(&old).is_err());
    // Plain HTTP on that socket is no conversation.
    let mut stream = house.connect();
    stream.write_all(&request("GET", "/", &["Connection: close"], b"")).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn stopping_finishes_what_is_under_way_and_frees_the_data() {
    let mut house = House::with(|options| {
        options.listen.push(loopback());
        options.limits.shutdown_seconds = 20;
    });
    house.create();
    let content = vec![5; 400_000];
    let path = format!("/alice/main/data/{}", hash(&content));
    let mut stream = house.connect();
    let head = request("POST", &path, &[APPEND, "Content-Length: 400000"], &content[..300_000]);
    stream.write_all(&head).unwrap();
    let _idle = house.connect();
    eventually("the upload has begun", || house.incoming() == 1);
    house.asked.try_send(store::serve::Request::Stop).unwrap();
    eventually("it takes nobody any more", || std::net::TcpStream::connect(&house.addresses[0]).is_err());
    stream.write_all(&content[300_000..]).unwrap();
    assert_eq!(read_reply(&mut stream, false).status, 200);
    house.stop();
    assert!(house.log().contains("\"stopped\""));
    assert!(!house.log().contains("cut off"), "{}", house.log());
}

#[test]
fn a_change_that_is_cut_off_from_its_client_still_ends() {
    use std::sync::atomic::Ordering::SeqCst;
    let mut house = House::with(|options| {
        options.listen.push(loopback());
        options.limits.shutdown_seconds = 0;
    });
    house.create();
    let slow = Arc::clone(&house.gate.is_slow);
    slow.store(true, SeqCst);
    let content = b"a snapshot";
    let path = format!("/alice/main/snapshots/{}", hash(content));
    let mut stream = house.connect();
    stream.write_all(&request("POST", &path, &[APPEND, "Content-Length: 10"], content)).unwrap();
    eventually("the journal is being written", || house.gate.has_begun.load(SeqCst));
    house.asked.try_send(store::serve::Request::Stop).unwrap();
    // The connection is cut at once, and the server is not at its end.
    assert_eq!(read_reply(&mut stream, false).status, 0);
    assert!(house.gate.stored.lock().unwrap().is_empty() && !house.log().contains("\"stopped\""));
    slow.store(false, SeqCst);
    house.stop();
    assert_eq!(house.gate.stored.lock().unwrap().len(), 1);
}

#[test]
fn a_unix_socket_serves_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let house = House::with(|options| options.listen.push(ListenAt::Path(path.clone())));
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let create = request("POST", "/alice/main/?create=true", &[APPEND, "Content-Length: 0"], b"");
    stream.write_all(&create).unwrap();
    assert_eq!(read_reply(&mut stream, false).status, 200);
    drop(stream);
    eventually("it is in the log", || house.log().contains("\"from\":\"unix\""));
}
