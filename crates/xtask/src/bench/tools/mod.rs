//! The programs that are compared, and how each is asked for the same thing.

mod installed;

use std::path::{Path, PathBuf};

use super::measure::Call;
use super::places::{Place, Seat};

pub(super) use installed::{available, release_build};

pub(super) const PASSWORD: &str = "bench";
/// borg names archives itself only if told how.
const BORG_ARCHIVE: &str = "::{now:%Y-%m-%dT%H:%M:%S.%f}";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ToolKind {
    Triplicate,
    /// Ours with `--compression fastest`.
    Fastest,
    Restic,
    Rustic,
    Borg,
    /// `rclone copy`: the files as they are, neither encrypted nor deduplicated, to see what a line gives.
    Rclone,
}

impl ToolKind {
    pub(super) const ALL: [Self; 6] =
        [Self::Triplicate, Self::Fastest, Self::Restic, Self::Rustic, Self::Borg, Self::Rclone];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Triplicate => "triplicate",
            Self::Fastest => "fastest",
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Borg => "borg",
            Self::Rclone => "rclone",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == word);
        found.ok_or_else(|| format!("`{word}` is no tool: {}", Self::ALL.map(Self::name).join(", ")))
    }

    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Triplicate | Self::Fastest)
    }
}

/// A program that was found.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) kind: ToolKind,
    pub(super) program: PathBuf,
    /// What it says about its version.
    pub(super) version: String,
}

/// Where one turn keeps everything: home, cache and temporary files of this tool alone.
pub(super) struct Scratch<'a> {
    pub(super) folder: &'a Path,
}

impl Tool {
    pub(super) fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn call(&self, scratch: &Scratch<'_>, seats: &[Seat]) -> Call {
        let mut call = Call::new(&self.program);
        call.env("HOME", scratch.folder.join("home")).env("TMPDIR", scratch.folder.join("tmp"));
        call.env("XDG_CACHE_HOME", scratch.folder.join("cache"));
        call.env("RESTIC_PASSWORD", PASSWORD).env("RUSTIC_PASSWORD", PASSWORD).env("BORG_PASSPHRASE", PASSWORD);
        call.env("RESTIC_FROM_PASSWORD", PASSWORD);
        for seat in seats {
            seat.variables(self.kind).into_iter().for_each(|(name, value)| {
                call.env(&name, value);
            });
        }
        if self.kind == ToolKind::Borg {
            if let Some(seat) = seats.first() {
                call.env("BORG_REPO", seat.name(self.kind));
            }
            call.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes").env("BORG_BASE_DIR", scratch.folder.join("home"));
            return call;
        }
        if self.kind == ToolKind::Rclone {
            call.arg("--quiet");
            return call;
        }
        for seat in seats {
            call.arg("-r").arg(seat.name(self.kind));
        }
        // Places of one turn are of one kind, and so are their options.
        call.args(seats.first().map(|seat| seat.options(self.kind)).unwrap_or_default());
        match self.kind {
            ToolKind::Rustic => call.args(["--no-progress", "--log-level", "warn"]),
            _ => call.arg("--quiet"),
        };
        call
    }

    pub(super) fn init(&self, scratch: &Scratch<'_>, seats: &[Seat]) -> Call {
        let mut call = self.call(scratch, seats);
        if self.kind == ToolKind::Rclone {
            call.arg("mkdir").args(seats.iter().map(|seat| seat.name(self.kind)));
            return call;
        }
        call.arg("init");
        if self.kind == ToolKind::Borg {
            call.args(["--encryption", "repokey"]);
        }
        call
    }

    pub(super) fn backup(&self, scratch: &Scratch<'_>, seats: &[Seat], source: &Path) -> Call {
        let mut call = self.call(scratch, seats);
        match self.kind {
            ToolKind::Rclone => {
                call.arg("copy").arg(source).args(seats.iter().map(|seat| seat.name(self.kind)));
                return call;
            }
            ToolKind::Borg => call.args(["create", BORG_ARCHIVE]),
            ToolKind::Fastest => call.args(["backup", "--compression", "fastest"]),
            _ => call.arg("backup"),
        };
        call.arg(source);
        call
    }

    /// `None` for a tool that restores into its working folder: borg is compared where it makes no difference.
    pub(super) fn restore(&self, scratch: &Scratch<'_>, seat: &Seat, target: &Path) -> Option<Call> {
        let mut call = self.call(scratch, std::slice::from_ref(seat));
        call.args(["restore", "latest"]);
        match self.kind {
            ToolKind::Borg | ToolKind::Rclone => return None,
            ToolKind::Rustic => call.arg(target),
            _ => call.arg("--target").arg(target),
        };
        Some(call)
    }

    pub(super) fn check(&self, scratch: &Scratch<'_>, seat: &Seat) -> Call {
        let mut call = self.call(scratch, std::slice::from_ref(seat));
        match self.kind {
            ToolKind::Borg => call.args(["check", "--verify-data"]),
            _ => call.args(["check", "--read-data"]),
        };
        call
    }

    /// A prune that repacks nothing; `None` for a tool that has none of the kind.
    pub(super) fn prune(&self, scratch: &Scratch<'_>, seat: &Seat) -> Option<Call> {
        let mut call = self.call(scratch, std::slice::from_ref(seat));
        call.args(["prune", "--max-unused", "unlimited"]);
        match self.kind {
            ToolKind::Borg | ToolKind::Rclone => return None,
            ToolKind::Rustic => {
                call.arg("--no-resize");
            }
            _ => {}
        }
        Some(call)
    }

    /// `restic copy`, which decrypts and encrypts again: the other way to a second repository.
    pub(super) fn copy(&self, scratch: &Scratch<'_>, from: &Seat, to: &Seat) -> Option<[Call; 2]> {
        if self.kind != ToolKind::Restic || to.place != Place::Local {
            return None;
        }
        let mut init = self.call(scratch, std::slice::from_ref(to));
        init.args(["init", "--copy-chunker-params", "--from-repo"]).arg(from.name(self.kind));
        let mut copy = self.call(scratch, std::slice::from_ref(to));
        copy.args(["copy", "--from-repo"]).arg(from.name(self.kind));
        Some([init, copy])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(kind: ToolKind) -> Tool {
        Tool { kind, program: PathBuf::from("tool"), version: String::new() }
    }

    #[test]
    fn each_tool_is_asked_in_its_own_words() {
        let scratch = Scratch { folder: Path::new("/s") };
        let seats = [Seat::folder("/r/1".into()), Seat::folder("/r/2".into())];
        let show = |kind| tool(kind).backup(&scratch, &seats, Path::new("/data")).show();
        assert_eq!(show(ToolKind::Triplicate), "tool -r /r/1 -r /r/2 --quiet backup /data");
        assert_eq!(show(ToolKind::Fastest), "tool -r /r/1 -r /r/2 --quiet backup --compression fastest /data");
        assert_eq!(show(ToolKind::Borg), format!("tool create {BORG_ARCHIVE} /data"));
        let restore = |kind| tool(kind).restore(&scratch, &seats[0], Path::new("/t")).map(|call| call.show());
        assert_eq!(restore(ToolKind::Restic).unwrap(), "tool -r /r/1 --quiet restore latest --target /t");
        assert_eq!(restore(ToolKind::Borg), None);
    }

    #[test]
    fn tools_have_names() {
        for kind in ToolKind::ALL {
            assert_eq!(ToolKind::parse(kind.name()), Ok(kind));
        }
        assert!(ToolKind::parse("tar").is_err());
    }
}
