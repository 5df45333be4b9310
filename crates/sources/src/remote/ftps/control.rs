//! Commands and answers (RFC 959, sections 4.2 and 5.3): a line goes out, lines with a number come back.
//!
//! Arguments are bytes, for names are. One that would end the line is refused here, whoever made it.

use std::net::IpAddr;

use destinations::reach;
use model::FaultKind;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::trouble::{Result, Trouble};

/// No line of an answer is longer.
const LINE_LIMIT_BYTES: u64 = 16 << 10;
/// No answer has more lines.
const LINES_LIMIT: usize = 4096;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// All lines, without the ends of lines; the first one and the last without the number.
    pub(super) lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The last line, which is the only one of most answers.
    pub(super) fn words(&self) -> &[u8] {
        self.lines.last().map_or(&[], Vec::as_slice)
    }
}

/// The control connection.
#[derive(Debug)]
pub(super) struct Control<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Control<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The connection itself, to go on with something else; bytes that came already would be lost, or somebody's who
    /// wants them to be taken for the server's.
    pub(super) fn into_stream(self) -> Result<S> {
        if self.0.buffer().is_empty() {
            return Ok(self.0.into_inner());
        }
        Err(Trouble::fatal(FaultKind::Misconfigured, "the server said more in the clear than it was asked for"))
    }

    /// Says a command.
    pub(super) async fn say(&mut self, verb: &str, argument: &[u8]) -> Result<()> {
        if argument.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(Trouble::new(
                FaultKind::Refused,
                "FTP has no way to write a name with the end of a line in it",
            ));
        }
        let space: &[u8] = if argument.is_empty() { b"" } else { b" " };
        let line = [verb.as_bytes(), space, argument, b"\r\n"].concat();
        let stream = self.0.get_mut();
        stream.write_all(&line).await.map_err(Trouble::broken)?;
        stream.flush().await.map_err(Trouble::broken)
    }

    /// The next answer.
    pub(super) async fn reply(&mut self) -> Result<Reply> {
        let first = self.line().await?;
        let (code, is_last, words) = numbered(&first).ok_or_else(strange)?;
        let mut reply = Reply { code, lines: vec![words.to_vec()] };
        if is_last {
            return Ok(reply);
        }
        while reply.lines.len() < LINES_LIMIT {
            let line = self.line().await?;
            match numbered(&line) {
                Some((same, true, words)) if same == code => {
                    reply.lines.push(words.to_vec());
                    return Ok(reply);
                }
                _ => reply.lines.push(line),
            }
        }
        Err(strange())
    }

    /// Says a command and hears the answer, which must be one of these.
    pub(super) async fn ask(&mut self, verb: &str, argument: &[u8], good: &[u16]) -> Result<Reply> {
        self.say(verb, argument).await?;
        self.expect(good).await
    }

    pub(super) async fn expect(&mut self, good: &[u16]) -> Result<Reply> {
        let reply = self.reply().await?;
        if good.contains(&reply.code) { Ok(reply) } else { Err(Trouble::refused(&reply)) }
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line).await.map_err(Trouble::broken)?;
        reach::moved();
        if line.pop() != Some(b'\n') {
            return Err(Trouble::broken("the server hung up"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }
}

impl Control<TlsStream<TcpStream>> {
    /// Whom we speak to.
    pub(super) fn peer(&self) -> Result<IpAddr> {
        let address = self.0.get_ref().get_ref().0.peer_addr();
        address.map(|address| address.ip()).map_err(Trouble::broken)
    }
}

fn strange() -> Trouble {
    Trouble::fatal(FaultKind::Failing, "the server does not keep to FTP")
}

/// The number before a line, whether the answer ends with it, and the words.
fn numbered(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = std::str::from_utf8(digits).ok()?.parse().ok().filter(|code| (100..700).contains(code))?;
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', words)) => Some((code, true, words)),
        Some((b'-', words)) => Some((code, false, words)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn heard(text: &'static [u8]) -> Result<Reply> {
        let (mut there, here) = tokio::io::duplex(1 << 20);
        there.write_all(text).await.unwrap();
        drop(there);
        Control::new(here).reply().await
    }

    #[tokio::test]
    async fn answers_of_one_line_and_of_many_are_read() {
        let reply = heard(b"213 7\r\n").await.unwrap();
        assert_eq!((reply.code, reply.words()), (213, &b"7"[..]));
        let reply = heard(b"211-Features:\r\n MDTM\r\n 211 no end\r\n211-nor this\r\n211 End\r\n").await.unwrap();
        let lines: Vec<&[u8]> = vec![b"Features:", b" MDTM", b" 211 no end", b"211-nor this", b"End"];
        assert_eq!((reply.code, reply.lines), (211, lines.into_iter().map(<[u8]>::to_vec).collect()));
    }

    #[tokio::test]
    async fn what_is_cut_or_no_answer_is_an_error() {
        for text in [&b""[..], b"213 7", b"211-a\r\n", b"hello\r\n", b"99 x\r\n", b"2131\r\n", b"\r\n"] {
            assert!(heard(text).await.is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_name_is_never_a_second_command() {
        let (_there, here) = tokio::io::duplex(1 << 10);
        let mut control = Control::new(here);
        for name in [&b"a\r\nDELE b"[..], b"a\nb", b"a\0b"] {
            assert_eq!(control.say("RETR", name).await.unwrap_err().kind, FaultKind::Refused);
        }
        control.say("RETR", b"a\xff b").await.unwrap();
    }
}
