//! Where the protocol says nothing, restic's own server is the answer: the same requests to both, and what they say has
//! to be the same, but for the differences that are wanted and have a reason.

use std::net::Ipv4Addr;

use format::FileKind;
use testkit::raw_http::{Answer, Request};

use crate::ground;
use crate::peer::{ALICE, BOB, Peer, address};

const V2: &str = "application/vnd.x.restic.rest.v2";
const ROOT: &str = "/alice/main/";
const CONFIG: &[u8] = b"a config that no server can read";
const PACK: &[u8] = b"0123456789 a pack that no server can read";
const OTHER: &[u8] = b"another pack";

/// One request and its name in the table of differences.
struct Step {
    name: String,
    request: Request,
    /// Who asks: alice, if nothing else is said.
    login: Option<(&'static str, &'static str)>,
}

fn step(name: impl Into<String>, request: Request) -> Step {
    Step { name: name.into(), request, login: Some(ALICE) }
}

fn by(name: impl Into<String>, login: Option<(&'static str, &'static str)>, request: Request) -> Step {
    Step { name: name.into(), request, login }
}

fn create() -> Request {
    Request::post(format!("{ROOT}?create=true"), b"")
}

fn pack(bytes: &[u8]) -> String {
    address(ROOT, FileKind::Pack, bytes)
}

/// The whole life of a repository, one request after the other.
fn life() -> Vec<Step> {
    let config = format!("{ROOT}config");
    let list = |kind: FileKind| format!("{ROOT}{}/", kind.folder());
    let mut steps = vec![
        step("list before create", Request::get(list(FileKind::Pack))),
        step("stat config before create", Request::new("HEAD", config.clone())),
        step("read config before create", Request::get(config.clone())),
        step("store before create", Request::post(pack(PACK), PACK)),
        step("create without a query", Request::post(ROOT, b"")),
        step("create=false", Request::post(format!("{ROOT}?create=false"), b"")),
        step("create", create()),
        step("remove what was stored before create", Request::new("DELETE", pack(PACK))),
        step("create again", create()),
        step("stat config that is missing", Request::new("HEAD", config.clone())),
        step("read config that is missing", Request::get(config.clone())),
    ];
    for kind in FileKind::NAMED {
        steps.push(step(format!("list no {}", kind.folder()), Request::get(list(kind))));
        let v2 = Request::get(list(kind)).header("Accept", V2);
        steps.push(step(format!("list no {}, v2", kind.folder()), v2));
    }
    steps.extend([
        step("store config", Request::post(config.clone(), CONFIG)),
        step("stat config", Request::new("HEAD", config.clone())),
        step("read config", Request::get(config.clone())),
        step("read a part of config", Request::get(config.clone()).header("Range", "bytes=2-7")),
        step("store the same config", Request::post(config.clone(), CONFIG)),
        step("store another config", Request::post(config.clone(), OTHER)),
        step("create where a config is", create()),
    ]);
    for kind in FileKind::NAMED {
        let path = address(ROOT, kind, PACK);
        steps.push(step(format!("stat missing {}", kind.folder()), Request::new("HEAD", path.clone())));
        steps.push(step(format!("read missing {}", kind.folder()), Request::get(path.clone())));
        steps.push(step(format!("remove missing {}", kind.folder()), Request::new("DELETE", path.clone())));
        steps.push(step(format!("store {}", kind.folder()), Request::post(path.clone(), PACK)));
        steps.push(step(format!("stat {}", kind.folder()), Request::new("HEAD", path.clone())));
        steps.push(step(format!("read {}", kind.folder()), Request::get(path.clone())));
        steps.push(step(format!("store the same {}", kind.folder()), Request::post(path.clone(), PACK)));
        steps.push(step(format!("list {}", kind.folder()), Request::get(list(kind))));
        let v2 = Request::get(list(kind)).header("Accept", V2);
        steps.push(step(format!("list {}, v2", kind.folder()), v2));
    }
    steps.extend([
        step("store nothing", Request::post(pack(b""), b"")),
        step("stat nothing", Request::new("HEAD", pack(b""))),
        step("read nothing", Request::get(pack(b""))),
        step("read a part of nothing", Request::get(pack(b"")).header("Range", "bytes=0-3")),
        step("store other bytes than the name says", Request::post(pack(OTHER), PACK)),
        step("stat what was not stored", Request::new("HEAD", pack(OTHER))),
        step("store another", Request::post(pack(OTHER), OTHER)),
        step("list two", Request::get(list(FileKind::Pack))),
        step("list two, v2", Request::get(list(FileKind::Pack)).header("Accept", V2)),
        step("list, any type", Request::get(list(FileKind::Pack)).header("Accept", "*/*")),
        step("list, v1", Request::get(list(FileKind::Pack)).header("Accept", "application/vnd.x.restic.rest.v1")),
        step("list, several types", Request::get(list(FileKind::Pack)).header("Accept", &format!("text/html, {V2}"))),
    ]);
    steps.extend(ranges());
    steps.extend(methods());
    steps.extend(strangers());
    for kind in FileKind::NAMED {
        let path = address(ROOT, kind, PACK);
        steps.push(step(format!("remove {}", kind.folder()), Request::new("DELETE", path.clone())));
        steps.push(step(format!("read removed {}", kind.folder()), Request::get(path.clone())));
        steps.push(step(format!("remove {} again", kind.folder()), Request::new("DELETE", path)));
    }
    steps
}

