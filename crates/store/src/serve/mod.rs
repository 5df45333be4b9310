//! The server: sockets, connections, requests.
//!
//! HTTP/1.1 and nothing else, as all clients of restic's protocol speak it. What strangers can cost is bounded: heads in
//! size and time, connections in number and silence, memory by a budget; whoever has not logged in gives way to others.
//!
//! | room | what it is for |
//! |---|---|
//! | [`listeners`], [`tls`], [`systemd`] | where clients come in |
//! | [`connections`], [`pulse`] | how many, and how long they may be silent |
//! | [`requests`], [`answers`], [`exchange`] | who is it, may they, what are they told, what is logged |
//! | [`storage`], [`upload`], [`download`], [`ranges`] | what each route does |
//! | [`flow`], [`scribes`] | bytes in large pieces from sockets, and two uploads at a time to hash and disk |
//! | [`budget`], [`names_in_use`] | memory of all together; one change of a name at a time |

mod answers;
mod budget;
mod connections;
mod download;
mod exchange;
mod flow;
mod listeners;
mod names_in_use;
mod pulse;
mod ranges;
mod requests;
mod scribes;
mod storage;
mod systemd;
mod tls;
mod upload;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use connections::TimeLimits;
pub use listeners::ListenAt;
pub use requests::PeerAddress;
pub use systemd::inherited_sockets;
pub use tls::TlsFiles;

use crate::access_log::AccessLog;
use crate::error::StoreError;
use crate::gate::Gate;
use crate::vault::Vault;
use budget::Budget;
use connections::{Connections, Entered};
use flow::{Ahead, Spares, Whole};
use listeners::Listener;
use names_in_use::NamesInUse;
use pulse::{Pulse, Socket, Watched};
use requests::{Numbers, Service, SharedGate};
use scribes::Scribes;
use tls::{Certificate, Renewal};

/// A request's head, with all its headers. The protocol's are below 1 KiB.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// What a connection may hold of what was read and not understood yet.
const CONNECTION_BUFFER_BYTES: usize = 64 << 10;
/// How often certificate files are looked at.
const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Without a setting, so many connections at a time.
pub const CONNECTIONS_MAX: usize = 4096;

/// How to serve.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where to listen.
    pub listen: Vec<ListenAt>,
    /// The certificate of addresses; Unix sockets have none.
    pub tls: Option<TlsFiles>,
    /// Passwords may cross the network in the open: somebody in front of us takes care of it.
    pub insecure_plain: bool,
    /// So many connections at a time.
    pub connections_max: usize,
    /// How long clients may take.
    pub limits: TimeLimits,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            tls: None,
            insecure_plain: false,
            connections_max: CONNECTIONS_MAX,
            limits: TimeLimits::default(),
        }
    }
}

/// What a server works with.
#[derive(Clone)]
pub struct Parts {
    /// The files.
    pub vault: Vault,
    /// Who decides.
    pub gate: Arc<dyn Gate>,
    /// What answers below `/-/` and at `/metrics`. It asks for its own credentials; see [`PeerAddress`].
    pub own: Option<axum::Router>,
    /// Where the log goes.
    pub log: AccessLog,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("vault", &self.vault).finish_non_exhaustive()
    }
}

/// A server whose sockets are open.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    certificate: Option<Arc<Certificate>>,
    connections: Arc<Connections>,
    limits: TimeLimits,
    service: Service,
    /// Ends when the last change does.
    changes: mpsc::Receiver<()>,
}

/// What may be asked of a server while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Read the certificate and open the log anew.
    Reload,
    /// Finish what is under way, and end.
    Stop,
}

impl Server {
    /// Opens the sockets. Nobody is answered before [`Server::run`]. Needs a runtime around it.
    ///
    /// # Errors
    /// When a setting does not go, a socket cannot be opened, or the certificate cannot be used.
    pub fn bind(options: ServeOptions, parts: Parts) -> Result<Self, StoreError> {
        if options.listen.is_empty() {
            return Err(StoreError::setting("there is no address to listen on").with_hint("give one with `--listen`"));
        }
        let certificate = options.tls.map(Certificate::read).transpose()?.map(Arc::new);
        let may_be_reached = certificate.is_some() || options.insecure_plain;
        let open = |at| Listener::open(at, may_be_reached);
        let listeners = options.listen.into_iter().map(open).collect::<Result<_, _>>()?;
        // Only the end of the last copy is waited for: nothing is ever sent.
        let (sender, changes) = mpsc::channel(1);
        let service = Service {
            vault: parts.vault,
            gate: SharedGate(parts.gate),
            own: parts.own,
            clock: parts.clock,
            log: parts.log,
            budget: Budget::new(),
            scribes: Scribes::new(),
            names: Arc::new(NamesInUse::default()),
            numbers: Arc::new(Numbers::new()),
            changes: sender,
        };
        let connections = Connections::new(options.connections_max, options.limits);
        Ok(Self { listeners, certificate, connections, limits: options.limits, service, changes })
    }

