//! restic and rustic as judges: what they say of a repository is the truth that the product is held to.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ceph::Bucket;
use crate::components;
use crate::manifest::{Aspect, Manifest, manifest};
use crate::process::{Ended, run};

/// How long one call may take. restic alone would retry for a quarter of an hour.
const CALL_LIMIT_SECONDS: u64 = 600;

/// One of the tools on one repository.
#[derive(Debug, Clone)]
pub struct Oracle {
    name: String,
    program: PathBuf,
    is_rustic: bool,
    repository: String,
    options: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    limit: Duration,
}

impl Oracle {
    /// restic of `version` on `repository`; none when it is not installed.
    pub fn restic(version: &str, repository: &str, password: &str) -> Option<Self> {
        let program = components::restic(version)?;
        Some(Self::new(format!("restic {version}"), program, false, repository).with("RESTIC_PASSWORD", password))
    }

    /// Every restic that is installed.
    pub fn every_restic(repository: &str, password: &str) -> Vec<Self> {
        let versions = components::RESTIC_VERSIONS.into_iter();
        versions.filter_map(|version| Self::restic(version, repository, password)).collect()
    }

    /// rustic on `repository`; none when it is not installed.
    pub fn rustic(repository: &str, password: &str) -> Option<Self> {
        let program = components::rustic()?;
        // A folder that is not there: the developer's own profile must not count.
        let nowhere = "/nonexistent";
        let rustic = Self::new("rustic".to_owned(), program, true, repository).with("XDG_CONFIG_HOME", nowhere);
        Some(rustic.with("RUSTIC_PASSWORD", password))
    }

    fn new(name: String, program: PathBuf, is_rustic: bool, repository: &str) -> Self {
        let options = vec!["--no-cache".into()];
        let limit = Duration::from_secs(CALL_LIMIT_SECONDS);
        Self { name, program, is_rustic, repository: repository.to_owned(), options, environment: Vec::new(), limit }
    }

    /// Its name and version, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With the login for `bucket`, for restic.
    #[must_use]
    pub fn with_login(self, bucket: &Bucket) -> Self {
        self.with("AWS_ACCESS_KEY_ID", &bucket.access_key).with("AWS_SECRET_ACCESS_KEY", &bucket.secret_key)
    }

    /// rustic on the repository under `prefix` in `bucket`, which it reaches by settings and not by an address.
    pub fn rustic_in_bucket(bucket: &Bucket, prefix: &str, password: &str) -> Option<Self> {
        let rustic = Self::rustic("opendal:s3", password)?;
        let root = format!("/{prefix}");
        let settings = [("BUCKET", &bucket.name), ("ROOT", &root), ("ENDPOINT", &bucket.endpoint)];
        let login = [("ACCESS_KEY_ID", &bucket.access_key), ("SECRET_ACCESS_KEY", &bucket.secret_key)];
        let all = settings.into_iter().chain(login);
        let rustic = all.fold(rustic, |rustic, (name, value)| rustic.with(&format!("OPENDAL_{name}"), value));
        Some(rustic.with("OPENDAL_REGION", bucket.region))
    }

    /// Trusting the authority in this file.
    #[must_use]
    pub fn trusting(mut self, authority: &Path) -> Self {
        if self.is_rustic {
            return self.with("RUSTIC_REPO_OPT_CACERT", authority);
        }
        self.options.extend(["--cacert".into(), authority.into()]);
        self
    }

    /// With another limit for one call.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command, ready for more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-r").arg(&self.repository).args(&self.options);
        // Nothing of the developer's own settings may reach it.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["RESTIC_", "RUSTIC_", "OPENDAL_", "AWS_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it with `arguments`, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn call<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> io::Result<Ended> {
        run(self.command().args(arguments), self.limit)
    }

    /// Runs it with `arguments`; it must succeed.
    ///
    /// # Panics
    /// When it does not, with everything that it said.
    #[track_caller]
    pub fn ok<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Ended {
        let ended = match self.call(arguments) {
            Ok(ended) => ended,
            Err(error) => panic!("{}: {error}", self.name),
        };
        let code = ended.code;
        assert_eq!(code, Some(0), "{} on {}: {}\n{}", self.name, self.repository, ended.text(), ended.errors);
        ended
    }

    /// Makes the repository, of format `version`. rustic 0.11 makes no other than 2.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn init(&self, version: u32) {
        let (option, version) =
            if self.is_rustic { ("--set-version", version) } else { ("--repository-version", version) };
        self.ok(&["init", option, &version.to_string()]);
    }

    /// Backs `paths` up, with more `options`.
    #[track_caller]
    pub fn backup(&self, paths: &[&Path], options: &[&str]) -> Ended {
        let mut arguments: Vec<OsString> = vec!["backup".into()];
        arguments.extend(options.iter().map(OsString::from));
        arguments.extend(paths.iter().map(OsString::from));
        self.ok(&arguments)
    }

    /// Checks the structure, and with `read_data` every byte; it must find nothing wrong.
    #[track_caller]
    pub fn check(&self, read_data: bool) {
        let arguments: &[&str] = if read_data { &["check", "--read-data"] } else { &["check"] };
        self.ok(arguments);
    }

    /// Restores a snapshot into `target`.
    #[track_caller]
    pub fn restore(&self, snapshot: &str, target: &Path) -> Ended {
        let target = target.as_os_str();
        if self.is_rustic {
            self.ok(&["restore".as_ref(), snapshot.as_ref(), target])
        } else {
            self.ok(&["restore".as_ref(), snapshot.as_ref(), "--target".as_ref(), target])
        }
    }

    /// Restores a snapshot of the absolute path `source` into `scratch` and compares it with `expected`, which was
    /// taken from `source`.
    ///
    /// # Panics
    /// When the restore fails or the result cannot be read.
    #[track_caller]
    pub fn restored_difference(
        &self,
        snapshot: &str,
        source: &Path,
        expected: &Manifest,
        scratch: &Path,
        except: &[Aspect],
    ) -> Vec<String> {
        self.restore(snapshot, scratch);
        match manifest(scratch) {
            Ok(restored) => Manifest::difference_except(expected, &restored.below(source), except),
            Err(error) => panic!("cannot read what {} restored: {error}", self.name),
        }
    }
}
