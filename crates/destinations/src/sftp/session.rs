//! One SFTP session over any stream: questions go out as they come, answers find whoever asked.
//!
//! Many questions may be under way at one time, from one verb or from several; that is what makes a far server fast.
//! A session that broke stays broken: everybody who waits is told why, and so is everybody who asks later.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use model::FaultKind;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::trouble::{self, Result, Trouble};
use super::wire::{self, Answer, Ask, Attributes, Largest};
use crate::around::progress::Progress;

/// No answer is longer: a server that announces more is none.
const ANSWER_LIMIT_BYTES: u32 = 1 << 20;
/// What every server takes (the protocol promises 34000 for a packet).
const SAFE_REQUEST_BYTES: u32 = 32 << 10;
/// More in one request brings nothing.
const REQUEST_LIMIT_BYTES: u64 = 255 << 10;
/// How many packets wait for the stream at most.
const QUEUE_PACKETS: usize = 16;

/// What keeps the other side alive for as long as the session lives: a connection, a child process.
#[async_trait]
pub(super) trait Lifeline: Send + Sync + std::fmt::Debug {
    /// Why the stream ended, when somebody knows better than the stream.
    async fn why_it_ended(&self) -> Option<Trouble>;
}

/// The streams of one session.
pub(super) struct Pipe {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) lifeline: Arc<dyn Lifeline>,
}

/// A session; dropping it ends it.
#[derive(Debug)]
pub(super) struct Session {
    outgoing: mpsc::Sender<(Bytes, Bytes)>,
    waiting: Arc<Waiting>,
    next_id: AtomicU32,
    extensions: Vec<String>,
    /// The most that is read in one request.
    pub(super) read_bytes: u32,
    /// The most that is written in one request.
    pub(super) write_bytes: u32,
    tasks: [JoinHandle<()>; 2],
}

/// Who waits for an answer, by the number of the question; and why nobody will get one any more.
#[derive(Debug, Default)]
struct Waiting(Mutex<Waiters>);

type Waiters = (HashMap<u32, oneshot::Sender<Answer>>, Option<Trouble>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, why: Trouble) {
        let mut waiting = self.lock();
        waiting.1.get_or_insert(why);
        // Whoever waits sees his sender go.
        waiting.0.clear();
    }
}

impl Session {
    /// Greets the server at the other end of `pipe`.
    pub(super) async fn start(mut pipe: Pipe) -> Result<Self> {
        let greeted = async {
            pipe.writer.write_all(&wire::init()).await?;
            pipe.writer.flush().await?;
            read_packet(&mut pipe.reader).await
        };
        let greeting = match greeted.await {
            Ok(greeting) => greeting,
            Err(error) => return Err(why_it_ended(pipe.lifeline.as_ref(), &error).await),
        };
        let extensions = wire::parse_version(greeting).map_err(Trouble::protocol)?;
        let waiting = Arc::new(Waiting::default());
        let (outgoing, queue) = mpsc::channel(QUEUE_PACKETS);
        let tasks = [
            tokio::spawn(send_all(pipe.writer, queue, Arc::clone(&waiting), Arc::clone(&pipe.lifeline))),
            tokio::spawn(receive_all(pipe.reader, Arc::clone(&waiting), Arc::clone(&pipe.lifeline))),
        ];
        let mut session = Self {
            outgoing,
            waiting,
            next_id: AtomicU32::new(0),
            extensions,
            read_bytes: SAFE_REQUEST_BYTES,
            write_bytes: SAFE_REQUEST_BYTES,
            tasks,
        };
        if session.offers(wire::LIMITS) {
            let largest = session.limits().await?;
            let at_most = |bytes: u64| bytes.clamp(1, REQUEST_LIMIT_BYTES) as u32;
            (session.read_bytes, session.write_bytes) = (at_most(largest.read_bytes), at_most(largest.write_bytes));
        }
        Ok(session)
    }

