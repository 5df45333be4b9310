//! What a program inherits of our environment: everything but secrets, ours and those of others.

use std::process::Command;

/// Beginnings of names of variables that are about repositories and the places of copies.
const PREFIXES: [&str; 9] = ["RESTIC_", "TRIPLICATE_", "AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "ST_", "RCLONE_"];
/// What names of variables with secrets have in them.
const PARTS: [&str; 7] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "_PWD", "CREDENTIALS"];
/// Names of variables with secrets that say nothing of it.
const NAMES: [&str; 2] = ["REDISCLI_AUTH", "PGPASSFILE"];

/// Takes from a command what it must not inherit: secrets, and names that begin with one of `prefixes`.
pub(super) fn scrub(command: &mut Command, prefixes: &[&str]) {
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if is_secret(&shown) || prefixes.iter().any(|prefix| shown.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || PARTS.iter().any(|part| name.contains(part))
        || NAMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        let secret = [
            "RESTIC_PASSWORD",
            "RESTIC_REPOSITORY",
            "AWS_ACCESS_KEY_ID",
            "MYSQL_PWD",
            "PGPASSWORD",
            "PGPASSFILE",
            "REDISCLI_AUTH",
            "GITHUB_TOKEN",
            "db_password",
            "CLIENT_SECRET",
            "BORG_PASSPHRASE",
            "TRIPLICATE_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "CREDENTIALS_DIRECTORY",
        ];
        assert!(secret.iter().all(|name| is_secret(name)));
        let plain =
            ["PATH", "HOME", "LANG", "PWD", "OLDPWD", "PGHOST", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSH_AUTH_SOCK"];
        assert!(plain.iter().all(|name| !is_secret(name)));
    }
}
