//! What the rules look at: the packages as Cargo understands them, and the text files of the checkout.
//!
//! Cargo itself reads the manifests (`cargo metadata`), so that a dependency that is inherited, renamed or bound to a
//! target is seen as Cargo sees it, and no second reading of TOML can differ from the first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Folders that hold no source: build output, fuzzing finds, history.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", "corpus", "artifacts"];
/// Larger files are data, not text.
const TEXT_BYTES_MAX: u64 = 2 << 20;

/// How a crate uses another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    /// In the code that ships.
    Normal,
    /// In tests only.
    Dev,
    /// In a build script.
    Build,
}

/// A line of a manifest's dependency tables.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
    /// One of our own crates.
    pub(crate) own: bool,
}

/// A package: ours, or one that ours are built with.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where the manifest is, relative to the root; for a foreign package the lock file.
    pub(crate) manifest: String,
    pub(crate) own: bool,
    pub(crate) licence: Option<String>,
    /// Only for our own packages: what a foreign package needs is the foreign package's affair.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A file of the checkout that is text.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Everything that a rule may look at.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) files: Vec<TextFile>,
}

impl Workspace {
    /// Reads the checkout that this program was built from.
    pub(crate) fn read() -> Result<Self, String> {
        let root = root()?;
        let mut packages = packages_of(&root.join("Cargo.toml"), &root, true)?;
        // The fuzz targets are a workspace of their own, because they are built with instruments; the rules hold there too.
        let fuzz = root.join("fuzz/Cargo.toml");
        if fuzz.exists() {
            packages.extend(packages_of(&fuzz, &root, false)?);
        }
        let mut files = Vec::new();
        collect_texts(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { packages, files })
    }

    pub(crate) fn own_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.own)
    }

    pub(crate) fn rust_files(&self) -> impl Iterator<Item = &TextFile> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The line of `path` on which `wanted` first holds; line 1 when there is none, so that every finding has a place.
    pub(crate) fn line_where(&self, path: &str, wanted: impl Fn(&str) -> bool) -> usize {
        let file = self.files.iter().find(|file| file.path == path);
        file.and_then(|file| file.text.lines().position(wanted)).map_or(1, |index| index + 1)
    }

    /// The line of a manifest that names a dependency.
    pub(crate) fn dependency_line(&self, manifest: &str, name: &str) -> usize {
        self.line_where(manifest, |line| {
            line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
        })
    }

    #[cfg(test)]
    pub(crate) fn of_files(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| TextFile { path: (*path).into(), text: (*text).into() }).collect();
        Self { packages: Vec::new(), files }
    }

    #[cfg(test)]
    pub(crate) fn with_package(mut self, name: &str, dependencies: &[(&str, DependencyKind, bool)]) -> Self {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind, own)| Dependency { name: (*name).into(), kind: *kind, own: *own })
            .collect();
        self.packages.push(Package {
            name: name.into(),
            version: "0.1.0".into(),
            manifest: format!("crates/{name}/Cargo.toml"),
            own: true,
            licence: Some("MIT".into()),
            dependencies,
        });
        self
    }
}

/// The checkout's root: two folders above this crate's manifest.
pub(crate) fn root() -> Result<PathBuf, String> {
    let own_folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own_folder = PathBuf::from(own_folder);
    let root = own_folder.ancestors().nth(2).unwrap_or(&own_folder).to_path_buf();
    if root.join("Cargo.toml").exists() { Ok(root) } else { Err("cannot find the workspace's root".to_owned()) }
}

fn packages_of(manifest: &Path, root: &Path, with_foreign: bool) -> Result<Vec<Package>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(manifest);
    if with_foreign {
        command.args(["--locked", "--filter-platform", &host_triple()?]);
    } else {
        command.arg("--no-deps");
    }
    let output = command.output().map_err(|error| format!("cannot run `cargo metadata`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cannot read `cargo metadata`: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("`cargo metadata` names no packages")?;
    Ok(packages.iter().map(|package| package_of(package, root)).collect())
}

fn package_of(package: &Value, root: &Path) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = package["source"].is_null();
    let manifest_path = text(&package["manifest_path"]);
    let manifest = if own { relative(Path::new(&manifest_path), root) } else { "Cargo.lock".to_owned() };
    let listed = package["dependencies"].as_array().filter(|_| own).into_iter().flatten();
    let dependencies = listed
        .map(|dependency| Dependency {
            name: text(&dependency["name"]),
            kind: match dependency["kind"].as_str() {
                Some("dev") => DependencyKind::Dev,
                Some("build") => DependencyKind::Build,
                _ => DependencyKind::Normal,
            },
            own: dependency["path"].is_string(),
        })
        .collect();
    let licence = package["license"].as_str().map(str::to_owned);
    Package { name: text(&package["name"]), version: text(&package["version"]), manifest, own, licence, dependencies }
}

/// The platform that this toolchain builds for: dependencies of other systems need not be downloaded to check ours.
pub(crate) fn host_triple() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().map_err(|error| format!("cannot run `rustc -vV`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".to_owned())
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn collect_texts(folder: &Path, root: &Path, files: &mut Vec<TextFile>) -> Result<(), String> {
    let cannot = |error| format!("cannot read `{}`: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let kind = entry.file_type().map_err(cannot)?;
        let path = entry.path();
        if kind.is_dir() {
            if !SKIPPED_FOLDERS.iter().any(|skipped| entry.file_name() == *skipped) {
                collect_texts(&path, root, files)?;
            }
        } else if kind.is_file() && entry.metadata().map_err(cannot)?.len() <= TEXT_BYTES_MAX {
            // A file that is not UTF-8 is a fixture, not a text that the rules speak about.
            if let Ok(text) = fs::read_to_string(&path) {
                files.push(TextFile { path: relative(&path, root), text });
            }
        }
    }
    Ok(())
}
