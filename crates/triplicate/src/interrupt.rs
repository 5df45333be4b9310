//! Ctrl-C and a polite request to stop: the first asks the operation to end, so that locks are removed; the second
//! ends the process at once.

use std::sync::{Arc, Mutex, PoisonError};

use repository::Cancel;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, code};
use crate::screen::Screen;

/// What is said when somebody asks for the end: what a second time would do depends on what is going on.
#[derive(Debug, Clone)]
pub(crate) struct Notice(Arc<Mutex<&'static str>>);

impl Notice {
    fn new() -> Self {
        let operation = "interrupted: ending the operation; once more ends it at once and may leave locks";
        Self(Arc::new(Mutex::new(operation)))
    }

    /// Says this instead.
    pub(crate) fn set(&self, text: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn text(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens until the runtime ends.
pub(crate) fn listen(runtime: &Handle, cancel: Cancel, screen: Arc<Screen>) -> Result<Notice, Failure> {
    let notice = Notice::new();
    let said = notice.clone();
    let refused = |error: std::io::Error| Failure::failed(format!("cannot listen for signals: {error}"));
    let _entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancel.is_set() {
                end_at_once();
            }
            cancel.set();
            screen.note(said.text());
        }
    });
    Ok(notice)
}

/// The user asked twice: whatever blocks the orderly end must not block this.
#[allow(clippy::disallowed_methods, clippy::exit)]
fn end_at_once() -> ! {
    std::process::exit(i32::from(code::INTERRUPTED))
}
