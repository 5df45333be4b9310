//! `dump`: one file's content, or a folder as an archive.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use repository::browse::{ArchiveKind, DumpReport, DumpRequest, dump, folder};
use repository::locks::LockMode;

use crate::arguments::SnapshotArguments;
use crate::failure::{Failure, local};
use crate::figures;
use crate::screen;
use crate::session::Session;
use crate::watch::Task;

/// Write a file of a snapshot, or a folder as an archive, to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The snapshot, by id, the beginning of one, or `latest`; `:/folder` may follow
    snapshot: String,
    /// The path in the snapshot; `/` is all of it
    #[arg(value_name = "PATH")]
    inside: OsString,
    /// The form of a folder: tar or zip
    #[arg(short, long, value_name = "FORMAT", default_value = "tar", value_parser = archive)]
    archive: ArchiveKind,
    /// Write into this new file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    target: Option<PathBuf>,
    #[command(flatten)]
    filter: SnapshotArguments,
}

fn archive(text: &str) -> Result<ArchiveKind, String> {
    text.parse().map_err(|error: repository::Error| error.to_string())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let repository = session.open(session.watch(Task::Browse))?;
    let _guard = repository.lock(LockMode::Reading)?;
    let choice = repository.find_snapshot(&arguments.snapshot, &arguments.filter.filter())?;
    let indexed = repository.indexed()?;
    let root = match &choice.subfolder {
        Some(path) => folder(&indexed, &choice.snapshot.tree, path.as_bytes())?,
        None => choice.snapshot.tree,
    };
    let to_terminal = arguments.target.is_none() && session.screen.output_is_terminal();
    let request = DumpRequest {
        path: arguments.inside.clone().into_vec(),
        // An archive on a terminal is noise; the engine refuses folders then.
        archive: (!to_terminal).then_some(arguments.archive),
    };
    let report = match &arguments.target {
        Some(target) => into_file(target, |file| Ok(dump(&indexed, &root, &request, file)?))?,
        None => {
            let mut output = Output { session, failed: None };
            match (dump(&indexed, &root, &request, &mut output), output.failed) {
                (_, Some(failure)) => return Err(failure),
                (report, None) => report?,
            }
        }
    };
    for skipped in &report.skipped {
        session.screen.warn(format!("{}: {}", figures::shown(&skipped.path), skipped.why));
    }
    match report.skipped.len() as u64 + report.skipped_left_out {
        0 => Ok(()),
        entries => {
            Err(Failure::partial(format!("the archive does not hold all of {}", figures::count(entries, "entry"))))
        }
    }
}

/// Standard output, which remembers why it failed.
struct Output<'a> {
    session: &'a Session,
    failed: Option<Failure>,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.session.screen.raw().write(bytes).inspect_err(|error| {
            let copy = std::io::Error::new(error.kind(), error.to_string());
            self.failed = Some(screen::output_failed(copy));
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.session.screen.raw().flush()
    }
}

/// A file of which only a part was written is removed: half an archive looks like a whole one.
fn into_file(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<DumpReport, Failure>,
) -> Result<DumpReport, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .map_err(|error| local("make file", target, error))?;
    let mut buffered = std::io::BufWriter::new(file);
    let result = write(&mut buffered).and_then(|report| {
        let finished = buffered.flush().and_then(|()| buffered.get_ref().sync_all());
        finished.map(|()| report).map_err(|error| local("write", target, error))
    });
    if result.is_err() {
        // The error that is told is the one above.
        let _ = std::fs::remove_file(target);
    }
    result
}
