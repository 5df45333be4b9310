//! Database servers, each for one test: MariaDB, PostgreSQL, Redis. Their tools are in the same folder of programs.

mod mariadb;
mod postgres;
mod redis;

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub use mariadb::MariaDbServer;
pub use postgres::PostgresServer;
pub use redis::{RedisOptions, RedisServer};

use crate::process::{Ended, run};

/// How long making or filling a database may take.
const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// A folder of its own for a server.
fn folder(prefix: &str) -> io::Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix(prefix).tempdir()?.keep())
}

/// Runs a tool to its end.
///
/// # Panics
/// When it fails, with what it said.
#[track_caller]
fn ran(command: &mut Command) -> Ended {
    match run(command, TOOL_LIMIT) {
        Ok(ended) => ended.expect_code(0),
        Err(error) => panic!("{error}"),
    }
}
