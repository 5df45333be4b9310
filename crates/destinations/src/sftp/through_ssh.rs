//! SFTP through our own SSH client: one connection, its host judged before anything is sent, then logged in.
//!
//! Login is tried with key files, the password and the keys of an agent, in this order; what was tried is told when
//! all was refused. Keys are read and decrypted once for all connections.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::{ExposeSecret as _, FaultKind};
use russh::client::{self, AuthResult, DisconnectReason, KeyboardInteractiveAuthResponse};
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{MethodSet, Preferred, cipher};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::known_hosts::KnownHost;
use super::session::{Lifeline, Pipe};
use super::trouble::{Result, Trouble};
use crate::around::progress::Progress;
use crate::{AccountPlace, SshAccess};

const USUAL_PORT: u16 = 22;
/// A connection that is not made and logged in by then never will be.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// A silent server is asked for a sign of life; after three without one the connection is over.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVES_UNANSWERED: usize = 3;
/// How many bytes a server may send ahead: 80 ms at 200 MB/s.
const WINDOW_BYTES: u32 = 16 << 20;
/// Servers mostly hang up after six attempts to log in.
const AGENT_KEYS_TRIED: usize = 5;
/// Questions of a keyboard-interactive login that are answered before it is given up.
const QUESTIONS_ROUNDS: usize = 4;

/// Key files of a home, in the order in which they are tried.
const USUAL_KEYS: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];
const USUAL_KNOWN_HOSTS: &str = ".ssh/known_hosts";
const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";

/// A way into one account.
#[derive(Debug)]
pub(super) struct Door {
    place: AccountPlace,
    access: SshAccess,
    username: String,
    keys: OnceCell<Keys>,
}

