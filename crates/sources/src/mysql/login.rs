//! How a MariaDB or MySQL server is reached by its own tools: what they read instead of arguments.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use model::{ExposeSecret as _, Secret};

use crate::program::{Program, ProgramError, Running, find};

/// Both projects' names of the client.
const CLIENTS: [&str; 2] = ["mariadb", "mysql"];
const ANSWER_LIMIT_BYTES: u64 = 256 << 20;
const QUESTION_DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);

/// A server, and who we are there.
#[derive(Debug, Clone, Default)]
pub struct MysqlLogin {
    /// Name or address; the tool's own choice for none.
    pub host: Option<String>,
    /// Port, when it is not the usual one.
    pub port: Option<u16>,
    /// A socket in the file system, instead of host and port.
    pub socket: Option<PathBuf>,
    /// Account; the system's user name for none.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The server has to show a certificate of this authority, and its name has to be in it.
    pub ca_certificate: Option<PathBuf>,
    /// The folder of the tools; the search path for none.
    pub programs: Option<PathBuf>,
}

impl MysqlLogin {
    /// Where it is, without secrets.
    pub fn place(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match (&self.socket, &self.host, self.port) {
            (Some(socket), _, _) => format!("mysql://{user}{}", socket.display()),
            (None, host, Some(port)) => format!("mysql://{user}{}:{port}", host.as_deref().unwrap_or("localhost")),
            (None, host, None) => format!("mysql://{user}{}", host.as_deref().unwrap_or("localhost")),
        }
    }

    /// One of its tools, told who we are. Files of options that lie about on this machine count for nothing.
    pub(crate) fn tool(&self, names: &[&str]) -> Result<Program, ProgramError> {
        let path = find(names, self.programs.as_deref())?;
        let mut program = Program::new(&path).without_variables("MYSQL_").variable("LC_ALL", "C");
        let options = program.secret_file(&self.options()).map_err(|error| ProgramError {
            program: names.join("` or `"),
            how: format!("cannot be handed its options: {error}"),
            said: String::new(),
        })?;
        // Nothing but this file, and it has to come first.
        let mut file = std::ffi::OsString::from("--defaults-file=");
        file.push(options);
        program = program.argument(file).argument("--default-character-set=utf8mb4");
        Ok(match &self.password {
            Some(password) => program.hiding(password),
            None => program,
        })
    }

    fn options(&self) -> Secret {
        let mut text = String::from("[client]\n");
        let mut set = |name: &str, value: &str| text.push_str(&format!("{name}=\"{}\"\n", escaped(value)));
        if let Some(user) = &self.user {
            set("user", user);
        }
        if let Some(password) = &self.password {
            set("password", password.expose_secret());
        }
        if let Some(socket) = &self.socket {
            set("socket", &socket.to_string_lossy());
        } else if self.host.is_some() || self.port.is_some() {
            set("host", self.host.as_deref().unwrap_or("localhost"));
            set("protocol", "tcp");
            set("port", &self.port.unwrap_or(3306).to_string());
        }
        if let Some(file) = &self.ca_certificate {
            set("ssl-ca", &file.to_string_lossy());
            // The one is MariaDB's word, the other MySQL's.
            set("loose-ssl-verify-server-cert", "1");
            set("loose-ssl-mode", "VERIFY_IDENTITY");
        }
        Secret::from(text)
    }

    /// The client, ready for statements on its input; begins in `database` when one is given.
    pub(crate) fn client(&self, database: Option<&str>) -> Result<Running, ProgramError> {
        // Without binary mode the client looks for commands of its own in the data.
        let words = ["--binary-mode", "--batch", "--skip-reconnect", "--max-allowed-packet=1G"];
        let mut program = self.tool(&CLIENTS)?.arguments(words).with_input().without_output();
        if let Some(database) = database {
            program = program.argument(format!("--database={database}"));
        }
        program.start()
    }

    /// Asks the server; rows of columns.
    pub(crate) fn ask(&self, question: &str) -> Result<Vec<Vec<String>>, ProgramError> {
        let words = ["--batch", "--skip-column-names", "--execute", question];
        let mut running = self.tool(&CLIENTS)?.arguments(words).deadline(QUESTION_DEADLINE).start()?;
        let mut text = Vec::new();
        let read = running.by_ref().take(ANSWER_LIMIT_BYTES).read_to_end(&mut text);
        read.map_err(|error| running.failed(format!("cannot be heard: {error}")))?;
        running.finish()?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().map(|line| line.split('\t').map(unescaped).collect()).collect())
    }

    /// The server's words for its version, and how long a statement it takes.
    pub(super) fn describe(&self) -> Result<(String, u64), ProgramError> {
        let rows = self.ask("SELECT VERSION(), @@global.max_allowed_packet")?;
        let mut columns = rows.into_iter().flatten();
        let version = columns.next().unwrap_or_default();
        Ok((version, columns.next().and_then(|bytes| bytes.parse().ok()).unwrap_or_default()))
    }
}

/// As values in files of options are escaped.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text
}

/// What the client's batch output stands for.
fn unescaped(column: &str) -> String {
    let mut text = String::new();
    let mut characters = column.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('0') => text.push('\0'),
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
    }
    text
}

/// A name as it stands in statements.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as it stands in statements.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
