//! Stand-ins for services of which no package registry has a server: scripts that follow the services' documentation,
//! each checked by a client of somebody else's. Tests and documents call them stand-ins.

mod b2;
mod google;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use b2::B2Server;
pub use google::GoogleServer;

use crate::components;
use crate::process::{Ended, Server, ServerPlan, run};

/// What the scripts have in common.
const DOOR: &str = include_str!("door.py");

const CLIENT_LIMIT_SECONDS: u64 = 120;

/// A script at work.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// Where it keeps what it holds.
    data_dir: PathBuf,
    server: Server,
}

impl StandIn {
    /// Starts one in a folder that `prepare` has put its files into; none when there is no Python.
    ///
    /// # Panics
    /// When it does not start.
    fn start(name: &'static str, script: &str, prepare: impl Fn(&Path) -> io::Result<()>) -> Option<Self> {
        let program = components::python()?;
        match Self::start_program(program, name, script, prepare) {
            Ok(started) => Some(started),
            Err(error) => panic!("cannot start {name}: {error}"),
        }
    }

    fn start_program(
        program: PathBuf,
        name: &'static str,
        script: &str,
        prepare: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-stand-in-").tempdir()?.keep();
        let data_dir = folder.join("data");
        std::fs::create_dir(&data_dir)?;
        prepare(&folder)?;
        let file = folder.join("server.py");
        std::fs::write(&file, format!("{DOOR}\n{script}"))?;
        let data = data_dir.clone();
        let arguments = move |port: u16| {
            let words: [OsString; 4] = ["-I".into(), file.clone().into(), port.to_string().into(), data.clone().into()];
            words.to_vec()
        };
        let server = Server::start(ServerPlan { name, program, arguments: Box::new(arguments), folder })?;
        Ok(Self { data_dir, server })
    }

    /// Runs rclone with a remote `cloud` of these settings; none when it is not installed.
    ///
    /// # Panics
    /// When it cannot be run.
    fn rclone(settings: &[(&str, &str)], arguments: &[&str]) -> Option<Ended> {
        let mut command = Command::new(components::rclone()?);
        command.args(["--config", "/dev/null", "--retries", "1", "--low-level-retries", "2"]).args(arguments);
        for (name, value) in settings {
            command.env(format!("RCLONE_CONFIG_CLOUD_{name}"), value);
        }
        match run(&mut command, Duration::from_secs(CLIENT_LIMIT_SECONDS)) {
            Ok(ended) => Some(ended),
            Err(error) => panic!("cannot run rclone: {error}"),
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.server.port())
    }

    /// Asks for something unusual, as JSON; what there is to ask for is said in the script.
    ///
    /// # Panics
    /// When it cannot be written.
    fn control(&self, json: &str) {
        let file = self.server.folder().join("control");
        let new = file.with_extension("next");
        let written = std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, &file));
        assert!(written.is_ok(), "cannot write {}", file.display());
    }
}
