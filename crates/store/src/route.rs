//! What may be asked of a repository: method and path as one of a few routes, or nothing.
//!
//! The path is taken as it came, byte by byte. Nothing is decoded, cleaned or joined: a percent sign, a backslash, a
//! double slash or a `..` is in no name, so a path that has one is no route. What passes holds checked names only.

use format::{FileKind, FileName};
use http::Method;

use crate::names::{AccountName, RepositoryName, RepositoryPlace};
use crate::role::Deed;

/// Two names of [`crate::names::NAME_BYTES_MAX`], the longest folder, a hash and slashes are well below this.
pub const PATH_BYTES_MAX: usize = 256;

/// Something that may be asked of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /ACCOUNT/REPOSITORY/?create=true`
    Create(RepositoryPlace),
    /// `GET /ACCOUNT/REPOSITORY/KIND/`
    List(RepositoryPlace, FileKind),
    /// `HEAD` of a file.
    Stat(RepositoryPlace, FileName),
    /// `GET` of a file, or of a range of it.
    Read(RepositoryPlace, FileName),
    /// `POST` of a file.
    Store(RepositoryPlace, FileName),
    /// `DELETE` of a file.
    Remove(RepositoryPlace, FileName),
}

/// Why a request is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is nothing of this path, and can be nothing.
    #[error("no such path")]
    Path,
    /// The path is one, and this method is not for it.
    #[error("this method is not for this path")]
    Method,
}

/// What a path names, before the method says what is wanted of it.
enum Object {
    Repository(RepositoryPlace),
    Folder(RepositoryPlace, FileKind),
    File(RepositoryPlace, FileName),
}

impl Route {
    /// Understands a request. `path` is the target's path as it stands in the request line, `query` what follows `?`.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, RouteError> {
        match (object(path).ok_or(RouteError::Path)?, method.as_str()) {
            (Object::Repository(place), "POST") if query == Some("create=true") => Ok(Route::Create(place)),
            (Object::Folder(place, kind), "GET") => Ok(Route::List(place, kind)),
            (Object::File(place, name), "HEAD") => Ok(Route::Stat(place, name)),
            (Object::File(place, name), "GET") => Ok(Route::Read(place, name)),
            (Object::File(place, name), "POST") => Ok(Route::Store(place, name)),
            (Object::File(place, name), "DELETE") => Ok(Route::Remove(place, name)),
            _ => Err(RouteError::Method),
        }
    }

    /// Which repository it is about.
    pub fn place(&self) -> &RepositoryPlace {
        match self {
            Route::Create(place)
            | Route::List(place, _)
            | Route::Stat(place, _)
            | Route::Read(place, _)
            | Route::Store(place, _)
            | Route::Remove(place, _) => place,
        }
    }

    /// What has to be permitted for it.
    pub fn deed(&self) -> Deed {
        match self {
            Route::Create(_) => Deed::Create,
            Route::List(..) | Route::Stat(..) | Route::Read(..) => Deed::Look,
            Route::Store(_, name) => Deed::Add(name.kind()),
            Route::Remove(_, name) => Deed::Remove(name.kind()),
        }
    }
}

/// The path as names, or nothing.
fn object(path: &str) -> Option<Object> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let mut parts = path.strip_prefix('/')?.split('/');
    let account: AccountName = parts.next()?.parse().ok()?;
    let repository: RepositoryName = parts.next()?.parse().ok()?;
    let place = RepositoryPlace { account, repository };
    match (parts.next(), parts.next(), parts.next()) {
        (Some(""), None, None) => Some(Object::Repository(place)),
        (Some("config"), None, None) => Some(Object::File(place, FileName::CONFIG)),
        (Some(folder), Some(name), None) => {
            let kind = FileKind::NAMED.into_iter().find(|kind| kind.folder() == folder)?;
            if name.is_empty() {
                return Some(Object::Folder(place, kind));
            }
            Some(Object::File(place, FileName::new(kind, name.parse().ok()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn route(method: Method, path: &str) -> Result<Route, RouteError> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        Route::parse(&method, path, query)
    }

    #[test]
    fn all_that_may_be_asked() {
        let place = RepositoryPlace { account: "alice".parse().unwrap(), repository: "main".parse().unwrap() };
        let pack = FileName::pack(HASH.parse().unwrap());
        assert_eq!(route(Method::POST, "/alice/main/?create=true"), Ok(Route::Create(place.clone())));
        assert_eq!(route(Method::GET, "/alice/main/data/"), Ok(Route::List(place.clone(), FileKind::Pack)));
        let path = format!("/alice/main/data/{HASH}");
        assert_eq!(route(Method::HEAD, &path), Ok(Route::Stat(place.clone(), pack)));
        assert_eq!(route(Method::GET, &path), Ok(Route::Read(place.clone(), pack)));
        assert_eq!(route(Method::POST, &path), Ok(Route::Store(place.clone(), pack)));
        assert_eq!(route(Method::DELETE, &path), Ok(Route::Remove(place.clone(), pack)));
        assert_eq!(route(Method::GET, "/alice/main/config"), Ok(Route::Read(place, FileName::CONFIG)));
    }

    #[test]
    fn what_is_no_path() {
        let upper = HASH.to_uppercase();
        for path in [
            "",
            "/",
            "//",
            "/alice",
            "/alice/",
            "/alice/main",
            "/alice/main/data",
            "/alice/main/data//",
            "/alice/main/config/",
            "/alice/main/config/x",
            "/alice/main/../bob/config",
            "/alice/../bob/main/config",
            "/alice/main/data/../config",
            "/alice/main/%64ata/",
            "/alice/main/data/%2e%2e",
            "/alice%2fmain/config",
            "/alice/main/Data/",
            "/alice/main/other/",
            "/alice/data/config",
            &format!("/alice/main/data/{upper}"),
            &format!("/alice/main/data/{}", &HASH[1..]),
            &format!("/alice/main/data/{HASH}0"),
            &format!("/alice/main/data/ba/{HASH}"),
            &format!("/alice/main/data/{HASH}/"),
            &format!("/{}/main/config", "a".repeat(PATH_BYTES_MAX)),
        ] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::PUT] {
                assert_eq!(route(method, path), Err(RouteError::Path), "{path}");
            }
        }
    }

    #[test]
    fn methods_that_are_not_for_a_path() {
        for (method, path) in [
            (Method::GET, "/alice/main/"),
            (Method::POST, "/alice/main/"),
            (Method::POST, "/alice/main/?create=false"),
            (Method::DELETE, "/alice/main/"),
            (Method::POST, "/alice/main/data/"),
            (Method::DELETE, "/alice/main/data/"),
            (Method::PUT, "/alice/main/config"),
            (Method::PATCH, "/alice/main/config"),
        ] {
            assert_eq!(route(method, path), Err(RouteError::Method), "{path}");
        }
    }
}
