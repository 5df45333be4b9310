//! The two lanes and who gets which message.
//!
//! A lane walks through the whole blocks of its message where it lies, then through its end: what is left, the padding
//! and the length, laid out in the lane itself. Both lanes run together for as many blocks as both have in one piece.
//!
//! The longest message goes first: in the last place it would keep one lane busy alone.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::rounds::{State, compress_one, compress_two};
use super::{BLOCK_BYTES, HASH_BYTES};

/// The byte after the message.
const END_MARK: u8 = 0x80;
/// The length of the message in bits, at the end of the last block.
const LENGTH_BYTES: usize = 8;

/// One message on its way.
struct Lane<'a> {
    state: State,
    /// Whole blocks in the message that are still to come.
    whole: &'a [u8],
    /// The last one or two blocks.
    end: [u8; 2 * BLOCK_BYTES],
    end_at: usize,
    end_until: usize,
    /// Which message it is.
    index: usize,
}

impl<'a> Lane<'a> {
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn new(index: usize, message: &'a [u8]) -> Self {
        let end = [0; 2 * BLOCK_BYTES];
        let mut lane = Self { state: State::new(), whole: &[], end, end_at: 0, end_until: 0, index };
        lane.start(index, message);
        lane
    }

    /// Begins a message where another has been.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn start(&mut self, index: usize, message: &'a [u8]) {
        let (whole, rest) = message.split_at(message.len() / BLOCK_BYTES * BLOCK_BYTES);
        let end = &mut self.end;
        *end = [0; 2 * BLOCK_BYTES];
        end[..rest.len()].copy_from_slice(rest);
        end[rest.len()] = END_MARK;
        let end_until = if rest.len() + 1 + LENGTH_BYTES <= BLOCK_BYTES { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
        end[end_until - LENGTH_BYTES..end_until].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
        (self.state, self.whole, self.end_at, self.end_until, self.index) = (State::new(), whole, 0, end_until, index);
    }

    /// The blocks to take next that lie in one piece; none when the message is done.
    fn piece(&self) -> &[u8] {
        if self.whole.is_empty() { &self.end[self.end_at..self.end_until] } else { self.whole }
    }

    /// Goes past `bytes` of the piece.
    fn skip(&mut self, bytes: usize) {
        if self.whole.is_empty() { self.end_at += bytes } else { self.whole = &self.whole[bytes..] }
    }

    fn is_done(&self) -> bool {
        self.end_at == self.end_until
    }

    /// Runs to the end of the message alone.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn run_alone(&mut self) {
        while !self.is_done() {
            let (blocks, bytes) = (self.piece().as_ptr(), self.piece().len());
            // SAFETY: the piece is whole blocks, all of which are readable; the state lies elsewhere.
            unsafe { compress_one(&mut self.state, blocks, bytes / BLOCK_BYTES) };
            self.skip(bytes);
        }
    }
}

/// The messages in the order in which lanes get them.
struct Waiting<'a> {
    messages: &'a [&'a [u8]],
    longest: usize,
    longest_is_given: bool,
    next: usize,
}

impl<'a> Waiting<'a> {
    fn new(messages: &'a [&'a [u8]]) -> Self {
        let longest = messages.iter().enumerate().max_by_key(|(_, message)| message.len()).map_or(0, |(at, _)| at);
        Self { messages, longest, longest_is_given: false, next: 0 }
    }

    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        if !self.longest_is_given {
            self.longest_is_given = true;
            return self.messages.get(self.longest).map(|message| (self.longest, *message));
        }
        if self.next == self.longest {
            self.next += 1;
        }
        let index = self.next;
        self.next += 1;
        self.messages.get(index).map(|message| (index, *message))
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn take(&mut self) -> Option<Lane<'a>> {
        self.next().map(|(index, message)| Lane::new(index, message))
    }

    /// Gives `lane` the next message, if there is one.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn give(&mut self, lane: &mut Lane<'a>) -> bool {
        let Some((index, message)) = self.next() else { return false };
        if let Some(coming) = self.messages.get(self.next) {
            _mm_prefetch::<_MM_HINT_T0>(coming.as_ptr().cast());
        }
        lane.start(index, message);
        true
    }
}

/// Hashes each of `messages` into its place in `out`, which is as long.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn hash_each(messages: &[&[u8]], out: &mut [[u8; HASH_BYTES]]) {
    let mut waiting = Waiting::new(messages);
    let Some(mut one) = waiting.take() else { return };
    let Some(mut other) = waiting.take() else {
        one.run_alone();
        out[one.index] = one.state.to_hash();
        return;
    };
    loop {
        let bytes = one.piece().len().min(other.piece().len());
        let blocks = [one.piece().as_ptr(), other.piece().as_ptr()];
        // SAFETY: both pieces are whole blocks of which `bytes` bytes are readable; the states lie elsewhere.
        unsafe { compress_two([&mut one.state, &mut other.state], blocks, bytes / BLOCK_BYTES) };
        one.skip(bytes);
        other.skip(bytes);
        if one.is_done() {
            out[one.index] = one.state.to_hash();
            if !waiting.give(&mut one) {
                if !other.is_done() {
                    other.run_alone();
                }
                out[other.index] = other.state.to_hash();
                return;
            }
        }
        if other.is_done() {
            out[other.index] = other.state.to_hash();
            if !waiting.give(&mut other) {
                one.run_alone();
                out[one.index] = one.state.to_hash();
                return;
            }
        }
    }
}
