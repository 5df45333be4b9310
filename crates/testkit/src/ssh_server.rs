//! OpenSSH for one test: an account of its own, its own host key, SFTP and commands.
//!
//! It never runs as root: permissions must mean something to what it does, and as a user it needs no separate account
//! for itself. Root becomes a user that the machine does not have; anybody else stays who he is. The account comes
//! from a file that only this server believes in. Everything the server needs is copied beside it, because the folder
//! of the components may be closed to that user.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::components;
use crate::process::{Server, ServerPlan, family, run, signal};

/// Who the server is when the tests are root's.
const USER_ID: u32 = 54_321;
/// SHA-512 crypt of [`PASSWORD`].
const PASSWORD_HASH: &str =
    "$6$triplicate$/A0kKB0uSCS/M4YYXTk6KQWcwZMtODjteDZ5gBK94XFN2yAj.MV8k73UIFtTVmNtE/vUW6Z0o.GB7rvXBhVUB.";
const PASSWORD: &str = "open sesame";
const USERNAME: &str = "alice";
const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// What a test wants of its server.
#[derive(Debug, Clone, Default)]
pub struct SshServerOptions {
    /// The only command that the account's key may run, as `authorized_keys` has it.
    pub forced_command: Option<String>,
    /// Further lines of its configuration.
    pub configuration: Vec<String>,
}

/// An SSH server at work; dropping it stops it and removes what it held.
#[derive(Debug)]
pub struct SshServer {
    /// The account.
    pub user: &'static str,
    /// The account's password.
    pub password: &'static str,
    /// The private key that opens the account.
    pub key_file: PathBuf,
    /// A file with the server's key.
    pub known_hosts: PathBuf,
    /// The account's home; relative paths start here.
    pub home: PathBuf,
    /// Where the programs are, from `ssh` to `rsync`.
    pub programs: PathBuf,
    /// The process.
    pub server: Server,
}

