//! What is asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A request, sound unless a test makes it otherwise.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What it says of its length: the truth, unless a header says something else.
    tells_length: bool,
}

impl Request {
    /// `method` of `target`, which is path and query and is sent as it is.
    pub fn new(method: &str, target: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Host".to_owned(), "127.0.0.1".to_owned())];
        Self { method: method.to_owned(), target: target.into(), headers, body: Vec::new(), tells_length: true }
    }

    /// GET.
    pub fn get(target: impl Into<Vec<u8>>) -> Self {
        Self::new("GET", target)
    }

    /// POST of these bytes.
    pub fn post(target: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target) }
    }

    /// With one more header; one of its own length replaces the truth.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if ["content-length", "transfer-encoding"].iter().any(|length| name.eq_ignore_ascii_case(length)) {
            self.tells_length = false;
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Logged in.
    #[must_use]
    pub fn login(self, user: &str, password: &str) -> Self {
        let value = basic(user, password);
        self.header("Authorization", &value)
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Path and query, for messages.
    pub fn target(&self) -> String {
        String::from_utf8_lossy(&self.target).into_owned()
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The head alone, with the empty line at its end.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = self.method.clone().into_bytes();
        bytes.push(b' ');
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let may_have_body = !["GET", "HEAD"].contains(&self.method.as_str());
        if self.tells_length && (may_have_body || !self.body.is_empty()) {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// Head and body.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The value of an `Authorization` header.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
