//! Watching an operation: progress bars on a terminal, plain lines now and then in a pipe, JSON lines on request, and
//! a line for each thing that goes wrong.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use repository::{Action, Damage, Event, Observer, Progress};

use crate::environment;
use crate::figures;
use crate::json;
use crate::screen::Screen;

/// Between two redraws of a bar; restic's `RESTIC_PROGRESS_FPS` overrides it.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two JSON status lines.
const JSON_STATUS: Duration = Duration::from_millis(500);
/// Between two plain lines in a pipe.
const PLAIN_LINE: Duration = Duration::from_secs(5);

/// Damaged files that are remembered, so that each is told of once.
const TOLD_MAX: usize = 100_000;

/// What is being watched; it decides words and JSON names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Backup,
    Restore,
    Check,
    Sync,
    Prune,
    /// Reading without an end that could be foreseen.
    Browse,
}

/// The observer of one command.
pub(crate) struct Watch {
    task: Task,
    progress: Progress,
    screen: Arc<Screen>,
    clock: Arc<dyn Clock>,
    started: Duration,
    stop: Mutex<bool>,
    stopped: Condvar,
    ticker: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Damaged files that were told of: copy and file.
    told: Mutex<HashSet<(String, String)>>,
}

impl Watch {
    /// Watches without drawing; [`Watch::draw`] starts that.
    pub(crate) fn new(task: Task, screen: Arc<Screen>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let started = clock.monotonic();
        Arc::new(Self {
            task,
            progress: Progress::default(),
            screen,
            clock,
            started,
            stop: Mutex::new(false),
            stopped: Condvar::new(),
            ticker: Mutex::new(None),
            told: Mutex::default(),
        })
    }

    /// Shows progress until the returned value is dropped.
    pub(crate) fn draw(self: &Arc<Self>) -> Drawing {
        let is_terminal = std::io::stderr().is_terminal();
        let wanted = match (self.screen.is_quiet(), self.task) {
            (true, _) | (_, Task::Browse) => None,
            (_, Task::Check | Task::Sync | Task::Prune) if self.screen.is_json() => None,
            _ if self.screen.is_json() => Some(JSON_STATUS),
            _ if is_terminal => Some(redraw_interval()),
            _ => Some(PLAIN_LINE),
        };
        if let Some(interval) = wanted {
            let bar = (is_terminal && !self.screen.is_json()).then(new_bar);
            self.screen.attach(bar.clone());
            let watch = self.clone();
            let spawned =
                std::thread::Builder::new().name("progress".to_owned()).spawn(move || watch.tick(interval, bar));
            // Without a thread for it there is no progress to see, and nothing else is lost.
            *self.ticker.lock().unwrap_or_else(PoisonError::into_inner) = spawned.ok();
        }
        Drawing(self.clone())
    }

    fn tick(&self, interval: Duration, bar: Option<ProgressBar>) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (guard, _) = self.stopped.wait_timeout(stop, interval).unwrap_or_else(PoisonError::into_inner);
            stop = guard;
            if *stop {
                break;
            }
            match &bar {
                Some(bar) => {
                    bar.set_message(self.words());
                    bar.tick();
                }
                None if self.screen.is_json() => self.json_status(),
                None => self.screen.note(self.words()),
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        self.screen.attach(None);
    }

    fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    fn status(&self) -> json::Progress {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (bytes_done, bytes_total) = (load(&self.progress.bytes_done), load(&self.progress.bytes_total));
        let (items_done, items_total) = (load(&self.progress.items_done), load(&self.progress.items_total));
        let part = |done: u64, total: u64| if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        let percent_done = if bytes_total > 0 { part(bytes_done, bytes_total) } else { part(items_done, items_total) };
        let elapsed = self.elapsed();
        let totals_known = self.progress.totals_known.load(Ordering::Relaxed);
        let seconds_remaining = (totals_known && percent_done > 0.0)
            .then(|| (elapsed.as_secs_f64() / percent_done - elapsed.as_secs_f64()).max(0.0) as u64);
        json::Progress {
            percent_done,
            items_done,
            items_total,
            bytes_done,
            bytes_total,
            troubles: load(&self.progress.troubles),
            seconds_elapsed: elapsed.as_secs(),
            seconds_remaining,
        }
    }

    fn json_status(&self) {
        let status = self.status();
        // A reader that went away is noticed by the next line of the result.
        let _ = match self.task {
            Task::Restore => self.screen.json(&json::RestoreStatus::from(&status)),
            _ => self.screen.json(&json::BackupStatus::from(&status)),
        };
    }

