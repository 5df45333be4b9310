//! Requests that have led servers out of their folders: paths and user names as attackers write them, and an endless
//! supply of broken requests from a seed.
//!
//! What a server of restic's protocol has to say to every path here is a status from 400 to 499. None of them names
//! anything that the protocol knows, however it is decoded.

use crate::random::Random;
use crate::raw_http::Request;

/// Who attacks whom: names of accounts and repositories.
#[derive(Debug, Clone)]
pub struct Grounds {
    /// The attacker's own account.
    pub account: String,
    /// A repository there.
    pub repository: String,
    /// Somebody else's account, with a repository of the same name.
    pub victim: String,
    /// The name of a pack in both repositories, in hexadecimal.
    pub pack: String,
}

/// A path and what is wrong with it.
#[derive(Debug, Clone)]
pub struct HostilePath {
    /// In words.
    pub what: String,
    /// As it stands in the request line.
    pub target: Vec<u8>,
}

/// `..` as decoders have understood it, and things that look like it.
const UPWARDS: [&[u8]; 18] = [
    b"..",
    b"%2e%2e",
    b"%2E%2E",
    b".%2e",
    b"%2e.",
    b"%252e%252e",
    b"%25252e%25252e",
    b"%c0%ae%c0%ae",
    b"%e0%80%ae%e0%80%ae",
    b"%u002e%u002e",
    b"\xc0\xae\xc0\xae",
    b"\xef\xbc\x8e\xef\xbc\x8e",
    b"..;",
    b"..%00",
    b"..%20",
    b"..%0d%0a",
    b"....",
    b".",
];

/// `/` likewise.
const BETWEEN: [&[u8]; 9] = [b"/", b"%2f", b"%2F", b"%252f", b"\\", b"%5c", b"%c0%af", b"\xe2\x88\x95", b"/./"];

/// Endings of names that file systems drop or that stop a C string.
const ENDINGS: [&[u8]; 16] = [
    b".", b"%20", b"%2e", b"%00", b"%00.txt", b"/", b"//", b"/.", b"/..", b"\\", b"%5c", b";", b";x=y", b"~", b"%09",
    b"%3f",
];

/// Folders that are none of the protocol's, or not as it writes them.
const FOLDERS: [&[u8]; 24] = [
    b"Data",
    b"DATA",
    b"data.",
    b"data%20",
    b"%64ata",
    b"d%61ta",
    b"data%00",
    b"data;",
    b"dat\xd0\xb0",
    b"snapshot",
    b"Snapshots",
    b"lock",
    b"key",
    b"indexes",
    b"tmp",
    b"incoming",
    b".git",
    b".htaccess",
    b".htpasswd",
    b"store.sqlite",
    b"store.lock",
    b"con",
    b"aux",
    b"~root",
];

