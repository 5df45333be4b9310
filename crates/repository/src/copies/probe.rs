//! Trying a place: may we list, write, read back and remove there, and how fast is it?
//!
//! What is written is a pack of random bytes that no index names: every tool takes such a file for the left-over of a
//! broken run. A place that lets nobody remove is no mistake (append-only is what a client should have): the file then
//! stays until a prune with a maintenance credential.

use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use destinations::{Destination, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};
use tokio::runtime::Handle;

/// Enough to see a line's speed, little enough to stay behind on a place that is append-only.
const SAMPLE_BYTES: usize = 1 << 20;

/// What was seen.
#[derive(Debug, Clone)]
pub struct Probe {
    /// How long the shortest question took.
    pub latency: Duration,
    /// Files of all kinds that the place lists.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes in a second while the sample was written.
    pub upload_bytes_per_second: u64,
    /// Bytes in a second while it was read back.
    pub download_bytes_per_second: u64,
    /// False where nothing can be removed: the place is append-only for this credential.
    pub can_remove: bool,
}

/// What the place does not let us do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {fault}", lack.word())]
pub struct ProbeFailure {
    /// Which permission is missing, where it is that.
    pub lack: Lack,
    /// What it said.
    pub fault: Fault,
}

/// Why a probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Files cannot be listed or read.
    Reading,
    /// Files cannot be written.
    Writing,
    /// Something else than a permission.
    Other,
}

impl Lack {
    /// The word for programs: `no_read_permission`, `no_write_permission`, `probe_failed`.
    pub fn word(self) -> &'static str {
        match self {
            Lack::Reading => "no_read_permission",
            Lack::Writing => "no_write_permission",
            Lack::Other => "probe_failed",
        }
    }

    fn of(self, fault: Fault) -> ProbeFailure {
        let lack = if is_permission(&fault) { self } else { Lack::Other };
        ProbeFailure { lack, fault }
    }
}

fn is_permission(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Denied | FaultKind::Refused)
}

/// Tries `place`, which holds a copy.
///
/// # Errors
/// With the permission that is missing, or with what else went wrong; then nothing of ours is left, as far as the place
/// lets us.
pub fn probe(place: &dyn Destination, runtime: &Handle, clock: &dyn Clock) -> Result<Probe, ProbeFailure> {
    runtime.block_on(try_out(place, clock))
}

async fn try_out(place: &dyn Destination, clock: &dyn Clock) -> Result<Probe, ProbeFailure> {
    let began = clock.monotonic();
    place.stat(FileName::CONFIG).await.map_err(|fault| Lack::Reading.of(fault))?;
    let latency = clock.monotonic().saturating_sub(began);
    let (mut files, mut bytes) = (0, 0);
    for kind in FileKind::NAMED {
        let listed = place.list(kind).await.map_err(|fault| Lack::Reading.of(fault))?;
        files += listed.len() as u64;
        bytes += listed.iter().map(|listed| listed.size).sum::<u64>();
    }
    let sample =
        sample().map_err(|why| Lack::Other.of(Fault::new(FaultKind::Misconfigured, "try", "", place.place(), why)))?;
    let name = FileName::pack(format::hash(&sample));
    let began = clock.monotonic();
    place.write(name, sample.clone()).await.map_err(|fault| Lack::Writing.of(fault))?;
    let upload = clock.monotonic().saturating_sub(began);
    let began = clock.monotonic();
    let read = place.read(name, Span::Whole).await;
    let download = clock.monotonic().saturating_sub(began);
    // Whatever was read: what was written goes, where it may.
    let can_remove = match place.remove(name).await {
        Ok(()) => true,
        Err(fault) if is_permission(&fault) => false,
        Err(fault) => return Err(Lack::Other.of(fault)),
    };
    let read = read.map_err(|fault| Lack::Reading.of(fault))?;
    if read != sample {
        let why = "what was read back is not what was written";
        return Err(Lack::Other.of(Fault::new(FaultKind::Damaged, "read", name.path(), place.place(), why)));
    }
    Ok(Probe {
        latency,
        files,
        bytes,
        upload_bytes_per_second: rate(upload),
        download_bytes_per_second: rate(download),
        can_remove,
    })
}

/// Random, so that two probes never meet in one name and no place can know the bytes already.
fn sample() -> Result<Bytes, String> {
    let mut bytes = vec![0; SAMPLE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(Bytes::from(bytes))
}

fn rate(time: Duration) -> u64 {
    let nanoseconds = time.as_nanos().max(1);
    u64::try_from(SAMPLE_BYTES as u128 * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX)
}