    fn words(&self) -> String {
        let status = self.status();
        let item = match self.task {
            Task::Check | Task::Prune => "item",
            _ => "file",
        };
        let mut words = format!("[{}]", figures::duration(self.elapsed()));
        if status.percent_done > 0.0 {
            words.push_str(&format!(" {:.2}%", status.percent_done * 100.0));
        }
        words.push_str(&format!("  {} of {}", status.items_done, figures::count(status.items_total, item)));
        if status.bytes_total > 0 {
            let (done, total) = (figures::bytes(status.bytes_done), figures::bytes(status.bytes_total));
            words.push_str(&format!(", {done} of {total}"));
        }
        if status.troubles > 0 {
            words.push_str(&format!(", {}", figures::count(status.troubles, "error")));
        }
        if let Some(left) = status.seconds_remaining {
            words.push_str(&format!(", {} left", figures::duration(Duration::from_secs(left))));
        }
        words
    }

    fn entry(&self, path: &std::path::Path, action: Action, size: u64) {
        let item = path.to_string_lossy();
        let action = match (self.task, action) {
            (Task::Restore, Action::New) => "restored",
            (Task::Restore, Action::Modified) => "updated",
            (_, Action::New) => "new",
            (_, Action::Modified) => "modified",
            (_, Action::Unchanged) => "unchanged",
            (_, Action::Deleted) => "deleted",
        };
        if self.screen.is_json() {
            // As above.
            let _ = match self.task {
                Task::Restore => self.screen.json(&json::RestoreEntry::new(action, &item, size)),
                _ => self.screen.json(&json::BackupEntry::new(action, &item, size)),
            };
        } else {
            let shown = figures::shown(item.as_bytes());
            self.screen.note(format!("{action:<9} {shown}, {}", figures::bytes(size)));
        }
    }
}

impl Watch {
    /// Tells of a damaged file once, however often it is asked for. A check puts its findings, with hints, into its
    /// own report; people hear of them here, while it goes on.
    fn damage(&self, damage: &Damage) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX && !told.insert((damage.copy.clone(), damage.file.clone())) {
            return;
        }
        drop(told);
        if self.task != Task::Check {
            self.screen.json_error(&json::CopyTrouble::damage(damage));
        }
        self.screen.warn(format!("damaged: {damage}"));
    }
}

impl Observer for Watch {
    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn event(&self, event: Event) {
        match event {
            Event::Trouble(trouble) => {
                let during = if self.task == Task::Restore { "restore" } else { "archival" };
                self.screen.json_error(&json::Trouble::new(&trouble, during));
                self.screen.warn(figures::shown(trouble.to_string().as_bytes()));
            }
            Event::Entry { path, action, size } => self.entry(&path, action, size),
            Event::Damage(damage) => self.damage(&damage),
            Event::CopyLost { copy, fault } => {
                self.screen.json_error(&json::CopyTrouble::lost(&copy, &fault));
                self.screen.warn(format!("copy {copy} is not used any further: {fault}"));
            }
            Event::CatchingUp { copy, files } => {
                let files = figures::count(files, "file");
                self.screen.note(format!("copy {copy} lacks {files} that others have; it catches up"));
            }
            Event::WarmingUp { packs, bytes } => {
                let told = json::WarmingUp { message_type: "warming_up", packs, bytes };
                // A reader that went away is noticed by the next line of the result.
                let _ = self.screen.json(&told);
                let (packs, bytes) = (figures::count(packs, "pack"), figures::bytes(bytes));
                self.screen.note(format!("waiting for {packs} ({bytes}) to come out of the archive"));
            }
            Event::Parent(Some(id)) => self.screen.note(format!("using parent snapshot {}", id.short())),
            Event::Parent(None) => self.screen.note("no parent snapshot found, will read all files"),
        }
    }

    fn wants_entries(&self) -> bool {
        self.screen.verbosity() >= 2 && matches!(self.task, Task::Backup | Task::Restore)
    }
}

/// Shows progress while it lives.
pub(crate) struct Drawing(Arc<Watch>);

impl Drop for Drawing {
    fn drop(&mut self) {
        *self.0.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.stopped.notify_all();
        if let Some(ticker) = self.0.ticker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic while drawing is not worth failing for.
            let _ = ticker.join();
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn redraw_interval() -> Duration {
    let asked = environment::text(environment::PROGRESS_FPS).and_then(|text| text.parse::<f64>().ok());
    match asked {
        Some(fps) if (0.01..=60.0).contains(&fps) => Duration::from_secs_f64(1.0 / fps),
        _ => REDRAW,
    }
}
