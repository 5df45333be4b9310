//! Writing to every copy at once, each at its own pace.
//!
//! Each copy has its own task and its own queue, in the order in which files were handed over. Packs are written
//! several at a time; an index or a snapshot is a barrier: it is written when everything before it has been
//! acknowledged by that copy (invariant 1, and "Read and Write Ordering" of restic's design).
//!
//! A copy whose queue is full does not stop the others: the file is *deferred* for this copy, which later fetches it
//! from a copy that has acknowledged it, checks it against its name, and writes it. The same path brings a copy up to
//! date that was away: what it lacks is deferred from the start. So memory is bounded by the queues, and a slow copy
//! costs one more read of a fast one instead of everybody's time (invariants 8 and 9).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use destinations::{Destination, Span};
use format::{BlobKind, FileKind, FileName, PackedBlob};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::{Fault, FaultKind, Retry, Verdict};
use tokio::sync::{Notify, mpsc};

use super::CopySet;
use crate::error::{Error, Result};
use crate::locks::Fence;
use crate::observer::Cancel;

/// Packs written to one copy at the same time.
const WRITES_AT_ONCE: usize = 4;

/// How often a blocked producer looks whether it should stop.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// How one copy came out of an operation that wrote to it.
#[derive(Debug, Clone)]
pub struct CopyOutcome {
    /// The place, without secrets.
    pub copy: String,
    /// `ok`, or `failed`: this copy is behind.
    pub verdict: Verdict,
    /// Why the copy was given up.
    pub fault: Option<Fault>,
    /// Files written and acknowledged.
    pub files_written: u64,
    /// Bytes of these.
    pub bytes_written: u64,
}

enum Job {
    /// Write these bytes.
    Put(Parcel, Bytes),
    /// Fetch the file from another copy, then write it.
    Fetch(Parcel),
}

/// A file on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel {
    pub(crate) name: FileName,
    /// A pack without listings, which a place may keep where reading is slow.
    pub(crate) is_data: bool,
}

impl Parcel {
    fn is_pack(self) -> bool {
        self.name.kind() == FileKind::Pack
    }
}

impl From<FileName> for Parcel {
    fn from(name: FileName) -> Self {
        Self { name, is_data: false }
    }
}

/// Where a copy's queue stands. `copies` runs parallel to `CopySet::all`.
struct Board {
    copies: Vec<Lane>,
    /// Who has, and who is about to have, a file that some copy needs to fetch.
    standings: HashMap<FileName, Standing>,
}

/// Copies as bits by their number.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// Copies that have the bytes in their queue. A copy that only waits to fetch is not promised, or two copies could
    /// wait for each other.
    promised: u64,
    /// Copies that have acknowledged the file.
    acknowledged: u64,
}

#[derive(Clone, Default)]
struct Lane {
    open: bool,
    /// Bytes that may wait before files are deferred.
    queue_bytes_max: usize,
    /// False for a copy that does not answer: each file that is asked of it would cost the whole time of its retries.
    readable: bool,
    queued_bytes: usize,
    files_written: u64,
    bytes_written: u64,
    fault: Option<Fault>,
}

struct Shared {
    board: Mutex<Board>,
    room: Condvar,
    acknowledged: Notify,
    destinations: Vec<Arc<dyn Destination>>,
    fence: Fence,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends copy `number`'s part, and wakes whoever waits for room there or for what it was going to write.
    fn close(&self, number: usize, fault: Option<Fault>) {
        let mut board = self.board();
        let lane = &mut board.copies[number];
        lane.open = false;
        lane.queued_bytes = 0;
        lane.readable &= fault.as_ref().is_none_or(|fault| fault.retry() != Retry::Now);
        lane.fault = fault;
        drop(board);
        self.room.notify_all();
        self.acknowledged.notify_waiters();
    }
}

/// The writing end of a copy set.
pub struct FanOut<'a> {
    copies: &'a CopySet,
    cancel: Cancel,
    shared: Arc<Shared>,
    lanes: Vec<Option<(mpsc::UnboundedSender<Job>, tokio::task::JoinHandle<()>)>>,
}

