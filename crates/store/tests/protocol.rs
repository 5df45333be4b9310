//! restic's REST protocol, as its clients see it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::io::Write;

use house::{House, hash, read_reply, request};
use store::gate::RefusalKind;
use store::{RefusalKind as Kind, Role};

const V2: &str = "Accept: application/vnd.x.restic.rest.v2";

#[test]
fn a_file_that_was_stored_is_listed_and_read() {
    let house = House::new();
    house.create();
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let path = house.store("data", &content);
    let name = hash(&content);
    let on_disk = house.file(&format!("data/{}/{name}", &name[..2]));
    assert_eq!(std::fs::read(on_disk).unwrap(), content);
    assert_eq!(house.incoming(), 0);

    let head = house.ask(Role::Read, "HEAD", &path, &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000000")));
    let whole = house.ask(Role::Read, "GET", &path, &[], b"");
    assert_eq!(whole.status, 200);
    assert!(whole.body == content, "other bytes came back");
    for (range, expected) in [
        ("bytes=0-0", &content[..1]),
        ("bytes=1000000-2999999", &content[1_000_000..]),
        ("bytes=2999990-", &content[2_999_990..]),
        ("bytes=-5", &content[2_999_995..]),
    ] {
        let part = house.ask(Role::Read, "GET", &path, &[&format!("Range: {range}")], b"");
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == expected, "{range}");
    }
    let part = house.ask(Role::Read, "GET", &path, &["Range: bytes=5-9"], b"");
    assert_eq!(part.header("content-range"), Some("bytes 5-9/3000000"));
    let beyond = house.ask(Role::Read, "GET", &path, &["Range: bytes=3000000-"], b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */3000000")));

    let v1 = house.ask(Role::Read, "GET", "/alice/main/data/", &[], b"");
    assert_eq!(v1.header("content-type"), Some("application/vnd.x.restic.rest.v1"));
    assert_eq!(v1.text(), format!("[\"{name}\"]"));
    let v2 = house.ask(Role::Read, "GET", "/alice/main/data/", &[V2], b"");
    assert_eq!(v2.header("content-type"), Some("application/vnd.x.restic.rest.v2"));
    assert_eq!(v2.text(), format!("[{{\"name\":\"{name}\",\"size\":3000000}}]"));
    assert_eq!(house.ask(Role::Read, "GET", "/alice/main/index/", &[], b"").text(), "[]");
}

#[test]
fn storing_the_same_again_is_success_and_heals_what_rotted() {
    let house = House::new();
    house.create();
    let path = house.store("keys", b"a key");
    let on_disk = house.file(&format!("keys/{}", hash(b"a key")));
    std::fs::write(&on_disk, b"rotten").unwrap();
    assert_eq!(house.ask(Role::Append, "POST", &path, &[], b"a key").status, 200);
    assert_eq!(std::fs::read(&on_disk).unwrap(), b"a key");
    assert_eq!(house.ask(Role::Append, "POST", &path, &[], b"b key").status, 400);
    assert_eq!(std::fs::read(&on_disk).unwrap(), b"a key");
    assert_eq!(house.incoming(), 0);
}

#[test]
fn config_is_written_once_and_the_same_again_is_success() {
    let house = House::new();
    house.create();
    assert_eq!(house.ask(Role::Read, "HEAD", "/alice/main/config", &[], b"").status, 404);
    assert_eq!(house.ask(Role::Append, "POST", "/alice/main/config", &[], b"config").status, 200);
    assert_eq!(house.ask(Role::Append, "POST", "/alice/main/config", &[], b"config").status, 200);
    for other in [&b"CONFIG"[..], b"", b"another config"] {
        assert_eq!(house.ask(Role::Full, "POST", "/alice/main/config", &[], other).status, 403);
    }
    assert_eq!(house.ask(Role::Read, "GET", "/alice/main/config", &[], b"").body, b"config");
    assert_eq!(house.ask(Role::Append, "DELETE", "/alice/main/config", &[], b"").status, 403);
    assert_eq!(house.ask(Role::Full, "DELETE", "/alice/main/config", &[], b"").status, 200);
    assert_eq!(house.ask(Role::Full, "POST", "/alice/main/config", &[], b"another").status, 200);
    assert_eq!(house.incoming(), 0);
}

#[test]
fn what_is_removed_is_gone_and_removing_again_is_success() {
    let house = House::new();
    house.create();
    let path = house.store("snapshots", b"a snapshot");
    let lock = house.store("locks", b"a lock");
    assert_eq!(house.gate.stored.lock().unwrap().len(), 2);
    assert_eq!(house.ask(Role::Append, "DELETE", &path, &[], b"").status, 403);
    assert_eq!(house.ask(Role::Append, "DELETE", &lock, &[], b"").status, 200);
    assert_eq!(house.ask(Role::Read, "GET", &path, &[], b"").body, b"a snapshot");
    for _ in 0..2 {
        assert_eq!(house.ask(Role::Full, "DELETE", &path, &[], b"").status, 200);
    }
    assert_eq!(house.ask(Role::Read, "GET", &path, &[], b"").status, 404);
    assert_eq!(house.ask(Role::Read, "HEAD", &path, &[], b"").status, 404);
    assert!(house.gate.stored.lock().unwrap().is_empty());
}

#[test]
fn a_repository_that_was_not_made_has_nothing_and_takes_nothing() {
    let house = House::new();
    let path = format!("/alice/main/data/{}", hash(b"x"));
    assert_eq!(house.ask(Role::Append, "POST", &path, &[], b"x").status, 404);
    assert_eq!(house.ask(Role::Append, "POST", "/alice/main/config", &[], b"x").status, 404);
    assert_eq!(house.ask(Role::Read, "GET", "/alice/main/data/", &[], b"").status, 404);
    assert_eq!(house.ask(Role::Read, "GET", "/alice/main/keys/", &[], b"").status, 404);
    assert_eq!(house.ask(Role::Full, "DELETE", &path, &[], b"").status, 200);
    assert!(!house.data().join("repositories/alice").exists());
    assert_eq!(house.incoming(), 0);
    house.create();
    house.create();
    assert_eq!(house.ask(Role::Append, "POST", &path, &[], b"x").status, 200);
}

#[test]
fn roles_floor_and_quota_are_asked_before_anything_changes() {
    let house = House::new();
    house.create();
    let path = house.store("index", b"an index");
    let name = format::FileName::new(format::FileKind::Index, hash(b"an index").parse().unwrap());
    assert_eq!(house.ask(Role::Read, "POST", &path, &[], b"an index").status, 403);
    assert_eq!(house.ask(Role::Read, "POST", "/alice/other/?create=true", &[], b"").status, 403);
    house.gate.young.lock().unwrap().insert(name);
    let young = house.ask(Role::Full, "DELETE", &path, &[], b"");
    assert_eq!(young.status, 403);
    assert!(young.text().contains("2026-01-02T00:00:00Z"), "{}", young.text());
    assert_eq!(house.ask(Role::Read, "GET", &path, &[], b"").status, 200);

    *house.gate.bytes_max.lock().unwrap() = Some(10);
    let much = vec![7; 11];
    let path = format!("/alice/main/data/{}", hash(&much));
    let full = house.ask(Role::Append, "POST", &path, &[], &much);
    assert_eq!(full.status, 507);
    assert!(full.text().contains("10 bytes"), "{}", full.text());
    // The same without an announced length.
    let login = "Authorization: Basic YWxpY2U6YXBwZW5k";
    let headers = [login, "Transfer-Encoding: chunked", "Connection: close"];
    let chunked = house.send(&request("POST", &path, &headers, b"6\r\n777777\r\n5\r\n77777\r\n0\r\n\r\n"));
    assert_eq!(chunked.status, 507);
    assert_eq!(house.gate.reserved(), 0);
    assert_eq!(house.incoming(), 0);
    let refused = house.gate.refused.lock().unwrap().clone();
    let expected = [Kind::Role, Kind::Role, Kind::Floor, Kind::Quota, Kind::Quota];
    assert_eq!(refused, expected.map(|kind: RefusalKind| kind));
}

#[test]
fn strangers_learn_nothing_from_any_path() {
    let house = House::new();
    house.create();
    let path = house.store("keys", b"a key");
    let paths = [path.as_str(), "/alice/main/config", "/bob/main/config", "/", "/../etc/passwd", "/alice/main/"];
    let alice = "Authorization: Basic YWxpY2U6Z3Vlc3M=";
    let bob = "Authorization: Basic Ym9iOmZ1bGw=";
    let mut replies = Vec::new();
    for path in paths {
        for login in ["X: y", alice, "Authorization: Bearer x", "Authorization: Basic !"] {
            replies.push(house.send(&request("GET", path, &[login, "Connection: close"], b"")));
        }
    }
    for path in [path.as_str(), "/alice/main/config", "/alice/none/config"] {
        replies.push(house.send(&request("GET", path, &[bob, "Connection: close"], b"")));
    }
    for reply in &replies {
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.body, replies[0].body);
        let steady = |reply: &house::Reply| {
            let lines =
                reply.head.lines().filter(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(steady(reply), steady(&replies[0]));
    }
    *house.gate.is_closed.lock().unwrap() = true;
    assert_eq!(house.ask(Role::Full, "GET", &path, &[], b"").status, 503);
}

#[test]
fn paths_and_methods_that_the_protocol_does_not_have() {
    let house = House::new();
    house.create();
    for path in ["/", "/alice/", "/alice/main/other/", "/alice/main/data/../config", "/alice/main/%63onfig"] {
        assert_eq!(house.ask(Role::Full, "GET", path, &[], b"").status, 404, "{path}");
    }
    // Longer than what is logged, with a character of two bytes across the cut.
    for start in ["/", "/a"] {
        let path = format!("{start}{}", "\u{e9}".repeat(400));
        assert!([400, 404].contains(&house.ask(Role::Full, "GET", &path, &[], b"").status), "{start}");
    }
    for (method, path) in [("GET", "/alice/main/"), ("PUT", "/alice/main/config"), ("HEAD", "/alice/main/data/")] {
        let reply = house.ask(Role::Full, method, path, &[], b"");
        assert_eq!(reply.status, 405, "{method} {path}");
        assert!(reply.header("allow").is_some());
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let house = House::new();
    house.create();
    let mut stream = house.connect();
    for number in 0..50_u32 {
        let content = number.to_le_bytes();
        let path = format!("/alice/main/index/{}", hash(&content));
        let login = "Authorization: Basic YWxpY2U6YXBwZW5k";
        let expect = if number % 2 == 0 { "X: y" } else { "Expect: 100-continue" };
        stream.write_all(&request("POST", &path, &[login, expect, "Content-Length: 4"], &content)).unwrap();
        assert_eq!(read_reply(&mut stream, false).status, 200, "{number}");
    }
    let listed = house.ask(Role::Read, "GET", "/alice/main/index/", &[V2], b"");
    assert_eq!(listed.text().matches("\"size\":4").count(), 50);
    house::eventually("every request has a line", || house.log().matches("\"status\":200").count() >= 52);
    assert!(house.log().contains("\"login\":\"alice\""));
    assert!(!house.log().contains("YWxpY2U6"));
}

#[test]
fn a_long_listing_comes_whole_and_without_what_is_no_file() {
    let house = House::new();
    house.create();
    let names: std::collections::BTreeSet<String> = (0..3000_u32).map(|number| hash(&number.to_le_bytes())).collect();
    for name in &names {
        std::fs::write(house.file(&format!("data/{}/{name}", &name[..2])), b"12345").unwrap();
    }
    let first = names.first().unwrap().clone();
    let other = if first.starts_with("00") { "ff" } else { "00" };
    std::fs::write(house.file(&format!("data/{other}/{first}")), b"in the wrong folder").unwrap();
    std::fs::write(house.file("data/00/rubbish"), b"no name").unwrap();
    std::fs::write(house.file(&format!("data/00/{}", hash(b"x").to_uppercase())), b"no name").unwrap();
    std::fs::create_dir(house.file(&format!("data/00/00{}", &hash(b"folder")[2..]))).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", house.file(&format!("data/00/00{}", &hash(b"link")[2..]))).unwrap();
    std::fs::remove_dir(house.file("data/ab")).ok();
    let reply = house.ask(Role::Read, "GET", "/alice/main/data/", &[V2], b"");
    assert_eq!(reply.status, 200);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&reply.body).unwrap();
    let listed: Vec<String> = listed.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed.len(), names.len());
    assert_eq!(listed.into_iter().collect::<std::collections::BTreeSet<_>>(), names);
    // A pack that is a link, or a folder, is nothing to read either.
    let link = format!("/alice/main/data/00{}", &hash(b"link")[2..]);
    let reply = house.ask(Role::Read, "GET", &link, &[], b"");
    assert_eq!((reply.status, reply.text().contains("root:")), (500, false));
}