/// Paths that lead to nothing, at least 500.
pub fn hostile_paths(grounds: &Grounds) -> Vec<HostilePath> {
    let mut paths = Vec::new();
    upwards(grounds, &mut paths);
    names(grounds, &mut paths);
    shapes(grounds, &mut paths);
    paths
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn shown(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take(100).map(|byte| std::ascii::escape_default(*byte).to_string()).collect();
    if bytes.len() > 100 { format!("{text}... ({} bytes)", bytes.len()) } else { text }
}

fn push(paths: &mut Vec<HostilePath>, what: &str, target: Vec<u8>) {
    paths.push(HostilePath { what: format!("{what}: {}", shown(&target)), target });
}

fn upwards(grounds: &Grounds, paths: &mut Vec<HostilePath>) {
    let (account, repository) = (grounds.account.as_bytes(), grounds.repository.as_bytes());
    let (victim, pack) = (grounds.victim.as_bytes(), grounds.pack.as_bytes());
    for up in UPWARDS {
        for between in BETWEEN {
            let to_victim = joined(&[b"/", account, b"/", up, between, victim, b"/", repository, b"/config"]);
            push(paths, "into another account", to_victim);
            let inside = joined(&[b"/", account, b"/", repository, b"/data", between, up, between, b"config"]);
            push(paths, "from a folder to the config", inside);
            let far = [between, up].concat().repeat(8);
            push(paths, "far up", joined(&[b"/", account, b"/", repository, b"/keys", &far, b"/etc/passwd"]));
            let pack = joined(&[b"/", account, b"/", repository, b"/data/", up, between, b"data/", pack]);
            push(paths, "a pack by a detour", pack);
        }
        push(paths, "nothing but upwards", joined(&[b"/", up]));
        push(paths, "upwards as a repository", joined(&[b"/", account, b"/", up, b"/config"]));
        push(paths, "upwards as a file", joined(&[b"/", account, b"/", repository, b"/data/", up]));
    }
}

fn names(grounds: &Grounds, paths: &mut Vec<HostilePath>) {
    let root = joined(&[b"/", grounds.account.as_bytes(), b"/", grounds.repository.as_bytes(), b"/"]);
    let pack = grounds.pack.as_bytes();
    for ending in ENDINGS {
        push(paths, "an ending", joined(&[&root, b"data/", pack, ending]));
        push(paths, "an ending of config", joined(&[&root, b"config", ending]));
        push(paths, "an ending of a folder", joined(&[&root, b"data", ending, b"/", pack]));
    }
    for folder in FOLDERS {
        push(paths, "a strange folder", joined(&[&root, folder, b"/"]));
        push(paths, "a file in a strange folder", joined(&[&root, folder, b"/", pack]));
    }
    let upper = grounds.pack.to_uppercase();
    let half_upper: String =
        grounds.pack.chars().enumerate().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
    let encoded: String = grounds.pack.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let not_hex = format!("g{}", &grounds.pack[1..]);
    let full_width = format!("{}\u{ff11}", &grounds.pack[1..]);
    for (what, name) in [
        ("capitals", upper.as_str()),
        ("some capitals", &half_upper),
        ("63 digits", &grounds.pack[1..]),
        ("65 digits", &format!("{}0", grounds.pack)),
        ("32 digits", &grounds.pack[..32]),
        ("two names", &format!("{0}{0}", grounds.pack)),
        ("percent signs", &encoded),
        ("a letter that is no digit", &not_hex),
        ("a digit of another script", &full_width),
        ("a sign", &format!("+{}", &grounds.pack[1..])),
        ("a temporary name", &format!("{}-tmp-123", grounds.pack)),
        ("a hidden name", &format!(".{}", grounds.pack)),
        ("the folder of 256", &format!("{}/{}", &grounds.pack[..2], grounds.pack)),
        ("the folder alone", &grounds.pack[..2]),
        ("0x", &format!("0x{}", &grounds.pack[2..])),
    ] {
        for folder in ["data", "keys", "index", "snapshots", "locks"] {
            push(paths, what, joined(&[&root, folder.as_bytes(), b"/", name.as_bytes()]));
        }
    }
}

fn shapes(grounds: &Grounds, paths: &mut Vec<HostilePath>) {
    let (account, repository, victim) = (&grounds.account, &grounds.repository, &grounds.victim);
    let long = "a".repeat(64 << 10);
    let long_way = "../".repeat(20_000);
    let many = "/a".repeat(4000);
    for (what, target) in [
        ("64 KiB in one name", format!("/{account}/{repository}/data/{long}")),
        ("64 KiB of an account", format!("/{long}/{repository}/config")),
        ("60 KiB upwards", format!("/{account}/{long_way}etc/passwd")),
        ("many folders", many),
        ("two slashes first", format!("//{account}/{repository}/config")),
        ("two slashes", format!("/{account}//{repository}/config")),
        ("a network path", format!("//{victim}@{account}/{repository}/config")),
        ("a folder where the account is", "/etc/passwd".to_owned()),
        ("a folder of the system", "/proc/self/environ".to_owned()),
        ("a drive", format!("/{account}/c:/windows/config")),
        ("a device", format!("/{account}/{repository}/data/nul")),
        ("a stream", format!("/{account}/{repository}/config::$DATA")),
        ("the store's state", "/store.sqlite".to_owned()),
        ("the store's state, deeper", format!("/{account}/../../store.sqlite")),
        ("the folder of uploads", format!("/{account}/incoming/")),
        ("an option", format!("/{account}/--help/config")),
        ("a look-alike account", "/\u{430}lice/main/config".to_owned()),
        ("a wide look-alike", "/\u{ff41}lice/main/config".to_owned()),
        ("a joined look-alike", format!("/{account}\u{200d}/{repository}/config")),
        ("a user with a mark", format!("/{account}+x/{repository}/config")),
        ("a percent sign alone", format!("/{account}/{repository}/config%")),
        ("half a percent sign", format!("/{account}/{repository}/%c")),
        ("a repository in a repository", format!("/{account}/{repository}/{repository}/config")),
        ("a file in the config", format!("/{account}/{repository}/config/config")),
        ("a name for config's folder", format!("/{account}/config/config")),
        ("no repository", format!("/{account}/config")),
        ("a template", format!("/{account}/${{HOME}}/config")),
        ("a command", format!("/{account}/$(id)/config")),
        ("a quote", format!("/{account}/'or'1'='1/config")),
    ] {
        push(paths, what, target.into_bytes());
    }
}

/// User names that are none, with what is wrong with each.
pub fn hostile_users(account: &str, victim: &str) -> Vec<(&'static str, String)> {
    vec![
        ("empty", String::new()),
        ("a slash", format!("{account}/{victim}")),
        ("upwards", "..".to_owned()),
        ("upwards to the victim", format!("{account}/../{victim}")),
        ("a dot", ".".to_owned()),
        ("a percent sign", format!("{account}%2f{victim}")),
        ("a backslash", format!("{account}\\{victim}")),
        ("a NUL", format!("{account}\0")),
        ("a NUL before the victim", format!("\0{victim}")),
        ("a newline", format!("{account}\n")),
        ("a header", format!("{account}\r\nX-User: {victim}")),
        ("a blank before", format!(" {account}")),
        ("a blank behind", format!("{account} ")),
        ("capitals", account.to_uppercase()),
        ("a Cyrillic letter", account.replacen('a', "\u{430}", 1)),
        ("a wide letter", account.replacen('a', "\u{ff41}", 1)),
        ("a letter with a mark", account.replacen('a', "a\u{301}", 1)),
        ("a joiner", format!("{account}\u{200d}")),
        ("right to left", format!("\u{202e}{account}")),
        ("1 KiB", "a".repeat(1024)),
        ("16 KiB", "a".repeat(16 << 10)),
        ("a mark and no label", format!("{account}+")),
        ("a label and no account", "+x".to_owned()),
        ("two labels", format!("{account}+a+b")),
        ("a label upwards", format!("{account}+../{victim}")),
        ("a quote", format!("{account}'--")),
        ("a wild card", "%".to_owned()),
        ("an underscore", "_".repeat(account.len())),
        ("a comment of the password file", "#".to_owned()),
        ("a list", format!("{account},{victim}")),
    ]
}

/// What fuzzed requests are made of.
const METHODS: [&str; 16] = [
    "GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "MOVE", "COPY", "get",
    "LINK", "X", "POSTPOST",
];
const PIECES: [&str; 30] = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2f",
    "%00",
    "%",
    "\\",
    "?",
    "&",
    "#",
    ";",
    "data",
    "config",
    "keys",
    "locks",
    "index",
    "snapshots",
    "create=true",
    "-",
    "metrics",
    "-/health",
    "-/admin/v1/accounts",
    "-/status/v1/repositories",
    "*",
    "http://127.0.0.1",
    "\u{e9}",
    "\u{202e}",
    "store.sqlite",
];
const HEADERS: [(&str, &str); 20] = [
    ("Range", "bytes=0-"),
    ("Range", "bytes=-1"),
    ("Range", "bytes=5-2"),
    ("Range", "bytes=0-18446744073709551615"),
    ("Range", "bytes=99999999999999999999-"),
    ("Range", "bytes=0-0,2-3,4-5"),
    ("Range", "lines=1-2"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Forwarded-User", "bob"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Original-URL", "/bob/main/config"),
    ("Expect", "100-continue"),
    ("Expect", "nonsense"),
    ("Content-Encoding", "gzip"),
    ("Accept", "application/vnd.x.restic.rest.v2"),
    ("Accept", "*/*;q=x"),
    ("Connection", "upgrade"),
    ("Upgrade", "h2c"),
    ("If-Match", "*"),
    ("Cookie", "session=1"),
];

