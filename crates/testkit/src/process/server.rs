//! One server on a loopback port.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::{Keeper, free_port, is_running, signal, wait_until};

const KEEPER: &str = include_str!("keeper.sh");

/// How long a server may take until it listens.
const START_LIMIT_SECONDS: u64 = 30;
/// How long a server may take to end after a polite signal before it is killed.
const STOP_LIMIT_SECONDS: u64 = 5;
/// How often a start is tried on another port, when somebody else was faster.
const PORT_ATTEMPTS: usize = 5;
/// How much of a log is shown when a start failed.
const LOG_LINES_SHOWN: usize = 12;

/// How to start a server.
pub struct ServerPlan {
    /// What to call it in messages.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, given the port that it is to listen on.
    pub arguments: Box<dyn Fn(u16) -> Vec<OsString> + Send + Sync>,
    /// A folder of its own, with everything that it reads and writes; removed when the server is let go.
    pub folder: PathBuf,
}

impl std::fmt::Debug for ServerPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerPlan").field("name", &self.name).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A server at work. Dropping it stops it, politely at first, and removes its folder.
#[derive(Debug)]
pub struct Server {
    plan: ServerPlan,
    port: u16,
    pid: u32,
    keeper: Option<Keeper>,
}

impl Server {
    /// Starts a server on a free port and waits until it takes connections.
    ///
    /// # Errors
    /// When it ends or stays silent; the error has the end of its log.
    pub fn start(plan: ServerPlan) -> io::Result<Self> {
        let mut server = Self { plan, port: 0, pid: 0, keeper: None };
        for attempt in 1.. {
            server.port = free_port()?;
            match server.launch() {
                Ok(()) => break,
                // Only a lost race for the port is worth another try.
                Err(_) if attempt < PORT_ATTEMPTS && server.log().contains("address already in use") => {
                    server.stop_keeping_folder()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(server)
    }

    fn launch(&mut self) -> io::Result<()> {
        let mut arguments: Vec<OsString> =
            vec![self.plan.folder.clone().into(), self.log_file().into(), self.plan.program.clone().into()];
        arguments.extend((self.plan.arguments)(self.port));
        let keeper = self.keeper.insert(Keeper::start(KEEPER, "keeper", &arguments)?);
        let line = keeper.next_line(Duration::from_secs(START_LIMIT_SECONDS))?;
        self.pid = line.strip_prefix("pid ").and_then(|pid| pid.parse().ok()).unwrap_or(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let answered = wait_until(Duration::from_secs(START_LIMIT_SECONDS), || {
            !is_running(self.pid) || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
        // Somebody else may be the one who took the connection, so ours must still be alive behind it.
        if answered && is_running(self.pid) {
            return Ok(());
        }
        let what = if answered { "ended at once" } else { "does not listen in time" };
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n");
        Err(io::Error::other(format!("`{}` {what}; the end of its log:\n{shown}", self.plan.name)))
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id; of no meaning while it is stopped.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its own folder.
    pub fn folder(&self) -> &Path {
        &self.plan.folder
    }

    fn log_file(&self) -> PathBuf {
        self.plan.folder.join("log")
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Freezes it: connections open and nothing answers.
    pub fn freeze(&self) {
        signal(self.pid, Signal::STOP);
    }

    /// Undoes [`Server::freeze`].
    pub fn thaw(&self) {
        signal(self.pid, Signal::CONT);
    }

    /// Kills it as a crash would, at once. Its folder stays for [`Server::start_again`].
    ///
    /// # Errors
    /// When the keeper is gone, which would take the folder with it.
    pub fn kill(&mut self) -> io::Result<()> {
        signal(self.pid, Signal::KILL);
        self.stop_keeping_folder()
    }

    fn stop_keeping_folder(&mut self) -> io::Result<()> {
        if let Some(mut keeper) = self.keeper.take() {
            keeper.say("keep")?;
        }
        Ok(())
    }

    /// Starts it again after [`Server::kill`], on the same port and the same folder.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub fn start_again(&mut self) -> io::Result<()> {
        self.kill()?;
        self.launch()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.thaw();
            signal(self.pid, Signal::TERM);
            wait_until(Duration::from_secs(STOP_LIMIT_SECONDS), || !is_running(self.pid));
        } else {
            // It was killed and not started again, so no keeper is left to remove the folder.
            let _ = std::fs::remove_dir_all(&self.plan.folder);
        }
    }
}
