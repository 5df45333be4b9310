//! Where the repository's password comes from: a command, a file, the environment, or the terminal.
//!
//! Never from the command line, where every user of the machine could read it, and never shown.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use model::{ExposeSecret, Secret};

use crate::arguments::Global;
use crate::environment;
use crate::failure::Failure;

/// A password file is a line; a longer one is the wrong file.
const PASSWORD_FILE_BYTES_MAX: u64 = 64 << 10;

/// The password of a repository that is there.
pub(crate) fn existing(global: &Global) -> Result<Secret, Failure> {
    match given(global)? {
        Some(password) => Ok(password),
        None => ask("enter password for repository: "),
    }
}

/// The password of a repository to be made; asked for twice at the terminal.
pub(crate) fn for_new_repository(global: &Global) -> Result<Secret, Failure> {
    match given(global)? {
        Some(password) => Ok(password),
        None => ask_twice("enter password for new repository: "),
    }
}

/// A further password: from its file, or asked for twice.
pub(crate) fn new_key(file: Option<&Path>) -> Result<Secret, Failure> {
    match file {
        Some(file) => from_file(file),
        None => ask_twice("enter new password: "),
    }
}

fn given(global: &Global) -> Result<Option<Secret>, Failure> {
    let from_arguments = (global.password_command.clone(), global.password_file.clone());
    let (command, file) = match from_arguments {
        (None, None) => {
            let command = environment::text(environment::PASSWORD_COMMAND);
            (command, environment::path(environment::PASSWORD_FILE))
        }
        chosen => chosen,
    };
    match (command, file) {
        (Some(_), Some(_)) => Err(Failure::usage("a password file and a password command exclude each other")),
        (Some(command), None) => from_command(&command).map(Some),
        (None, Some(file)) => from_file(&file).map(Some),
        (None, None) => Ok(environment::text(environment::PASSWORD).map(Secret::from)),
    }
}

fn from_file(path: &Path) -> Result<Secret, Failure> {
    let refused = |why: String| Failure::failed(format!("cannot read the password file `{}`: {why}", path.display()));
    // Read through the open file, so that `/dev/fd/3` and a pipe of the shell work.
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut text = String::new();
    let mut limited = std::io::Read::take(file, PASSWORD_FILE_BYTES_MAX + 1);
    std::io::Read::read_to_string(&mut limited, &mut text).map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > PASSWORD_FILE_BYTES_MAX {
        return Err(refused(format!("it has more than {PASSWORD_FILE_BYTES_MAX} bytes")));
    }
    checked(&text, &format!("the password file `{}`", path.display()))
}

fn from_command(line: &str) -> Result<Secret, Failure> {
    let words = split_words(line).map_err(|why| Failure::usage(format!("cannot use the password command: {why}")))?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage("the password command is empty"));
    };
    let output = Command::new(program)
        .args(arguments)
        .env_remove(environment::PASSWORD)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::failed(format!("cannot run the password command `{program}`: {error}")))?;
    if !output.status.success() {
        return Err(Failure::failed(format!("the password command `{program}` failed: {}", output.status)));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| Failure::failed(format!("the password command `{program}` wrote something that is not UTF-8")))?;
    checked(&text, &format!("the password command `{program}`"))
}

/// White space around a password is dropped, as in restic.
fn checked(text: &str, from: &str) -> Result<Secret, Failure> {
    let password = text.trim_start_matches('\u{feff}').trim();
    if password.is_empty() {
        return Err(Failure::failed(format!("{from} gave an empty password")));
    }
    Ok(Secret::from(password))
}

/// Asks for a line at the terminal, without showing it.
pub(crate) fn ask(prompt: &str) -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        let hint = "set RESTIC_PASSWORD_FILE, RESTIC_PASSWORD_COMMAND or RESTIC_PASSWORD, or use --password-file";
        return Err(Failure::usage("no password was given, and there is no terminal to ask at").hint(hint));
    }
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Failure::failed(format!("cannot ask for the password: {error}")))?;
    if typed.is_empty() {
        return Err(Failure::failed("an empty password is no password"));
    }
    Ok(Secret::from(typed))
}

fn ask_twice(prompt: &str) -> Result<Secret, Failure> {
    let first = ask(prompt)?;
    let second = ask("enter password again: ")?;
    if first.expose_secret() != second.expose_secret() {
        return Err(Failure::failed("the passwords are not the same"));
    }
    Ok(first)
}

/// Splits as a shell would, without doing anything else that a shell does.
fn split_words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('"') | None, '\\') => match characters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("it ends with a backslash"),
            },
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let words = |line| split_words(line).unwrap();
        assert_eq!(words("pass show 'my backup' \"a \\\"b\\\"\""), ["pass", "show", "my backup", "a \"b\""]);
        assert_eq!(words("  a\\ b '' "), ["a b", ""]);
        assert_eq!(words("echo $HOME;`id`"), ["echo", "$HOME;`id`"]);
        assert!(split_words("echo 'open").is_err());
        assert!(split_words("echo \\").is_err());
    }

    #[test]
    fn only_white_space_around_a_password_is_dropped() {
        assert_eq!(checked("\u{feff}a b\r\n", "it").unwrap().expose_secret(), "a b");
        assert!(checked(" \n", "it").is_err());
    }
}
