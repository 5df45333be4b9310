//! The signs of life of one connection, and the stream that gives them.
//!
//! A connection that sends no head in time, or over which nothing moves, or too little, is ended; so is, when there are
//! too many, the one that has been quiet the longest and is in no request of somebody who was let in. Timers on every
//! read would cost more than the reads: each connection only notes what moved and when, and one watcher looks at all of
//! them every second.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

/// A connection's signs of life.
#[derive(Debug)]
pub(super) struct Pulse {
    clock: Arc<dyn Clock>,
    /// From where; none for a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// When a byte last moved, in milliseconds of the monotonic clock.
    moved_ms: AtomicU64,
    /// Since when the head of a request is awaited, of which something has come; 0 when none is.
    head_since_ms: AtomicU64,
    is_in_request: AtomicBool,
    /// In a request of somebody who was let in.
    is_let_in: AtomicBool,
    /// We are at work, and the client is right to wait.
    is_at_work: AtomicBool,
    /// Bytes in both directions.
    moved_bytes: AtomicU64,
    /// Since when the client's pace is measured, and what had moved by then.
    paced_since_ms: AtomicU64,
    paced_bytes: AtomicU64,
    /// The client was found too slow, and may still be told.
    is_slow: AtomicBool,
    slow: Notify,
    end: Notify,
}

impl Pulse {
    /// A connection that was just accepted: its first head is awaited from now on.
    pub(super) fn new(address: Option<IpAddr>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let pulse = Self {
            clock,
            address,
            moved_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(0),
            is_in_request: AtomicBool::new(false),
            is_let_in: AtomicBool::new(false),
            is_at_work: AtomicBool::new(false),
            moved_bytes: AtomicU64::new(0),
            paced_since_ms: AtomicU64::new(0),
            paced_bytes: AtomicU64::new(0),
            is_slow: AtomicBool::new(false),
            slow: Notify::new(),
            end: Notify::new(),
        };
        let now = pulse.now_ms();
        pulse.moved_ms.store(now, Ordering::Relaxed);
        pulse.head_since_ms.store(now, Ordering::Relaxed);
        Arc::new(pulse)
    }

    /// Never 0, which means never.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn beat(&self, is_read: bool, bytes: usize) {
        let now = self.now_ms();
        self.moved_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved_ms.store(now, Ordering::Relaxed);
        if is_read && !self.is_in_request.load(Ordering::Relaxed) {
            // A failure means that it began earlier.
            let _ = self.head_since_ms.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// From now on the client's pace is measured.
    fn begin_to_pace(&self, now_ms: u64) {
        self.paced_bytes.store(self.moved_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.paced_since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The head has come.
    pub(super) fn begin_request(&self) {
        self.begin_to_pace(self.now_ms());
        self.is_slow.store(false, Ordering::Relaxed);
        self.is_in_request.store(true, Ordering::Relaxed);
        self.head_since_ms.store(0, Ordering::Relaxed);
    }

    /// Whoever asks is somebody.
    pub(super) fn let_in(&self) {
        self.is_let_in.store(true, Ordering::Relaxed);
    }

    /// The answer has been handed over.
    pub(super) fn end_request(&self) {
        self.is_in_request.store(false, Ordering::Relaxed);
        self.is_let_in.store(false, Ordering::Relaxed);
    }

    /// While the guard lives, silence is our doing.
    pub(super) fn at_work(self: &Arc<Self>) -> AtWork {
        self.is_at_work.store(true, Ordering::Relaxed);
        AtWork { pulse: Arc::clone(self) }
    }

    /// Whether nobody may be let in at this connection's cost.
    pub(super) fn is_let_in(&self) -> bool {
        self.is_let_in.load(Ordering::Relaxed)
    }

    /// How long nothing has moved.
    pub(super) fn silent_ms(&self) -> u64 {
        if self.is_at_work.load(Ordering::Relaxed) {
            return 0;
        }
        self.now_ms().saturating_sub(self.moved_ms.load(Ordering::Relaxed))
    }

    /// How long the head of a request has been on its way.
    pub(super) fn head_ms(&self) -> u64 {
        match self.head_since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since => self.now_ms().saturating_sub(since),
        }
    }

    /// Measures the client's pace in a request, once in `window_ms`: the first time less than `bytes_min` moved it is to
    /// be told, and at the next look it is true that it was.
    pub(super) fn is_too_slow(&self, window_ms: u64, bytes_min: u64) -> bool {
        if !self.is_in_request.load(Ordering::Relaxed) || self.is_at_work.load(Ordering::Relaxed) {
            return false;
        }
        if self.is_slow.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.now_ms();
        if now.saturating_sub(self.paced_since_ms.load(Ordering::Relaxed)) < window_ms {
            return false;
        }
        let moved = self.moved_bytes.load(Ordering::Relaxed).saturating_sub(self.paced_bytes.load(Ordering::Relaxed));
        if moved < bytes_min {
            self.is_slow.store(true, Ordering::Relaxed);
            self.slow.notify_one();
        }
        self.begin_to_pace(now);
        false
    }

    /// Waits until the client is to be told that it is too slow.
    pub(super) async fn slowed(&self) {
        // What was meant for a request before this one counts no more.
        while !self.is_slow.load(Ordering::Relaxed) {
            self.slow.notified().await;
        }
    }

    /// Ends the connection.
    pub(super) fn end(&self) {
        self.end.notify_one();
    }

    /// Waits until it is to end.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }
}

/// See [`Pulse::at_work`].
#[derive(Debug)]
pub(super) struct AtWork {
    pulse: Arc<Pulse>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        // The client's time begins now.
        let now = self.pulse.now_ms();
        self.pulse.moved_ms.store(now, Ordering::Relaxed);
        self.pulse.begin_to_pace(now);
        self.pulse.is_at_work.store(false, Ordering::Relaxed);
    }
}

/// A socket of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket whose movements are noted.
#[derive(Debug)]
pub(super) struct Watched {
    socket: Socket,
    pulse: Arc<Pulse>,
}

impl Watched {
    pub(super) fn new(socket: Socket, pulse: Arc<Pulse>) -> Self {
        Self { socket, pulse }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let answer = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
        };
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.pulse.beat(true, read);
        }
        answer
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let answer = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
        };
        if let Poll::Ready(Ok(written @ 1..)) = answer {
            self.pulse.beat(false, written);
        }
        answer
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(context, slices),
        };
        if let Poll::Ready(Ok(written @ 1..)) = answer {
            self.pulse.beat(false, written);
        }
        answer
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(context),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
