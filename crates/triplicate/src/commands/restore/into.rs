//! `restore --into`: what a source of a database is goes back into a server or a file, and is counted there.

use std::io::{self, BufWriter, PipeReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread::Scope;

use format::{NodeKind, Snapshot};
use model::Id;
use repository::Indexed;
use repository::browse::{DumpRequest, dump, folder};
use serde_json::json;
use sources::into::{Files, Target, Terms};
use sources::manifest::Manifest;

use crate::environment;
use crate::failure::Failure;
use crate::figures;
use crate::password::of_variables;
use crate::session::Session;

/// Where a snapshot says what its source is.
const MANIFEST_PATH: &str = "/.triplicate/source.json";

/// A longer manifest is none of ours.
const MANIFEST_LIMIT_BYTES: u64 = 64 << 20;

/// Into what, and how.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct IntoArguments {
    /// Restore a database into this one: mysql://, postgres://, redis:// or sqlite:FILE. The password comes from
    /// TRIPLICATE_TARGET_PASSWORD, or its _FILE or _COMMAND
    #[arg(long, value_name = "ADDRESS", conflicts_with = "target")]
    pub(super) into: Option<String>,
    /// The database may have something in it
    #[arg(long, requires = "into")]
    into_non_empty: bool,
    /// Do not give what is restored to those whom it belonged to; PostgreSQL only
    #[arg(long, requires = "into")]
    without_owners: bool,
    /// The certificate authority of the database server
    #[arg(long, value_name = "FILE", requires = "into")]
    into_ca_certificate: Option<std::path::PathBuf>,
}

/// Restores the snapshot's source into the target.
pub(super) fn run(
    session: &Session,
    indexed: &Indexed<'_>,
    snapshot: &Snapshot,
    address: &str,
    arguments: &IntoArguments,
) -> Result<(), Failure> {
    let mut target = target(address)?;
    if let Some(password) = of_variables(environment::TARGET_PASSWORD)? {
        target = target.password(password);
    }
    let manifest = manifest(indexed, &snapshot.tree)?;
    let top = snapshot.paths.first().cloned().unwrap_or_default();
    let terms = Terms {
        into_non_empty: arguments.into_non_empty,
        without_owners: arguments.without_owners,
        programs: None,
        ca_certificate: arguments.into_ca_certificate.clone(),
    };
    let listing = folder(indexed, &snapshot.tree, top.as_bytes())?;
    let restored = std::thread::scope(|scope| {
        let files = SnapshotFiles { scope, indexed, root: &snapshot.tree, listing, top };
        target.restore(&manifest, &files, &terms)
    });
    let counts = restored.map_err(|error| {
        let failure = Failure::failed(format!("cannot {error}"));
        error.hint.into_iter().fold(failure, Failure::hint)
    })?;
    session.screen.json(&json!({ "message_type": "summary", "restored": counts }))?;
    for (database, counts) in &counts {
        let (objects, all) = (figures::count(counts.len() as u64, "object"), counts.values().sum::<u64>());
        session.screen.remark(format!("restored {database}: {objects}, {all} counted, as many as there were"))?;
    }
    session.screen.line("the source is restored")
}

/// The target at an address, which anybody can read in the list of processes.
fn target(address: &str) -> Result<Target, Failure> {
    let target = Target::parse(address).map_err(Failure::usage)?;
    match target.has_password() {
        true => Err(Failure::usage("a password stands in the address")
            .hint("put it into TRIPLICATE_TARGET_PASSWORD, or its _FILE or _COMMAND")),
        false => Ok(target),
    }
}

fn manifest(indexed: &Indexed<'_>, root: &Id) -> Result<Manifest, Failure> {
    let mut text = Limited { bytes: Vec::new() };
    let request = DumpRequest { path: MANIFEST_PATH.into(), archive: None };
    dump(indexed, root, &request, &mut text).map_err(|error| {
        Failure::failed(format!("the snapshot does not say what its source is: {error}"))
            .hint("only snapshots of databases are restored into one; `triplicate ls` shows what this one holds")
    })?;
    let text = String::from_utf8_lossy(&text.bytes).into_owned();
    Manifest::parse(&text).map_err(|why| Failure::failed(format!("`{MANIFEST_PATH}` of the snapshot: {why}")))
}

/// Bytes that are kept to a limit.
struct Limited {
    bytes: Vec<u8>,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if MANIFEST_LIMIT_BYTES < (self.bytes.len() + bytes.len()) as u64 {
            return Err(io::Error::other(format!("it has more than {MANIFEST_LIMIT_BYTES} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The files of a source, each fetched by a thread of its own while it is read.
struct SnapshotFiles<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    indexed: &'env Indexed<'env>,
    root: &'env Id,
    listing: Id,
    top: String,
}

impl Files for SnapshotFiles<'_, '_> {
    fn names(&self) -> io::Result<Vec<String>> {
        let tree = self.indexed.tree(&self.listing).map_err(io::Error::other)?;
        let files = tree.nodes.into_iter().filter(|node| node.kind == NodeKind::File);
        files.map(|node| String::from_utf8(node.name).map_err(io::Error::other)).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let (reader, writer) = io::pipe()?;
        let (ended, end) = channel();
        let request = DumpRequest { path: format!("{}/{name}", self.top.trim_end_matches('/')).into(), archive: None };
        let (indexed, root) = (self.indexed, self.root);
        self.scope.spawn(move || {
            let mut writer = BufWriter::new(writer);
            let dumped = dump(indexed, root, &request, &mut writer).map_err(|error| error.to_string());
            // Who reads no further is told by the pipe.
            let _ = ended.send(dumped.and_then(|_| writer.flush().map_err(|error| error.to_string())));
        });
        Ok(Box::new(Fetched { reader, end }))
    }
}

/// A file that is being fetched: it has ended only when all of it was right.
struct Fetched {
    reader: PipeReader,
    end: Receiver<Result<(), String>>,
}

impl Read for Fetched {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(room)?;
        if length == 0 && !room.is_empty() {
            return match self.end.recv() {
                Ok(Ok(())) => Ok(0),
                Ok(Err(why)) => Err(io::Error::other(why)),
                // It was told before.
                Err(_) => Ok(0),
            };
        }
        Ok(length)
    }
}
