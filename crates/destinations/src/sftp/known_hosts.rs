//! Which host keys are believed (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! The rule is that of ssh with strict checking: a key that a file gives for the host is believed, a host with other
//! keys has changed, a host without any is unknown, and a revoked key is refused whatever else is said of it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

/// The port that is not written into the files.
const USUAL_PORT: u16 = 22;

/// A line of a file that speaks of a host.
#[derive(Debug)]
struct Known {
    key: PublicKey,
    is_revoked: bool,
    at: String,
}

/// What is known of one host.
#[derive(Debug)]
pub(super) struct KnownHost {
    /// The host as the files write it.
    name: String,
    keys: Vec<Known>,
    /// Where an authority is named for this host.
    authority_at: Option<String>,
    files: Vec<PathBuf>,
    pinned: Option<String>,
}

impl KnownHost {
    /// What `files` know of a host, or the one `pinned` fingerprint. A file that is not there is an empty one.
    pub(super) fn look_up(host: &str, port: u16, files: &[PathBuf], pinned: Option<&str>) -> Result<KnownHost, String> {
        let host = host.to_lowercase();
        let name = if port == USUAL_PORT { host } else { format!("[{host}]:{port}") };
        let mut known = Self {
            name,
            keys: Vec::new(),
            authority_at: None,
            files: files.to_vec(),
            pinned: pinned.map(str::to_owned),
        };
        if pinned.is_some() {
            return Ok(known);
        }
        for file in files {
            match std::fs::read(file) {
                Ok(text) => known.take_lines(&String::from_utf8_lossy(&text), &file.display().to_string()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot read the known hosts `{}`: {error}", file.display())),
            }
        }
        Ok(known)
    }

    fn take_lines(&mut self, text: &str, file: &str) {
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split_ascii_whitespace();
            let Some(first) = words.next().filter(|first| !first.starts_with('#')) else { continue };
            let (marker, hosts) = match first.strip_prefix('@') {
                Some(marker) => (Some(marker), words.next().unwrap_or_default()),
                None => (None, first),
            };
            if !names(hosts, &self.name) {
                continue;
            }
            let at = format!("line {number} of `{file}`");
            if marker == Some("cert-authority") {
                self.authority_at = Some(at);
                continue;
            }
            let (Some(kind), Some(key)) = (words.next(), words.next()) else { continue };
            // Kinds of keys that we do not know cannot be what the server shows either.
            let Ok(key) = PublicKey::from_openssh(&format!("{kind} {key}")) else { continue };
            if marker.is_none() || marker == Some("revoked") {
                self.keys.push(Known { key, is_revoked: marker.is_some(), at });
            }
        }
    }

    /// The kinds of keys that the host is known by: to be asked for before others, or a host would look changed.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        self.keys.iter().filter(|known| !known.is_revoked).map(|known| known.key.algorithm()).collect()
    }

    /// Whether this key is believed; if not, why, and what to do.
    pub(super) fn judge(&self, shown: &PublicKey) -> Result<(), String> {
        let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
        let shown_words = format!("{} {fingerprint}", shown.algorithm());
        if let Some(pinned) = &self.pinned {
            // ssh-keygen writes no padding, others do.
            return if pinned.trim_end_matches('=') == fingerprint {
                Ok(())
            } else {
                Err(format!(
                    "the host key of `{}` is {shown_words} and not the pinned {pinned}: somebody may be in between, or \
                     the server was set up anew",
                    self.name
                ))
            };
        }
        let is_same = |known: &&Known| known.key.key_data() == shown.key_data();
        if let Some(revoked) = self.keys.iter().filter(|known| known.is_revoked).find(is_same) {
            return Err(format!("the host key of `{}` is revoked ({}): {shown_words}", self.name, revoked.at));
        }
        let mut believed = self.keys.iter().filter(|known| !known.is_revoked);
        if believed.clone().any(|known| is_same(&known)) {
            return Ok(());
        }
        if let Some(other) = believed.next() {
            return Err(format!(
                "the host key of `{}` has changed: the server shows {shown_words}, {} has {} {}; somebody may be in \
                 between, or the server was set up anew: ask its owner before you replace the line",
                self.name,
                other.at,
                other.key.algorithm(),
                other.key.fingerprint(HashAlg::Sha256),
            ));
        }
        if let Some(at) = &self.authority_at {
            return Err(format!(
                "`{}` is known by an authority ({at}), which is not supported: the server shows {shown_words}; add \
                 this key, or go through the system's ssh",
                self.name
            ));
        }
        let files: Vec<String> = self.files.iter().map(|file| format!("`{}`", file.display())).collect();
        let files = if files.is_empty() { "no file of known hosts".to_owned() } else { files.join(" or ") };
        Err(format!(
            "the host `{}` is not known: it shows {shown_words}; compare this with its owner, then add the key to \
             {files} (`ssh-keyscan` prints the line), or pin the fingerprint",
            self.name
        ))
    }
}

