//! Rule `workplace`: nothing in the tree is true on one machine only.
//!
//! A path below somebody's home, or the host that one network fetches packages from, works for its author and for
//! nobody else. Commands read such things from the environment; examples use made-up names.

use crate::finding::Finding;
use crate::workspace::Workspace;

/// Folders that belong to a machine or a person, when a path begins with them.
const MACHINE_FOLDERS: [&str; 5] = ["/work/", "/root/", "/home/", "/Users/", "/mnt/data/"];
/// Names that examples may live under: `/home/alice/notes`. A single letter is nobody's name either.
const EXAMPLE_NAMES: [&str; 8] = ["alice", "bob", "carol", "user", "me", "mex", "you", "name"];
/// Hosts that packages come from: which one is used is the machine's setting, never ours.
const PACKAGE_HOSTS: [&str; 9] = [
    "static.crates.io",
    "index.crates.io",
    "pypi.org",
    "pythonhosted.org",
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "deb.debian.org",
    "security.debian.org",
    "proxy.golang.org",
];
/// Files that may hold such words, and why: (path, reason).
const EXCEPTIONS: [(&str, &str); 2] =
    [("Cargo.lock", "written by Cargo"), ("crates/xtask/src/tidy/workplace.rs", "names what it looks for")];

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &workspace.files {
        if EXCEPTIONS.iter().any(|(path, _)| *path == file.path) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            if let Some(found) = machine_path(line).or_else(|| package_host(line)) {
                findings.push(Finding {
                    rule: "workplace",
                    path: file.path.clone(),
                    line: index + 1,
                    what: format!("`{found}` ties the product to one workplace"),
                    hint: "read it from the environment, or use a made-up name such as `/home/alice`".into(),
                });
            }
        }
    }
    findings
}

fn machine_path(line: &str) -> Option<&str> {
    MACHINE_FOLDERS.into_iter().find_map(|folder| {
        line.match_indices(folder).find_map(|(at, _)| {
            let before = line[..at].chars().next_back();
            let is_start = before.is_none_or(|c| !(c.is_alphanumeric() || "/._-})*".contains(c)));
            let rest = &line[at + folder.len()..];
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
            let name = &rest[..length];
            let is_example = name.len() == 1 || EXAMPLE_NAMES.contains(&name);
            (is_start && !name.is_empty() && !is_example).then(|| &line[at..at + folder.len() + length])
        })
    })
}

fn package_host(line: &str) -> Option<&str> {
    PACKAGE_HOSTS.into_iter().find(|host| line.contains(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> usize {
        findings(&Workspace::of_files(&[("README.md", line)])).len()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(check("cd /home/jane/src"), 1);
        assert_eq!(check("path = \"/root/.cache\""), 0, "a hidden folder of root is no checkout");
        assert_eq!(check("path = \"/root/src\""), 1);
        assert_eq!(check("`/work/main`"), 1);
        assert_eq!(check("a folder\n/Users/jane/x"), 1);
    }

    #[test]
    fn paths_of_anybody_are_fine() {
        assert_eq!(check("triplicate backup /home/alice"), 0);
        assert_eq!(check("include = [\"/home/a\"]"), 0);
        assert_eq!(check("$DIR/work/main and ./root/x and https://example.org/home/page"), 0);
        assert_eq!(check("restore /home/ from the last snapshot"), 0);
    }

    #[test]
    fn package_hosts_are_found() {
        assert_eq!(check("curl https://static.crates.io/crates"), 1);
        assert_eq!(check("published on crates.io"), 0);
    }

    #[test]
    fn the_lock_file_is_not_ours_to_word() {
        assert!(findings(&Workspace::of_files(&[("Cargo.lock", "pypi.org")])).is_empty());
    }
}
