//! A plain S3 client of a few verbs, only to look at and to damage what the product stored: it shares no code with the
//! client under test. AWS Signature Version 4 over HTTP/1.1, one connection for each request.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clock::{Clock, SystemClock};
use sha2::{Digest, Sha256};

use super::CephServer;

/// How long one answer may take.
const ANSWER_LIMIT_SECONDS: u64 = 60;
const HMAC_BLOCK_BYTES: usize = 64;

/// One bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The server: `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The region to sign for.
    pub region: &'static str,
    host: String,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Bucket {
    pub(super) fn new(server: &CephServer, name: String) -> Self {
        Self {
            name,
            endpoint: server.endpoint.clone(),
            host: format!("127.0.0.1:{}", server.port),
            access_key: server.access_key.clone(),
            secret_key: server.secret_key.clone(),
            region: server.region,
        }
    }

    /// The repository under `prefix` for `-r`: `s3:http://127.0.0.1:PORT/bucket/prefix`.
    pub fn repository(&self, prefix: &str) -> String {
        format!("s3:{}/{}/{prefix}", self.endpoint, self.name)
    }

    pub(super) fn create_with_locks(&self) -> io::Result<()> {
        let header = "x-amz-bucket-object-lock-enabled: true\r\n";
        self.request_with("PUT", "", &[], &[], header)?.expect(&[200], "create the bucket")
    }

    pub(super) fn create(&self) -> io::Result<()> {
        self.request("PUT", "", &[], &[])?.expect(&[200], "create the bucket")
    }

    /// Keys and sizes of all objects whose key begins with `prefix`, sorted.
    ///
    /// # Errors
    /// When the server refuses or says something else than a listing.
    pub fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if let Some(token) = &next {
                query.push(("continuation-token", token));
            }
            let answer = self.request("GET", "", &query, &[])?;
            let page = String::from_utf8_lossy(&answer.body).into_owned();
            answer.expect(&[200], "list")?;
            for entry in page.split("<Contents>").skip(1) {
                let size = element(entry, "Size").and_then(|size| size.parse().ok());
                let (Some(key), Some(size)) = (element(entry, "Key"), size) else {
                    return Err(io::Error::other(format!("the listing has an entry without key or size: {entry}")));
                };
                found.push((key, size));
            }
            if element(&page, "IsTruncated").as_deref() != Some("true") {
                break;
            }
            next = element(&page, "NextContinuationToken");
        }
        found.sort();
        Ok(found)
    }

    /// The bytes of an object.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        let answer = self.request("GET", key, &[], &[])?;
        let body = answer.body.clone();
        answer.expect(&[200], key)?;
        Ok(body)
    }

    /// Stores an object.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        self.request("PUT", key, &[], bytes)?.expect(&[200], key)
    }

    /// Removes an object.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn delete(&self, key: &str) -> io::Result<()> {
        self.request("DELETE", key, &[], &[])?.expect(&[200, 204], key)
    }

    fn request(&self, verb: &str, key: &str, query: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        self.request_with(verb, key, query, body, "")
    }

    /// As `request`, with one more header line, which is not signed.
    fn request_with(
        &self,
        verb: &str,
        key: &str,
        query: &[(&str, &str)],
        body: &[u8],
        more: &str,
    ) -> io::Result<Answer> {
        let path = encoded(&format!("/{}/{key}", self.name), true);
        let mut pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", encoded(name, false), encoded(value, false))).collect();
        pairs.sort();
        let query = pairs.join("&");
        let headers = self.signed_headers(verb, &path, &query, body);
        let mut connection = TcpStream::connect(&self.host)?;
        connection.set_read_timeout(Some(Duration::from_secs(ANSWER_LIMIT_SECONDS)))?;
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let length = body.len();
        let head =
            format!("{verb} {target} HTTP/1.1\r\n{headers}{more}content-length: {length}\r\nconnection: close\r\n\r\n");
        connection.write_all(head.as_bytes())?;
        connection.write_all(body)?;
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes)?;
        parse_answer(&bytes)
    }

    /// The headers of a request that is signed as the S3 documentation describes for version 4.
    fn signed_headers(&self, verb: &str, path: &str, query: &str, body: &[u8]) -> String {
        let time = SystemClock::new().now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = time.get(..8).unwrap_or_default();
        let content = hex::encode(Sha256::digest(body));
        let headers = format!("host:{}\nx-amz-content-sha256:{content}\nx-amz-date:{time}\n", self.host);
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!("{verb}\n{path}\n{query}\n{headers}\n{names}\n{content}");
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, self.region, "s3", "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        let access_key = &self.access_key;
        format!(
            "host: {}\r\nx-amz-content-sha256: {content}\r\nx-amz-date: {time}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}\r\n",
            self.host
        )
    }
}

impl Answer {
    fn expect(self, codes: &[u16], what: &str) -> io::Result<()> {
        if codes.contains(&self.status) {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&self.body).into_owned();
        Err(io::Error::other(format!("`{what}` in the bucket: status {} {body}", self.status)))
    }
}

fn parse_answer(bytes: &[u8]) -> io::Result<Answer> {
    let refused = || io::Error::other("the gateway's answer is not HTTP");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(refused)?;
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let mut body = bytes.get(end + 4..).unwrap_or_default().to_vec();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(refused)?;
    if head.contains("transfer-encoding: chunked") {
        body = unchunked(&body).ok_or_else(refused)?;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return Err(io::Error::other("the gateway's answer broke off"));
    }
    Ok(Answer { status, body })
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(bytes.get(..line_end)?).ok()?.trim(), 16).ok()?;
        bytes = bytes.get(line_end + 2..)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}

/// The text of the first element called `name`. Names in a repository need no more than the five entities.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some(plain.replace("&amp;", "&"))
}

fn encoded(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keep_slashes && byte == b'/');
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; HMAC_BLOCK_BYTES];
    if key.len() > HMAC_BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::{element, hmac, unchunked};

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let answer = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(hmac(b"Jefe", b"what do ya want for nothing?")), answer);
        let answer = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let long = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex::encode(long), answer);
    }

    #[test]
    fn chunks_and_elements() {
        assert_eq!(unchunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), Some(b"abcde".to_vec()));
        assert_eq!(unchunked(b"3\r\nab"), None);
        assert_eq!(element("<a><Key>x&amp;lt;y</Key></a>", "Key").as_deref(), Some("x&lt;y"));
    }
}
