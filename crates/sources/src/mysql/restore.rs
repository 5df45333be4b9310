//! A dump goes back into a server: all its files, in the order of their names, through the server's own client.

use std::io::{self, Read};

use super::login::{MysqlLogin, quoted, text};
use super::scanner::Scanner;
use super::{USERS_FILE, WHOLE_FILE};
use crate::into::{Files, IntoError, Terms, compare};
use crate::manifest::{Counts, Manifest};

const PIECE_BYTES: usize = 256 << 10;

/// Restores what a manifest describes; into `database`, when it holds one database only, or into those that it names.
pub(crate) fn restore(
    login: &MysqlLogin,
    database: Option<&str>,
    manifest: &Manifest,
    files: &dyn Files,
    terms: &Terms,
) -> Result<std::collections::BTreeMap<String, Counts>, IntoError> {
    let mut wanted = manifest.counts.clone();
    if let Some(name) = database {
        if wanted.len() != 1 {
            let all = wanted.into_keys().collect::<Vec<_>>().join("`, `");
            let cause = format!("the snapshot holds the databases `{all}`, which cannot all go into one");
            return Err(IntoError::new("restore into", name, cause).hint("name the server alone"));
        }
        wanted = wanted.into_values().map(|counts| (name.to_owned(), counts)).collect();
    }
    if !terms.into_non_empty {
        for name in wanted.keys() {
            refuse_if_filled(login, name)?;
        }
    }
    if let Some(name) = database {
        let make = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(name));
        login.ask(&make).map_err(|error| IntoError::new("create", name, error.to_string()))?;
    }
    let mut names = files.names().map_err(|error| IntoError::new("read", "the snapshot", error.to_string()))?;
    names.sort_unstable();
    names.retain(|name| name != USERS_FILE || database.is_none());
    feed(login, database, &names, files)?;
    compare(&wanted, |name, table| {
        let question = format!("SELECT COUNT(*) FROM {}.{}", quoted(name), quoted(table));
        let rows = login.ask(&question).map_err(|error| error.to_string())?;
        rows.into_iter().flatten().next().and_then(|count| count.parse().ok()).ok_or_else(|| "no count".to_owned())
    })
}

fn refuse_if_filled(login: &MysqlLogin, name: &str) -> Result<(), IntoError> {
    let count = format!("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}", text(name));
    let rows = login.ask(&count).map_err(|error| IntoError::new("look into", name, error.to_string()))?;
    match rows.into_iter().flatten().next().as_deref() {
        Some("0") => Ok(()),
        Some(count) => Err(IntoError::not_empty(name, &format!("it has {count} tables"))),
        None => Err(IntoError::new("look into", name, "the server did not answer")),
    }
}

/// Writes the files to the client, which stops at the first error.
fn feed(login: &MysqlLogin, database: Option<&str>, names: &[String], files: &dyn Files) -> Result<(), IntoError> {
    let failed = |object: &str, cause: String| IntoError::new("restore", object, cause);
    let first = names.first().map_or(WHOLE_FILE, String::as_str);
    let mut client = login.client(database).map_err(|error| failed(first, error.to_string()))?;
    let mut input = client.take_input();
    let (mut at, mut stopped) = (first, None);
    for name in names {
        at = name;
        let mut content = files.open(name).map_err(|error| failed(name, error.to_string()))?;
        if database.is_some() {
            content = Box::new(Nameless::new(content));
        }
        let Some(input) = &mut input else { break };
        match copy(&mut content, input) {
            Ok(()) => {}
            Err(Copied::Read(error)) => {
                client.kill();
                return Err(failed(name, format!("the snapshot cannot be read: {error}")));
            }
            Err(Copied::Written(error)) => {
                stopped = Some(error);
                break;
            }
        }
    }
    drop(input);
    // Why it does not read any more is what it says itself.
    client.finish().map_err(|error| failed(at, error.to_string()))?;
    stopped.map_or(Ok(()), |error| Err(failed(at, format!("the client does not read any more: {error}"))))
}

/// Which side of a copy failed.
enum Copied {
    Read(io::Error),
    Written(io::Error),
}

fn copy(from: &mut dyn Read, into: &mut dyn io::Write) -> Result<(), Copied> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return into.flush().map_err(Copied::Written),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copied::Read(error)),
        };
        into.write_all(piece.get(..count).unwrap_or_default()).map_err(Copied::Written)?;
    }
}

/// A dump without the lines that say which database it goes into.
struct Nameless<R> {
    from: R,
    scanner: Scanner,
    buffer: Vec<u8>,
    /// Where in the stream the buffer begins.
    begin: u64,
    has_ended: bool,
}

impl<R: Read> Nameless<R> {
    fn new(from: R) -> Self {
        Self { from, scanner: Scanner::new(), buffer: Vec::new(), begin: 0, has_ended: false }
    }

    fn ready(&self) -> usize {
        let settled = self.scanner.settled().saturating_sub(self.begin);
        if self.has_ended { self.buffer.len() } else { usize::try_from(settled).unwrap_or(usize::MAX) }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let count = self.from.read(&mut piece)?;
        self.has_ended = count == 0;
        for line in piece.get(..count).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            self.buffer.extend_from_slice(line);
            let mut is_name = false;
            let mut begin = 0;
            let is_plain = self.scanner.is_plain();
            self.scanner.feed(line, &mut |start, line| {
                is_name = is_plain && (line.starts_with(b"USE `") || line.starts_with(b"CREATE DATABASE "));
                begin = start;
            });
            if is_name {
                self.drop_from(begin);
            }
        }
        Ok(())
    }

    /// Takes a line back, which is the last one in the buffer.
    fn drop_from(&mut self, line: u64) {
        let at = usize::try_from(line.saturating_sub(self.begin)).unwrap_or(usize::MAX);
        let dropped = self.buffer.len().saturating_sub(at);
        self.buffer.truncate(at);
        // The bytes behind count from where the stream is.
        self.begin += dropped as u64;
    }
}

impl<R: Read> Read for Nameless<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.ready() == 0 && !self.has_ended {
            self.fill()?;
        }
        let count = self.ready().min(bytes.len()).min(self.buffer.len());
        bytes.get_mut(..count).unwrap_or_default().copy_from_slice(self.buffer.get(..count).unwrap_or_default());
        self.buffer.drain(..count);
        self.begin += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_databases_are_left_out_and_nothing_else() {
        let dump = "-- a\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `app`;\n\nUSE `app`;\n\nINSERT INTO `t` VALUES\n(1,'USE `app`;');\n\
            DELIMITER ;;\nUSE `kept`;\n;;\nDELIMITER ;\nUSE `app`;\n-- Dump completed\n";
        let expected = "-- a\n\n\nINSERT INTO `t` VALUES\n(1,'USE `app`;');\nDELIMITER ;;\nUSE `kept`;\n;;\nDELIMITER ;\n-- Dump completed\n";
        /// Gives so many bytes at a time.
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(self.0.len()).min(bytes.len());
                bytes[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        for piece_bytes in [1, 2, 5, 13, 1000] {
            let mut text = String::new();
            Nameless::new(Slow(dump.as_bytes(), piece_bytes)).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected, "{piece_bytes}");
        }
    }
}
