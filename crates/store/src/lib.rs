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
//! | [`error`] | what goes wrong on the server's own side |

pub mod error;
pub mod gate;
pub mod names;
pub mod role;
pub mod route;

pub use error::StoreError;
pub use gate::{Admitted, Denied, Exceeded, Gate, Quota, RefusalKind, Refused, Reservation};
pub use names::{AccountName, Login, NameError, RepositoryName, RepositoryPlace};
pub use role::{Deed, Role};
pub use route::{Route, RouteError};
