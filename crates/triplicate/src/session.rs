//! What a command works with: the copies that were named, the password, the clock, the runtime.
//!
//! Nothing here touches a destination before a command asks for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, SystemClock};
use destinations::{Destination, Location, Site};
use model::Secret;
use repository::{CacheFolder, Cancel, InitRequest, Observer, RecordsFolder, Repository, Surroundings, Who};
use tokio::runtime::Runtime;

use crate::arguments::Global;
use crate::environment;
use crate::failure::{self, Failure};
use crate::interrupt;
use crate::password;
use crate::screen::Screen;
use crate::sites;
use crate::watch::{Task, Watch};

/// Threads for the network and disks of destinations; the work itself has threads of its own.
const RUNTIME_THREADS: usize = 2;

/// The surroundings of one command.
pub(crate) struct Session {
    pub(crate) screen: Arc<Screen>,
    pub(crate) global: Global,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cancel: Cancel,
    pub(crate) who: Who,
    pub(crate) on_interrupt: interrupt::Notice,
    repositories: Vec<String>,
    runtime: Runtime,
}

impl Session {
    /// Starts the runtime and listens for Ctrl-C.
    pub(crate) fn new(screen: Arc<Screen>, global: Global, repositories: Vec<String>) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
        let cancel = Cancel::new();
        let on_interrupt = interrupt::listen(runtime.handle(), cancel.clone(), screen.clone())?;
        let clock = Arc::new(SystemClock::new());
        Ok(Self { screen, global, clock, cancel, who: who(), on_interrupt, repositories, runtime })
    }

    /// The addresses of the copies as the user wrote them: from `-r`, `--repository-file` or the environment, in that
    /// order.
    pub(crate) fn addresses(&self) -> Result<Vec<String>, Failure> {
        let texts = match (self.repositories.is_empty(), &self.global.repository_file) {
            (false, Some(_)) => return Err(Failure::usage("-r and --repository-file exclude each other")),
            (false, None) => self.repositories.clone(),
            (true, Some(file)) => read_repository_file(file)?,
            (true, None) => from_environment()?,
        };
        if texts.is_empty() {
            let hint = "name a copy with -r, once for each; or set RESTIC_REPOSITORY";
            return Err(Failure::usage("no repository was named").hint(hint));
        }
        Ok(texts)
    }

    /// The places that were named, each with its credentials and limits; secrets are fetched now.
    pub(crate) fn sites(&self) -> Result<Vec<Site>, Failure> {
        self.sites_at(&self.addresses()?)
    }

    /// The places with these addresses.
    pub(crate) fn sites_at(&self, addresses: &[String]) -> Result<Vec<Site>, Failure> {
        sites::resolve(addresses, &self.global)
    }

    /// Places that are known by their addresses alone.
    pub(crate) fn sites_of(&self, locations: &[Location]) -> Result<Vec<Site>, Failure> {
        locations.iter().map(|location| sites::plain(location.clone(), &self.global)).collect()
    }

    /// The destinations at these places.
    pub(crate) fn destinations(&self, sites: &[Site]) -> Result<Vec<Arc<dyn Destination>>, Failure> {
        sites.iter().map(|site| self.destination(site)).collect()
    }

    /// The destination at a place.
    pub(crate) fn destination(&self, site: &Site) -> Result<Arc<dyn Destination>, Failure> {
        // Building a client needs the runtime around it.
        let _entered = self.runtime.enter();
        Ok(site.open(self.clock.clone())?)
    }

    /// More than the machine can address is no limit.
    fn queue_bytes(&self) -> usize {
        let chosen = self.global.queue_size.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        chosen.unwrap_or(repository::copies::QUEUE_BYTES)
    }

    /// The runtime that destinations work on.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// A watcher for the command's operation.
    pub(crate) fn watch(&self, task: Task) -> Arc<Watch> {
        Watch::new(task, self.screen.clone(), self.clock.clone())
    }

    /// What an operation needs from its surroundings.
    pub(crate) fn surroundings(&self, observer: Arc<dyn Observer>) -> Surroundings {
        Surroundings {
            runtime: self.runtime.handle().clone(),
            clock: self.clock.clone(),
            cancel: self.cancel.clone(),
            observer,
            who: self.who.clone(),
            no_lock: self.global.no_lock,
            retry_lock: self.global.retry_lock.unwrap_or(Duration::ZERO),
            queue_bytes: self.queue_bytes(),
            cache: self.cache(),
            records: self.records(),
        }
    }

    /// Where this machine remembers what it saw. A user without a home has no such place.
    pub(crate) fn records(&self) -> Option<RecordsFolder> {
        own_folder(environment::XDG_STATE, ".local/state").map(RecordsFolder::new)
    }

    /// Where to keep what makes the next command faster: `--cache-dir`, its variable, or the folder for caches of this
    /// user. A user without a home has none.
    pub(crate) fn cache(&self) -> Option<CacheFolder> {
        if self.global.no_cache {
            return None;
        }
        let named = self.global.cache_dir.clone().or_else(|| environment::path(environment::CACHE_FOLDER));
        let usual = || own_folder(environment::XDG_CACHES, ".cache");
        named.or_else(usual).map(CacheFolder::new)
    }

    /// Opens the repository that was named, with its password.
    pub(crate) fn open(&self, observer: Arc<dyn Observer>) -> Result<Repository, Failure> {
        let destinations = self.destinations(&self.sites()?)?;
        let password = password::existing(&self.global)?;
        Ok(Repository::open(destinations, &password, self.surroundings(observer))?)
    }

    /// Opens the repository at these places.
    pub(crate) fn open_at(
        &self,
        sites: &[Site],
        password: &Secret,
        observer: Arc<dyn Observer>,
    ) -> Result<Repository, Failure> {
        Ok(Repository::open(self.destinations(sites)?, password, self.surroundings(observer))?)
    }

    /// Makes a repository at these places.
    pub(crate) fn init_at(
        &self,
        sites: &[Site],
        password: &Secret,
        request: &InitRequest,
        observer: Arc<dyn Observer>,
    ) -> Result<Repository, Failure> {
        Ok(Repository::init(self.destinations(sites)?, password, request, self.surroundings(observer))?)
    }
}

