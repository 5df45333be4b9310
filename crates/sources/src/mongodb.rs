//! MongoDB, by its own tool: all or one of its databases as one archive.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use model::{ExposeSecret as _, Secret};
use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};

use crate::dump::{Dump, file};
use crate::manifest::{Kind, Manifest};
use crate::program::{ProgramError, SILENCE_LIMIT, find, version};

const TOOL: &str = "mongodump";
const ARCHIVE_FILE: &str = "mongodb.archive";

/// What of a server is backed up.
#[derive(Debug, Clone, Default)]
pub struct MongodbOptions {
    /// Name or address, with a port where it is not the usual one.
    pub host: Option<String>,
    /// Account.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The database that knows the account.
    pub login_database: Option<String>,
    /// This database alone.
    pub database: Option<String>,
    /// The folder of the tool; the search path for none.
    pub programs: Option<PathBuf>,
}

/// A MongoDB server as a source.
#[derive(Debug)]
pub struct Mongodb {
    options: MongodbOptions,
    tool: Mutex<Option<String>>,
}

impl Mongodb {
    /// Nothing is asked yet.
    pub fn new(options: MongodbOptions) -> Self {
        Self { options, tool: Mutex::default() }
    }
}

fn failed(action: &'static str, error: &ProgramError) -> OriginError {
    OriginError::new(action, "", error.to_string())
}

impl Origin for Mongodb {
    fn place(&self) -> String {
        let database = self.options.database.as_deref().unwrap_or_default();
        format!("mongodb://{}/{database}", self.options.host.as_deref().unwrap_or("localhost"))
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if !path.is_empty() {
            return Ok(Vec::new());
        }
        let tool = find(&[TOOL], self.options.programs.as_deref()).and_then(version);
        let tool = tool.map_err(|error| failed("start", &error))?;
        *self.tool.lock().unwrap_or_else(PoisonError::into_inner) = Some(tool);
        Ok(vec![file(ARCHIVE_FILE)])
    }

    fn open(&self, _path: &[u8], _entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let options = &self.options;
        let path = find(&[TOOL], options.programs.as_deref()).map_err(|error| failed("start", &error))?;
        let mut program = crate::program::Program::new(path).arguments(["--archive", "--quiet"]);
        if let Some(password) = &options.password {
            // Its file of settings is YAML, in which JSON's strings are strings too.
            let quoted = serde_json::Value::from(password.expose_secret());
            let settings = Secret::from(format!("password: {quoted}\n"));
            let handed = program.secret_file(&settings);
            let file = handed.map_err(|error| OriginError::new("start", "", error.to_string()))?;
            program = program.argument("--config").argument(file).hiding(password);
        }
        let words = [
            ("--host", &options.host),
            ("--username", &options.user),
            ("--authenticationDatabase", &options.login_database),
            ("--db", &options.database),
        ];
        for (name, value) in words {
            if let Some(value) = value {
                program = program.argument(format!("{name}={value}"));
            }
        }
        let running =
            program.silence_limit(SILENCE_LIMIT).heeding(stop).start().map_err(|error| failed("start", &error))?;
        Ok(Box::new(Dump::new(ARCHIVE_FILE, running)))
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let tool = self.tool.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Manifest { kind: Kind::Mongodb, server: None, tool, counts: Default::default() }.to_json().map(Some)
    }
}
