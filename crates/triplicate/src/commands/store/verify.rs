//! `store verify`: names against content, on the server's own disk, without any key.

use repository::filter::parse_size;
use serde_json::json;
use store::verify::{VerifyOptions, verify};
use store::{AccountName, Vault};

use super::{DataFolder, failed, opened};
use crate::failure::{Failure, code};
use crate::figures;
use crate::session::Session;

/// Read files and compare their content with their names, from where the last pass broke off
///
/// Works beside a server that runs. What is damaged is named, marked until it is stored anew, and never removed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
    /// Only this account's repositories
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountName>,
    /// Read no more than this in a second: `20M`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    rate: Option<u64>,
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.why.to_owned())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let state = opened(session, &arguments.data)?;
    let vault = Vault::visit(state.folder()).map_err(failed)?;
    let is_to_stop = || session.cancel.is_set();
    let account = arguments.account.clone();
    let options =
        VerifyOptions { account, due_before: None, bytes_per_second: arguments.rate, is_to_stop: &is_to_stop };
    let verified = verify(&state, &vault, &options).map_err(failed)?;
    for damage in &verified.damages {
        let (place, name) = (damage.place.to_string(), damage.name.to_string());
        session
            .screen
            .json(&json!({ "message_type": "damage", "repository": place, "file": name, "what": damage.what }))?;
        session.screen.line(format!("damaged: {place}/{name}: {}", damage.what))?;
    }
    session.screen.json(&json!({
        "message_type": "verified",
        "files": verified.files,
        "bytes": verified.bytes,
        "damaged": verified.damages.len(),
        "whole": verified.is_whole,
    }))?;
    let files = figures::count(verified.files, "file");
    session.screen.remark(format!("read {files}, {}", figures::bytes(verified.bytes)))?;
    match verified.damages.len() as u64 {
        _ if !verified.is_whole => Err(Failure::new(code::INTERRUPTED, "interrupted; the next pass goes on from here")),
        0 => Ok(()),
        count => {
            Err(Failure::failed(format!("{} {} damaged", figures::count(count, "file"), figures::is_or_are(count)))
                .hint("another copy may have them whole: `triplicate copies heal`"))
        }
    }
}
