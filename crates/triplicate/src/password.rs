//! Where the repository's password comes from: a command, a file, the environment, or the terminal.
//!
//! Never from the command line, where every user of the machine could read it, and never shown.

use std::io::IsTerminal;
use std::path::Path;

use config::{SecretReference, split_words};
use model::{ExposeSecret, Secret};

use crate::arguments::Global;
use crate::environment;
use crate::failure::Failure;

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

/// A secret of a destination: the variable `name`, or its file or command as `name_FILE` and `name_COMMAND`.
pub(crate) fn of_variables(name: &str) -> Result<Option<Secret>, Failure> {
    let command = environment::text(&format!("{name}_COMMAND"));
    let file = environment::path(&format!("{name}_FILE"));
    match (environment::text(name), file, command) {
        (Some(text), None, None) => Ok(Some(Secret::from(text))),
        (None, Some(file), None) => from_file(&file).map(Some),
        (None, None, Some(command)) => from_command(&command).map(Some),
        (None, None, None) => Ok(None),
        _ => Err(Failure::usage(format!("of {name}, {name}_FILE and {name}_COMMAND only one may be set"))),
    }
}

/// A variable that holds a program and its arguments.
pub(crate) fn words_of_variable(name: &str) -> Result<Option<Vec<String>>, Failure> {
    let words = environment::text(name).map(|line| split_words(&line)).transpose();
    words.map_err(|why| Failure::usage(format!("cannot use {name}: {why}")))
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
    fetched(&SecretReference::File(path.to_owned()))
}

fn from_command(line: &str) -> Result<Secret, Failure> {
    let words = split_words(line).map_err(|why| Failure::usage(format!("cannot use the password command: {why}")))?;
    if words.is_empty() {
        return Err(Failure::usage("the password command is empty"));
    }
    fetched(&SecretReference::Command(words))
}

fn fetched(reference: &SecretReference) -> Result<Secret, Failure> {
    reference
        .resolve()
        .map_err(|error| Failure::failed(format!("cannot read the password from {}: {}", error.from, error.why)))
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
