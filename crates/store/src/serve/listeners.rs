//! The sockets that clients come to.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::pulse::Socket;
use crate::error::StoreError;

/// How long to wait when the system has no file handle left for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug)]
pub enum ListenAt {
    /// An address and port; port 0 is any that is free.
    Address(SocketAddr),
    /// A Unix socket at this path. What is left there of an earlier server is replaced.
    Path(PathBuf),
    /// A socket that somebody else opened for us, of either kind.
    Inherited(OwnedFd),
}

/// A socket that clients can connect to.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Option<SocketPath>),
}

/// The path of a socket of ours; the file goes with it.
#[derive(Debug)]
pub(super) struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        // A socket that stays is replaced by the next server.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Opens a socket. Without TLS, and unless it is allowed, an address that others can reach is refused.
    pub(super) fn open(at: ListenAt, may_be_reached: bool) -> Result<Self, StoreError> {
        match at {
            ListenAt::Address(address) => {
                let refused = |cause| StoreError::Listen { address: address.to_string(), cause };
                check_reach(address.ip(), may_be_reached)?;
                let socket = StdTcpListener::bind(address).map_err(refused)?;
                Self::tcp(socket).map_err(refused)
            }
            ListenAt::Path(path) => {
                let refused = |cause| StoreError::Listen { address: path.display().to_string(), cause };
                remove_old_socket(&path).map_err(refused)?;
                let socket = StdUnixListener::bind(&path).map_err(refused)?;
                Self::unix(socket, Some(SocketPath(path.clone()))).map_err(refused)
            }
            ListenAt::Inherited(socket) => {
                let refused = |cause| StoreError::Listen { address: "an inherited socket".to_owned(), cause };
                let socket = StdUnixListener::from(socket);
                // Its address is one of a Unix socket, or it is another kind.
                if socket.local_addr().is_ok() {
                    return Self::unix(socket, None).map_err(refused);
                }
                let socket = StdTcpListener::from(OwnedFd::from(socket));
                check_reach(socket.local_addr().map_err(refused)?.ip(), may_be_reached)?;
                Self::tcp(socket).map_err(refused)
            }
        }
    }

    fn tcp(socket: StdTcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Self::Tcp)
    }

    fn unix(socket: StdUnixListener, path: Option<SocketPath>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(socket)?, path))
    }

    /// As a user would write it.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => socket.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            Self::Unix(_, Some(SocketPath(path))) => path.display().to_string(),
            Self::Unix(_, None) => "an inherited socket".to_owned(),
        }
    }

    /// Waits for the next client. A client that is gone again, and a system without a free handle, end nothing.
    pub(super) async fn accept(&self) -> (Socket, Option<IpAddr>) {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().await.map(|(socket, address)| {
                    // Answers are written whole; waiting for more to send would only delay them.
                    let _ = socket.set_nodelay(true);
                    (Socket::Tcp(socket), Some(address.ip()))
                }),
                Self::Unix(listener, _) => listener.accept().await.map(|(socket, _)| (Socket::Unix(socket), None)),
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
            }
        }
    }
}

fn check_reach(address: IpAddr, may_be_reached: bool) -> Result<(), StoreError> {
    if may_be_reached || address.to_canonical().is_loopback() {
        return Ok(());
    }
    let reason = format!("`{address}` can be reached by others, and passwords would cross the network in the open");
    Err(StoreError::setting(reason).with_hint(
        "give a certificate with `--tls-certificate` and `--tls-key`, or `--insecure-plain` behind a proxy of yours",
    ))
}

/// Removes a socket that nobody listens to any more. Anything else at that path stays, and binding fails.
fn remove_old_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_connections_stay_on_this_machine_unless_allowed() {
        let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let refused = Listener::open(ListenAt::Address(everywhere), false).unwrap_err();
        assert!(refused.hint().is_some_and(|hint| hint.contains("--insecure-plain")), "{refused}");
        for address in ["127.0.0.1:0", "[::1]:0", "127.3.2.1:0"] {
            // A machine without IPv6 refuses in words of its own.
            if let Err(error) = Listener::open(ListenAt::Address(address.parse().unwrap()), false) {
                assert!(matches!(error, StoreError::Listen { .. }), "{error}");
            }
        }
        assert!(Listener::open(ListenAt::Address(everywhere), true).is_ok());
        let inherited: OwnedFd = StdTcpListener::bind(everywhere).unwrap().into();
        assert!(Listener::open(ListenAt::Inherited(inherited), false).is_err());
    }

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(StdUnixListener::bind(&path).unwrap());
        let listener = Listener::open(ListenAt::Path(path.clone()), false).unwrap();
        assert!(Listener::open(ListenAt::Path(path.clone()), false).is_err());
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(Listener::open(ListenAt::Path(path.clone()), false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