/// Private keys that could be read, and files that could not be used, with the reason.
#[derive(Default)]
struct Keys {
    usable: Vec<(PathBuf, Arc<PrivateKey>)>,
    unusable: Vec<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("usable", &self.usable.len()).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) fn new(place: &AccountPlace, access: &SshAccess) -> std::result::Result<Self, String> {
        let username = place.username.clone().or_else(|| access.username.clone());
        let username = username.ok_or("the address names no user")?;
        Ok(Self { place: place.clone(), access: access.clone(), username, keys: OnceCell::new() })
    }

    /// Connects, judges the host, logs in and asks for SFTP.
    pub(super) async fn open(&self) -> Result<Pipe> {
        let opened = tokio::time::timeout(LOGIN_LIMIT, self.open_slowly()).await;
        opened.unwrap_or_else(|_| {
            let cause = format!("no login within {} s", LOGIN_LIMIT.as_secs());
            Err(Trouble::unreachable(cause))
        })
    }

    async fn open_slowly(&self) -> Result<Pipe> {
        let progress = Progress::current();
        let keys = self.keys.get_or_try_init(|| self.read_keys()).await?;
        let known = self.known_host().await?;
        let config = Arc::new(config(&known));
        let port = self.place.port.unwrap_or(USUAL_PORT);
        let connecting = TcpStream::connect((self.place.host.as_str(), port));
        let socket = match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(Trouble::unreachable(error.to_string())),
            Err(_) => return Err(Trouble::unreachable("the host does not answer")),
        };
        progress.note();
        // Small requests must not wait for each other's acknowledgements; without it they are slower and no less right.
        let _ = socket.set_nodelay(true);
        let farewell = Arc::new(Farewell::default());
        let judge = Judge { known, farewell: Arc::clone(&farewell) };
        let mut connection = client::connect_stream(config, socket, judge).await.map_err(Trouble::from)?;
        progress.note();
        self.log_in(&mut connection, keys, &farewell).await?;
        progress.note();
        let channel = connection.channel_open_session().await.map_err(|error| farewell.explain(error))?;
        channel.request_subsystem(true, "sftp").await.map_err(|error| farewell.explain(error))?;
        let (reader, writer) = tokio::io::split(channel.into_stream());
        let lifeline = Arc::new(Connection { _connection: connection, farewell });
        Ok(Pipe { reader: Box::new(reader), writer: Box::new(writer), lifeline })
    }

    async fn known_host(&self) -> Result<KnownHost> {
        let (place, access) = (self.place.clone(), self.access.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let usual = access.home.map(|home| home.join(USUAL_KNOWN_HOSTS));
            let files: Vec<PathBuf> = match access.known_hosts {
                Some(file) => vec![file],
                None => usual.into_iter().chain([PathBuf::from(SYSTEM_KNOWN_HOSTS)]).collect(),
            };
            let port = place.port.unwrap_or(USUAL_PORT);
            KnownHost::look_up(&place.host, port, &files, access.host_fingerprint.as_deref())
        });
        let misconfigured = |cause| Trouble::new(FaultKind::Misconfigured, cause);
        looked.await.map_err(|error| Trouble::new(FaultKind::Interrupted, error.to_string()))?.map_err(misconfigured)
    }

    async fn read_keys(&self) -> Result<Keys> {
        let access = self.access.clone();
        let read = tokio::task::spawn_blocking(move || {
            let passphrase = access.key_passphrase.as_ref().map(|passphrase| passphrase.expose_secret());
            let mut keys = Keys::default();
            if let Some(file) = &access.key_file {
                keys.take(file, passphrase, true)?;
            } else if access.password.is_none() {
                for file in access.home.iter().flat_map(|home| USUAL_KEYS.map(|name| home.join(name))) {
                    keys.take(&file, passphrase, false)?;
                }
            }
            Ok(keys)
        });
        read.await.map_err(|error| Trouble::new(FaultKind::Interrupted, error.to_string()))?
    }

    async fn log_in(&self, connection: &mut client::Handle<Judge>, keys: &Keys, farewell: &Farewell) -> Result<()> {
        let mut tried: Vec<String> = Vec::new();
        let mut takes = MethodSet::empty();
        let user = self.username.as_str();
        for (file, key) in &keys.usable {
            let hash = rsa_hash(connection, &key.algorithm()).await.map_err(|error| farewell.explain(error))?;
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let answer = connection.authenticate_publickey(user, key).await.map_err(|error| farewell.explain(error))?;
            tried.push(format!("the key `{}`", file.display()));
            match answer {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => takes = remaining_methods,
            }
        }
        if let Some(password) = &self.access.password {
            let password = password.expose_secret();
            let answer =
                connection.authenticate_password(user, password).await.map_err(|error| farewell.explain(error))?;
            tried.push("the password".to_owned());
            match answer {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => takes = remaining_methods,
            }
            if takes.contains(&russh::MethodKind::KeyboardInteractive)
                && answer_questions(connection, user, password).await?
            {
                return Ok(());
            }
        }
        if let Some(socket) = &self.access.agent_socket {
            match self.log_in_by_agent(connection, socket).await {
                Ok((true, _)) => return Ok(()),
                Ok((false, count)) => tried.push(format!("{count} keys of the agent")),
                Err(why) => tried.push(format!("the agent, which failed: {why}")),
            }
        }
        Err(self.refusal(&tried, keys, &takes, farewell))
    }

    async fn log_in_by_agent(
        &self,
        connection: &mut client::Handle<Judge>,
        socket: &Path,
    ) -> std::result::Result<(bool, usize), String> {
        let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| error.to_string())?;
        let identities = agent.request_identities().await.map_err(|error| error.to_string())?;
        let mut count = 0;
        for identity in identities.into_iter().take(AGENT_KEYS_TRIED) {
            let key = identity.public_key().into_owned();
            let hash = rsa_hash(connection, &key.algorithm()).await.map_err(|error| error.to_string())?;
            let answer = connection.authenticate_publickey_with(self.username.as_str(), key, hash, &mut agent).await;
            count += 1;
            if answer.is_ok_and(|answer| answer.success()) {
                return Ok((true, count));
            }
        }
        Ok((false, count))
    }

    fn refusal(&self, tried: &[String], keys: &Keys, takes: &MethodSet, farewell: &Farewell) -> Trouble {
        if let (true, Some(Trouble { kind: FaultKind::Unreachable, cause, .. })) = (takes.is_empty(), farewell.heard())
        {
            return Trouble::unreachable(cause);
        }
        let mut cause = match tried {
            [] => format!("there is no key, password or agent to log in `{}`", self.username),
            tried => format!("the server refused `{}`; tried: {}", self.username, tried.join(", ")),
        };
        if !takes.is_empty() {
            let names: Vec<&str> = takes.iter().map(<&str>::from).collect();
            cause.push_str(&format!("; it takes: {}", names.join(", ")));
        }
        for unusable in &keys.unusable {
            cause.push_str(&format!("; {unusable}"));
        }
        Trouble::new(FaultKind::Denied, cause)
    }
}

impl Keys {
    /// Reads a key file. One that was named must be there.
    fn take(&mut self, file: &Path, passphrase: Option<&str>, is_named: bool) -> Result<()> {
        let shown = file.display();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if !is_named && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(Trouble::new(FaultKind::Misconfigured, format!("cannot read the key `{shown}`: {error}")));
            }
        };
        // The libraries do not say in one voice that a key is encrypted: an attempt without a passphrase tells.
        match russh::keys::decode_secret_key(&text, passphrase).or_else(|error| match passphrase {
            Some(_) => russh::keys::decode_secret_key(&text, None).map_err(|_| error),
            None => Err(error),
        }) {
            Ok(key) if key.is_encrypted() => {
                self.unusable.push(format!("the key `{shown}` is encrypted and no passphrase was given"));
            }
            Ok(key) => self.usable.push((file.to_owned(), Arc::new(key))),
            Err(russh::keys::Error::KeyIsEncrypted) => {
                self.unusable.push(format!("the key `{shown}` is encrypted and no passphrase was given"));
            }
            Err(error) if is_named => {
                let cause = format!("cannot use the key `{shown}`, or its passphrase is another one: {error}");
                return Err(Trouble::new(FaultKind::Misconfigured, cause));
            }
            Err(error) => self.unusable.push(format!("the key `{shown}` cannot be used: {error}")),
        }
        Ok(())
    }
}

