//! How encrypted bytes are taken from a socket: in few large pieces.
//!
//! TLS asks a socket for 4 KiB at a time and hands on one record, 16 KiB at most. [`Ahead`] reads for it as much as has
//! come, and [`Whole`] asks it for as many records as the reader has room for.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::budget::{Budget, Portion};

/// What is read ahead at once: four records. More is not cheaper, for then it leaves the processor's cache before it is used.
const AHEAD_BYTES: usize = 64 << 10;
/// Buffers that nobody uses and that are kept for the next.
const SPARES_MAX: usize = 16;

/// Memory for reading ahead, shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct Spares {
    budget: Budget,
    kept: Arc<Mutex<Vec<BytesMut>>>,
}

impl Spares {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, kept: Arc::default() }
    }

    /// A buffer, if the budget has one left.
    fn take(&self) -> Option<Buffer> {
        let portion = self.budget.take(AHEAD_BYTES)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| BytesMut::with_capacity(AHEAD_BYTES));
        Some(Buffer { bytes, from: 0, _portion: portion })
    }

    fn give_back(&self, buffer: Buffer) {
        let mut bytes = buffer.bytes;
        bytes.clear();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SPARES_MAX {
            kept.push(bytes);
        }
    }
}

/// What was read and not asked for yet: from `from` on.
#[derive(Debug)]
struct Buffer {
    bytes: BytesMut,
    from: usize,
    _portion: Portion,
}

/// A stream of which more is read than was asked for. It holds memory only while something is in it.
#[derive(Debug)]
pub(super) struct Ahead<S> {
    inner: S,
    spares: Spares,
    buffer: Option<Buffer>,
}

impl<S> Ahead<S> {
    pub(super) fn new(inner: S, spares: Spares) -> Self {
        Self { inner, spares, buffer: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(mut buffer) = this.buffer.take().or_else(|| this.spares.take()) else {
            return Pin::new(&mut this.inner).poll_read(context, out);
        };
        if buffer.bytes.is_empty() {
            // The future holds nothing but its borrows: to drop it is to stop asking.
            match pin!(this.inner.read_buf(&mut buffer.bytes)).poll(context) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(read) => {
                    this.spares.give_back(buffer);
                    return Poll::Ready(read.map(|_| ()));
                }
                Poll::Pending => {
                    this.spares.give_back(buffer);
                    return Poll::Pending;
                }
            }
        }
        let there = buffer.bytes.get(buffer.from..).unwrap_or_default();
        let taken = there.len().min(out.remaining());
        out.put_slice(there.get(..taken).unwrap_or_default());
        buffer.from += taken;
        if buffer.from < buffer.bytes.len() {
            this.buffer = Some(buffer);
        } else {
            this.spares.give_back(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

/// A stream that is asked until nothing more is there or no more fits.
#[derive(Debug)]
pub(super) struct Whole<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Whole<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        while out.remaining() > 0 {
            let so_far = out.filled().len();
            let answer = Pin::new(&mut self.0).poll_read(context, out);
            if out.filled().len() == so_far {
                // What came before it is told first; an end and an error are told again.
                return if so_far > before { Poll::Ready(Ok(())) } else { answer };
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writing goes straight through.
macro_rules! write_through {
    ($stream:ident, $inner:tt) => {
        impl<S: AsyncWrite + Unpin> AsyncWrite for $stream<S> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$inner).poll_write(context, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$inner).poll_write_vectored(context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.$inner.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$inner).poll_flush(context)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$inner).poll_shutdown(context)
            }
        }
    };
}

write_through!(Ahead, inner);
write_through!(Whole, 0);

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use tokio::io::AsyncWriteExt;

    fn spares() -> Spares {
        Spares::new(Budget::new())
    }

    fn kept(spares: &Spares) -> usize {
        spares.kept.lock().unwrap().len()
    }

    #[tokio::test]
    async fn what_is_read_ahead_is_handed_on_whole_and_holds_no_memory_afterwards() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let spares = spares();
        let mut ahead = Ahead::new(server, spares.clone());
        let sent: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        client.write_all(&sent).await.unwrap();
        let mut got = vec![0; sent.len()];
        ahead.read_exact(&mut got[..4096]).await.unwrap();
        assert!(ahead.buffer.is_some() && kept(&spares) == 0);
        for piece in got[4096..].chunks_mut(4096) {
            ahead.read_exact(piece).await.unwrap();
        }
        assert!(got == sent && ahead.buffer.is_none());
        assert!(ahead.read(&mut [0; 9]).now_or_never().is_none());
        assert!(ahead.buffer.is_none() && kept(&spares) == 1);
        client.write_all(b"more").await.unwrap();
        drop(client);
        let mut rest = Vec::new();
        ahead.read_to_end(&mut rest).await.unwrap();
        assert!(rest == b"more" && kept(&spares) == 1);
    }

    #[tokio::test]
    async fn without_budget_nothing_is_read_ahead_and_everything_comes() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let spares = spares();
        let _all: Vec<Portion> = std::iter::from_fn(|| spares.budget.take(AHEAD_BYTES)).collect();
        let mut ahead = Ahead::new(server, spares);
        client.write_all(&[7; 10_000]).await.unwrap();
        let mut got = vec![0; 10_000];
        ahead.read_exact(&mut got[..10]).await.unwrap();
        assert!(ahead.buffer.is_none());
        ahead.read_exact(&mut got[10..]).await.unwrap();
        assert!(got == [7; 10_000]);
    }

    /// Gives so many bytes at a time.
    struct Sips<S>(S, usize);

    impl<S: AsyncRead + Unpin> AsyncRead for Sips<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let most = self.1;
            let mut sip = out.take(most);
            let answer = Pin::new(&mut self.0).poll_read(context, &mut sip);
            let read = sip.filled().len();
            out.advance(read);
            answer
        }
    }

    #[tokio::test]
    async fn small_records_are_handed_on_together_and_none_is_waited_for() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut whole = Whole(Sips(server, 100));
        client.write_all(&[1; 1050]).await.unwrap();
        let mut room = [0; 4096];
        assert_eq!(whole.read(&mut room[..500]).await.unwrap(), 500);
        assert_eq!(whole.read(&mut room).await.unwrap(), 550);
        assert!(whole.read(&mut room).now_or_never().is_none());
        client.write_all(&[2; 10]).await.unwrap();
        drop(client);
        assert_eq!(whole.read(&mut room).await.unwrap(), 10);
        assert_eq!(whole.read(&mut room).await.unwrap(), 0);
    }
}