    /// Whether the server has this extension.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|offered| offered == extension)
    }

    /// Whether nothing can be asked any more.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.lock().1.is_some()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer> {
        self.ask_with(ask, Bytes::new()).await
    }

    /// As [`Session::ask`], with bytes behind the packet.
    pub(super) async fn ask_with(&self, ask: Ask<'_>, behind: Bytes) -> Result<Answer> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if let Some(why) = &waiting.1 {
                return Err(why.clone());
            }
            waiting.0.insert(id, sender);
        }
        let progress = Progress::current();
        // A queue that is full may stay so for ever when the connection broke; whoever waits for answers hears of that.
        let mut answer = answer;
        let sending = self.outgoing.send((ask.encode(id), behind));
        let early = tokio::select! {
            biased;
            early = &mut answer => Some(early),
            _ = sending => None,
        };
        let answer = match early {
            Some(early) => early,
            None => answer.await,
        };
        match answer {
            Ok(answer) => {
                progress.note();
                Ok(answer)
            }
            Err(_) => {
                let why = self.waiting.lock().1.clone();
                Err(why.unwrap_or_else(|| Trouble::unreachable("the connection was given up")))
            }
        }
    }

    /// Asks for something that is done or not.
    pub(super) async fn done(&self, ask: Ask<'_>) -> Result<()> {
        match self.ask(ask).await? {
            Answer::Status { code, message } => trouble::of_status(code, &message),
            _ => Err(Trouble::protocol("another answer than a status")),
        }
    }

    /// Opens a file or folder. It is closed when the handle goes.
    pub(super) async fn open(self: &Arc<Self>, ask: Ask<'_>) -> Result<Handle> {
        match self.ask(ask).await? {
            Answer::Handle(handle) => Ok(Handle { session: Arc::clone(self), handle, is_open: true }),
            other => Err(refused(other, "another answer than a handle")),
        }
    }

    /// Asks what is known of a file.
    pub(super) async fn attributes(&self, ask: Ask<'_>) -> Result<Attributes> {
        match self.ask(ask).await? {
            Answer::Attributes(attributes) => Ok(attributes),
            other => Err(refused(other, "another answer than attributes")),
        }
    }

    async fn limits(&self) -> Result<Largest> {
        match self.ask(Ask::Limits).await? {
            Answer::Extended(reply) => wire::parse_limits(reply).map_err(Trouble::protocol),
            // Offered and not given: the safe sizes stay.
            _ => Ok(Largest { read_bytes: SAFE_REQUEST_BYTES.into(), write_bytes: SAFE_REQUEST_BYTES.into() }),
        }
    }

    fn forget(&self, ask: Ask<'_>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // The answer finds nobody.
        let Err(mpsc::error::TrySendError::Full(packet)) = self.outgoing.try_send((ask.encode(id), Bytes::new()))
        else {
            return;
        };
        // Outside of a runtime, the end of the session will do.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let outgoing = self.outgoing.clone();
            runtime.spawn(async move { outgoing.send(packet).await });
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The trouble in an answer of a kind that was not asked for.
pub(super) fn refused(answer: Answer, what: &'static str) -> Trouble {
    match answer {
        Answer::Status { code, message } => match trouble::of_status(code, &message) {
            Err(trouble) => trouble,
            Ok(()) => Trouble::protocol(what),
        },
        _ => Trouble::protocol(what),
    }
}

/// An open file or folder.
#[derive(Debug)]
pub(super) struct Handle {
    session: Arc<Session>,
    handle: Bytes,
    is_open: bool,
}

impl Handle {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// What the server calls it.
    pub(super) fn name(&self) -> &Bytes {
        &self.handle
    }

    /// Closes it and waits for the server's word: a write is no success before.
    pub(super) async fn close(mut self) -> Result<()> {
        self.is_open = false;
        self.session.done(Ask::Close(&self.handle)).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_open {
            self.session.forget(Ask::Close(&self.handle));
        }
    }
}

async fn send_all(
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
    mut queue: mpsc::Receiver<(Bytes, Bytes)>,
    waiting: Arc<Waiting>,
    lifeline: Arc<dyn Lifeline>,
) {
    while let Some((packet, behind)) = queue.recv().await {
        let sent = async {
            writer.write_all(&packet).await?;
            if !behind.is_empty() {
                writer.write_all(&behind).await?;
            }
            if queue.is_empty() { writer.flush().await } else { Ok(()) }
        };
        if let Err(error) = sent.await {
            return waiting.end(why_it_ended(lifeline.as_ref(), &error).await);
        }
    }
}

async fn receive_all(
    mut reader: Box<dyn AsyncRead + Send + Unpin>,
    waiting: Arc<Waiting>,
    lifeline: Arc<dyn Lifeline>,
) {
    let why = loop {
        let packet = match read_packet(&mut reader).await {
            Ok(packet) => packet,
            Err(error) => break why_it_ended(lifeline.as_ref(), &error).await,
        };
        match wire::parse_answer(packet) {
            Ok((id, answer)) => {
                let waiter = waiting.lock().0.remove(&id);
                // One that was given up leaves nobody to hear it.
                let _ = waiter.map(|waiter| waiter.send(answer));
            }
            Err(malformed) => break Trouble::protocol(malformed),
        }
    };
    waiting.end(why);
}

async fn read_packet(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let length = reader.read_u32().await?;
    if ANSWER_LIMIT_BYTES < length {
        // What a shell prints at login lands here, where a length is expected.
        let cause = "the server sent something that is no SFTP; does its shell print something at login?";
        return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
    }
    let mut packet = BytesMut::zeroed(length as usize);
    reader.read_exact(&mut packet).await?;
    Ok(packet.freeze())
}

async fn why_it_ended(lifeline: &dyn Lifeline, error: &io::Error) -> Trouble {
    if let Some(trouble) = lifeline.why_it_ended().await {
        return trouble;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Trouble::unreachable("the connection was closed"),
        io::ErrorKind::InvalidData => Trouble::new(FaultKind::Refused, error.to_string()),
        _ => Trouble::unreachable(error.to_string()),
    }
}
