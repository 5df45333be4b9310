//! The hot path in SIMD: what a backup does to every byte, as fast as the processor at hand allows.
//!
//! Rules of this room, the only one that may say `unsafe`:
//! - Each kernel has a plain twin (a well-kept crate, or the algorithm written down literally) and tests that prove
//!   both equal over random and hostile inputs. The twin also runs where the processor lacks what a kernel needs.
//! - Which one runs is decided at run time ([`cpu`]), so that one binary runs everywhere.
//! - Nothing here knows of files, blobs or keys' origins; bytes in, bytes out, no errors, no allocation on the way.

pub mod cpu;
pub mod keystream;
pub mod poly1305;
pub mod rabin;
pub mod sha256;
