//! HTTP/1.1 as bytes: where a head ends, how long a body is, and a reply that is whole.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::Asked;
use crate::faulty::Verb;

/// No head of ours or of the servers' is nearly as long.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// No reply in a test is longer.
const REPLY_BYTES_MAX: usize = 512 << 20;

/// A question in JSON that is longer is not looked into.
const QUESTION_BYTES_MAX: u64 = 16 << 10;

/// A whole reply.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// As it came, with the empty line.
    pub(super) head: Vec<u8>,
    /// As it came: in pieces, if it came so.
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// One of our own making.
    pub(super) fn made(status: u16, headers: &[String], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Made\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        Self { status, head: head.into_bytes(), body: body.to_vec() }
    }

    /// The body without the frames around its pieces.
    pub(super) fn plain_body(&self) -> Vec<u8> {
        if self.is_in_pieces() { unchunked(&self.body).unwrap_or_default() } else { self.body.clone() }
    }

    /// The same head around another body.
    pub(super) fn with_body(&self, body: Vec<u8>) -> Self {
        let mut head = String::new();
        for line in text(&self.head).lines().filter(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if name != "content-length" && name != "transfer-encoding" {
                head.push_str(line);
                head.push_str("\r\n");
            }
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        Self { status: self.status, head: head.into_bytes(), body }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }

    fn is_in_pieces(&self) -> bool {
        header(&text(&self.head), "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    /// True when the connection can carry another exchange.
    pub(super) fn goes_on(&self) -> bool {
        !header(&text(&self.head), "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads up to the empty line; none at an orderly end before the first byte.
pub(super) async fn read_head(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        // Byte by byte, from a buffer: what follows the head is not ours to take.
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
        if head.ends_with(b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the head does not end"));
        }
    }
}

/// What a request's head says.
pub(super) fn parse_request(head: &[u8]) -> io::Result<Asked> {
    let text = text(head);
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::other("this is no request"));
    };
    if header(&text, "transfer-encoding").is_some() {
        return Err(io::Error::other("the proxy passes on bodies of known length only"));
    }
    let body_bytes = header(&text, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let is_of_one = header(&text, "depth").as_deref() == Some("0");
    let is_json = header(&text, "content-type").is_some_and(|value| value.starts_with("application/json"));
    // B2 takes its questions under any name.
    let is_question = is_json || target.contains("/b2_list_");
    let question_bytes = if is_question && body_bytes <= QUESTION_BYTES_MAX { body_bytes } else { 0 };
    let headers = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let verb = verb_of(&method, &target, is_of_one);
    let question = String::new();
    Ok(Asked { number: 0, verb, method, target, headers, body_bytes, question_bytes, question, troubled: false })
}

/// What a request asks of the place, in the dialects of all kinds of servers.
fn verb_of(method: &str, target: &str, is_of_one: bool) -> Verb {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let Some(verb) = verb_of_call(path) {
        return verb;
    }
    if path.contains("/storage/v1/b") {
        return verb_of_google(method, path, query);
    }
    match method {
        "POST" if query.contains("create=true") => Verb::Create,
        "PUT" if query.contains("restype=container") => Verb::Create,
        // A bucket.
        "PUT" if path.trim_matches('/').split('/').count() < 2 => Verb::Create,
        "MKCOL" | "OPTIONS" => Verb::Create,
        "POST" | "PUT" | "MOVE" => Verb::Write,
        "HEAD" => Verb::Stat,
        "PROPFIND" if is_of_one => Verb::Stat,
        "PROPFIND" => Verb::List,
        "DELETE" => Verb::Remove,
        _ if path.ends_with('/') || ["comp=list", "max-keys="].iter().any(|word| query.contains(word)) => Verb::List,
        _ => Verb::Read,
    }
}

/// B2 and Dropbox name what is asked for in the path; looking for the way in counts as making it.
fn verb_of_call(path: &str) -> Option<Verb> {
    if path == "/token" || path.ends_with("/oauth2/token") {
        return Some(Verb::Create);
    }
    if let Some((_, call)) = path.split_once("/b2_") {
        return Some(match call.split('/').next().unwrap_or_default() {
            "list_file_names" => Verb::List,
            "get_upload_url" | "upload_file" => Verb::Write,
            "list_file_versions" | "delete_file_version" | "hide_file" => Verb::Remove,
            _ => Verb::Create,
        });
    }
    let call = path.strip_prefix("/2/files/")?;
    Some(match call.split('/').next().unwrap_or_default() {
        "list_folder" => Verb::List,
        "upload" | "upload_session" => Verb::Write,
        "download" => Verb::Read,
        "get_metadata" => Verb::Stat,
        "delete_v2" => Verb::Remove,
        _ => Verb::Create,
    })
}

fn verb_of_google(method: &str, path: &str, query: &str) -> Verb {
    let is_of_object = path.contains("/o/");
    match method {
        "DELETE" => Verb::Remove,
        "POST" | "PUT" if path.starts_with("/upload/") => Verb::Write,
        "GET" if path.ends_with("/o") => Verb::List,
        "GET" if is_of_object && query.contains("alt=media") => Verb::Read,
        "GET" if is_of_object => Verb::Stat,
        _ => Verb::Create,
    }
}

/// Reads a whole reply to a request of this method.
pub(super) async fn read_reply(connection: &mut (impl AsyncRead + Unpin), method: &str) -> io::Result<Reply> {
    loop {
        let head = read_head(connection).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let words = text(&head);
        let status = words.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other("this is no reply"))?;
        let mut reply = Reply { status, head, body: Vec::new() };
        match status {
            100..200 => continue,
            204 | 304 => return Ok(reply),
            _ if method == "HEAD" => return Ok(reply),
            _ => {}
        }
        if reply.is_in_pieces() {
            while unchunked(&reply.body).is_none() {
                read_some(connection, &mut reply.body).await?.then_some(()).ok_or(io::ErrorKind::UnexpectedEof)?;
            }
        } else if let Some(length) = header(&words, "content-length").and_then(|value| value.parse::<usize>().ok()) {
            if length > REPLY_BYTES_MAX {
                return Err(io::Error::other("the reply is too long"));
            }
            reply.body = vec![0; length];
            connection.read_exact(&mut reply.body).await?;
        } else {
            while read_some(connection, &mut reply.body).await? {}
        }
        return Ok(reply);
    }
}

async fn read_some(connection: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> io::Result<bool> {
    if into.len() > REPLY_BYTES_MAX {
        return Err(io::Error::other("the reply is too long"));
    }
    Ok(connection.read_buf(into).await? > 0)
}

/// What a body in pieces holds, when it is whole.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = text(bytes.get(..line_end)?);
        let length = usize::from_str_radix(length.split(';').next()?.trim(), 16).ok()?;
        bytes = bytes.get(line_end + 2..)?;
        if length == 0 {
            return bytes.ends_with(b"\r\n").then_some(body);
        }
        body.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (method, target, verb) in [
            ("POST", "/repo/?create=true", Verb::Create),
            ("PUT", "/bucket/", Verb::Create),
            ("POST", "/repo/data/abc", Verb::Write),
            ("PUT", "/bucket/pre/config", Verb::Write),
            ("GET", "/repo/data/", Verb::List),
            ("GET", "/bucket/?list-type=2&prefix=pre%2Fdata%2F", Verb::List),
            ("GET", "/bucket?delimiter=&max-keys=1000&prefix=pre%2Fdata%2F", Verb::List),
            ("GET", "/repo/config", Verb::Read),
            ("HEAD", "/repo/config", Verb::Stat),
            ("DELETE", "/repo/locks/abc", Verb::Remove),
            ("MKCOL", "/a/data/", Verb::Create),
            ("MOVE", "/a/data/abc-tmp", Verb::Write),
            ("PUT", "/account/box/pre/config", Verb::Write),
            ("PUT", "/account/box?restype=container", Verb::Create),
            ("GET", "/account/box?restype=container&comp=list&prefix=pre%2F", Verb::List),
            ("POST", "/token", Verb::Create),
            ("POST", "/upload/storage/v1/b/box/o?uploadType=multipart", Verb::Write),
            ("GET", "/storage/v1/b/box/o?prefix=pre%2Fdata", Verb::List),
            ("GET", "/storage/v1/b/box/o/pre%2Fconfig?alt=media", Verb::Read),
            ("GET", "/storage/v1/b/box/o/pre%2Fconfig?fields=name,size", Verb::Stat),
            ("POST", "/b2api/v3/b2_list_file_names", Verb::List),
            ("POST", "/b2api/v4/b2_upload_file/lane", Verb::Write),
            ("GET", "/file/bucket/pre/config", Verb::Read),
            ("POST", "/2/files/list_folder/continue", Verb::List),
            ("POST", "/2/files/upload_session/finish", Verb::Write),
        ] {
            assert_eq!(verb_of(method, target, false), verb, "{method} {target}");
        }
        assert_eq!(verb_of("PROPFIND", "/a/data/", false), Verb::List);
        assert_eq!(verb_of("PROPFIND", "/a/data/abc", true), Verb::Stat);
    }

    #[test]
    fn pieces_are_put_together_when_all_are_there() {
        assert_eq!(unchunked(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n").unwrap(), b"abcde");
        assert!(unchunked(b"3\r\nabc\r\n2\r\nde\r\n").is_none());
        assert!(unchunked(b"3\r\nab").is_none());
    }
}
