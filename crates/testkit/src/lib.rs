//! What the tests of every crate stand on: real servers, hostile trees, manifests, faults and independent readers.
//!
//! | room | what it gives |
//! |---|---|
//! | [`components`] | where the real peers are that `scripts/components` installs; a missing one is named |
//! | [`process`] | servers that never outlive their test, programs that never run for ever |
//! | [`RestServer`], [`RcloneServer`], [`CephServer`] | restic's REST server, rclone's, and Ceph's S3 gateway on free loopback ports |
//! | [`WebdavServer`] | Apache's mod_dav, sabre/dav on PHP, and a stand-in for Nextcloud made of sabre/dav |
//! | [`AzureServer`] | Azurite, Microsoft's own emulator of Azure's blob storage |
//! | [`GoogleServer`], [`B2Server`] | stand-ins for Google Cloud Storage and Backblaze B2, which rclone takes for the real ones |
//! | [`DropboxServer`] | a stand-in for Dropbox, which Dropbox's own client library takes for Dropbox |
//! | [`FtpServer`] | ProFTPD, vsftpd and pyftpdlib, with TLS |
//! | [`MariaDbServer`], [`PostgresServer`], [`RedisServer`] | database servers, and their dump tools beside them |
//! | [`SshServer`] | OpenSSH with accounts of its own, for SFTP and rsync |
//! | [`store_server`] | the product's own storage server, as the program that ships |
//! | [`manifest()`] | everything about a tree that a restore must give back, and the difference of two trees in words |
//! | [`hostile_tree`] | names, types, modes, times and sizes that break backup programs |
//! | [`hostile_paths`], [`Requests`] | what attackers ask of a storage server |
//! | [`SoundRepository`] | whole repositories that rotted or were forged, made of a sound one |
//! | [`many_blobs`] | a repository of millions of blobs, for what an index costs |
//! | [`corpus`] | plain data from a seed |
//! | [`FaultProxy`] | a proxy before a real server that breaks, delays, refuses, redirects and lies as scripted |
//! | [`raw_http`] | HTTP/1.1 byte by byte, by a client that may lie |
//! | [`MemoryFolder`], [`Faulty`] | a destination in memory, and a destination with scripted faults |
//! | [`Archive`] | a destination in memory from which data has to be asked for before it can be read |
//! | [`Lifeline`] | one process with several destinations that dies, or pauses, at any operation |
//! | [`oracle`] | restic and rustic as judges of a repository |
//! | [`traced`] | a program whose disk fails, or that dies, at a chosen system call; what is left when the power goes |
//! | [`oracles`] | what must hold after every fault, of every copy; restic's way to a copy in memory |
//! | [`seed()`], [`Random`] | reproducible randomness that prints its seed |
//!
//! Nothing here is ever part of the product, and no crate imports this one except for its tests. A failed preparation
//! panics with the reason: a test that cannot prepare its ground has nothing else to do.

mod archive;
mod azure;
mod ceph;
mod certificate;
pub mod components;
pub mod corpus;
mod database;
mod dropbox;
mod faulty;
mod ftp;
mod hostile;
mod manifest;
pub mod many_blobs;
mod memory;
pub mod oracle;
pub mod oracles;
pub mod process;
pub mod proxy;
mod random;
pub mod raw_http;
mod rclone_server;
mod rest_server;
mod seed;
mod ssh_server;
mod stand_in;
pub mod store_server;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod traced;
mod webdav;

pub use archive::Archive;
pub use azure::AzureServer;
pub use ceph::{Bucket, CephServer};
pub use certificate::{CertificateFiles, CertificateFlaw, make_certificate};
pub use database::{MariaDbServer, PostgresServer, RedisOptions, RedisServer};
pub use dropbox::DropboxServer;
pub use faulty::{Act, Asked, Fate, Faulty, Gate, Lifeline, Operation, Rule, Script, Verb, When};
pub use ftp::{FtpKind, FtpServer};
pub use hostile::{Files, Grounds, HostilePath, Mutant, Requests, SoundRepository, hostile_paths, hostile_users};
pub use hostile::{HostileOptions, HostileTree, Made, hostile_tree, hostile_tree_with, remove_hostile_tree};
pub use manifest::{Aspect, Content, Entry, EntryKind, Manifest, manifest};
pub use memory::MemoryFolder;
pub use oracle::Oracle;
pub use proxy::FaultProxy;
pub use random::Random;
pub use rclone_server::RcloneServer;
pub use rest_server::{RestServer, RestServerOptions};
pub use seed::{SEED_VARIABLE, seed, skip};
pub use ssh_server::{SshServer, SshServerOptions};
pub use stand_in::{B2Server, GoogleServer};
pub use webdav::{WebdavKind, WebdavOptions, WebdavServer};