fn from_environment() -> Result<Vec<String>, Failure> {
    let repository = environment::text(environment::REPOSITORY);
    let file = environment::path(environment::REPOSITORY_FILE);
    match (repository, file) {
        (Some(_), Some(_)) => Err(Failure::usage("RESTIC_REPOSITORY and RESTIC_REPOSITORY_FILE exclude each other")),
        (Some(repository), None) => Ok(vec![repository]),
        (None, Some(file)) => read_repository_file(&file),
        (None, None) => Ok(Vec::new()),
    }
}

/// One location in each line; empty lines and lines that start with `#` are left out.
fn read_repository_file(path: &std::path::Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the repository file `{}`: {error}", path.display());
        Failure::usage(message)
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// Our folder among this user's of one sort (XDG Base Directory Specification): where `variable` says, or at `usual`
/// below the home. A user without a home has none.
pub(crate) fn own_folder(variable: &str, usual: &str) -> Option<PathBuf> {
    let named = environment::path(variable).filter(|path| path.is_absolute());
    let folder = named.or_else(|| environment::path(environment::HOME).map(|home| home.join(usual)))?;
    Some(folder.join("triplicate"))
}

/// Who we are, for locks, keys and snapshots.
fn who() -> Who {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let username = uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned());
    Who {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        username: username.unwrap_or_else(|| uid.to_string()),
        uid,
        gid,
        pid: std::process::id(),
    }
}

/// A backup into many copies holds many files open; the soft limit is often 1024 where much more is allowed.
pub(crate) fn raise_open_files_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With the old limit it works too, for fewer files at a time.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The scratch and key files of ours: readable by their owner only, never replacing one that is there.
pub(crate) fn write_private(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let refused = |error| failure::local("write", path, error);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(refused)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(refused)
}
