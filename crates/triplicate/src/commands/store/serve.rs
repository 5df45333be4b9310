//! `store serve`: opens everything, lets clients in, and ends in order.
//!
//! What is wrong is told before the first client is let in: a store that is in use, a state that cannot be trusted, a
//! password file that cannot be read, a certificate that does not fit its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use store::htpasswd::HtpasswdFile;
use store::login::LoginSettings;
use store::serve::{CONNECTIONS_MAX, Request, inherited_sockets};
use store::verifier::Verifier;
use store::verify::Verified;
use store::{
    AccessLog, ListenAt, Parts, Role, ServeOptions, Server, State, Steward, StoreError, TimeLimits, TlsFiles, Vault,
};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{DataFolder, failed, limits, verify};
use crate::failure::Failure;
use crate::session::Session;

/// Where restic's own server listens, too, but on this machine only.
const USUAL_ADDRESS: &str = "127.0.0.1:8000";
/// What stands before the path of a Unix socket.
const UNIX_MARK: &str = "unix:";
/// File handles that are not for connections: state, folders, log, sockets.
const OTHER_HANDLES: u64 = 128;
/// A connection has a socket, and a file that it reads or writes beside the folder that it is in.
const HANDLES_PER_CONNECTION: u64 = 3;

/// Serve a store until asked to stop
///
/// SIGTERM and SIGINT finish the requests under way, for at most half a minute. SIGHUP reads the certificate and opens
/// the log anew; a certificate that changed is noticed within seconds without it, too. Sockets that systemd opened are
/// taken over, and systemd is told when the server is ready.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
    /// Listen there: `ADDRESS:PORT`, or `unix:PATH`; several times for several places
    ///
    /// Without it, and without sockets from systemd, it is 127.0.0.1:8000.
    #[arg(long, value_name = "PLACE")]
    listen: Vec<Place>,
    /// Serve with the certificates in this PEM file, the server's own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key, in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serve without TLS also where others can listen in: only behind a proxy that adds it
    #[arg(long, conflicts_with = "tls_certificate")]
    insecure_plain: bool,
    /// Let the users of this htpasswd file in, as it is at each moment
    ///
    /// Hashes are bcrypt. A file that cannot be read keeps everybody out.
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// What the users of the htpasswd file may do: read, append or full
    #[arg(long, value_name = "ROLE", default_value = "append", requires = "htpasswd", value_parser = parse_role)]
    htpasswd_role: Role,
    /// Compare names with contents once in this time: `30d`, or `0` for never
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = limits::age)]
    verify_every: Duration,
    /// Read no more than this in a second to verify: `20M`
    #[arg(long, value_name = "SIZE", default_value = "20M", value_parser = verify::size)]
    verify_rate: u64,
    /// Append the log to this file instead of writing it to standard error
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write no log
    #[arg(long, conflicts_with = "log")]
    no_log: bool,
    /// Hold so many connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = CONNECTIONS_MAX)]
    connections: usize,
}

/// A place to listen at, as it is written.
#[derive(Debug, Clone)]
enum Place {
    Address(SocketAddr),
    Path(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX_MARK) {
            Some("") => Err("a path is missing".to_owned()),
            Some(path) => Ok(Self::Path(path.into())),
            None => text.parse().map(Self::Address).map_err(|_| {
                "it is neither an address with a port, such as `127.0.0.1:8000` or `[::]:8000`, nor `unix:PATH`"
                    .to_owned()
            }),
        }
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    let known = Role::ALL.into_iter().find(|role| role.word() == text);
    known.ok_or_else(|| "a role is `read`, `append` or `full`".to_owned())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let folder = arguments.data.path()?;
    // The store's own, and not the session's two threads: this one has all the work.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    // Before anything is opened, so that no signal is missed while a large store is compared with its journal.
    let asked = runtime.block_on(async { listen_for_signals() })?;
    session.on_interrupt.set("stopping: requests under way are finished; once more ends at once");
    let (server, steward, verifier) = open(session, arguments, &folder, &runtime)?;
    let addresses = server.addresses();
    session.screen.json(&json!({ "message_type": "listening", "addresses": addresses }))?;
    for address in &addresses {
        session.screen.line(format!("listening on {address}"))?;
    }
    session.screen.flush()?;
    runtime.block_on(server.run(asked));
    drop(verifier);
    // What was cut off must not write behind the steward's back.
    drop(runtime);
    steward.end().map_err(failed)
}

