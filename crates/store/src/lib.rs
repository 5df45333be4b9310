//! The storage server: keeps the copies of many accounts, and is built so that who holds a client's credential, or all
//! of a client's machine, can add to what is kept and take nothing from it.
//!
//! It speaks restic's REST protocol (restic documentation, "REST Backend"), versions 1 and 2. It holds no key of any
//! repository, opens no file of one, and trusts no time that a client tells.
//!
//! | room | what it is for |
//! |---|---|
//! | [`names`] | accounts, repositories and logins as checked types: the only parts of paths that a client chooses |
//! | [`route`] | a request's method and path, as one of the few things that may be asked |
//! | [`role`] | who may do what: one table |
//! | [`gate`] | what the server asks before it does anything, and tells afterwards |
//! | [`state`] | everything that is known beyond the files: one SQLite file, and what of it is held in memory |
//! | [`accounts`] | accounts, their limits, credentials and tokens |
//! | [`login`] | who is it: passwords, remembered ones, limits on wrong ones |
//! | [`htpasswd`] | accounts of an htpasswd file, read once or kept in step |
//! | [`quota`] | how much each account holds, and uploads under way |
//! | [`journal`] | a row for each stored file, with the moment of its arrival |
//! | [`steward`] | the gate that is made of all these |
//! | [`vault`] | files on disk: whole and durable under their names, or not there |
//! | [`serve`] | sockets, connections, requests |
//! | [`access_log`] | a line for each request |
//! | [`admin`] | the server's own paths: administration, and the document of all of them |
//! | [`status`], [`metrics`] | what monitors read |
//! | [`verify`], [`verifier`] | names against content, with no key; while serving, again and again |
//! | [`sweep`], [`usage`] | what is put in order between two runs; who holds how much |
//! | [`error`] | what goes wrong on the server's own side |

pub mod access_log;
pub mod accounts;
pub mod admin;
pub mod error;
pub mod gate;
pub mod htpasswd;
pub mod journal;
pub mod login;
pub mod metrics;
pub mod names;
pub mod quota;
pub mod role;
pub mod route;
pub mod serve;
pub mod state;
pub mod status;
pub mod steward;
pub mod sweep;
pub mod usage;
pub mod vault;
pub mod verifier;
pub mod verify;

pub use access_log::AccessLog;
pub use error::StoreError;
pub use gate::{Admitted, Denied, Exceeded, Gate, Quota, RefusalKind, Refused, Reservation};
pub use names::{AccountName, Login, NameError, RepositoryName, RepositoryPlace};
pub use role::{Deed, Role};
pub use route::{Route, RouteError};
pub use serve::{ListenAt, Parts, ServeOptions, Server, TimeLimits, TlsFiles};
pub use state::{State, StateError};
pub use steward::Steward;
pub use vault::Vault;
