//! Databases: `mysql://user@host:3306/database`, `postgres://`, `redis://`, `rediss://`, `sqlite:FILE`, `mongodb://`.
//!
//! | address | keys beside `url` and `password` |
//! |---|---|
//! | `mysql://`, `mariadb://` | `databases`, `file_per_table`, `users`, `socket`, `ca_certificate`, `programs` |
//! | `postgres://`, `postgresql://` | `databases`, `plain`, `globals`, `ca_certificate`, `programs` |
//! | `redis://`, `rediss://` | `keys`, `socket`, `ca_certificate` |
//! | `mongodb://` | `login_database`, `programs` |
//! | `sqlite:` | none |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Secret;
use repository::backup::Origin;
use sources::{
    Mongodb, MongodbOptions, Mysql, MysqlLogin, MysqlOptions, Postgres, PostgresLogin, PostgresOptions, Redis,
    RedisKeys, RedisKeysOptions, RedisLogin, Sqlite,
};
use url::Url;

use crate::destination::secret;
use crate::table::Table;
use crate::{SecretError, SecretReference, expand};

/// A database, without its password.
#[derive(Debug, Clone)]
pub struct Database {
    kind: Kind,
    password: Option<SecretReference>,
}

#[derive(Debug, Clone)]
enum Kind {
    Mysql(MysqlOptions),
    Postgres(PostgresOptions),
    /// The whole server for no patterns.
    Redis(RedisKeysOptions),
    Sqlite(PathBuf),
    Mongodb(MongodbOptions),
}

/// How addresses of databases begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Mysql,
    Postgres,
    Redis,
    Sqlite,
    Mongodb,
}

/// The kind of database that an address is of; none for other addresses.
pub(super) fn scheme(address: &str) -> Option<Scheme> {
    Some(match address.split_once(':')?.0 {
        "mysql" | "mariadb" => Scheme::Mysql,
        "postgres" | "postgresql" => Scheme::Postgres,
        "redis" | "rediss" => Scheme::Redis,
        "sqlite" => Scheme::Sqlite,
        "mongodb" => Scheme::Mongodb,
        _ => return None,
    })
}

/// The parts of an address.
struct Address {
    scheme: String,
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    database: Option<String>,
}

impl Database {
    /// The database as something that the engine reads. Its password is fetched now; nothing else is asked.
    pub(super) fn origin(&self) -> Result<Arc<dyn Origin>, SecretError> {
        let password: Option<Secret> = self.password.as_ref().map(SecretReference::resolve).transpose()?;
        Ok(match self.kind.clone() {
            Kind::Mysql(options) => {
                let login = MysqlLogin { password, ..options.login };
                Arc::new(Mysql::new(MysqlOptions { login, ..options }))
            }
            Kind::Postgres(options) => {
                let login = PostgresLogin { password, ..options.login };
                Arc::new(Postgres::new(PostgresOptions { login, ..options }))
            }
            Kind::Redis(options) => {
                let login = RedisLogin { password, ..options.login };
                if options.patterns.is_empty() {
                    Arc::new(Redis::new(login))
                } else {
                    Arc::new(RedisKeys::new(RedisKeysOptions { login, ..options }))
                }
            }
            Kind::Sqlite(path) => Arc::new(Sqlite::new(path)),
            Kind::Mongodb(options) => Arc::new(Mongodb::new(MongodbOptions { password, ..options })),
        })
    }

