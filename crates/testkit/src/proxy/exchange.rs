//! One connection of the proxy: exchange after exchange, each with at most one fault.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::rules::{At, Break, HttpFault};
use super::wire::{Reply, parse_request, read_head, read_reply};
use super::{Asked, Shared, lies};
use crate::faulty::Verb;

/// How much is moved at one time where speed does not matter.
const STEP_BYTES: u64 = 32 << 10;
/// A slow direction moves something this often.
const SLOW_STEP_MILLISECONDS: u64 = 50;
/// How long the rest of a request is taken after an orderly end, which would be a reset otherwise.
const DRAIN_LIMIT_SECONDS: u64 = 20;

type Client = BufReader<TcpStream>;

/// How an exchange ended.
enum Outcome {
    /// Another one may follow.
    GoesOn,
    /// The connection is to end without a fault.
    Closed,
    /// The connection is to break.
    Broken(Break, Option<TcpStream>),
}

/// Serves one connection to its end.
pub(super) async fn serve(connection: TcpStream, shared: &Shared) {
    let mut client = BufReader::new(connection);
    loop {
        match exchange(&mut client, shared).await {
            Ok(Outcome::GoesOn) => {}
            Ok(Outcome::Broken(how, upstream)) => return end(client.into_inner(), upstream, how).await,
            // A side that left by itself is not worth a word: both see it.
            Ok(Outcome::Closed) | Err(_) => return,
        }
    }
}

/// Ends a connection in this way. `upstream` is the server's side of it.
pub(super) async fn end(mut client: TcpStream, upstream: Option<TcpStream>, how: Break) {
    match how {
        Break::Reset => {
            let _ = client.set_zero_linger();
        }
        Break::Finish => {
            drop(upstream);
            let _ = client.shutdown().await;
            let drain = async { while client.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {} };
            let _ = tokio::time::timeout(Duration::from_secs(DRAIN_LIMIT_SECONDS), drain).await;
        }
        Break::Drop => {
            let mut buffer = vec![0; 64 << 10];
            while client.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
            // The server is not told that its client is gone.
            let _upstream = upstream;
            std::future::pending().await
        }
        Break::HalfOpen => {
            let _both = (client, upstream);
            std::future::pending().await
        }
    }
}

async fn exchange(client: &mut Client, shared: &Shared) -> io::Result<Outcome> {
    let Some(mut known) = read_head(client).await? else { return Ok(Outcome::Closed) };
    let mut asked = parse_request(&known)?;
    let rest_bytes = asked.body_bytes - asked.question_bytes;
    if asked.question_bytes > 0 {
        let mut question = vec![0; usize::try_from(asked.question_bytes).unwrap_or(0)];
        client.read_exact(&mut question).await?;
        asked.question = String::from_utf8_lossy(&question).into_owned();
        known.extend(question);
    }
    let (asked, fault) = shared.state().act_on(asked);
    if let Some(HttpFault::Answer { status, headers, body }) = &fault {
        take_body(client, rest_bytes).await?;
        let mut reply = Reply::made(*status, headers, body.as_bytes());
        if asked.method == "HEAD" {
            reply.body.clear();
        }
        client.write_all(&reply.bytes()).await?;
        return Ok(Outcome::GoesOn);
    }
    let mut upstream = TcpStream::connect(shared.upstream).await?;
    upstream.set_nodelay(true)?;
    if let Some(how) = pass_request(client, &mut upstream, &known, rest_bytes, fault.as_ref()).await? {
        return Ok(Outcome::Broken(how, Some(upstream)));
    }
    let mut upstream = BufReader::new(upstream);
    let reply = read_reply(&mut upstream, &asked.method).await?;
    let reply = changed(shared, &asked, fault.as_ref(), reply);
    if let Some(how) = pass_reply(client, &reply.bytes(), fault.as_ref()).await? {
        return Ok(Outcome::Broken(how, Some(upstream.into_inner())));
    }
    Ok(if reply.goes_on() { Outcome::GoesOn } else { Outcome::Closed })
}

/// The reply as the client gets it.
fn changed(shared: &Shared, asked: &Asked, fault: Option<&HttpFault>, reply: Reply) -> Reply {
    let is_listing = asked.verb == Verb::List && matches!(reply.status, 200 | 207);
    match fault {
        Some(HttpFault::AnswerInstead { status }) => Reply::made(*status, &[], b""),
        Some(HttpFault::ShortBody) if asked.method != "HEAD" => {
            let body = reply.plain_body();
            reply.with_body(body.get(..body.len() / 2).unwrap_or_default().to_vec())
        }
        Some(HttpFault::Listing(lie)) if is_listing => {
            let state = shared.state();
            lies::told(*lie, &reply, state.old_listings.get(&asked.listing()))
        }
        None if is_listing => {
            shared.state().listings.insert(asked.listing(), reply.plain_body());
            reply
        }
        _ => reply,
    }
}

