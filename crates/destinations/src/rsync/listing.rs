//! What `rsync --list-only --no-human-readable` prints, as pure functions: a line for each thing, strictly read.
//!
//! `-rw-------          5,000 2024/01/31 12:00:00 data/00/00ab...`: type and permissions, size, date, time, name. A
//! line of another form makes the listing invalid: to pass over it could pass over a file.

use format::{FileKind, FileName};
use model::Id;

use crate::Listed;

struct Line<'a> {
    is_file: bool,
    size: u64,
    name: &'a str,
}

/// The files of one kind in the listing of its folder.
pub(super) fn parse(text: &str, kind: FileKind) -> Result<Vec<Listed>, String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = parse_line(line)?;
        let (folder, last) = match line.name.rsplit_once('/') {
            Some((folder, last)) => (format!("{}/{folder}", kind.folder()), last),
            None => (kind.folder().to_owned(), line.name),
        };
        let Ok(id) = last.parse::<Id>() else { continue };
        // A file in the wrong one of the 256 folders cannot be read by its name: it is not there.
        let is_in_place = FileName::new(kind, id).path().rsplit_once('/').is_some_and(|(above, _)| above == folder);
        if line.is_file && is_in_place {
            found.push(Listed { id, size: line.size });
        }
    }
    Ok(found)
}

/// The size in the listing of one file.
pub(super) fn parse_one(text: &str) -> Result<u64, String> {
    let mut lines = text.lines();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err("rsync printed another number of lines than one".to_owned());
    };
    let line = parse_line(line)?;
    if line.is_file { Ok(line.size) } else { Err("not a regular file".to_owned()) }
}

fn parse_line(line: &str) -> Result<Line<'_>, String> {
    let refused = || format!("rsync printed a line that is none of a listing: `{}`", line.escape_debug());
    let (mode, rest) = line.split_once(' ').ok_or_else(refused)?;
    let (size, rest) = rest.trim_start_matches(' ').split_once(' ').ok_or_else(refused)?;
    let (date, rest) = rest.split_once(' ').ok_or_else(refused)?;
    let (time, name) = rest.split_once(' ').ok_or_else(refused)?;
    // Access lists and attributes add a sign behind the permissions.
    let is_mode = 10 <= mode.len() && mode.starts_with(['-', 'd', 'l', 'b', 'c', 'p', 's']);
    let has_separators = |text: &str, separator: char| text.matches(separator).count() == 2;
    if !is_mode || !has_separators(date, '/') || !has_separators(time, ':') || name.is_empty() {
        return Err(refused());
    }
    // Some versions group digits whatever they are told.
    let size = size.replace(',', "").parse().map_err(|_| refused())?;
    Ok(Line { is_file: mode.starts_with('-'), size, name })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "00ab000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn files_in_their_folder_are_found_and_everything_else_is_left_out() {
        let text = format!(
            "drwx------          4,096 2024/01/31 12:00:00 .\n\
             drwx------           4096 2024/01/31 12:00:00 00\n\
             -rw-------          5,000 2024/01/31 12:00:00 00/{ID}\n\
             -rw-------             17 2024/01/31 12:00:00 01/{ID}\n\
             -rw-------             17 2024/01/31 12:00:00 00/.{ID}.a8xkq1\n\
             lrwxrwxrwx             17 2024/01/31 12:00:00 00/{ID} -> elsewhere\n\
             -rw-------             17 2024/01/31 12:00:00 a name with spaces\n"
        );
        let found = parse(&text, FileKind::Pack).unwrap();
        assert_eq!(found, [Listed { id: ID.parse().unwrap(), size: 5000 }]);
    }

    #[test]
    fn a_line_of_another_form_makes_the_listing_invalid() {
        for text in
            ["Welcome to this machine!", "-rw------- x 2024/01/31 12:00:00 a", "-rw-------   17 2024/01/31 12:00:00"]
        {
            assert!(parse(text, FileKind::Pack).is_err(), "{text}");
        }
        assert!(parse_one("").is_err());
        assert_eq!(parse_one("-rw-r--r--+ 17 2024/01/31 12:00:00 config"), Ok(17));
        assert!(parse_one("drwxr-xr-x 17 2024/01/31 12:00:00 config").is_err());
    }
}