impl<'a> FanOut<'a> {
    /// Starts a queue for each live copy. At most 64 copies. Past the `fence` of our locks goes no index and no snapshot.
    pub fn start(copies: &'a CopySet, cancel: &Cancel, fence: Fence) -> Result<Self> {
        if copies.all().len() > 64 {
            return Err(Error::Request("a repository can have 64 copies at most".to_owned()));
        }
        let open = |copy: &super::Copy| Lane {
            open: copy.is_live(),
            queue_bytes_max: copies.queue_bytes(),
            readable: copy.is_live(),
            fault: copy.lost().cloned(),
            ..Lane::default()
        };
        let board = Board { copies: copies.all().iter().map(open).collect(), standings: HashMap::new() };
        let shared = Arc::new(Shared {
            board: Mutex::new(board),
            room: Condvar::new(),
            acknowledged: Notify::new(),
            destinations: copies.all().iter().map(|copy| copy.destination().clone()).collect(),
            fence,
        });
        let lane = |(number, copy): (usize, &super::Copy)| {
            copy.is_live().then(|| {
                let (sender, jobs) = mpsc::unbounded_channel();
                let writer = Writer { number, shared: shared.clone(), deferred: VecDeque::new(), silent: 0 };
                (sender, copies.runtime().spawn(writer.run(jobs)))
            })
        };
        let lanes = copies.all().iter().enumerate().map(lane).collect();
        Ok(Self { copies, cancel: cancel.clone(), shared, lanes })
    }

    /// Hands a finished pack that holds `blobs` to every copy. Blocks while no copy has room; fails when no copy is left.
    pub fn pack(&self, id: model::Id, blobs: &[PackedBlob], bytes: Bytes) -> Result<()> {
        let is_data = blobs.iter().all(|blob| blob.kind == BlobKind::Data);
        self.hand_over(Parcel { name: FileName::pack(id), is_data }, bytes)
    }

    /// Hands over a file that is no pack. Indexes and snapshots wait, on each copy, for all that was handed over before.
    pub fn put(&self, name: FileName, bytes: Bytes) -> Result<()> {
        self.hand_over(name.into(), bytes)
    }