/// The hash that the server wants with an RSA key; other keys have none.
async fn rsa_hash(
    connection: &client::Handle<Judge>,
    algorithm: &Algorithm,
) -> std::result::Result<Option<HashAlg>, russh::Error> {
    if !matches!(algorithm, Algorithm::Rsa { .. }) {
        return Ok(None);
    }
    Ok(connection.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha512)))
}

/// A server that asks questions instead of taking a password: the password is the answer to each that is not shown.
async fn answer_questions(connection: &mut client::Handle<Judge>, user: &str, password: &str) -> Result<bool> {
    let broken = |error: russh::Error| Trouble::unreachable(error.to_string());
    let mut answer = connection.authenticate_keyboard_interactive_start(user, None).await.map_err(broken)?;
    for _ in 0..QUESTIONS_ROUNDS {
        match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let word = |echo: bool| if echo { String::new() } else { password.to_owned() };
                let words = prompts.iter().map(|prompt| word(prompt.echo)).collect();
                answer = connection.authenticate_keyboard_interactive_respond(words).await.map_err(broken)?;
            }
        }
    }
    Ok(false)
}

fn config(known: &KnownHost) -> client::Config {
    const RSA: [Algorithm; 2] =
        [Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }];
    let mut keys = Vec::new();
    let usual = Preferred::DEFAULT.key.iter().cloned();
    for algorithm in known.algorithms().into_iter().chain(usual) {
        // An RSA key alone does not say with which hash; SHA-1 is not good enough to know a server by.
        let meant = if matches!(algorithm, Algorithm::Rsa { .. }) { RSA.to_vec() } else { vec![algorithm] };
        for algorithm in meant {
            if !keys.contains(&algorithm) {
                keys.push(algorithm);
            }
        }
    }
    client::Config {
        client_id: russh::SshId::Standard(concat!("SSH-2.0-triplicate_", env!("CARGO_PKG_VERSION")).into()),
        window_size: WINDOW_BYTES,
        keepalive_interval: Some(KEEPALIVE_EVERY),
        keepalive_max: KEEPALIVES_UNANSWERED,
        preferred: Preferred {
            key: keys.into(),
            // Where the processor has instructions for AES, nothing is faster.
            cipher: vec![cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_128_CTR]
                .into(),
            compression: vec![russh::compression::NONE].into(),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// Why a connection ended, as far as it was told.
#[derive(Debug, Default)]
pub(super) struct Farewell(Mutex<Option<Trouble>>);

impl Farewell {
    fn heard(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn explain(&self, error: russh::Error) -> Trouble {
        self.heard().unwrap_or_else(|| Trouble::unreachable(error.to_string()))
    }
}

/// What holds the connection.
struct Connection {
    _connection: client::Handle<Judge>,
    farewell: Arc<Farewell>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

#[async_trait]
impl Lifeline for Connection {
    async fn why_it_ended(&self) -> Option<Trouble> {
        self.farewell.heard()
    }
}

/// Decides whether the server is the one that is meant.
#[derive(Debug)]
pub(super) struct Judge {
    known: KnownHost,
    farewell: Arc<Farewell>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unopened {
    Host(String),
    Ssh(russh::Error),
}

impl From<russh::Error> for Unopened {
    fn from(error: russh::Error) -> Self {
        Unopened::Ssh(error)
    }
}

impl From<Unopened> for Trouble {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Host(why) => Trouble::new(FaultKind::Misconfigured, why),
            Unopened::Ssh(error @ (russh::Error::NoCommonAlgo { .. } | russh::Error::Version)) => {
                Trouble::new(FaultKind::Refused, error.to_string())
            }
            Unopened::Ssh(error) => Trouble::unreachable(error.to_string()),
        }
    }
}

impl client::Handler for Judge {
    type Error = Unopened;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> std::result::Result<bool, Unopened> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.known.judge(key).map(|()| true).map_err(Unopened::Host)
            }
            PublicKeyOrCertificate::Certificate(_) => {
                Err(Unopened::Host("the server shows a certificate, which is not supported".to_owned()))
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Unopened>) -> std::result::Result<(), Unopened> {
        let trouble = match reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                let words: String = told.message.chars().filter(|c| !c.is_control()).take(200).collect();
                let kind = match told.reason_code {
                    russh::Disconnect::NoMoreAuthMethodsAvailable => FaultKind::Denied,
                    _ if words.contains("authentication failures") => FaultKind::Denied,
                    _ => FaultKind::Unreachable,
                };
                Trouble::new(kind, format!("the server hung up: {words}"))
            }
            DisconnectReason::Error(error) => Trouble::from(error),
        };
        self.farewell.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(trouble);
        Ok(())
    }
}