impl SshServer {
    /// Starts one; none when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(options: &SshServerOptions) -> Option<Self> {
        let installed = components::openssh()?;
        match Self::start_installed(&installed, options) {
            Ok(server) => Some(server),
            Err(error) => panic!("cannot start the SSH server: {error}"),
        }
    }

    fn start_installed(installed: &Path, options: &SshServerOptions) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-ssh-server-").tempdir()?.keep();
        let own = folder.join("openssh");
        run(Command::new("cp").arg("-R").args([installed, &own]), TOOL_LIMIT)?.expect_code(0);
        let (home, programs) = (folder.join("home"), own.join("bin"));
        std::fs::create_dir(&home)?;
        let key_file = folder.join("key");
        make_key(&programs, &folder.join("host_key"), "ed25519", "")?;
        make_key(&programs, &key_file, "ed25519", "")?;
        let public = std::fs::read_to_string(folder.join("key.pub"))?;
        let forced = options.forced_command.as_ref().map(|command| format!("restrict,command=\"{command}\" "));
        std::fs::write(folder.join("authorized_keys"), format!("{}{public}", forced.unwrap_or_default()))?;
        let (uid, gid) = match rustix::process::getuid().as_raw() {
            0 => (USER_ID, USER_ID),
            uid => (uid, rustix::process::getgid().as_raw()),
        };
        let shown_home = home.display();
        let accounts = format!("{USERNAME}:{PASSWORD_HASH}:{uid}:{gid}::{shown_home}:/bin/sh\n");
        std::fs::write(folder.join("accounts"), accounts)?;
        std::fs::write(folder.join("groups"), format!("{USERNAME}:x:{gid}:\n"))?;
        let configuration = folder.join("configuration");
        std::fs::write(&configuration, configuration_text(&folder, &programs, options))?;
        if uid == USER_ID {
            let owner = format!("{uid}:{gid}");
            run(Command::new("chown").arg("-R").arg(owner).arg(&folder), TOOL_LIMIT)?.expect_code(0);
        }
        let environment = environment(&folder)?;
        let program = programs.join("sshd");
        let plan = ServerPlan {
            name: "sshd",
            program: PathBuf::from(if uid == USER_ID { "setpriv" } else { "env" }),
            arguments: Box::new(move |port| {
                let mut arguments: Vec<OsString> = Vec::new();
                if uid == USER_ID {
                    arguments.extend([format!("--reuid={uid}").into(), format!("--regid={gid}").into()]);
                    arguments.extend(["--clear-groups", "--pdeathsig=KILL", "env"].map(OsString::from));
                }
                arguments.extend(environment.iter().cloned());
                arguments.push(program.clone().into());
                arguments.extend(["-D", "-e", "-r", "-f"].map(OsString::from));
                arguments.extend([configuration.clone().into(), "-p".into(), port.to_string().into()]);
                arguments
            }),
            folder: folder.clone(),
        };
        let server = Server::start(plan)?;
        let known_hosts = folder.join("known_hosts");
        let host_key = std::fs::read_to_string(folder.join("host_key.pub"))?;
        std::fs::write(&known_hosts, format!("[127.0.0.1]:{} {host_key}", server.port()))?;
        Ok(Self { user: USERNAME, password: PASSWORD, key_file, known_hosts, home, programs, server })
    }

    /// The address of a folder below the account's home, as a kind of destination has it:
    /// `sftp://alice@127.0.0.1:PORT/path`.
    pub fn location(&self, kind: &str, path: &str) -> String {
        format!("{kind}://{}@127.0.0.1:{}/{path}", self.user, self.server.port())
    }

    /// The words that run something on the server by the system's own ssh, up to the host.
    pub fn ssh_words(&self) -> Vec<String> {
        let mut words = vec![self.programs.join("ssh").display().to_string()];
        let options = [
            format!("UserKnownHostsFile={}", self.known_hosts.display()),
            format!("IdentityFile={}", self.key_file.display()),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            format!("Port={}", self.server.port()),
        ];
        words.extend(["-F".to_owned(), "/dev/null".to_owned()]);
        words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        words.push(format!("{}@127.0.0.1", self.user));
        words
    }

    /// A file that has the server's key for another port that leads to it.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn known_at(&self, port: u16) -> io::Result<PathBuf> {
        let file = self.server.folder().join(format!("known_hosts-{port}"));
        let known = std::fs::read_to_string(&self.known_hosts)?;
        let own = format!("[127.0.0.1]:{} ", self.server.port());
        std::fs::write(&file, known.replace(&own, &format!("[127.0.0.1]:{port} ")))?;
        Ok(file)
    }

    /// Makes a key pair in the server's folder; `kind` is a word of `ssh-keygen`. The account does not know it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_key(&self, name: &str, kind: &str, passphrase: &str) -> io::Result<PathBuf> {
        let file = self.server.folder().join(name);
        make_key(&self.programs, &file, kind, passphrase)?;
        Ok(file)
    }

    /// Lets the holder of a key in.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn authorize(&self, key_file: &Path) -> io::Result<()> {
        let public = std::fs::read_to_string(key_file.with_extension("pub"))?;
        let file = self.server.folder().join("authorized_keys");
        let known = std::fs::read_to_string(&file)?;
        std::fs::write(file, format!("{known}{public}"))
    }

    /// Gives the server another host key, as a machine that was set up anew has one.
    ///
    /// # Errors
    /// When the server does not start again.
    pub fn change_host_key(&mut self) -> io::Result<()> {
        let file = self.server.folder().join("host_key");
        std::fs::remove_file(&file)?;
        make_key(&self.programs, &file, "ed25519", "")?;
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(&file, Some(USER_ID), Some(USER_ID))?;
        }
        self.kill_connections();
        self.server.start_again()
    }

    /// Kills the processes that serve connections at this moment; how many processes there were.
    pub fn kill_connections(&self) -> usize {
        // A connection is a supervisor and a process below it that holds the socket.
        let family = family(self.server.pid());
        let below = family.get(1..).unwrap_or_default();
        below.iter().for_each(|pid| signal(*pid, Signal::KILL));
        below.len()
    }
}

fn make_key(programs: &Path, file: &Path, kind: &str, passphrase: &str) -> io::Result<()> {
    let mut command = Command::new(programs.join("ssh-keygen"));
    command.args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"]).arg(file);
    run(&mut command, TOOL_LIMIT)?.expect_code(0);
    Ok(())
}

fn configuration_text(folder: &Path, programs: &Path, options: &SshServerOptions) -> String {
    let folder = folder.display();
    let mut lines = vec![
        "ListenAddress 127.0.0.1".to_owned(),
        format!("HostKey {folder}/host_key"),
        "PidFile none".to_owned(),
        format!("AuthorizedKeysFile {folder}/authorized_keys"),
        "StrictModes no".to_owned(),
        "UsePAM no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "MaxStartups 100".to_owned(),
        format!("SetEnv PATH={}:/usr/bin:/bin", programs.display()),
        "Subsystem sftp internal-sftp".to_owned(),
    ];
    lines.extend(options.configuration.iter().cloned());
    lines.join("\n") + "\n"
}

/// What makes the server believe in its accounts.
fn environment(folder: &Path) -> io::Result<Vec<OsString>> {
    let libraries = folder.join("openssh/rootfs/usr/lib");
    let found = std::fs::read_dir(&libraries)?
        .flatten()
        .map(|entry| entry.path().join("libnss_wrapper.so"))
        .find(|library| library.exists());
    let library = found.ok_or_else(|| io::Error::other("`libnss_wrapper.so` is not among the components"))?;
    let set = |name: &str, value: PathBuf| {
        let mut text = OsString::from(format!("{name}="));
        text.push(value);
        text
    };
    Ok(vec![
        set("LD_PRELOAD", library),
        set("NSS_WRAPPER_PASSWD", folder.join("accounts")),
        set("NSS_WRAPPER_GROUP", folder.join("groups")),
    ])
}
