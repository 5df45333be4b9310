//! A long line on one machine: a TCP relay that hands each byte on a fixed time after it came.
//!
//! Each direction is a queue of stamped pieces, so that the delay costs no bandwidth: what is under way is bounded by
//! memory alone. A connection's first bytes wait one round trip more, as a handshake would take. Slow start and loss are
//! not imitated: the line is long, clean and wide.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clock::{Clock, SystemClock};

const PIECE_BYTES: usize = 64 << 10;
/// How many pieces of one direction may be under way: 64 MiB.
const PIECES_MAX: usize = 1024;

/// The relay at work; dropping it ends it, and connections end with their clients.
pub(in crate::bench) struct DelayLine {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl DelayLine {
    /// Relays to `port` on loopback, with `one_way` of delay in each direction.
    pub(in crate::bench) fn start(port: u16, one_way: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let clock = Arc::new(SystemClock::new());
        let ended = Arc::clone(&ending);
        let listener = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                // A connection that cannot be made is closed, which is what the client sees on a real line too.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    let _ = relay(&client, &server, one_way, &clock);
                }
            }
        });
        Ok(Self { address, ending, listener: Some(listener) })
    }

    pub(in crate::bench) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // The listener waits for a connection: this one wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn relay(client: &TcpStream, server: &TcpStream, one_way: Duration, clock: &Arc<SystemClock>) -> io::Result<()> {
    let usable_from = clock.monotonic() + 2 * one_way;
    for (from, to) in [(client, server), (server, client)] {
        to.set_nodelay(true)?;
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (sender, receiver) = sync_channel(PIECES_MAX);
        let stamps = Arc::clone(clock);
        thread::spawn(move || take_in(from, &sender, usable_from, one_way, &*stamps));
        let clock = Arc::clone(clock);
        thread::spawn(move || hand_on(to, &receiver, &*clock));
    }
    Ok(())
}

/// Due time and bytes; no bytes mean that the sender has ended.
type Piece = (Duration, Vec<u8>);

fn take_in(
    mut from: TcpStream,
    queue: &SyncSender<Piece>,
    usable_from: Duration,
    one_way: Duration,
    clock: &dyn Clock,
) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        // A broken connection ends like a closed one: the other side sees the end.
        let length = from.read(&mut buffer).unwrap_or(0);
        let due = clock.monotonic().max(usable_from) + one_way;
        if queue.send((due, buffer[..length].to_vec())).is_err() || length == 0 {
            return;
        }
    }
}

fn hand_on(mut to: TcpStream, queue: &Receiver<Piece>, clock: &dyn Clock) {
    while let Ok((due, bytes)) = queue.recv() {
        if let Some(wait) = due.checked_sub(clock.monotonic()) {
            thread::sleep(wait);
        }
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and then what it was told to add at the end.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut connection in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut all = Vec::new();
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = connection.read(&mut buffer) {
                        all.extend_from_slice(&buffer[..length]);
                        if connection.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                    let _ = connection.write_all(&(all.len() as u64).to_le_bytes());
                });
            }
        });
        port
    }

    #[test]
    fn a_round_trip_takes_its_time_and_the_first_one_longer() {
        let one_way = Duration::from_millis(50);
        let line = DelayLine::start(echo(), one_way).unwrap();
        let clock = SystemClock::new();
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap();
        let mut round_trip = || {
            let began = clock.monotonic();
            connection.write_all(b"x").unwrap();
            connection.read_exact(&mut [0]).unwrap();
            clock.monotonic() - began
        };
        let (first, second) = (round_trip(), round_trip());
        assert!(first >= 4 * one_way - Duration::from_millis(10), "{first:?}");
        assert!(second >= 2 * one_way, "{second:?}");
    }

    #[test]
    fn bytes_come_whole_and_in_order_and_the_delay_costs_no_bandwidth() {
        let line = DelayLine::start(echo(), Duration::from_millis(20)).unwrap();
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, line.port())).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| ((number * 31) >> 3) as u8).collect();
        let mut writer = connection.try_clone().unwrap();
        let clock = SystemClock::new();
        let began = clock.monotonic();
        let mut got = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            connection.read_to_end(&mut got).unwrap();
        });
        let took = clock.monotonic() - began;
        let (echoed, length) = got.split_at(got.len() - 8);
        assert!(echoed == sent, "{} bytes of {}", echoed.len(), sent.len());
        assert_eq!(length, (sent.len() as u64).to_le_bytes());
        // One piece per round trip would take 46 pieces of 40 ms and more.
        assert!(took < Duration::from_millis(1500), "{took:?}");
    }

    #[test]
    fn a_dropped_line_takes_no_connections() {
        let line = DelayLine::start(echo(), Duration::ZERO).unwrap();
        let port = line.port();
        drop(line);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }
}