    /// Reads what the table says of a database whose address has this scheme.
    pub(super) fn read(scheme: Scheme, table: &mut Table<'_, '_>, folder: &Path) -> Option<Self> {
        let mistakes = table.mistakes();
        let (text, at) = table.text("url")?;
        if scheme == Scheme::Sqlite {
            let path = text.trim_start_matches("sqlite:").trim_start_matches("//");
            return match expand::path(path) {
                Ok(path) if path.as_os_str().is_empty() => {
                    table.report(at, "url", "the path of the file is missing", "write `url = \"sqlite:/path/file\"`");
                    None
                }
                Ok(path) => Some(Self { kind: Kind::Sqlite(folder.join(path)), password: None }),
                Err(why) => {
                    table.report(at, "url", why, "");
                    None
                }
            };
        }
        let at_secret = table.at_value("password");
        let password = table.take("password").and_then(|value| secret(table, "password", value, folder));
        let address = match Address::read(&text) {
            Ok(address) => address,
            Err((what, hint)) => {
                table.report(at, "url", what, hint);
                table.left().iter().for_each(|key| table.leave(key));
                return None;
            }
        };
        let kind = match scheme {
            Scheme::Mysql => mysql(address, table, folder),
            Scheme::Postgres => postgres(address, table, folder),
            Scheme::Redis => redis(address, table, folder),
            _ => mongodb(address, table, folder),
        };
        if let (Kind::Redis(options), Some(_)) = (&kind, &password)
            && !options.login.tls
            && options.login.socket.is_none()
            && !is_loopback(&options.login.host)
        {
            table.report(at_secret, "password", "it would be sent in clear", "use `rediss://`");
        }
        (table.mistakes() == mistakes).then_some(Self { kind, password })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Address {
    fn read(text: &str) -> Result<Self, (String, &'static str)> {
        let url = Url::parse(text).map_err(|error| (error.to_string(), "write `mysql://user@host:port/database`"))?;
        if url.password().is_some() {
            return Err((
                "a password stands in the address".to_owned(),
                "take it out of the address and write `password = { file = \"...\" }`",
            ));
        }
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            Some(text).filter(|text| !text.is_empty())
        };
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host: host.and_then(decoded),
            port: url.port(),
            user: decoded(url.username()),
            database: decoded(url.path().trim_start_matches('/')),
        })
    }

    /// The databases that the address and the key `databases` name.
    fn databases(&self, table: &mut Table<'_, '_>) -> Vec<String> {
        let at = table.at_value("databases");
        let named = table.texts("databases").unwrap_or_default();
        match &self.database {
            Some(_) if !named.is_empty() => {
                table.report(at, "databases", "the address names one already", "name them here or there");
                named
            }
            Some(one) => vec![one.clone()],
            None => named,
        }
    }
}

/// A file of this machine.
fn file(table: &mut Table<'_, '_>, key: &str, folder: &Path) -> Option<PathBuf> {
    let (text, at) = table.text(key)?;
    match expand::path(&text) {
        Ok(path) => Some(folder.join(path)),
        Err(why) => {
            table.report(at, key, why, "");
            None
        }
    }
}

fn mysql(address: Address, table: &mut Table<'_, '_>, folder: &Path) -> Kind {
    let databases = address.databases(table);
    let login = MysqlLogin {
        host: address.host,
        port: address.port,
        socket: file(table, "socket", folder),
        user: address.user,
        password: None,
        ca_certificate: file(table, "ca_certificate", folder),
        programs: file(table, "programs", folder),
    };
    let by_table = table.boolean("file_per_table").unwrap_or_default();
    let with_users = table.boolean("users").unwrap_or_default();
    Kind::Mysql(MysqlOptions { login, databases, by_table, with_users })
}

fn postgres(address: Address, table: &mut Table<'_, '_>, folder: &Path) -> Kind {
    let databases = address.databases(table);
    let login = PostgresLogin {
        host: address.host,
        port: address.port,
        user: address.user,
        password: None,
        ca_certificate: file(table, "ca_certificate", folder),
        programs: file(table, "programs", folder),
    };
    let plain = table.boolean("plain").unwrap_or_default();
    let without_globals = !table.boolean("globals").unwrap_or(true);
    Kind::Postgres(PostgresOptions { login, databases, plain, without_globals })
}

fn redis(address: Address, table: &mut Table<'_, '_>, folder: &Path) -> Kind {
    let at = table.at_value("url");
    let database = match address.database.as_deref().map(str::parse) {
        Some(Err(_)) => {
            table.report(at, "url", "databases of Redis have numbers", "write `redis://host/0`");
            0
        }
        Some(Ok(number)) => number,
        None => 0,
    };
    let login = RedisLogin {
        host: address.host.unwrap_or_else(|| "localhost".to_owned()),
        port: address.port,
        socket: file(table, "socket", folder),
        user: address.user,
        password: None,
        tls: address.scheme == "rediss",
        ca_certificate: file(table, "ca_certificate", folder),
    };
    let patterns = table.texts("keys").unwrap_or_default();
    Kind::Redis(RedisKeysOptions { login, database, patterns })
}

fn mongodb(address: Address, table: &mut Table<'_, '_>, folder: &Path) -> Kind {
    let host = address.host.map(|host| match address.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    });
    Kind::Mongodb(MongodbOptions {
        host,
        user: address.user,
        password: None,
        login_database: table.text("login_database").map(|(name, _)| name),
        database: address.database,
        programs: file(table, "programs", folder),
    })
}
