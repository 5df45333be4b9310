//! Why something failed on the way to or at an FTP server, before it is known which object it was about.
//!
//! Servers say 550 to nearly everything. Where their words tell more they are believed; where not, the caller asks again
//! in another way.

use model::FaultKind;
use suppaftp::FtpError;
use suppaftp::types::Response;

/// No more of a server's words than this in a message of ours.
const WORDS_LIMIT_CHARS: usize = 200;

#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: FaultKind,
    pub(super) cause: String,
    /// The server refused without a reason: what lies behind it may be found out elsewhere.
    pub(super) is_vague: bool,
    /// The session cannot be used again: nobody knows which answer would come next.
    pub(super) ends_session: bool,
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    /// A refusal after which the session goes on.
    pub(super) fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), is_vague: false, ends_session: false }
    }

    pub(super) fn damaged(cause: impl Into<String>) -> Self {
        Self::new(FaultKind::Damaged, cause)
    }

    /// The same of a question about something: what a server will not say a word about is not there.
    pub(super) fn absent_if_vague(self) -> Self {
        if self.is_vague { Self { kind: FaultKind::NotFound, ..self } } else { self }
    }

    pub(super) fn broken(error: impl std::fmt::Display) -> Self {
        let cause = format!("the connection broke: {error}");
        Self { ends_session: true, ..Self::new(FaultKind::Unreachable, cause) }
    }
}

impl From<FtpError> for Trouble {
    fn from(error: FtpError) -> Self {
        match error {
            FtpError::UnexpectedResponse(response) => refused(&response),
            FtpError::ConnectionError(error) => Self::broken(error),
            // Only as text does the library hand on what TLS said.
            FtpError::SecureError(words) if is_about_certificates(&words) => {
                let cause = format!("TLS cannot be agreed on: {words}");
                Self { ends_session: true, ..Self::new(FaultKind::Misconfigured, cause) }
            }
            FtpError::SecureError(words) => Self::broken(words),
            other => {
                let cause = format!("the server does not keep to FTP: {other}");
                Self { ends_session: true, ..Self::new(FaultKind::Failing, cause) }
            }
        }
    }
}

fn is_about_certificates(words: &str) -> bool {
    ["certificate", "peer is incompatible", "fatal alert", "invalid dns name"].iter().any(|known| words.contains(known))
}

/// What it means that a connection could not be secured.
pub(super) fn insecure(error: FtpError) -> Trouble {
    let mut trouble = Trouble::from(error);
    if matches!(trouble.kind, FaultKind::Refused | FaultKind::Denied) {
        trouble.kind = FaultKind::Misconfigured;
        trouble.cause =
            format!("the server does not go on in TLS, and nothing is said in the clear: {}", trouble.cause);
    }
    Trouble { ends_session: true, ..trouble }
}

/// What a server's answer means that is none of those which were hoped for (RFC 959, section 4.2).
fn refused(response: &Response) -> Trouble {
    let code = response.status.code();
    let words: String = String::from_utf8_lossy(&response.body)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS_LIMIT_CHARS)
        .collect();
    let words = words.trim();
    let kind = kind_of_refusal(code, words);
    let cause = format!("the server answered `{words}`");
    let is_vague = kind == FaultKind::Failing && 500 <= code;
    Trouble { kind, cause, is_vague, ends_session: matches!(code, 421 | 425 | 426) }
}

/// What it means when an FTP server says no, by the code of its answer and by its words. [`FaultKind::Failing`] where
/// neither tells much.
pub fn kind_of_refusal(code: u32, words: &str) -> FaultKind {
    match code {
        421 | 425 | 426 => FaultKind::Unreachable,
        452 | 552 => FaultKind::Full,
        430 | 530 | 532 => FaultKind::Denied,
        500..=504 | 522 => FaultKind::Refused,
        550 | 551 | 553 | 450 | 451 | 554 => meaning(&words.to_lowercase()),
        _ => FaultKind::Failing,
    }
}

fn meaning(words: &str) -> FaultKind {
    let says = |any: &[&str]| any.iter().any(|known| words.contains(known));
    if says(&["no such", "not found", "not exist", "no file"]) {
        FaultKind::NotFound
    } else if says(&["no space", "quota", "disk full"]) {
        FaultKind::Full
    } else if says(&["permi", "denied", "not allowed", "read-only", "forbidden"]) {
        FaultKind::Denied
    } else if says(&["exists"]) {
        FaultKind::Exists
    } else {
        FaultKind::Failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suppaftp::Status;

    #[test]
    fn answers_of_servers_are_understood() {
        for (status, words, kind, is_vague) in [
            (Status::FileUnavailable, "550 No such file or directory", FaultKind::NotFound, false),
            (Status::FileUnavailable, "550 Failed to open file.", FaultKind::Failing, true),
            (Status::FileUnavailable, "550 a: Operation not permitted", FaultKind::Denied, false),
            (Status::FileUnavailable, "550 data: File exists", FaultKind::Exists, false),
            (Status::ExceededStorage, "552 Quota exceeded", FaultKind::Full, false),
            (Status::ActionAborted, "451 No space left on device.", FaultKind::Full, false),
            (Status::ActionAborted, "451 local error", FaultKind::Failing, false),
            (Status::NotLoggedIn, "530 Login incorrect.", FaultKind::Denied, false),
            (Status::NotAvailable, "421 Timeout.", FaultKind::Unreachable, false),
        ] {
            let trouble = refused(&Response { status, body: words.as_bytes().to_vec() });
            assert_eq!((trouble.kind, trouble.is_vague), (kind, is_vague), "{words}");
            assert!(trouble.cause.contains(words));
        }
    }
}
