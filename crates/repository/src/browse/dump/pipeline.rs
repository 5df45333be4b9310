//! Chunks read by several threads and delivered in order.
//!
//! One thread produces the order: entries, and for each chunk a ticket. Readers redeem tickets in any order; the
//! caller's thread takes the pieces one after the other and waits for each. The queue of pieces is bounded, and with it
//! the chunks in memory. Whoever ends first, by an error too, makes the others end: every channel has two ends.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use model::Id;

use super::super::source::Source;
use super::{Entry, Skipped};
use crate::error::{Error, Result};
use crate::threads;

/// Pieces on their way: at about 1 MiB for a chunk, 8 MiB at most, this bounds memory.
const PIECES_MAX: usize = 24;

/// Chunks read at the same time.
const READERS: usize = 8;

/// What comes out, in order.
pub(super) enum Piece {
    /// The next entry begins.
    Entry(Box<Entry>),
    /// Content of the entry that began last.
    Content(Chunk),
    /// Something that does not come.
    Skipped(Skipped),
}

/// A chunk that is being read.
pub(super) struct Chunk(Receiver<Result<Vec<u8>>>);

impl Chunk {
    /// Waits for its bytes.
    pub(super) fn wait(self) -> Result<Vec<u8>> {
        self.0.recv().unwrap_or(Err(Error::Interrupted))
    }
}

struct Ticket {
    id: Id,
    answer: SyncSender<Result<Vec<u8>>>,
}

/// The producing end.
pub(super) struct Producer {
    pieces: SyncSender<Piece>,
    tickets: Sender<Ticket>,
}

impl Producer {
    /// Sends one piece. An error means that nobody waits for more.
    pub(super) fn send(&self, piece: Piece) -> Result<()> {
        self.pieces.send(piece).map_err(|_| Error::Interrupted)
    }

    /// Orders chunks, and sends them in their order.
    pub(super) fn content(&self, chunks: &[Id]) -> Result<()> {
        for id in chunks {
            let (answer, chunk) = sync_channel(1);
            self.send(Piece::Content(Chunk(chunk)))?;
            self.tickets.send(Ticket { id: *id, answer }).map_err(|_| Error::Interrupted)?;
        }
        Ok(())
    }
}

/// Runs `produce` on its own thread and `consume` on this one.
pub(super) fn run(
    source: &dyn Source,
    produce: impl FnOnce(&Producer) -> Result<()> + Send,
    mut consume: impl FnMut(Piece) -> Result<()>,
) -> Result<()> {
    let (pieces, ordered) = sync_channel(PIECES_MAX);
    let (tickets, orders) = channel::<Ticket>();
    let orders = Mutex::new(orders);
    std::thread::scope(|scope| {
        let producer = Producer { pieces, tickets };
        let produced = scope.spawn(move || produce(&producer));
        for _ in 0..READERS {
            scope.spawn(|| serve(source, &orders));
        }
        // The receiver goes at the end of this block, whatever the reason: then the producer ends, and the readers.
        let consumed = { ordered }.into_iter().try_for_each(&mut consume);
        let produced = produced.join().unwrap_or_else(|_| Err(Error::Request("a reading thread failed".to_owned())));
        // A producer that nobody listened to reports an interruption; the listener knows better why.
        consumed.and(produced)
    })
}

fn serve(source: &dyn Source, orders: &Mutex<Receiver<Ticket>>) {
    loop {
        let order = threads::lock(orders).recv();
        let Ok(Ticket { id, answer }) = order else { return };
        // Nobody waits any more: the dump has ended.
        let _ = answer.send(source.data(&id));
    }
}