async fn take_body(client: &mut Client, length: u64) -> io::Result<()> {
    tokio::io::copy(&mut client.take(length), &mut tokio::io::sink()).await.map(drop)
}

/// Passes a request on, what is known of it and then the rest as it comes, up to where it breaks.
async fn pass_request(
    client: &mut Client,
    upstream: &mut TcpStream,
    known: &[u8],
    rest_bytes: u64,
    fault: Option<&HttpFault>,
) -> io::Result<Option<Break>> {
    let known_bytes = known.len() as u64;
    let length = known_bytes + rest_bytes;
    let mut pace = Pace::new(fault, |at: At| at.in_request(length));
    let mut passed = 0;
    loop {
        let step = match pace.next(passed, length).await {
            Step::Move(step) => step,
            Step::Done => return Ok(None),
            Step::Break(how) => return Ok(Some(how)),
        };
        let known_left = known.get(usize::try_from(passed).unwrap_or(usize::MAX)..).unwrap_or_default();
        let step = if known_left.is_empty() { step } else { step.min(known_left.len() as u64) };
        let mut bytes = vec![0; usize::try_from(step).unwrap_or(0)];
        match known_left.get(..bytes.len()) {
            Some(of_known) if !known_left.is_empty() => bytes.copy_from_slice(of_known),
            _ => {
                let some = client.read(&mut bytes).await?;
                if some == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes.truncate(some);
            }
        }
        passed += bytes.len() as u64;
        if upstream.write_all(&bytes).await.is_err() {
            // A server may answer and stop listening before it has everything: its answer counts.
            take_body(client, length - passed.max(known_bytes)).await?;
            return Ok(None);
        }
    }
}

/// Passes a reply on, up to where it breaks.
async fn pass_reply(client: &mut Client, bytes: &[u8], fault: Option<&HttpFault>) -> io::Result<Option<Break>> {
    let length = bytes.len() as u64;
    let mut pace = Pace::new(fault, |at: At| at.in_reply(length));
    let mut rest = bytes;
    loop {
        match pace.next(length - rest.len() as u64, length).await {
            Step::Move(step) => {
                let (now, later) = rest.split_at(usize::try_from(step).unwrap_or(0).min(rest.len()));
                client.write_all(now).await?;
                rest = later;
            }
            Step::Done => return Ok(None),
            Step::Break(how) => {
                client.flush().await?;
                return Ok(Some(how));
            }
        }
    }
}

/// What to do next in one direction.
enum Step {
    Move(u64),
    Break(Break),
    Done,
}

/// How one direction moves, and where it stops.
struct Pace {
    stop: Option<(u64, Stop)>,
    step_bytes: u64,
    pause: Option<Duration>,
}

enum Stop {
    Break(Break),
    Stall(Duration),
}

impl Pace {
    fn new(fault: Option<&HttpFault>, place: impl Fn(At) -> Option<u64>) -> Self {
        let mut pace = Self { stop: None, step_bytes: STEP_BYTES, pause: None };
        match fault {
            Some(HttpFault::Break(how, at)) => pace.stop = place(*at).map(|place| (place, Stop::Break(*how))),
            Some(HttpFault::Stall(time, at)) => pace.stop = place(*at).map(|place| (place, Stop::Stall(*time))),
            Some(HttpFault::Slow { bytes_per_second }) => {
                pace.step_bytes = (bytes_per_second * SLOW_STEP_MILLISECONDS / 1000).max(1);
                pace.pause = Some(Duration::from_millis(pace.step_bytes * 1000 / (*bytes_per_second).max(1)));
            }
            _ => {}
        }
        pace
    }

    async fn next(&mut self, passed: u64, length: u64) -> Step {
        let mut end = length;
        if let Some((place, stop)) = &self.stop {
            if passed < *place {
                end = *place;
            } else {
                match stop {
                    Stop::Break(how) => return Step::Break(*how),
                    Stop::Stall(time) => tokio::time::sleep(*time).await,
                }
                self.stop = None;
            }
        }
        if passed >= length {
            return Step::Done;
        }
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
        }
        Step::Move((end - passed).min(self.step_bytes))
    }
}
