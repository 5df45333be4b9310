//! Everything that can be read, and the hooks around it.
//!
//! A source that is not a folder of this machine is an [`repository::backup::Origin`]: the engine reads it as it reads
//! the file system, and nothing of it lies on a disk in between. A source that cannot be read to its end gives no
//! snapshot.

mod command;
mod dump;
pub mod hooks;
pub mod into;
pub mod manifest;
mod mongodb;
mod mysql;
mod postgres;
pub mod program;
mod redis;
mod remote;
mod sqlite;
mod stdin;

pub use command::Command;
pub use mongodb::{Mongodb, MongodbOptions};
pub use mysql::{Mysql, MysqlLogin, MysqlOptions};
pub use postgres::{Postgres, PostgresLogin, PostgresOptions};
pub use redis::{Redis, RedisKeys, RedisKeysOptions, RedisLogin};
pub use remote::{RemoteSettings, remote_tree};
pub use sqlite::Sqlite;
pub use stdin::Stdin;

/// The kinds of addresses whose trees can be read, as copies have them.
pub const REMOTE_KINDS: [&str; 4] = ["ftps", "sftp", "webdav", "s3"];
