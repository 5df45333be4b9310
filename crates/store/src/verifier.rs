//! Verifying on a schedule, while a server runs: each repository once in so many days, at a pace that leaves the disk
//! to its clients. What has come how far stands in the state, so that a restart begins nothing anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::StoreError;
use crate::state::State;
use crate::vault::Vault;
use crate::verify::{Verified, VerifyOptions, verify};

/// How often there is a look for what is due.
const LOOK_INTERVAL_SECONDS: u64 = 15 * 60;

/// The thread that verifies. It ends, after the file that it reads, when this is dropped.
#[derive(Debug)]
pub struct Verifier {
    look: Option<Sender<()>>,
    is_to_stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Verifier {
    /// Starts to verify every repository whose last pass is older than `every`, now and whenever one is due. `tell`
    /// hears the outcome of each look.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        state: Arc<State>,
        vault: Vault,
        every: Duration,
        bytes_per_second: Option<u64>,
        tell: impl Fn(Result<Verified, StoreError>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (look, asked) = channel();
        let is_to_stop = Arc::new(AtomicBool::new(false));
        let stopping = is_to_stop.clone();
        let work = move || {
            let is_to_stop = || stopping.load(Ordering::Relaxed);
            loop {
                let due_before = Some(state.now().saturating_sub(every).unwrap_or(Timestamp::MIN));
                let options = VerifyOptions { account: None, due_before, bytes_per_second, is_to_stop: &is_to_stop };
                tell(verify(&state, &vault, &options));
                match asked.recv_timeout(Duration::from_secs(LOOK_INTERVAL_SECONDS)) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("verifier".to_owned()).spawn(work);
        let thread = thread.map_err(|error| StoreError::setting(format!("cannot start to verify: {error}")))?;
        Ok(Self { look: Some(look), is_to_stop, thread: Some(thread) })
    }

    /// Looks for what is due now instead of later.
    pub fn look(&self) {
        if let Some(look) = &self.look {
            // A thread that is gone has nobody to be told.
            let _ = look.send(());
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.is_to_stop.store(true, Ordering::Relaxed);
        drop(self.look.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has marked nothing; the next pass goes on from its last note.
            let _ = thread.join();
        }
    }
}