    fn hand_over(&self, parcel: Parcel, bytes: Bytes) -> Result<()> {
        let mut board = self.shared.board();
        loop {
            self.cancel.check()?;
            if !board.copies.iter().any(|lane| lane.open) {
                return Err(self.none_left(&board));
            }
            if board.copies.iter().any(|lane| lane.has_room(bytes.len())) {
                break;
            }
            board = match self.shared.room.wait_timeout(board, CANCEL_POLL) {
                Ok((board, _)) => board,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        let (mut promised, mut someone_must_fetch) = (0, false);
        for (number, lane) in board.copies.iter().enumerate().filter(|(_, lane)| lane.open) {
            match lane.has_room(bytes.len()) {
                true => promised |= 1 << number,
                false => someone_must_fetch = true,
            }
        }
        if someone_must_fetch {
            board.standings.insert(parcel.name, Standing { promised, acknowledged: 0 });
        }
        for (lane, sender) in board.copies.iter_mut().zip(&self.lanes) {
            let Some((sender, _)) = sender.as_ref().filter(|_| lane.open) else { continue };
            let job = if lane.has_room(bytes.len()) {
                lane.queued_bytes += bytes.len();
                Job::Put(parcel, bytes.clone())
            } else {
                Job::Fetch(parcel)
            };
            // A writer that has ended has closed its lane first, so nobody waits for what is dropped here.
            let _ = sender.send(job);
        }
        Ok(())
    }

    /// True while even the fastest copy has much left to write: then the way to the copies is what everything waits for,
    /// and not the processor.
    pub fn is_pressed(&self) -> bool {
        let board = self.shared.board();
        let queued = board.copies.iter().filter(|lane| lane.open).map(|lane| lane.queued_bytes).min();
        // Packs come in pairs: two that have just been handed over are no queue.
        queued.is_some_and(|bytes| bytes >= self.copies.queue_bytes() / 4 * 3)
    }

    /// Tells copy `number` to fetch a file that other copies have, in the order of its queue.
    pub(crate) fn fetch(&self, number: usize, parcel: Parcel, sources: u64) {
        let mut board = self.shared.board();
        board.standings.entry(parcel.name).or_default().acknowledged |= sources;
        if let Some((sender, _)) = &self.lanes[number] {
            let _ = sender.send(Job::Fetch(parcel));
        }
    }

    /// Waits until every copy has written all, and says how each came out. A copy that failed is lost in the set.
    pub fn finish(mut self) -> Vec<CopyOutcome> {
        for (sender, writer) in std::mem::take(&mut self.lanes).into_iter().flatten() {
            drop(sender);
            self.wait_for(writer);
        }
        let board = self.shared.board();
        let outcome = |(number, (lane, copy)): (usize, (&Lane, &super::Copy))| {
            let fault = lane.fault.clone();
            if let Some(fault) = &fault {
                self.copies.lose(number, fault.clone());
            }
            CopyOutcome {
                copy: copy.place().to_owned(),
                verdict: if fault.is_some() { Verdict::Failed } else { Verdict::Ok },
                fault,
                files_written: lane.files_written,
                bytes_written: lane.bytes_written,
            }
        };
        board.copies.iter().zip(self.copies.all()).enumerate().map(outcome).collect()
    }

    /// Waits for one writer, and ends it at once when the user wants to stop.
    fn wait_for(&self, writer: tokio::task::JoinHandle<()>) {
        let mut writer = writer;
        self.copies.wait(async {
            loop {
                if self.cancel.is_set() {
                    writer.abort();
                }
                if tokio::time::timeout(CANCEL_POLL, &mut writer).await.is_ok() {
                    return;
                }
            }
        });
    }

    fn none_left(&self, board: &Board) -> Error {
        let mut faults: Vec<Fault> = board.copies.iter().filter_map(|lane| lane.fault.clone()).collect();
        if faults.len() == 1 { Error::Destination(faults.remove(0)) } else { Error::NoCopyLeft(faults) }
    }
}

impl Drop for FanOut<'_> {
    /// An operation that ends early leaves no writer behind.
    fn drop(&mut self) {
        for (_, writer) in self.lanes.iter().flatten() {
            writer.abort();
        }
    }
}

impl Lane {
    fn has_room(&self, bytes: usize) -> bool {
        self.open && (self.queued_bytes == 0 || self.queued_bytes + bytes <= self.queue_bytes_max)
    }
}

/// The task that writes to one copy.
struct Writer {
    number: usize,
    shared: Arc<Shared>,
    /// Packs to be fetched from another copy before the next barrier.
    deferred: VecDeque<Parcel>,
    /// Copies that did not answer this writer, as bits; they are not asked again.
    silent: u64,
}

impl Drop for Writer {
    /// A writer that is stopped in the middle, or that panics, must not leave others waiting for what it promised.
    fn drop(&mut self) {
        if self.shared.board().copies[self.number].open {
            let place = self.shared.destinations[self.number].place();
            let fault = Fault::new(FaultKind::Interrupted, "write to", "", place, "stopped before the end");
            self.shared.close(self.number, Some(fault));
        }
    }
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let fault = self.write_all(&mut jobs).await.err();
        self.shared.close(self.number, fault);
    }

