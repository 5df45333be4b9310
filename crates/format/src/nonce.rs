//! Nonces: 128 random bits from the operating system for each sealed message.
//!
//! A nonce is no secret, it stands in front of its message; what counts is that it never comes twice under one key.
//! With 128 random bits each, that is as certain as it gets, whether they are asked for one by one or some at once. One
//! by one costs a system call for each blob, more than sealing a small one does, so each thread asks for a few at once.
//!
//! What would break this, and why it does not happen:
//! - A forked child that goes on with its parent's store. This product starts other programs by fork and exec only; no
//!   code of it runs in a forked child.
//! - A virtual machine that is copied while it runs: both copies go on with the same store. The store is therefore as
//!   small as still pays, which bounds what could be repeated to the next few messages of each thread. (The kernel's own
//!   store has the same weakness wherever the machine does not tell it of the copy.)
//! - One nonce handed out twice: it is wiped from the store while it is taken, and a store with nothing left is filled
//!   anew or not used.

use std::cell::RefCell;

use zeroize::Zeroize;

use crate::error::Result;
use crate::seal::{NONCE_BYTES, fill_random};

/// So many are asked for at once: enough to make the call cheap, no more.
const STORE_NONCES: usize = 32;

/// Nonces that were asked for and not yet used.
struct Store {
    nonces: [[u8; NONCE_BYTES]; STORE_NONCES],
    left: usize,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.nonces.zeroize();
    }
}

impl Store {
    fn take(&mut self) -> Result<[u8; NONCE_BYTES]> {
        if self.left == 0 {
            fill_random(self.nonces.as_flattened_mut())?;
            self.left = STORE_NONCES;
        }
        self.left -= 1;
        Ok(std::mem::take(&mut self.nonces[self.left]))
    }
}

/// A nonce that no message has had.
pub(crate) fn fresh_nonce() -> Result<[u8; NONCE_BYTES]> {
    thread_local! {
        static STORE: RefCell<Store> = const { RefCell::new(Store { nonces: [[0; NONCE_BYTES]; STORE_NONCES], left: 0 }) };
    }
    let from_store = STORE.try_with(|store| store.try_borrow_mut().map(|mut store| store.take()));
    match from_store {
        Ok(Ok(nonce)) => nonce,
        // The thread is ending and its store is gone: ask for this one alone.
        _ => {
            let mut nonce = [0; NONCE_BYTES];
            fill_random(&mut nonce)?;
            Ok(nonce)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_nonce_comes_twice_on_any_thread_and_none_is_zero() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..1000).map(|_| fresh_nonce().unwrap()).collect::<Vec<_>>()))
            .collect();
        let nonces: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(nonces.len(), 4000);
        assert!(!nonces.contains(&[0; NONCE_BYTES]));
    }

    #[test]
    fn what_is_taken_is_wiped_from_the_store() {
        let mut store = Store { nonces: [[0; NONCE_BYTES]; STORE_NONCES], left: 0 };
        for round in 0..3 * STORE_NONCES {
            let nonce = store.take().unwrap();
            assert!(store.left < STORE_NONCES && !store.nonces[..store.left].contains(&nonce), "{round}");
            assert!(store.nonces[store.left..].iter().all(|used| *used == [0; NONCE_BYTES]));
        }
    }
}
