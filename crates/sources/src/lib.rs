//! Everything that can be read, and the hooks around it.
//!
//! A source that is not a folder of this machine is an [`repository::backup::Origin`]: the engine reads it as it reads
//! the file system, and nothing of it lies on a disk in between. A source that cannot be read to its end gives no
//! snapshot.

mod command;
mod dump;
pub mod into;
pub mod manifest;
mod mysql;
pub mod program;
mod stdin;

pub use command::Command;
pub use mysql::{Mysql, MysqlLogin, MysqlOptions};
pub use stdin::Stdin;
