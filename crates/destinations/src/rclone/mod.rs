//! What the `rclone` program reaches: it serves restic's REST protocol on its standard input and output, and our client
//! for that protocol asks it over them.
//!
//! The protocol over pipes is HTTP/2 on one connection, as restic does it. rclone cannot refuse to replace a file in
//! one step, so that of two processes that make a first config at the same moment both may believe to have won; two
//! writers of this process never do.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{Fault, FaultKind};
use url::Url;

use crate::http::{HttpClient, Transport};
use crate::program::{self, Program};
use crate::rest::RestServer;
use crate::{RcloneAccess, RcloneLocation};

/// As restic starts it: deleted files of B2 must not go on costing money.
const USUAL_ARGUMENTS: [&str; 4] = ["serve", "restic", "--stdio", "--b2-hard-delete"];
const USUAL_PROGRAM: &str = "rclone";
/// The program does not look at the host.
const BASE: &str = "http://rclone/";
/// How many bytes may be on their way to us: a pipe has no round trip, but rclone should not wait for each of our turns.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const FRAME_BYTES: u32 = 256 << 10;

/// The copy at `location`; nothing is started yet.
pub(crate) fn open(location: &RcloneLocation, access: &RcloneAccess) -> Result<RestServer, Fault> {
    let place = location.to_string();
    let usual = || USUAL_ARGUMENTS.map(str::to_owned).to_vec();
    let mut arguments = access.arguments.clone().unwrap_or_else(usual);
    arguments.push(location.remote.clone());
    let program = access.program.clone().unwrap_or_else(|| USUAL_PROGRAM.into());
    let base = Url::parse(BASE).map_err(|error| Fault::new(FaultKind::Misconfigured, "use", "", &place, error))?;
    let pipes = Pipes { program: program.into_os_string(), arguments, running: tokio::sync::Mutex::default() };
    Ok(RestServer::through(HttpClient::through(place, Box::new(pipes)), base))
}

/// rclone and its pipes; started when it is first needed, and again when it ended.
#[derive(Debug)]
struct Pipes {
    program: std::ffi::OsString,
    arguments: Vec<String>,
    running: tokio::sync::Mutex<Option<Running>>,
}

#[derive(Debug, Clone)]
struct Running {
    requests: http2::SendRequest<reqwest::Body>,
    program: Arc<Program>,
}

impl Pipes {
    async fn running(&self) -> Result<Running, (FaultKind, String)> {
        let mut running = self.running.lock().await;
        if let Some(running) = running.as_ref().filter(|running| !running.requests.is_closed()) {
            return Ok(running.clone());
        }
        let command = program::command(&self.program, &self.arguments);
        let (program, stdin, stdout) = Program::start(command).map_err(|cause| (FaultKind::Misconfigured, cause))?;
        let program = Arc::new(program);
        let stream = TokioIo::new(tokio::io::join(stdout, stdin));
        let shaken = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .handshake(stream)
            .await;
        let (requests, connection) = match shaken {
            Ok(shaken) => shaken,
            Err(error) => return Err(why_it_broke(&program, &error).await),
        };
        // Ends when the program does, or when the last of those who ask has gone.
        tokio::spawn(connection);
        Ok(running.insert(Running { requests, program }).clone())
    }
}

#[async_trait]
impl Transport for Pipes {
    async fn send(
        &self,
        request: http::Request<reqwest::Body>,
    ) -> Result<http::Response<reqwest::Body>, (FaultKind, String)> {
        let mut running = self.running().await?;
        match running.requests.send_request(request).await {
            Ok(response) => Ok(response.map(reqwest::Body::wrap)),
            Err(error) => Err(why_it_broke(&running.program, &error).await),
        }
    }
}

async fn why_it_broke(program: &Program, error: &hyper::Error) -> (FaultKind, String) {
    let words = program.last_words().await;
    if words.is_empty() {
        return (FaultKind::Unreachable, format!("`{}` does not answer: {error}", program.name()));
    }
    let is_wrong =
        ["didn't find section in config file", "unknown flag", "unknown command", "Failed to create file system"];
    let kind = match is_wrong.iter().any(|part| words.contains(part)) {
        true => FaultKind::Misconfigured,
        false => FaultKind::Unreachable,
    };
    (kind, format!("`{}` ended and said: {words}", program.name()))
}