/// Whether a list of patterns means this host.
fn names(patterns: &str, host: &str) -> bool {
    let mut is_named = false;
    for pattern in patterns.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            is_named |= is_hash_of(hashed, host);
        } else if let Some(not) = pattern.strip_prefix('!') {
            if matches_pattern(not.to_lowercase().as_bytes(), host.as_bytes()) {
                return false;
            }
        } else {
            is_named |= matches_pattern(pattern.to_lowercase().as_bytes(), host.as_bytes());
        }
    }
    is_named
}

fn is_hash_of(hashed: &str, host: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (BASE64.decode(salt), BASE64.decode(hash)) else { return false };
    let Ok(mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.chain_update(host).verify_slice(&hash).is_ok()
}

/// `*` for any characters and `?` for one.
fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches_pattern(rest, text) || text.split_first().is_some_and(|(_, after)| matches_pattern(pattern, after))
        }
        (Some((b'?', rest)), Some((_, after))) => matches_pattern(rest, after),
        (Some((one, rest)), Some((other, after))) => one == other && matches_pattern(rest, after),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G2sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn judged(lines: &str, host: &str, port: u16, key: &str) -> Result<(), String> {
        let mut known = KnownHost::look_up(host, port, &[], None).unwrap();
        known.take_lines(lines, "hosts");
        known.judge(&PublicKey::from_openssh(key).unwrap())
    }

    #[test]
    fn a_host_is_found_by_name_pattern_port_and_hash() {
        // `ssh-keygen -H` over `host.example` and over `[host.example]:2222`.
        let hashed = HASHED;
        for (lines, host, port, is_known) in [
            (format!("host {ONE}"), "host", 22, true),
            (format!("host {ONE}"), "HOST", 22, true),
            (format!("host {ONE}"), "host", 2222, false),
            (format!("[host]:2222 {ONE} a comment"), "host", 2222, true),
            (format!("a,host,b {ONE}"), "host", 22, true),
            (format!("*.example {ONE}"), "host.example", 22, true),
            (format!("*.example,!host.example {ONE}"), "host.example", 22, false),
            (format!("h?st {ONE}"), "host", 22, true),
            (format!("# host {ONE}"), "host", 22, false),
            (format!("{} {ONE}", hashed[0]), "host.example", 22, true),
            (format!("{} {ONE}", hashed[0]), "other.example", 22, false),
            (format!("{} {ONE}", hashed[1]), "host.example", 2222, true),
            (format!("host ssh-unheard-of AAAA\nhost {ONE}"), "host", 22, true),
        ] {
            let verdict = judged(&lines, host, port, ONE);
            assert_eq!(verdict.is_ok(), is_known, "{lines}: {verdict:?}");
            if let Err(why) = verdict {
                assert!(why.contains("is not known") && why.contains("SHA256:"), "{why}");
            }
        }
    }

    const HASHED: [&str; 2] = [
        "|1|i6T9AsKc7Lmp/0Pb8K/m1WM0rS8=|aTZpbg8z2gTbtmlD27jfP9Sz8vM=",
        "|1|w2Oltj1x10NCtplZKfkKzPM1XxA=|B77uaYgBrK3JI1rN6bv9ItG+24Y=",
    ];

    #[test]
    fn changed_revoked_and_certified_hosts_are_told_apart() {
        for (lines, words) in [
            (format!("host {OTHER}"), "has changed"),
            (format!("@revoked * {ONE}\nhost {ONE}"), "is revoked"),
            (format!("@cert-authority host {OTHER}"), "known by an authority"),
            (String::new(), "is not known"),
        ] {
            let why = judged(&lines, "host", 22, ONE).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(judged(&format!("host {OTHER}\nhost {ONE}"), "host", 22, ONE), Ok(()));
    }

    #[test]
    fn a_pinned_fingerprint_counts_alone() {
        let key = PublicKey::from_openssh(ONE).unwrap();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let pinned = |text: &str| KnownHost::look_up("host", 22, &[], Some(text)).unwrap().judge(&key);
        assert_eq!(pinned(&fingerprint), Ok(()));
        assert_eq!(pinned(&format!("{fingerprint}=")), Ok(()));
        assert!(pinned("SHA256:x").unwrap_err().contains("not the pinned"));
    }
}
