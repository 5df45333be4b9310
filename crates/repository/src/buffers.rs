//! Buffers that are used again and again: the system clears each page of fresh memory and maps it with a fault, which
//! costs more than filling it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::threads;

/// Spare buffers of about the same size.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    /// More than so many are given back to the system.
    spare_max: usize,
}

impl Buffers {
    pub(crate) fn new(spare_max: usize) -> Self {
        Self { spare: Arc::default(), spare_max }
    }

    /// A spare buffer as it was given back, or a new and empty one.
    pub(crate) fn take(&self) -> Vec<u8> {
        threads::lock(&self.spare).pop().unwrap_or_default()
    }

    /// A spare buffer of exactly `length` bytes, whatever they are.
    pub(crate) fn take_filled(&self, length: usize) -> Vec<u8> {
        let mut buffer = self.take();
        // A new one comes from the system as zeros, untouched.
        if buffer.capacity() == 0 {
            vec![0; length]
        } else {
            buffer.resize(length, 0);
            buffer
        }
    }

    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = threads::lock(&self.spare);
        if spare.len() < self.spare_max {
            spare.push(buffer);
        }
    }

    /// The buffer as bytes that can be shared; it comes back when the last holder lets go.
    pub(crate) fn share(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, home: self.clone() })
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_buffer_comes_back_once_nobody_holds_it() {
        let buffers = Buffers::new(1);
        let shared = buffers.share(vec![1, 2, 3]);
        let part = shared.slice(1..);
        drop(shared);
        assert!(buffers.take().is_empty());
        assert_eq!(part.as_ref(), [2, 3]);
        drop(part);
        assert_eq!(buffers.take(), [1, 2, 3]);
        assert_eq!(buffers.take_filled(2), [0, 0]);
    }

    #[test]
    fn no_more_are_kept_than_agreed() {
        let buffers = Buffers::new(2);
        (0..5).for_each(|_| buffers.give_back(vec![7; 9]));
        assert_eq!(threads::lock(&buffers.spare).len(), 2);
        assert_eq!(buffers.take_filled(4), [7; 4]);
        assert_eq!(buffers.take_filled(10).len(), 10);
    }
}
