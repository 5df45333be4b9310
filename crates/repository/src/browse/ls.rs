//! `ls`: the entries of a snapshot.

use format::Node;
use model::Id;

use super::source::Source;
use super::walk::{At, Step, Visitor, walk};
use super::{READERS, Unreadable};
use crate::error::{Error, Result};
use crate::filter::Selection;
use crate::repository::Indexed;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct LsRequest {
    /// Absolute paths inside the snapshot; empty: everything. Of a folder, its direct entries are listed.
    pub paths: Vec<Vec<u8>>,
    /// List what is below the direct entries too.
    pub recursive: bool,
    /// Of these, which entries.
    pub selection: Selection,
}

/// What a listing comes by.
#[derive(Debug, Clone, Copy)]
pub enum LsItem<'a> {
    /// An entry.
    Entry {
        /// Its absolute path inside the snapshot.
        path: &'a [u8],
        /// The entry.
        node: &'a Node,
        /// True for a folder that only leads to what was asked for: it is part of an `ncdu` export, and not listed
        /// otherwise.
        is_way: bool,
    },
    /// The end of a folder for which an entry came.
    Leave {
        /// Its path; `/` for the root, which comes last.
        path: &'a [u8],
    },
}

/// How a listing went.
#[derive(Debug, Default)]
pub struct LsReport {
    /// Entries listed.
    pub entries: u64,
    /// Folders that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Paths that were asked for and are not in the snapshot.
    pub not_found: Vec<Vec<u8>>,
}

/// Lists entries below the tree `root`, in order, each to `each`.
pub fn ls(
    indexed: &Indexed<'_>,
    root: &Id,
    request: &LsRequest,
    each: &mut dyn FnMut(LsItem<'_>) -> Result<()>,
) -> Result<LsReport> {
    list(indexed, root, request, each)
}

pub(super) fn list(
    source: &dyn Source,
    root: &Id,
    request: &LsRequest,
    each: &mut dyn FnMut(LsItem<'_>) -> Result<()>,
) -> Result<LsReport> {
    if let Some(path) = request.paths.iter().find(|path| path.first() != Some(&b'/')) {
        let path = String::from_utf8_lossy(path);
        return Err(Error::Request(format!("`{path}` is not absolute: paths inside a snapshot start with `/`")));
    }
    let paths: Vec<&[u8]> = request.paths.iter().map(|path| path.trim_ascii_end_slashes()).collect();
    let found = vec![false; paths.len()];
    // Without `--recursive` most of the tree is passed by, and reading ahead would read it.
    let readers = if paths.is_empty() || request.recursive { READERS } else { 0 };
    let mut listing = Listing { request, paths, found, each, report: LsReport::default() };
    walk(source, root, readers, &mut listing)?;
    let Listing { paths, found, mut report, .. } = listing;
    let not_found = paths.iter().zip(found).filter(|(path, found)| !found && !path.is_empty());
    report.not_found = not_found.map(|(path, _)| path.to_vec()).collect();
    Ok(report)
}

trait TrimSlashes {
    fn trim_ascii_end_slashes(&self) -> &[u8];
}

impl TrimSlashes for Vec<u8> {
    fn trim_ascii_end_slashes(&self) -> &[u8] {
        let end = self.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        self.get(..end).unwrap_or_default()
    }
}

struct Listing<'a> {
    request: &'a LsRequest,
    paths: Vec<&'a [u8]>,
    found: Vec<bool>,
    each: &'a mut dyn FnMut(LsItem<'_>) -> Result<()>,
    report: LsReport,
}

/// Whether `path` is `folder` or lies in it.
fn lies_in(folder: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

impl Listing<'_> {
    fn is_asked_for(&self, path: &[u8]) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|asked| lies_in(asked, path))
    }

    fn leads_to(&self, path: &[u8]) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|asked| lies_in(path, asked))
    }

    fn send(&mut self, at: &At<'_>, is_way: bool) -> Result<()> {
        (self.each)(LsItem::Entry { path: at.path, node: at.node, is_way })?;
        self.report.entries += u64::from(!is_way);
        Ok(())
    }
}