    async fn write_all(&mut self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Result<(), Fault> {
        let mut writing = FuturesUnordered::new();
        loop {
            let job = tokio::select! {
                biased;
                Some(written) = writing.next() => { self.settle(written)?; continue }
                job = jobs.recv(), if writing.len() < WRITES_AT_ONCE => job,
            };
            match job {
                Some(Job::Put(parcel, bytes)) if parcel.is_pack() => writing.push(self.write(parcel, bytes)),
                Some(Job::Fetch(parcel)) if parcel.is_pack() => self.deferred.push_back(parcel),
                other => {
                    while let Some(written) = writing.next().await {
                        self.settle(written)?;
                    }
                    self.fetch_deferred().await?;
                    if other.is_some() {
                        self.shared.fence.confirm(self.number).await?;
                    }
                    match other {
                        Some(Job::Put(parcel, bytes)) => self.settle(self.write(parcel, bytes).await)?,
                        Some(Job::Fetch(parcel)) => self.fetch_one(parcel).await?,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    fn write(&self, parcel: Parcel, bytes: Bytes) -> impl Future<Output = Result<(FileName, usize), Fault>> + use<> {
        let destination = self.shared.destinations[self.number].clone();
        async move {
            let (Parcel { name, is_data }, length) = (parcel, bytes.len());
            let written = if is_data { destination.write_data(name, bytes) } else { destination.write(name, bytes) };
            written.await.map(|()| (name, length))
        }
    }

    /// Books an acknowledged file and makes room for the next.
    fn settle(&self, written: Result<(FileName, usize), Fault>) -> Result<(), Fault> {
        let (name, length) = written?;
        let mut board = self.shared.board();
        let lane = &mut board.copies[self.number];
        lane.queued_bytes = lane.queued_bytes.saturating_sub(length);
        lane.files_written += 1;
        lane.bytes_written += length as u64;
        if let Some(standing) = board.standings.get_mut(&name) {
            standing.acknowledged |= 1 << self.number;
        }
        drop(board);
        self.shared.room.notify_all();
        self.shared.acknowledged.notify_waiters();
        Ok(())
    }

    async fn fetch_deferred(&mut self) -> Result<(), Fault> {
        while let Some(parcel) = self.deferred.pop_front() {
            self.fetch_one(parcel).await?;
        }
        Ok(())
    }

    /// Takes a file from a copy that has acknowledged it, checks it against its name, and writes it here.
    async fn fetch_one(&mut self, parcel: Parcel) -> Result<(), Fault> {
        let bytes = self.fetch_sound(parcel.name).await?;
        let written = self.write(parcel, bytes).await;
        let (name, length) = written?;
        // The bytes were never in this copy's queue: book them without giving room back.
        self.shared.board().copies[self.number].queued_bytes += length;
        self.settle(Ok((name, length)))
    }

    async fn fetch_sound(&mut self, name: FileName) -> Result<Bytes, Fault> {
        let mut refused = self.silent;
        let mut last: Option<Fault> = None;
        loop {
            let changed = self.shared.acknowledged.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (holders, someone_may_come) = self.holders(name, refused);
            for number in holders {
                let source = self.shared.destinations[number].clone();
                match source.read(name, Span::Whole).await {
                    Ok(bytes) if name.id().is_none_or(|id| format::hash(&bytes) == id) => return Ok(bytes),
                    Ok(_) => last = Some(self.unfetched(name, source.place(), "its bytes do not match its name")),
                    Err(fault) => {
                        if fault.retry() == Retry::Now {
                            self.silent |= 1 << number;
                        }
                        last = Some(fault);
                    }
                }
                refused |= 1 << number;
            }
            if !someone_may_come {
                return Err(last.unwrap_or_else(|| self.unfetched(name, "the other copies", "none of them has it")));
            }
            changed.await;
        }
    }

    fn unfetched(&self, name: FileName, from: &str, why: &str) -> Fault {
        let place = self.shared.destinations[self.number].place();
        Fault::new(FaultKind::Damaged, "catch up", name.path(), place, format!("fetching it from {from}: {why}"))
    }

    /// The copies to fetch from now, and whether another one may still acknowledge the file.
    fn holders(&self, name: FileName, refused: u64) -> (Vec<usize>, bool) {
        let board = self.shared.board();
        let standing = board.standings.get(&name).copied().unwrap_or_default();
        let others = (0..board.copies.len()).filter(|&number| number != self.number && refused & (1 << number) == 0);
        let (now, later): (Vec<usize>, Vec<usize>) =
            others.partition(|number| standing.acknowledged & (1 << number) != 0 && board.copies[*number].readable);
        let is_coming = |number: usize| standing.promised & (1 << number) != 0 && board.copies[number].open;
        let someone_may_come = later.into_iter().any(is_coming);
        (now, someone_may_come)
    }
}