fn ranges() -> Vec<Step> {
    [
        "bytes=0-",
        "bytes=0-0",
        "bytes=5-9",
        "bytes=10-",
        "bytes=-5",
        "bytes=-1000",
        "bytes=-0",
        "bytes=40-",
        "bytes=41-",
        "bytes=1000-",
        "bytes=1000-2000",
        "bytes=0-1000",
        "bytes=5-2",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-x",
        "bytes=0-18446744073709551615",
        "bytes=99999999999999999999-",
        "bytes=9223372036854775807-",
        "lines=0-1",
        "bytes",
        "bytes=0-1,5-6",
        "bytes= 0-1",
        "Bytes=0-1",
        "bytes=0-1,",
    ]
    .into_iter()
    .map(|range| step(format!("range {range}"), Request::get(pack(PACK)).header("Range", range)))
    .chain([step("stat with a range", Request::new("HEAD", pack(PACK)).header("Range", "bytes=0-3"))])
    .collect()
}

fn methods() -> Vec<Step> {
    let mut steps = Vec::new();
    for method in ["PUT", "PATCH", "OPTIONS", "PROPFIND"] {
        for (what, path) in [
            ("a file", pack(PACK)),
            ("a folder", format!("{ROOT}data/")),
            ("config", format!("{ROOT}config")),
            ("a repository", ROOT.to_owned()),
        ] {
            steps.push(step(format!("{method} {what}"), Request::new(method, path)));
        }
    }
    for (name, method, path) in [
        ("read a repository", "GET", ROOT.to_owned()),
        ("stat a repository", "HEAD", ROOT.to_owned()),
        ("remove a repository", "DELETE", ROOT.to_owned()),
        ("remove a folder", "DELETE", format!("{ROOT}data/")),
        ("post a folder", "POST", format!("{ROOT}data/")),
        ("stat a folder", "HEAD", format!("{ROOT}data/")),
        ("an unknown folder", "GET", format!("{ROOT}other/")),
        ("a file of an unknown folder", "GET", pack(PACK).replace("data", "other")),
        ("a folder without its slash", "GET", format!("{ROOT}data")),
        ("a name of 63 digits", "GET", pack(PACK)[..ROOT.len() + 68].to_owned()),
        ("a name in capitals", "GET", format!("{ROOT}data/{}", pack(PACK)[ROOT.len() + 5..].to_uppercase())),
        (
            "a pack by its folder",
            "GET",
            format!("{ROOT}data/{}/{}", &pack(PACK)[ROOT.len() + 5..ROOT.len() + 7], &pack(PACK)[ROOT.len() + 5..]),
        ),
        ("config with a slash", "GET", format!("{ROOT}config/")),
        ("the root", "GET", "/".to_owned()),
        ("an account", "GET", "/alice/".to_owned()),
    ] {
        steps.push(step(name, Request::new(method, path)));
    }
    steps
}

fn strangers() -> Vec<Step> {
    let mut steps = Vec::new();
    for (who, login) in [
        ("nobody", None),
        ("a wrong password", Some((ALICE.0, "wrong"))),
        ("an unknown user", Some(("carol", "wrong"))),
        ("another user", Some(BOB)),
    ] {
        steps.push(by(format!("{who} lists"), login, Request::get(format!("{ROOT}data/"))));
        steps.push(by(format!("{who} reads"), login, Request::get(pack(PACK))));
        steps.push(by(format!("{who} stats"), login, Request::new("HEAD", format!("{ROOT}config"))));
        steps.push(by(format!("{who} stores"), login, Request::post(pack(OTHER), OTHER)));
        steps.push(by(format!("{who} removes"), login, Request::new("DELETE", pack(PACK))));
        steps.push(by(format!("{who} asks for nothing that is"), login, Request::get(format!("{ROOT}other/x"))));
    }
    steps
}

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    status: u16,
    headers: Vec<(&'static str, Option<String>)>,
    body: String,
}

/// Headers that clients of the protocol act on.
const HEADERS: [&str; 5] = ["content-type", "content-length", "content-range", "accept-ranges", "www-authenticate"];

