//! `cat`: objects of the repository in plain, for those who want to look inside.

use format::{BlobKind, FileKind, FileName};
use model::Id;
use repository::copies::Holders;
use repository::copies::status::Holdings;
use repository::locks::LockMode;
use repository::snapshots::SnapshotFilter;
use repository::{Repository, keys};
use std::io::Write;

use crate::failure::Failure;
use crate::screen;
use crate::session::Session;
use crate::watch::Task;

/// Write an object of the repository to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    object: Object,
}

#[derive(Debug, clap::Subcommand)]
enum Object {
    /// The repository's settings
    Config,
    /// A key file; what it seals stays sealed
    Key {
        /// Its id, or the beginning of it
        id: String,
    },
    /// A snapshot
    Snapshot {
        /// Its id, the beginning of it, or `latest`
        id: String,
    },
    /// An index file
    Index {
        /// Its id, or the beginning of it
        id: String,
    },
    /// A folder's listing
    Tree {
        /// Its full id, or a snapshot with `:/folder`
        id: String,
    },
    /// A blob, data or tree
    Blob {
        /// Its full id
        id: String,
    },
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let repository = session.open(session.watch(Task::Browse))?;
    let _guard = repository.lock(LockMode::Reading)?;
    let bytes = match &arguments.object {
        Object::Config => repository.config().to_bytes(),
        Object::Key { id } => {
            let name = FileName::new(FileKind::Key, keys::find(&repository, id)?);
            repository.copies().read_whole(name, Holders::ALL)?.to_vec()
        }
        Object::Snapshot { id } => {
            let choice = repository.find_snapshot(id, &SnapshotFilter::default())?;
            repository.read_file(FileName::new(FileKind::Snapshot, choice.id), Holders::ALL)?
        }
        Object::Index { id } => {
            repository.read_file(FileName::new(FileKind::Index, index(&repository, id)?), Holders::ALL)?
        }
        Object::Tree { id } => tree(&repository, id)?,
        Object::Blob { id } => blob(&repository, id)?,
    };
    let is_document = !matches!(arguments.object, Object::Blob { .. });
    let mut output = session.screen.raw();
    let written = if is_document {
        output.write_all(bytes.trim_ascii_end()).and_then(|()| output.write_all(b"\n"))
    } else {
        output.write_all(&bytes)
    };
    written.map_err(screen::output_failed)
}

fn index(repository: &Repository, text: &str) -> Result<Id, Failure> {
    let holdings = Holdings::gather(repository.copies(), FileKind::Index)?;
    let mut found = holdings.files.keys().filter(|id| !text.is_empty() && id.to_hex().starts_with(text));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(Failure::failed(format!("no index file begins with `{text}`"))),
        (Some(_), Some(_)) => Err(Failure::failed(format!("several index files begin with `{text}`"))),
    }
}

fn tree(repository: &Repository, text: &str) -> Result<Vec<u8>, Failure> {
    let indexed = repository.indexed()?;
    let id = match text.parse::<Id>() {
        Ok(id) if indexed.index.contains(BlobKind::Tree, &id) => id,
        _ => {
            let choice = repository.find_snapshot(text, &SnapshotFilter::default())?;
            let path = choice.subfolder.unwrap_or_default();
            repository::browse::folder(&indexed, &choice.snapshot.tree, path.as_bytes())?
        }
    };
    Ok(indexed.blob(BlobKind::Tree, &id)?)
}

fn blob(repository: &Repository, text: &str) -> Result<Vec<u8>, Failure> {
    let id: Id = text.parse().map_err(|error: model::ParseIdError| Failure::usage(error.to_string()))?;
    let indexed = repository.indexed()?;
    let kind = if indexed.index.contains(BlobKind::Data, &id) { BlobKind::Data } else { BlobKind::Tree };
    Ok(indexed.blob(kind, &id)?)
}
