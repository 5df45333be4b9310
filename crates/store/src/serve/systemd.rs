//! What systemd hands to a service, and wants to hear from it. Everything here does nothing where there is no systemd.

use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::listeners::ListenAt;
use crate::error::StoreError;

/// The sockets that systemd opened for this process, of a `.socket` unit.
///
/// # Errors
/// When what was handed over is no listening socket.
pub fn inherited_sockets() -> Result<Vec<ListenAt>, StoreError> {
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        let refused = |cause| StoreError::Listen { address: format!("inherited socket {index}"), cause };
        let socket: Option<OwnedFd> = match handed.take_tcp_listener(index) {
            Ok(socket) => socket.map(OwnedFd::from),
            Err(_) => handed.take_unix_listener(index).map_err(refused)?.map(OwnedFd::from),
        };
        sockets.extend(socket.map(ListenAt::Inherited));
    }
    Ok(sockets)
}

/// Clients can connect.
pub(super) fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Nobody can connect any more.
pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Nobody listens when the server was started by hand.
    let _ = sd_notify::notify(state);
}
