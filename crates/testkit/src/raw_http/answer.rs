//! What a server said.

use std::io;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers in their order, names as they came.
    pub headers: Vec<(String, String)>,
    /// Its body, without chunks.
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn of_head(head: &[u8]) -> io::Result<Self> {
        let strange = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is not HTTP");
        let head = String::from_utf8_lossy(head);
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let status = words.next().and_then(|word| word.parse().ok()).filter(|_| is_http).ok_or_else(strange)?;
        let headers = lines.map(|line| line.split_once(':').ok_or_else(strange));
        let headers = headers.map(|line| line.map(|(name, value)| (name.to_owned(), value.trim().to_owned())));
        Ok(Self { status, headers: headers.collect::<Result<_, _>>()?, body: Vec::new() })
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