/// Opens everything, the lock first and the sockets last.
fn open(
    session: &Session,
    arguments: &Arguments,
    folder: &Path,
    runtime: &Runtime,
) -> Result<(Server, Arc<Steward>, Option<Verifier>), Failure> {
    let clock = session.clock.clone();
    let vault = Vault::open(folder).map_err(failed)?;
    let state = Arc::new(State::open(folder, clock.clone()).map_err(failed)?);
    let htpasswd = arguments.htpasswd.as_deref().map(|path| HtpasswdFile::open(path, arguments.htpasswd_role, &state));
    let htpasswd =
        htpasswd.transpose().map_err(|error| failed(StoreError::setting(error.to_string()).with_hint(error.hint())))?;
    let log = match &arguments.log {
        Some(path) => AccessLog::to_file(path, clock.clone()),
        None if arguments.no_log => Ok(AccessLog::off(clock.clone())),
        None => AccessLog::to_standard_error(clock.clone()),
    };
    let log = log.map_err(failed)?;
    // Its writer and its hashes run on the runtime.
    let _entered = runtime.enter();
    let steward = Arc::new(Steward::begin(state, LoginSettings::default(), htpasswd).map_err(failed)?);
    if let Some(reconciled) = steward.reconciled() {
        log.event("compared_with_journal", &format!("{reconciled:?}"));
    }
    let own = Some(store::admin::router(steward.clone(), vault.clone()));
    let parts = Parts { vault: vault.clone(), gate: steward.clone(), own, log: log.clone(), clock };
    let server = Server::bind(options(arguments)?, parts).map_err(failed)?;
    let verifier = verifier(arguments, &steward, vault, log)?;
    Ok((server, steward, verifier))
}

/// Starts to compare names with contents, unless it is not wanted.
fn verifier(
    arguments: &Arguments,
    steward: &Steward,
    vault: Vault,
    log: AccessLog,
) -> Result<Option<Verifier>, Failure> {
    if arguments.verify_every.is_zero() {
        return Ok(None);
    }
    let tell = move |outcome: Result<Verified, StoreError>| match outcome {
        Ok(verified) => {
            for damage in &verified.damages {
                log.event("damaged", &format!("{}/{}: {}", damage.place, damage.name, damage.what));
            }
        }
        Err(error) => log.event("cannot_verify", &error.to_string()),
    };
    let (every, rate) = (arguments.verify_every, Some(arguments.verify_rate));
    Verifier::start(steward.state().clone(), vault, every, rate, tell).map(Some).map_err(failed)
}

fn options(arguments: &Arguments) -> Result<ServeOptions, Failure> {
    let mut listen = inherited_sockets().map_err(failed)?;
    listen.extend(arguments.listen.iter().map(|place| match place {
        Place::Address(address) => ListenAt::Address(*address),
        Place::Path(path) => ListenAt::Path(path.clone()),
    }));
    if listen.is_empty() {
        let usual = USUAL_ADDRESS.parse().map_err(|error| Failure::failed(format!("`{USUAL_ADDRESS}`: {error}")))?;
        listen.push(ListenAt::Address(usual));
    }
    let tls = arguments.tls_certificate.clone().zip(arguments.tls_key.clone());
    Ok(ServeOptions {
        listen,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        insecure_plain: arguments.insecure_plain,
        connections_max: arguments.connections.min(connections_possible()),
        limits: TimeLimits::default(),
    })
}

/// How many connections the file handles of this process suffice for.
fn connections_possible() -> usize {
    let handles = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(handles.saturating_sub(OTHER_HANDLES) / HANDLES_PER_CONNECTION).unwrap_or(usize::MAX)
}

/// Turns signals into what the server is asked for.
fn listen_for_signals() -> Result<mpsc::Receiver<Request>, Failure> {
    let refused = |error: std::io::Error| Failure::failed(format!("cannot listen for signals: {error}"));
    let (asking, asked) = mpsc::channel(4);
    let all = [
        (SignalKind::terminate(), Request::Stop),
        (SignalKind::interrupt(), Request::Stop),
        (SignalKind::hangup(), Request::Reload),
    ];
    for (kind, request) in all {
        let heard: Signal = signal(kind).map_err(refused)?;
        tokio::spawn(pass_on(heard, request, asking.clone()));
    }
    Ok(asked)
}

async fn pass_on(mut heard: Signal, request: Request, asking: mpsc::Sender<Request>) {
    while heard.recv().await.is_some() {
        if asking.send(request).await.is_err() {
            return;
        }
    }
}