/// An endless supply of requests: near the protocol, seldom of it.
#[derive(Debug, Clone)]
pub struct Requests {
    grounds: Grounds,
    /// Logins that are right, and any others.
    logins: Vec<(String, String)>,
    random: Random,
}

impl Requests {
    /// From this seed; each request has one of the logins, or none.
    pub fn new(grounds: Grounds, logins: Vec<(String, String)>, seed: u64) -> Self {
        Self { grounds, logins, random: Random::new(seed) }
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.random.index(words.len())]
    }

    /// The next one. Its body is short, and so is what it says of its length true: lies need a connection of their own.
    pub fn next_request(&mut self) -> Request {
        let target = self.target();
        let method = if self.random.chance(4) { self.pick(&METHODS) } else { self.pick(&METHODS[..4]) };
        let mut request = Request::new(method, target);
        if method == "POST" || self.random.chance(20) {
            let length = self.random.index(64);
            let body = self.random.bytes(length);
            request = request.body(body);
        }
        while self.random.chance(3) {
            let (name, value) = HEADERS[self.random.index(HEADERS.len())];
            request = request.header(name, value);
        }
        if !self.logins.is_empty() && !self.random.chance(8) {
            let (user, password) = self.logins[self.random.index(self.logins.len())].clone();
            request = request.login(&user, &password);
        }
        request
    }

    fn target(&mut self) -> Vec<u8> {
        let owner = if self.random.chance(4) { self.grounds.victim.clone() } else { self.grounds.account.clone() };
        let folder = self.pick(&["data", "keys", "index", "snapshots", "locks", "config"]);
        let name = match self.random.below(4) {
            0 => self.grounds.pack.clone(),
            1 => String::new(),
            _ => self.random.bytes(32).iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let mut target = format!("/{owner}/{}/{folder}/{name}", self.grounds.repository).into_bytes();
        for _ in 0..self.random.below(5) {
            self.mutate(&mut target);
        }
        // What ends a request line cannot be in it; such lies are made elsewhere, with a connection each.
        target.retain(|byte| ![b' ', b'\r', b'\n'].contains(byte));
        if target.is_empty() { b"/".to_vec() } else { target }
    }

    fn mutate(&mut self, target: &mut Vec<u8>) {
        let at = self.random.index(target.len() + 1);
        match self.random.below(5) {
            0 => {
                let piece = self.pick(&PIECES);
                target.splice(at..at, piece.bytes());
            }
            1 => target.truncate(at),
            2 if at < target.len() => {
                target.remove(at);
            }
            3 if at < target.len() => target[at] = self.random.number() as u8,
            _ => {
                let parts: Vec<&[u8]> = target.split(|byte| *byte == b'/').collect();
                let turn = self.random.index(parts.len());
                let piece = self.pick(&PIECES).as_bytes();
                let changed: Vec<&[u8]> =
                    parts.iter().enumerate().map(|(number, part)| if number == turn { piece } else { *part }).collect();
                *target = changed.join(&b'/');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grounds() -> Grounds {
        let pack = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        Grounds { account: "alice".into(), repository: "main".into(), victim: "bob".into(), pack }
    }

    #[test]
    fn there_are_enough_and_each_is_another() {
        let paths = hostile_paths(&grounds());
        let different: std::collections::BTreeSet<&[u8]> = paths.iter().map(|path| path.target.as_slice()).collect();
        assert!(different.len() >= 500, "{}", different.len());
    }

    #[test]
    fn a_seed_gives_the_same_requests() {
        let (mut first, mut second) =
            (Requests::new(grounds(), Vec::new(), 7), Requests::new(grounds(), Vec::new(), 7));
        for _ in 0..1000 {
            assert_eq!(first.next_request().bytes(), second.next_request().bytes());
        }
    }
}
