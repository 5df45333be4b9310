//! What went wrong, as exit code, text and hints.
//!
//! Exit codes are restic's; ours begin at 20. An error is one line, and each hint is one more.

use repository::Error;

/// The exit codes of DESIGN.md part 4.
pub(crate) mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const PARTIAL: u8 = 3;
    pub(crate) const NO_REPOSITORY: u8 = 10;
    pub(crate) const LOCKED: u8 = 11;
    pub(crate) const WRONG_PASSWORD: u8 = 12;
    pub(crate) const BEHIND: u8 = 21;
    pub(crate) const INTERRUPTED: u8 = 130;
    /// What a shell shows for a program whose reader went away.
    pub(crate) const READER_GONE: u8 = 141;
}

/// Why the command does not end with 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// One line; empty when there is nobody to tell.
    pub(crate) message: String,
    /// What the user can do.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hints: Vec::new() }
    }

    /// Bad usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(code::USAGE, message)
    }

    /// Nothing, or not enough, was done.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(code::FAILED, message)
    }

    /// Something was done, and what is missing was named before.
    pub(crate) fn partial(message: impl Into<String>) -> Self {
        Self::new(code::PARTIAL, message)
    }

    /// The same with one more hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NoRepository { .. } => code::NO_REPOSITORY,
            Error::Locked { .. } => code::LOCKED,
            Error::WrongPassword { .. } => code::WRONG_PASSWORD,
            Error::Interrupted => code::INTERRUPTED,
            _ => code::FAILED,
        };
        Self { code, message: error.to_string(), hints: error.hint().into_iter().collect() }
    }
}

impl From<model::Fault> for Failure {
    fn from(fault: model::Fault) -> Self {
        Error::from(fault).into()
    }
}

/// A failure of a file of ours on this machine.
pub(crate) fn local(action: &str, path: &std::path::Path, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("cannot {action} `{}`: {error}", path.display()))
}
