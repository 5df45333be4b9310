//! The recovery kit: a page to print, with everything that is needed on a machine that has nothing.

use std::path::Path;

use destinations::Location;
use model::{ExposeSecret, Id, Secret};
use repository::repair::kit::KitFiles;

use super::home::Home;
use crate::failure::Failure;
use crate::session::write_private;

/// What the kit says.
pub(super) struct Kit<'a> {
    pub(super) repository: Id,
    pub(super) locations: &'a [Location],
    pub(super) passphrase: &'a Secret,
    pub(super) source: &'a Path,
    /// The day on which it was made.
    pub(super) date: String,
    pub(super) hostname: &'a str,
    /// `config` and key, for the day on which every copy has lost them.
    pub(super) files: &'a KitFiles,
}

/// Writes the kit, when there is none.
pub(super) fn write_if_missing(home: &Home, kit: &Kit<'_>) -> Result<bool, Failure> {
    if home.kit.exists() {
        return Ok(false);
    }
    write_private(&home.kit, &kit.text())?;
    Ok(true)
}

impl Kit<'_> {
    fn text(&self) -> String {
        let Kit { repository, passphrase, date, hostname, .. } = self;
        let source = self.source.display();
        let mut text = format!(
            "RECOVERY KIT\n\n\
             Print this page, or copy it to a place that survives this machine. Whoever has it and one of the copies\n\
             can read the backups. Whoever has neither it nor the passphrase cannot, and nobody can reset it.\n\n\
             Made:        {date} on {hostname}\n\
             Backs up:    {source}\n\
             Repository:  {repository}\n\
             Passphrase:  {}\n\n\
             Each of these places holds a complete copy; one of them is enough:\n\n",
            passphrase.expose_secret()
        );
        for location in self.locations {
            text.push_str(&format!("    {location}\n"));
        }
        text.push_str(
            "\nTo get everything back, name any place that is left. The command asks for the passphrase. Files come back\n\
             below ./restored, each under the full path that it had.\n\n",
        );
        if self.locations.iter().any(|location| !location.is_local()) {
            text.push_str(
                "Servers want a name and a password of their own, which are not on this page: write them here, and set\n\
                 RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.\n\n",
            );
        }
        text.push_str("With triplicate:\n\n");
        for location in self.locations {
            text.push_str(&format!("    triplicate -r {} restore latest --target ./restored\n", quoted(location)));
        }
        text.push_str("\nWith plain restic (https://restic.net), 0.14 or newer:\n\n");
        for location in self.locations {
            text.push_str(&format!("    restic -r {} restore latest --target ./restored\n", quoted(location)));
        }
        text.push_str(
            "\nShould every copy have lost its `config` or its `keys`, the lines below bring them back. Name every place that\n\
             is left with -r, and a file with this text: `triplicate -r PLACE -r PLACE repair config --kit FILE`.\n\
             They open nothing without the passphrase. Each line ends with a checksum of its own, for whoever has to\n\
             type it in.\n\n",
        );
        text.push_str(&self.files.to_text());
        text
    }
}

/// The location as one word of a shell.
pub(super) fn quoted(location: &Location) -> String {
    quote(&location.to_string())
}

/// One word of a shell.
pub(super) fn quote(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quote("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quote("/my folder"), "'/my folder'");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(quote(""), "''");
    }
}
