//! PostgreSQL, which never runs as root: for a test of root's it becomes a user that the machine has anyway.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{folder, ran};
use crate::components;
use crate::process::{Server, ServerPlan};

/// The account `nobody`, which `initdb` finds by its number.
const NOBODY: u32 = 65_534;

/// A PostgreSQL server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct PostgresServer {
    /// Where its programs are.
    pub programs: PathBuf,
    /// The process.
    pub server: Server,
}

impl PostgresServer {
    /// The account that may do everything.
    pub const USER: &'static str = "postgres";
    /// Its password, with all that a password file could stumble over.
    pub const PASSWORD: &'static str = "open:sesame\\ #1";

    /// Starts one; none when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let installed = components::databases()?;
        match Self::start_installed(&installed) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start PostgreSQL: {error}"),
        }
    }

    fn start_installed(installed: &Path) -> io::Result<Self> {
        let folder = folder("triplicate-postgres-")?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let own = folder.join("databases");
        copy_programs(installed, &own)?;
        let (data, password) = (folder.join("data"), folder.join("password"));
        std::fs::create_dir(&data)?;
        std::fs::write(&password, Self::PASSWORD)?;
        let mut before: Vec<OsString> = Vec::new();
        if rustix::process::geteuid().is_root() {
            chown(&data, Some(NOBODY), Some(NOBODY))?;
            before.extend([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")].map(OsString::from));
            before.extend(["--clear-groups", "--pdeathsig=KILL", "env"].map(OsString::from));
        }
        let starter = if before.is_empty() { "env" } else { "setpriv" };
        let programs = own.join("bin");
        let mut make = Command::new(starter);
        make.args(&before).arg(programs.join("initdb")).arg("-D").arg(&data).arg("--pwfile").arg(&password);
        ran(make.args(["-U", Self::USER, "-A", "scram-sha-256", "-N", "-E", "UTF8", "--locale=C"]));
        let mut fixed = before;
        fixed.extend([programs.join("postgres").into(), "-D".into(), data.clone().into(), "-k".into(), data.into()]);
        // Nothing here has to survive a loss of power.
        fixed.extend(["-F", "-c", "listen_addresses=127.0.0.1", "-c", "full_page_writes=off"].map(OsString::from));
        let arguments = move |port: u16| {
            let listen: [OsString; 2] = ["-p".into(), port.to_string().into()];
            fixed.iter().cloned().chain(listen).collect()
        };
        let plan = ServerPlan { name: "postgres", program: starter.into(), arguments: Box::new(arguments), folder };
        let server = Self { programs, server: Server::start(plan)? };
        server.wait_until_ready();
        Ok(server)
    }

    /// It takes connections before it lets anybody in.
    fn wait_until_ready(&self) {
        let port = self.server.port().to_string();
        let mut ask = Command::new(self.programs.join("pg_isready"));
        ask.args(["-q", "-h", "127.0.0.1", "-p", &port]);
        let is_ready = || ask.status().is_ok_and(|status| status.success());
        assert!(crate::process::wait_until(super::TOOL_LIMIT, is_ready), "PostgreSQL does not get ready");
    }

    /// Runs statements in a database, and gives what they answer, with tabs between columns.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut client = Command::new(self.programs.join("psql"));
        client.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        client.args(["-p", &self.server.port().to_string(), "-U", Self::USER, "-d", database]);
        ran(client.env("PGPASSWORD", Self::PASSWORD).arg("-c").arg(statements)).text()
    }
}

/// The programs where their new user reaches them; as further names of the same files where that is possible.
fn copy_programs(installed: &Path, own: &Path) -> io::Result<()> {
    let share = Path::new("rootfs/usr/share");
    std::fs::create_dir_all(own.join(share))?;
    for (from, into) in
        [("bin", ""), ("rootfs/usr/lib", "rootfs/usr"), ("rootfs/usr/share/postgresql", "rootfs/usr/share")]
    {
        let (from, into) = (installed.join(from), own.join(into));
        let linked = Command::new("cp").arg("-Rl").args([&from, &into]).stderr(std::process::Stdio::null()).status()?;
        if !linked.success() {
            ran(Command::new("cp").arg("-Rf").args([&from, &into]));
        }
    }
    Ok(())
}