impl Visitor for Listing<'_> {
    fn entry(&mut self, at: &At<'_>) -> Result<Step> {
        for (asked, found) in self.paths.iter().zip(&mut self.found) {
            *found |= *asked == at.path;
        }
        let is_dir = at.node.subtree.is_some();
        let chosen = self.request.selection.selects(at.path, is_dir);
        let is_asked_for = self.is_asked_for(at.path);
        let leads_on = self.leads_to(at.path) || (is_asked_for && self.request.recursive);
        if is_asked_for && chosen.selected {
            self.send(at, false)?;
        } else if is_dir && leads_on && chosen.descend {
            self.send(at, true)?;
        }
        if !is_dir {
            return Ok(Step::Into);
        }
        if leads_on && chosen.descend {
            return Ok(Step::Into);
        }
        if is_asked_for && chosen.selected {
            (self.each)(LsItem::Leave { path: at.path })?;
        }
        Ok(Step::Past)
    }

    fn leave(&mut self, path: &[u8]) -> Result<()> {
        (self.each)(LsItem::Leave { path })
    }

    fn lost(&mut self, path: &[u8], tree: &Id, error: Error) -> Result<()> {
        self.report.unreadable.push(Unreadable { path: path.to_vec(), tree: *tree, error });
        (self.each)(LsItem::Leave { path })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::source::table::Table;
    use super::*;

    fn table() -> (Table, Id) {
        let table = Table::default();
        let deep = table.file("deep", b"1");
        let inner = table.folder(vec![deep]);
        let file = table.file("file", b"22");
        let middle = table.folder(vec![Table::dir("inner", inner), file]);
        let other = table.file("middleman", b"333");
        let root = table.folder(vec![Table::dir("middle", middle), other]);
        (table, root)
    }

    fn listed(request: &LsRequest) -> (Vec<String>, LsReport) {
        let (table, root) = table();
        let mut lines = Vec::new();
        let report = list(&table, &root, request, &mut |item| {
            if let LsItem::Entry { path, is_way: false, .. } = item {
                lines.push(String::from_utf8_lossy(path).into_owned());
            }
            Ok(())
        });
        (lines, report.unwrap())
    }

    fn paths(paths: &[&str], recursive: bool) -> LsRequest {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        LsRequest { paths, recursive, ..LsRequest::default() }
    }

    #[test]
    fn without_paths_everything_is_listed() {
        let (lines, report) = listed(&LsRequest::default());
        assert_eq!(lines, ["/middle", "/middle/file", "/middle/inner", "/middle/inner/deep", "/middleman"]);
        assert_eq!(report.entries, 5);
        assert!(report.not_found.is_empty());
    }

    #[test]
    fn a_folder_lists_itself_and_its_direct_entries() {
        assert_eq!(listed(&paths(&["/middle/"], false)).0, ["/middle", "/middle/file", "/middle/inner"]);
        assert_eq!(listed(&paths(&["/middle/inner"], false)).0, ["/middle/inner", "/middle/inner/deep"]);
        assert_eq!(
            listed(&paths(&["/middle"], true)).0,
            ["/middle", "/middle/file", "/middle/inner", "/middle/inner/deep"]
        );
        assert_eq!(listed(&paths(&["/middleman"], false)).0, ["/middleman"]);
    }

    #[test]
    fn a_path_that_is_not_there_is_named_and_a_relative_one_refused() {
        let (lines, report) = listed(&paths(&["/mid", "/middle/file"], false));
        assert_eq!(lines, ["/middle/file"]);
        assert_eq!(report.not_found, [b"/mid".to_vec()]);
        let (table, root) = table();
        let error = list(&table, &root, &paths(&["middle"], false), &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("not absolute"));
    }

    #[test]
    fn every_folder_that_came_is_left_once() {
        for request in [LsRequest::default(), paths(&["/middle/inner"], false), paths(&["/middle"], false)] {
            let (table, root) = table();
            let mut open = vec!["/".to_owned()];
            list(&table, &root, &request, &mut |item| {
                match item {
                    LsItem::Entry { path, node, .. } if node.subtree.is_some() => {
                        open.push(String::from_utf8_lossy(path).into_owned());
                    }
                    LsItem::Entry { .. } => {}
                    LsItem::Leave { path } => assert_eq!(open.pop().unwrap().as_bytes(), path),
                }
                Ok(())
            })
            .unwrap();
            assert!(open.is_empty());
        }
    }
}