fn heard(answer: &Answer) -> Heard {
    // What people read in an error is each server's own.
    if answer.status >= 400 {
        return Heard { status: answer.status, headers: Vec::new(), body: String::new() };
    }
    let is_list = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/vnd"));
    let header = |name: &'static str| (name, answer.header(name).map(str::to_owned));
    // A list may be sent in pieces, and in any order.
    // What a file holds nobody knows but its owner; restic's server guesses a type from its bytes.
    let left_out = if is_list { "content-length" } else { "content-type" };
    let headers = HEADERS.into_iter().filter(|name| *name != left_out).map(header).collect();
    let body = if is_list { sorted(&answer.body) } else { answer.text() };
    Heard { status: answer.status, headers, body }
}

fn sorted(list: &[u8]) -> String {
    let list: serde_json::Value = serde_json::from_slice(list).unwrap();
    let mut entries: Vec<String> = list.as_array().unwrap().iter().map(serde_json::Value::to_string).collect();
    entries.sort();
    format!("{entries:?}")
}

/// A wanted difference: which steps, what we say, what the reference says, and why.
struct Difference {
    steps: &'static [&'static str],
    ours: u16,
    reference: u16,
    why: &'static str,
}

/// All of them. One that does not appear any more is a failure too.
const WANTED: &[Difference] = &[
    Difference {
        steps: &["store before create"],
        ours: 404,
        reference: 200,
        why: "a repository comes into being by its create alone, where its account's limit is looked at",
    },
    Difference {
        steps: &["create without a query", "create=false"],
        ours: 405,
        reference: 400,
        why: "nothing else can be posted there",
    },
    Difference { steps: &["read config"], ours: 200, reference: 200, why: "parts of it can be read as of any file" },
    Difference { steps: &["read a part of config"], ours: 206, reference: 200, why: "as of any file" },
    Difference {
        steps: &[
            "store the same config",
            "store the same keys",
            "store the same data",
            "store the same index",
            "store the same snapshots",
            "store the same locks",
        ],
        ours: 200,
        reference: 403,
        why: "whoever lost a reply tries again, and is told that it is there",
    },
    Difference {
        steps: &["read a part of nothing"],
        ours: 416,
        reference: 200,
        why: "an empty file has no such part, and no kind of file is empty",
    },
    Difference {
        steps: &["range bytes=-0"],
        ours: 416,
        reference: 206,
        why: "the last no bytes are no part (RFC 9110)",
    },
    Difference { steps: &["range bytes="], ours: 416, reference: 200, why: "that is no range" },
    Difference {
        steps: &["range bytes=0-18446744073709551615"],
        ours: 206,
        reference: 416,
        why: "a range may end anywhere behind the file's end (RFC 9110)",
    },
    Difference {
        steps: &["range bytes=0-1,5-6", "range bytes=0-1,"],
        ours: 200,
        reference: 206,
        why: "several ranges at once, which no client asks for, are answered with the whole file (RFC 9110 allows it)",
    },
    Difference {
        steps: &["the root"],
        ours: 404,
        reference: 401,
        why: "nothing is there for anybody who is logged in",
    },
    Difference { steps: &["an account"], ours: 404, reference: 405, why: "accounts are no things of the protocol" },
    Difference {
        steps: &["another user asks for nothing that is"],
        ours: 404,
        reference: 401,
        why: "what is no path is that for everybody who is logged in, and tells nothing of anybody's account",
    },
];

fn run(peer: &Peer) -> Vec<(String, Heard)> {
    let asked = life().into_iter().enumerate().map(|(number, step)| {
        // We tell whoever fails too often to wait; a few failures come from each address.
        let address = Ipv4Addr::new(127, 0, 2, u8::try_from(number / 4).unwrap() + 1);
        let request = match step.login {
            Some((user, password)) => step.request.login(user, password),
            None => step.request,
        };
        let answer = peer
            .door
            .from_address(address)
            .ask(&request)
            .unwrap_or_else(|error| panic!("{}: {}: {error}", peer.name, step.name));
        (step.name, heard(&answer))
    });
    asked.collect()
}

#[test]
fn the_reference_and_we_say_the_same() {
    let Some(reference) = Peer::reference() else { return };
    let ours = ground::peer();
    let (ours, theirs) = (run(&ours), run(&reference));
    let mut seen: Vec<&str> = Vec::new();
    let mut wrong: Vec<String> = Vec::new();
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        let wanted = WANTED.iter().find(|difference| difference.steps.contains(&name.as_str()));
        match wanted {
            Some(wanted) if (ours.status, theirs.status) == (wanted.ours, wanted.reference) => seen.push(name),
            Some(wanted) => wrong.push(format!("{name}: {} ({} / {})", wanted.why, ours.status, theirs.status)),
            None if ours == theirs => {}
            None => wrong.push(format!("{name}:\n  ours   {ours:?}\n  theirs {theirs:?}")),
        }
    }
    let steps = WANTED.iter().flat_map(|difference| difference.steps);
    let unseen: Vec<&&str> = steps.filter(|step| !seen.contains(step)).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), ours.len(), wrong.join("\n"));
    assert!(unseen.is_empty(), "these differences are none: {unseen:?}");
    println!("{} requests, {} wanted differences", ours.len(), seen.len());
}
