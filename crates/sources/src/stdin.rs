//! What comes from standard input, as one file.

use std::io::{self, Read};
use std::os::fd::AsFd;

use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How often somebody who wants to stop is heeded while nothing comes.
const LOOK_UP_MILLISECONDS: i64 = 200;

/// Standard input as a source. There is one, so it can be read once.
#[derive(Debug)]
pub struct Stdin {
    name_in_snapshot: String,
}

impl Stdin {
    /// A file of this name.
    pub fn new(name_in_snapshot: impl Into<String>) -> Self {
        Self { name_in_snapshot: name_in_snapshot.into() }
    }
}

impl Origin for Stdin {
    fn place(&self) -> String {
        "standard input".to_owned()
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        let entry = Entry { name: self.name_in_snapshot.clone().into_bytes(), ..Entry::default() };
        Ok(if path.is_empty() { vec![entry] } else { Vec::new() })
    }

    fn open(&self, _path: &[u8], _entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        Ok(Box::new(Reading { stop: stop.clone() }))
    }
}

struct Reading {
    stop: Cancel,
}

impl Read for Reading {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let stdin = io::stdin();
        let pause = Timespec { tv_sec: 0, tv_nsec: LOOK_UP_MILLISECONDS * 1_000_000 };
        loop {
            if self.stop.is_set() {
                return Err(io::Error::other("interrupted"));
            }
            match poll(&mut [PollFd::new(&stdin.as_fd(), PollFlags::IN)], Some(&pause)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(rustix::io::read(&stdin, room)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