    /// Where clients can connect, as a user would write it.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until it is asked to stop, or whoever asks is gone; then finishes what is under way, within a bound.
    pub async fn run(self, mut asked: mpsc::Receiver<Request>) {
        let Self { listeners, certificate, connections, limits, service, mut changes } = self;
        let log = service.log.clone();
        let (stop, stopped) = watch::channel(false);
        let mut background = JoinSet::new();
        background.spawn(Arc::clone(&connections).watch());
        if let Some(certificate) = &certificate {
            background.spawn(watch_certificate(Arc::clone(certificate), log.clone()));
        }
        let spares = Spares::new(service.budget.clone());
        let mut accepting = JoinSet::new();
        for listener in listeners {
            log.event("listening", &listener.address());
            let server = Door {
                certificate: certificate.clone().filter(|_| matches!(listener, Listener::Tcp(_))),
                connections: Arc::clone(&connections),
                spares: spares.clone(),
                service: service.clone(),
                stopped: stopped.clone(),
            };
            accepting.spawn(server.open(listener));
        }
        drop((service, stopped));
        systemd::tell_ready();
        while let Some(Request::Reload) = asked.recv().await {
            log.reopen();
            if let Some(certificate) = &certificate {
                renew(Arc::clone(certificate), true, &log).await;
            }
        }
        systemd::tell_stopping();
        log.event("stopping", "");
        let _ = stop.send(true);
        // The listeners close first; each waits for its connections.
        let finish = async { while accepting.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(Duration::from_secs(limits.shutdown_seconds), finish).await.is_ok();
        accepting.shutdown().await;
        // A change that has begun ends as it would have: what is on the disk is in the journal, or this is no end. It
        // waits for the disk alone, and not for any client.
        while changes.recv().await.is_some() {}
        log.event("stopped", if in_time { "" } else { "requests were cut off" });
        log.flush();
    }
}

/// What each listener works with.
#[derive(Debug, Clone)]
struct Door {
    certificate: Option<Arc<Certificate>>,
    connections: Arc<Connections>,
    spares: Spares,
    service: Service,
    stopped: watch::Receiver<bool>,
}

impl Door {
    /// Lets clients in until the server stops, then waits for them.
    async fn open(mut self, listener: Listener) {
        let mut guests = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = self.stopped.changed() => break,
                Some(_) = guests.join_next() => {}
                (socket, address) = listener.accept() => {
                    if let Some((pulse, entered)) = self.enter(address) {
                        guests.spawn(self.clone().entertain(socket, pulse, entered));
                    }
                }
            }
        }
        drop(listener);
        while guests.join_next().await.is_some() {}
    }

    fn enter(&self, address: Option<IpAddr>) -> Option<(Arc<Pulse>, Entered)> {
        let pulse = Pulse::new(address, Arc::clone(&self.service.clock));
        let entered = self.connections.enter(&pulse)?;
        Some((pulse, entered))
    }

    /// One connection, to its end.
    async fn entertain(self, socket: Socket, pulse: Arc<Pulse>, _entered: Entered) {
        let watched = Watched::new(socket, Arc::clone(&pulse));
        let Some(certificate) = self.certificate.clone() else {
            return self.converse(watched, pulse).await;
        };
        let greeted = tokio::select! {
            () = pulse.ended() => return,
            greeted = certificate.acceptor().accept(Ahead::new(watched, self.spares.clone())) => greeted,
        };
        // Whoever cannot greet is told by the protocol why, and is no matter for the log.
        if let Ok(stream) = greeted {
            self.converse(Whole(stream), pulse).await;
        }
    }

    /// Requests and answers, one after the other.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send>(mut self, stream: S, pulse: Arc<Pulse>) {
        let service = service_fn(|request| {
            let pulse = Arc::clone(&pulse);
            let service = &self.service;
            async move { Ok::<_, Infallible>(service.answer(request, pulse).await) }
        });
        let mut protocol = http1::Builder::new();
        protocol
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(CONNECTION_BUFFER_BYTES)
            // The watcher measures heads, and without a timer for each connection.
            .header_read_timeout(None);
        let mut conversation = pin!(protocol.serve_connection(TokioIo::new(stream), service));
        let mut is_stopping = false;
        loop {
            tokio::select! {
                // What breaks a connection off is seen by its client, and in the request's line.
                _ = &mut conversation => return,
                () = pulse.ended() => return,
                _ = self.stopped.changed(), if !is_stopping => {
                    is_stopping = true;
                    conversation.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn watch_certificate(certificate: Arc<Certificate>, log: AccessLog) {
    loop {
        tokio::time::sleep(CERTIFICATE_LOOK_EVERY).await;
        renew(Arc::clone(&certificate), false, &log).await;
    }
}

async fn renew(certificate: Arc<Certificate>, in_any_case: bool, log: &AccessLog) {
    match tokio::task::spawn_blocking(move || certificate.renew(in_any_case)).await {
        Ok(Renewal::Renewed) => log.event("certificate_renewed", ""),
        Ok(Renewal::Refused(reason)) => log.event("certificate_refused", &reason),
        Ok(Renewal::Unchanged) | Err(_) => {}
    }
}
