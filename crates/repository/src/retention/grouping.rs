//! What belongs together: groups, to each of which a policy is applied on its own, and sources, of each of which
//! something always stays.

use std::fmt;
use std::str::FromStr;

use super::Entry;

/// Tags that begin with this name the plan that made the snapshot.
const PLAN_TAG: &str = "plan:";

/// Tags that begin with this name the source.
const SOURCE_TAG: &str = "source:";

/// The tag that begins with this names the run that made the snapshot.
const RUN_TAG: &str = "run:";

/// What snapshots of one group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// The host.
    pub host: bool,
    /// The set of paths.
    pub paths: bool,
    /// The set of tags.
    pub tags: bool,
    /// The plan that made them.
    pub plan: bool,
    /// The source that they are of.
    pub source: bool,
}

impl Grouping {
    /// Everything is one group.
    pub const NONE: Grouping = Grouping { host: false, paths: false, tags: false, plan: false, source: false };
}

impl Default for Grouping {
    /// restic's: host and paths.
    fn default() -> Self {
        Self { host: true, paths: true, ..Self::NONE }
    }
}

impl FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut grouping = Self::NONE;
        for word in text.split(',').map(str::trim) {
            match word {
                "" => {}
                "host" | "hosts" => grouping.host = true,
                "path" | "paths" => grouping.paths = true,
                "tag" | "tags" => grouping.tags = true,
                "plan" | "plans" => grouping.plan = true,
                "source" | "sources" => grouping.source = true,
                _ => return Err("use `host`, `paths`, `tags`, `plan`, `source`, separated by commas".to_owned()),
            }
        }
        Ok(grouping)
    }
}

/// What the snapshots of a group share; empty where the grouping does not ask. Lists are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The host.
    pub host: String,
    /// The paths.
    pub paths: Vec<String>,
    /// The tags.
    pub tags: Vec<String>,
    /// The plans that are named in tags.
    pub plans: Vec<String>,
    /// The sources that are named in tags.
    pub sources: Vec<String>,
}

impl GroupKey {
    /// The key of `entry`.
    pub fn of(entry: &Entry, grouping: Grouping) -> Self {
        let sorted = |values: &[String]| {
            let mut values = values.to_vec();
            values.sort();
            values
        };
        let mut key = Self::default();
        if grouping.host {
            key.host.clone_from(&entry.host);
        }
        if grouping.paths {
            key.paths = sorted(&entry.paths);
        }
        if grouping.tags {
            key.tags = sorted(&entry.tags);
            drop_run_tags(&mut key.tags);
        }
        if grouping.plan {
            key.plans = names(entry, PLAN_TAG);
        }
        if grouping.source {
            key.sources = names(entry, SOURCE_TAG);
        }
        key
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.host.is_empty() {
            parts.push(format!("host {}", self.host));
        }
        let lists = [("path", &self.paths), ("tags", &self.tags), ("plan", &self.plans), ("source", &self.sources)];
        parts.extend(
            lists
                .iter()
                .filter(|(_, list)| !list.is_empty())
                .map(|(word, list)| format!("{word} [{}]", list.join(" "))),
        );
        f.write_str(&parts.join(", "))
    }
}

/// What is protected as one thing. Snapshots that name their source in a tag are of that source (and plan), whatever
/// host they were made on: hosts of containers change with every run. Of others the host and the paths say what they
/// are of, or the one of the two by which the user groups: who groups by host alone says that paths change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKey {
    /// By tags: the sources, and the plans.
    Named(Vec<String>, Vec<String>),
    /// By host and paths.
    Place(String, Vec<String>),
}

impl SourceKey {
    /// The source of `entry`, where snapshots are grouped like this.
    pub fn of(entry: &Entry, grouping: Grouping) -> Self {
        let sources = names(entry, SOURCE_TAG);
        if !sources.is_empty() {
            return SourceKey::Named(sources, names(entry, PLAN_TAG));
        }
        let both = Grouping::default();
        let by = if grouping.host || grouping.paths { grouping } else { both };
        let place = GroupKey::of(entry, Grouping { host: by.host, paths: by.paths, ..Grouping::NONE });
        SourceKey::Place(place.host, place.paths)
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceKey::Named(sources, plans) => {
                write!(f, "source `{}`", sources.join(", "))?;
                if plans.is_empty() { Ok(()) } else { write!(f, " of plan `{}`", plans.join(", ")) }
            }
            SourceKey::Place(host, paths) => {
                let parts = [("host", host.clone()), ("paths", paths.join(", "))];
                let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
                let parts: Vec<String> = parts.map(|(word, value)| format!("{word} `{value}`")).collect();
                if parts.is_empty() { f.write_str("no host and no paths") } else { f.write_str(&parts.join(", ")) }
            }
        }
    }
}

/// Our backups mark each snapshot with its run and the second of its start. Who groups by tags means the tags that were
/// given: with these every snapshot would be a group of its own, of which nothing may ever go.
fn drop_run_tags(tags: &mut Vec<String>) {
    let is_run = |tag: &String| tag.starts_with(RUN_TAG);
    let is_number = |tag: &String| !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_digit());
    if tags.iter().any(is_run) {
        tags.retain(|tag| !is_run(tag) && !is_number(tag));
    }
}

/// What tags with this prefix name, sorted.
fn names(entry: &Entry, prefix: &str) -> Vec<String> {
    let named = entry.tags.iter().filter_map(|tag| tag.strip_prefix(prefix));
    let mut named: Vec<String> = named.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    named.sort();
    named.dedup();
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_is_no_tag_to_group_by() {
        let without_runs = |tags: &[&str]| {
            let mut tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
            drop_run_tags(&mut tags);
            tags
        };
        assert_eq!(without_runs(&["1795275216", "a", "run:590b2cc0"]), ["a"]);
        assert_eq!(without_runs(&["2026", "a"]), ["2026", "a"], "a number that somebody gave");
    }

    #[test]
    fn words_are_restics_and_ours() {
        let all = Grouping { host: true, paths: true, tags: true, plan: true, source: true };
        assert_eq!("host,paths,tags,plan,source".parse(), Ok(all));
        assert_eq!("".parse(), Ok(Grouping::NONE));
        assert_eq!("hosts, path".parse(), Ok(Grouping::default()));
        assert!("colour".parse::<Grouping>().is_err());
    }
}
