//! A server that misbehaves as told: it reads requests and answers with whatever bytes the script gives, then breaks
//! off, falls silent or drips.
#![allow(dead_code)] // each of the test programs uses its own part

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a request said.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The verb.
    pub(crate) verb: String,
    /// Path and query.
    pub(crate) target: String,
    /// Header lines as they came.
    pub(crate) headers: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What to do about a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// These bytes, then the end of the connection.
    Say(Vec<u8>),
    /// These bytes, then a reset.
    Reset(Vec<u8>),
    /// These bytes, then silence with the connection open.
    FallSilent(Vec<u8>),
    /// The first bytes at once, the others one by one with this pause before each.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

/// An answer with a status line, headers and a body of the right length.
pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        bytes.push_str(header);
        bytes.push_str("\r\n");
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

type Script = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

/// The server; it ends with the runtime of its test.
pub(crate) struct Scripted {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Starts one.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Script, _) = (Arc::new(script), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, asked }
    }

    /// Nobody: an address alone, where something else listens or nothing does.
    pub(crate) fn nobody(address: String) -> Self {
        Self { address, asked: Arc::default() }
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(connection: TcpStream, script: Script, log: Arc<Mutex<Vec<Asked>>>) {
    let mut connection = BufReader::new(connection);
    let Some(asked) = read_request(&mut connection).await else { return };
    let act = script(&asked);
    log.lock().unwrap().push(asked);
    let connection = connection.get_mut();
    match act {
        Act::Say(bytes) => {
            let _ = connection.write_all(&bytes).await;
            let _ = connection.shutdown().await;
        }
        Act::Reset(bytes) => {
            let _ = connection.write_all(&bytes).await;
            let _ = connection.flush().await;
            // Closing with a linger of zero is a reset.
            let _ = connection.set_zero_linger();
        }
        Act::FallSilent(bytes) => {
            let _ = connection.write_all(&bytes).await;
            std::future::pending::<()>().await;
        }
        Act::Drip(first, rest, pause) => {
            let _ = connection.write_all(&first).await;
            for byte in rest {
                tokio::time::sleep(pause).await;
                let _ = connection.write_all(&[byte]).await;
            }
        }
    }
}

async fn read_request(connection: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    connection.read_line(&mut line).await.ok().filter(|length| 0 < *length)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (verb, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        headers.push(line.to_owned());
    }
    let mut asked = Asked { verb, target, headers, body: Vec::new() };
    let length = asked.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    connection.read_exact(&mut asked.body).await.ok()?;
    Some(asked)
}
