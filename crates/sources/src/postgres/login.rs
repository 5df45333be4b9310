//! How a PostgreSQL server is reached by its own tools.

use std::path::PathBuf;
use std::time::Duration;

use model::{ExposeSecret as _, Secret};

use crate::program::{Program, ProgramError, find};

const ANSWER_LIMIT_BYTES: u64 = 256 << 20;
const QUESTION_DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);
/// The database that is there before any other.
pub(super) const FIRST_DATABASE: &str = "postgres";

/// A server, and who we are there.
#[derive(Debug, Clone, Default)]
pub struct PostgresLogin {
    /// Name or address, or the folder of its socket; the tool's own choice for none.
    pub host: Option<String>,
    /// Port, when it is not the usual one.
    pub port: Option<u16>,
    /// Account; the system's user name for none.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The server has to show a certificate of this authority, and its name has to be in it.
    pub ca_certificate: Option<PathBuf>,
    /// The folder of the tools; the search path for none.
    pub programs: Option<PathBuf>,
}

impl PostgresLogin {
    /// Where it is, without secrets.
    pub fn place(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("postgres://{user}{}{port}", self.host.as_deref().unwrap_or("localhost"))
    }

    /// One of its tools, told who we are and which database is meant. What this machine says of servers counts for
    /// nothing.
    pub(super) fn tool(&self, name: &str, database: &str) -> Result<Program, ProgramError> {
        let path = find(&[name], self.programs.as_deref())?;
        let mut program = Program::new(path).without_variables("PG").variable("LC_ALL", "C");
        program = program.variable("PGDATABASE", database).variable("PGCONNECT_TIMEOUT", "60");
        // Without one it looks for a file in the home folder.
        let entry = self.password.as_ref().map(|password| format!("*:*:*:*:{}\n", escaped(password.expose_secret())));
        let file = program.secret_file(&Secret::from(entry.unwrap_or_default())).map_err(|error| ProgramError {
            program: name.to_owned(),
            how: format!("cannot be handed its password: {error}"),
            said: String::new(),
        })?;
        program = program.variable("PGPASSFILE", file);
        let port = self.port.map(|port| port.to_string());
        for (name, value) in [("PGHOST", &self.host), ("PGPORT", &port), ("PGUSER", &self.user)] {
            if let Some(value) = value {
                program = program.variable(name, value);
            }
        }
        if let Some(file) = &self.ca_certificate {
            program = program.variable("PGSSLMODE", "verify-full").variable("PGSSLROOTCERT", file);
        }
        Ok(match &self.password {
            Some(password) => program.hiding(password),
            None => program,
        })
    }

    /// The client, which stops at the first error.
    pub(super) fn client(&self, database: &str) -> Result<Program, ProgramError> {
        let words = ["--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1"];
        Ok(self.tool("psql", database)?.arguments(words))
    }

    /// Asks the server; rows of columns, in which there may be no line ends.
    pub(super) fn ask(&self, database: &str, question: &str) -> Result<Vec<Vec<String>>, ProgramError> {
        let words = ["--no-align", "--tuples-only", "--field-separator=\x1f", "--command", question];
        let program = self.client(database)?.arguments(words).deadline(QUESTION_DEADLINE);
        let text = program.run(ANSWER_LIMIT_BYTES)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().map(|line| line.split('\x1f').map(str::to_owned).collect()).collect())
    }

    /// A question with one answer.
    pub(super) fn ask_one(&self, database: &str, question: &str) -> Result<String, ProgramError> {
        Ok(self.ask(database, question)?.into_iter().flatten().next().unwrap_or_default())
    }
}

/// As passwords are escaped in a password file.
fn escaped(password: &str) -> String {
    password.replace('\\', "\\\\").replace(':', "\\:")
}

/// A name as it stands in statements.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as it stands in statements.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// `schema.table`, each in quotes where it is not a plain word.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    let shown = |name: &str| {
        let is_plain = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_plain { name.to_owned() } else { quoted(name) }
    };
    format!("{}.{}", shown(schema), shown(table))
}

/// What [`qualified`] was made of; also what PostgreSQL's own tools write, with what stands behind.
pub(super) fn parse_qualified(text: &str) -> Option<(String, String, &str)> {
    let (schema, rest) = parse_name(text)?;
    let (table, rest) = parse_name(rest.strip_prefix('.')?)?;
    Some((schema, table, rest))
}

pub(super) fn parse_name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([' ', '.', '(', ';', '"']).unwrap_or(text.len());
        return (end > 0)
            .then(|| (text.get(..end).unwrap_or_default().to_owned(), text.get(end..).unwrap_or_default()));
    };
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        name.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_tables_can_be_read_again() {
        for (schema, table, expected) in [
            ("public", "t_1", "public.t_1"),
            ("a.b", "odd.Name", "\"a.b\".\"odd.Name\""),
            ("x", "say \"hi\"", "x.\"say \"\"hi\"\"\""),
            ("größe", "", "\"größe\".\"\""),
        ] {
            assert_eq!(qualified(schema, table), expected);
            let again = parse_qualified(expected).unwrap();
            assert_eq!((again.0.as_str(), again.1.as_str(), again.2), (schema, table, ""));
        }
        assert_eq!(parse_qualified("public.t (a, b) FROM stdin;").unwrap().2, " (a, b) FROM stdin;");
        assert_eq!(parse_qualified("no schema"), None);
    }
}
