//! MariaDB.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{folder, ran};
use crate::components;
use crate::process::{Server, ServerPlan};

/// A MariaDB server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct MariaDbServer {
    /// Where its programs are.
    pub programs: PathBuf,
    /// The socket, which lets its root in without a password.
    pub socket: PathBuf,
    /// The process.
    pub server: Server,
}

impl MariaDbServer {
    /// An account that may do everything, by TCP.
    pub const USER: &'static str = "backup";
    /// Its password, with all that an option file or a shell could stumble over.
    pub const PASSWORD: &'static str = "open \"sesame' #1\\n$HOME;";

    /// Starts one; none when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let installed = components::databases()?;
        match Self::start_installed(&installed) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start MariaDB: {error}"),
        }
    }

    fn start_installed(installed: &Path) -> io::Result<Self> {
        let folder = folder("triplicate-mariadb-")?;
        let programs = installed.join("bin");
        let (data, socket) = (folder.join("data"), folder.join("socket"));
        let mut fixed: Vec<OsString> = vec!["--no-defaults".into()];
        // A server that starts removes from this folder what it takes for its own, also that of another.
        let own = folder.join("tmp");
        std::fs::create_dir(&own)?;
        for (name, path) in [("basedir", &installed.join("rootfs/usr")), ("datadir", &data)] {
            let mut option = OsString::from(format!("--{name}="));
            option.push(path);
            fixed.push(option);
        }
        if rustix::process::geteuid().is_root() {
            fixed.push("--user=root".into());
        }
        let mut install = Command::new(programs.join("mariadb-install-db"));
        install.args(&fixed).args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        ran(install.env("TMPDIR", &own));
        let mut own_option = OsString::from("--tmpdir=");
        own_option.push(&own);
        fixed.push(own_option);
        let mut socket_option = OsString::from("--socket=");
        socket_option.push(&socket);
        fixed.push(socket_option);
        let options =
            ["--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-buffer-pool-size=64M", "--event-scheduler=OFF"];
        fixed.extend(options.map(OsString::from));
        // Nothing here has to survive a loss of power.
        fixed.extend(["--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4"].map(OsString::from));
        let arguments = move |port: u16| {
            let listen = OsString::from(format!("--port={port}"));
            fixed.iter().cloned().chain([listen]).collect()
        };
        let plan =
            ServerPlan { name: "mariadbd", program: programs.join("mariadbd"), arguments: Box::new(arguments), folder };
        let server = Self { programs, socket, server: Server::start(plan)? };
        // Nameless accounts are found before ours.
        server.sql("DELETE FROM mysql.global_priv WHERE User = ''; FLUSH PRIVILEGES");
        let password = Self::PASSWORD.replace('\\', "\\\\").replace('\'', "''");
        server.sql(&format!("CREATE USER {}@'%' IDENTIFIED BY '{password}'", Self::USER));
        for right in ["ALL ON *.*", "PROXY ON ''@'%'"] {
            server.sql(&format!("GRANT {right} TO {}@'%' WITH GRANT OPTION", Self::USER));
        }
        Ok(server)
    }

    /// Runs statements as root, and gives what they answer, with tabs between columns.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        let mut client = Command::new(self.programs.join("mariadb"));
        client.args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--user=root",
            "--default-character-set=utf8mb4",
        ]);
        ran(client.arg("--socket").arg(&self.socket).arg("--execute").arg(statements)).text()
    }
}
