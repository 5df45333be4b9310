//! restic's repository format, versions 1 and 2, as pure functions.
//!
//! Bytes in, values out, and back: what a file of a repository says, and the bytes that say it. Version 2 is what new
//! repositories get; a version 1 repository is read and added to (without compression). Everything is written so that
//! restic reads it, and trees so that restic would have written the same bytes.
//!
//! Nothing here does I/O, asks for the time or keeps state beyond reused buffers. Whatever is parsed may come from an
//! attacker: limits are named constants, lengths are checked before memory is taken, and no parser panics.
//!
//! | file | what seals it | module |
//! |---|---|---|
//! | `config` | master key | [`Config`] |
//! | key file | password | [`KeyFile`] |
//! | snapshot, index, lock | master key, through [`seal_file`] | [`Snapshot`], [`IndexFile`], [`Lock`] |
//! | pack | master key, blob by blob | [`PackWriter`], [`parse_header`], [`open_blob`] |
//! | blob: chunk | | [`Chunker`] decides its ends |
//! | blob: listing | | [`Tree`] |

mod blob;
mod chunker;
mod compression;
mod config;
mod error;
mod go_json;
mod hash;
mod index_file;
mod key_file;
mod lock;
mod moment;
mod names;
mod node;
mod node_json;
mod nonce;
mod pack;
mod pack_header;
mod pack_writer;
mod polynomial;
mod printable;
mod proof;
mod quoted_name;
mod randomness;
mod seal;
mod sealed_file;
mod snapshot;
mod tree;
mod wire;

pub use blob::{BlobKind, BlobName};
pub use chunker::Chunker;
pub use compression::{Compression, Compressor, Decompressor};
pub use config::{Config, VERSION_MAX, VERSION_MIN};
pub use error::{FormatError, Result};
pub use go_json::lossy_text;
pub use hash::{Hasher, hash, hash_each};
pub use index_file::{IndexFile, IndexedPack, MarkedPack};
pub use key_file::{KEY_FILE_BYTES_MAX, KeyFile, KeyOwner, SCRYPT_MEMORY_BYTES_MAX, SCRYPT_WORK_MAX, ScryptCost};
pub use lock::Lock;
pub use moment::{Moment, NodeTime};
pub use names::{FileKind, FileName};
pub use node::{Node, NodeKind, is_safe_child_name};
pub use pack::{PackedBlob, open_blob, open_blob_into};
pub use pack_header::{
    HEADER_BYTES_MAX, HEADER_EAGER_BYTES, HEADER_LENGTH_FIELD_BYTES, HeaderRead, PACK_BLOBS_MAX, PACK_FRAME_BYTES,
    header_length, parse_header,
};
pub use pack_writer::{ClosedPack, FinishedPack, PackWriter};
pub use polynomial::Polynomial;
pub use proof::Proof;
pub use seal::{MAC_BYTES, MasterKey, NONCE_BYTES, SEAL_OVERHEAD_BYTES};
pub use sealed_file::{FILE_PLAIN_BYTES_MAX, open_file, seal_file};
pub use snapshot::{Snapshot, SnapshotSummary};
pub use tree::{TREE_NODES_MAX, Tree};
