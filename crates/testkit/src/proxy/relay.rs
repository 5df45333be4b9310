//! A proxy for protocols that it cannot read: bytes pass, and what goes wrong is counted in bytes.
//!
//! It listens on an address of its own beside the loopback's usual one, at the server's own further ports as well: a
//! server that tells its client the port of another connection, inside TLS as FTP does, is still reached through here
//! and knows nothing of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::exchange::end;
use super::rules::Break;

const PIECE_BYTES: usize = 16 << 10;
/// A slow direction moves what it has moved in this time, or less.
const SLOW_STEP_MILLISECONDS: u64 = 50;

/// In which direction bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// Which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Those to the server's own port.
    Main,
    /// Those to ports that the server has told its client.
    Further,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawFault {
    /// The connection that carries this byte breaks behind it, counted over all connections of its kind.
    Break {
        /// How.
        how: Break,
        /// On which connections.
        lane: Lane,
        /// In which direction.
        way: Way,
        /// After so many bytes.
        after_bytes: u64,
        /// Whether every other connection breaks with it, and each later one at its beginning.
        lasts: bool,
    },
    /// The same place, but all goes on after a while.
    Stall {
        /// For how long.
        time: Duration,
        /// On which connections.
        lane: Lane,
        /// In which direction.
        way: Way,
        /// After so many bytes.
        after_bytes: u64,
    },
    /// Each direction of each connection moves so many bytes a second.
    Slow {
        /// Bytes per second.
        bytes_per_second: u64,
    },
    /// Connections break at their beginning.
    Refuse(Break),
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    /// How every connection breaks, once it does.
    cut: watch::Sender<Option<Break>>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<RawFault>,
    fired: usize,
    connections: u64,
    /// For each lane, up and down.
    passed: [[u64; 2]; 2],
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy; dropping it closes every connection through it.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Relay {
    /// A relay in front of the server at `port` of the loopback address, and of what it opens at `further` ports.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(port: u16, further: Range<u16>) -> Self {
        match Self::try_start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), further) {
            Ok(relay) => relay,
            Err(error) => panic!("cannot start a relay: {error}"),
        }
    }

    fn try_start(upstream: SocketAddr, further: Range<u16>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // Only where a port must be the server's own is an address of our own needed.
        let own = if further.is_empty() { Ipv4Addr::LOCALHOST } else { own_address() };
        let shared = Arc::new(Shared { upstream, state: Mutex::default(), cut: watch::Sender::new(None) });
        let main = std::net::TcpListener::bind((own, 0))?;
        let address = main.local_addr()?;
        let mut listeners = vec![(main, Lane::Main, upstream.port())];
        for port in further {
            listeners.push((std::net::TcpListener::bind((own, port))?, Lane::Further, port));
        }
        for (listener, lane, port) in listeners {
            listener.set_nonblocking(true)?;
            let _inside = runtime.enter();
            let listener = TcpListener::from_std(listener)?;
            let serving = Arc::clone(&shared);
            runtime.spawn(async move {
                while let Ok((connection, _)) = listener.accept().await {
                    let target = SocketAddr::new(serving.upstream.ip(), port);
                    tokio::spawn(serve(connection, target, lane, Arc::clone(&serving)));
                }
            });
        }
        Ok(Self { shared, address, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn host(&self) -> IpAddr {
        self.address.ip()
    }

    /// The port that leads to the server's own.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// An address of the server, changed to lead through here.
    pub fn through(&self, address: &str) -> String {
        address.replacen(&self.shared.upstream.to_string(), &self.address.to_string(), 1)
    }

    /// From now on this, and bytes are counted from here.
    pub fn follow(&self, fault: RawFault) {
        self.set(Some(fault));
    }

    /// No faults from now on. Connections that have fallen silent stay so, as they do on a real network.
    pub fn heal(&self) {
        self.set(None);
    }

    fn set(&self, fault: Option<RawFault>) {
        let mut state = self.shared.state();
        *state = State { fault, ..State::default() };
        self.shared.cut.send_replace(None);
    }

    /// How often the fault has come.
    pub fn fired(&self) -> usize {
        self.shared.state().fired
    }

    /// How many bytes have passed.
    pub fn passed(&self, lane: Lane, way: Way) -> u64 {
        self.shared.state().passed(lane, way)
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which a test inside another runtime may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An address of this machine alone that no other relay of any process uses at this moment, as far as can be.
fn own_address() -> Ipv4Addr {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) % (1 << 8);
    let process = std::process::id() % (1 << 14);
    Ipv4Addr::from_bits((127 << 24) | (1 << 23) | (process << 8) | number)
}

impl State {
    fn passed(&self, lane: Lane, way: Way) -> u64 {
        self.passed.get(lane as usize).and_then(|ways| ways.get(way as usize)).copied().unwrap_or(0)
    }

    fn bytes_per_second(&self) -> Option<u64> {
        if let Some(RawFault::Slow { bytes_per_second }) = self.fault { Some(bytes_per_second) } else { None }
    }

    fn count(&mut self, lane: Lane, way: Way, bytes: u64) {
        if let Some(passed) = self.passed.get_mut(lane as usize).and_then(|ways| ways.get_mut(way as usize)) {
            *passed += bytes;
        }
    }

    /// Takes note of `bytes` that are to pass; how many may before something happens, and what happens then.
    fn take(&mut self, lane: Lane, way: Way, bytes: u64) -> (u64, Option<Act>) {
        let passed = self.passed(lane, way);
        let due = |of: Lane, to: Way, after: u64| (of, to) == (lane, way) && passed <= after && after < passed + bytes;
        let (may, act) = match self.fault {
            Some(RawFault::Break { how, lane, way, after_bytes, lasts }) if due(lane, way, after_bytes) => {
                (after_bytes - passed, Some(Act::Break { how, lasts }))
            }
            Some(RawFault::Stall { time, lane, way, after_bytes }) if due(lane, way, after_bytes) => {
                (after_bytes - passed, Some(Act::Wait(time)))
            }
            _ => (bytes, None),
        };
        self.fired += usize::from(act.is_some());
        // The byte at which something happened has had its turn, also when its connection is gone.
        self.count(lane, way, if matches!(act, Some(Act::Break { .. })) { may + 1 } else { bytes });
        (may, act)
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Break { how: Break, lasts: bool },
    Wait(Duration),
}

async fn serve(mut client: TcpStream, target: SocketAddr, lane: Lane, shared: Arc<Shared>) {
    let refused = {
        let mut state = shared.state();
        state.connections += 1;
        let refused = if let Some(RawFault::Refuse(how)) = state.fault { Some(how) } else { None };
        state.fired += usize::from(refused.is_some());
        refused
    };
    let _ = client.set_nodelay(true);
    let cut = *shared.cut.borrow();
    if let Some(how) = refused.or(cut) {
        return end(client, None, how).await;
    }
    let Ok(mut upstream) = TcpStream::connect(target).await else { return };
    let _ = upstream.set_nodelay(true);
    let how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let up = carry(from_client, to_server, lane, Way::Up, &shared);
        let down = carry(from_server, to_client, lane, Way::Down, &shared);
        let mut cut = shared.cut.subscribe();
        let both = async { tokio::try_join!(up, down).err().flatten() };
        tokio::select! {
            how = both => how,
            cut = cut.wait_for(Option::is_some) => cut.ok().and_then(|how| *how),
        }
    };
    // A side that left by itself is not worth a word: both see it.
    if let Some(how) = how {
        end(client, Some(upstream), how).await;
    }
}

/// Carries one direction to its end. An error is the end of both: of a fault, or of a side that left.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    lane: Lane,
    way: Way,
    shared: &Shared,
) -> Result<(), Option<Break>> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let slow = shared.state().bytes_per_second();
        let step = slow.map_or(PIECE_BYTES, step_bytes);
        let length = match piece.get_mut(..step) {
            Some(room) => from.read(room).await.map_err(|_| None)?,
            None => 0,
        };
        if length == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        if let Some(bytes_per_second) = slow {
            let milliseconds = (length as u64).saturating_mul(1000) / bytes_per_second.max(1);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        let (may, act) = shared.state().take(lane, way, length as u64);
        let all = piece.get(..length).unwrap_or_default();
        let (now, later) = all.split_at(usize::try_from(may).unwrap_or(length).min(length));
        to.write_all(now).await.map_err(|_| None)?;
        match act {
            Some(Act::Break { how, lasts }) => {
                if lasts {
                    shared.cut.send_replace(Some(how));
                }
                return Err(Some(how));
            }
            Some(Act::Wait(time)) => {
                tokio::time::sleep(time).await;
                to.write_all(later).await.map_err(|_| None)?;
            }
            None => {}
        }
    }
}

/// How much of a slow direction is taken at one time.
fn step_bytes(bytes_per_second: u64) -> usize {
    usize::try_from(bytes_per_second * SLOW_STEP_MILLISECONDS / 1000).unwrap_or(PIECE_BYTES).clamp(1, PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_comes_once_and_behind_its_byte() {
        let fault =
            RawFault::Break { how: Break::Reset, lane: Lane::Main, way: Way::Up, after_bytes: 100, lasts: false };
        let mut state = State { fault: Some(fault), ..State::default() };
        assert!(matches!(state.take(Lane::Main, Way::Up, 60), (60, None)));
        assert!(matches!(state.take(Lane::Main, Way::Down, 600), (600, None)));
        assert!(matches!(state.take(Lane::Further, Way::Up, 600), (600, None)));
        assert!(matches!(state.take(Lane::Main, Way::Up, 60), (40, Some(Act::Break { .. }))));
        assert!(matches!(state.take(Lane::Main, Way::Up, 600), (600, None)));
        assert_eq!((state.fired, state.passed(Lane::Main, Way::Down)), (1, 600));
    }
}
