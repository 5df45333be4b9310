//! A proxy between the product and a real server, with faults that a test has scripted: the network's, the server's and
//! those of whatever stands between.
//!
//! It understands just enough of HTTP/1.1 to count requests, to tell a listing from a read, and to break either side
//! of an exchange after an exact number of bytes. Requests are passed on as they come, so that a broken upload leaves
//! on the server what a broken upload leaves; replies are held until they are complete, so that a lie about a listing
//! can be told. Nothing in a request is changed: it may be signed.
//!
//! A [`Rule`] says which requests are meant and what happens to them; the first rule that fits acts. Which request of
//! those that fit is counted, never timed. Without rules it is a wire. What is not HTTP goes through a [`Relay`].

mod exchange;
mod lies;
mod relay;
mod rules;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

pub use relay::{Lane, RawFault, Relay, Way};
pub use rules::{At, Break, HttpFault, Lie, Rule};

use crate::faulty::Verb;

/// What a request said.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its number among all since the proxy started, from 1.
    pub number: u64,
    /// What it asks of the place.
    pub verb: Verb,
    /// HTTP's own word for it.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header lines as they came.
    pub headers: Vec<String>,
    /// The length of its body.
    pub body_bytes: u64,
    /// How much of that is a question in JSON.
    question_bytes: u64,
    /// That question.
    question: String,
    /// True when a rule acted on it.
    pub troubled: bool,
}

impl Asked {
    /// What the request is about, wherever its protocol says so.
    fn words(&self) -> impl Iterator<Item = &str> {
        let is_told = |line: &&String| {
            let name = line.split(':').next().unwrap_or_default();
            ["dropbox-api-arg", "x-bz-file-name"].iter().any(|known| name.eq_ignore_ascii_case(known))
        };
        let headers = self.headers.iter().filter(is_told).map(String::as_str);
        [self.target.as_str(), self.question.as_str()].into_iter().chain(headers)
    }

    /// Tells one listing from another.
    fn listing(&self) -> String {
        format!("{}{}", self.target, self.question)
    }
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each rule, and how many requests have fitted it.
    rules: Vec<(Rule, u64)>,
    asked: Vec<Asked>,
    connections: u64,
    fired: usize,
    /// The last honest reply to each listing.
    listings: BTreeMap<String, Vec<u8>>,
    /// The same at the moment when the rules were given: what a stale listing repeats.
    old_listings: BTreeMap<String, Vec<u8>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy; dropping it closes every connection through it.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    port: u16,
    /// Its own, so that it serves tests with a runtime of any kind or none.
    runtime: Option<Runtime>,
}

impl FaultProxy {
    /// A proxy in front of the server at `port` of the loopback address, without faults yet.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(port: u16) -> Self {
        match Self::try_start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(proxy) => proxy,
            Err(error) => panic!("cannot start a proxy: {error}"),
        }
    }

    fn try_start(upstream: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { upstream, state: Mutex::default() });
        let serving = Arc::clone(&shared);
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        runtime.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&serving)));
            }
        });
        Ok(Self { shared, port, runtime: Some(runtime) })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An address of the server, changed to lead through here.
    ///
    /// # Panics
    /// When it is not an address of that server.
    pub fn through(&self, address: &str) -> String {
        let server = format!("127.0.0.1:{}/", self.shared.upstream.port());
        assert!(address.contains(&server), "`{address}` is no address of {server}");
        address.replacen(&server, &format!("127.0.0.1:{}/", self.port), 1)
    }

    /// From now on these rules and no others.
    pub fn follow(&self, rules: impl IntoIterator<Item = Rule>) {
        let mut state = self.shared.state();
        state.rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        state.fired = 0;
        state.old_listings = state.listings.clone();
    }

    /// No faults from now on. Connections that have fallen silent stay so, as they do on a real network.
    pub fn heal(&self) {
        self.follow([]);
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// Forgets what was asked so far.
    pub fn forget_asked(&self) {
        self.shared.state().asked.clear();
    }

    /// How often a rule has acted since the rules were given; a test whose faults never came has tested nothing.
    pub fn fired(&self) -> usize {
        self.shared.state().fired
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which a test inside another runtime may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let refused = {
        let mut state = shared.state();
        state.connections += 1;
        state.connection_rule()
    };
    let _ = connection.set_nodelay(true);
    match refused {
        Some(how) => exchange::end(connection, None, how).await,
        None => exchange::serve(connection, &shared).await,
    }
}

impl State {
    /// How a connection ends that is not even listened to.
    fn connection_rule(&mut self) -> Option<Break> {
        let rule = self.rules.iter_mut().find(|(rule, _)| rule.is_about_connections())?;
        rule.1 += 1;
        let act = rule.0.is_due(rule.1).then(|| rule.0.broken())??;
        self.fired += 1;
        Some(act)
    }

    /// Notes a request and says what happens to it.
    fn act_on(&mut self, mut asked: Asked) -> (Asked, Option<HttpFault>) {
        asked.number = self.asked.last().map_or(0, |last| last.number) + 1;
        let mut act = None;
        for (rule, fitted) in &mut self.rules {
            if rule.is_about_connections() || !rule.fits(&asked) {
                continue;
            }
            *fitted += 1;
            if act.is_none() && rule.is_due(*fitted) {
                act = Some(rule.fault().clone());
            }
        }
        asked.troubled = act.is_some();
        self.fired += usize::from(asked.troubled);
        self.asked.push(asked.clone());
        (asked, act)
    }
}
