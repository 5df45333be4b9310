//! Files and folders through sessions: the order of commands that leaves no half file under a name.
//!
//! A write is stored under a temporary name, asked for its size, and renamed. When the first `config` is stored, making
//! a folder decides who may: FTP has no other step that only one of two can win. Whether bytes reached the server's disk
//! nobody can ask.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use format::{FileKind, FileName};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{FaultKind, Id};
use suppaftp::tokio::{AsyncRustlsStream, TransferStream};
use suppaftp::{FtpError, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::lanes::Lanes;
use super::listing::{self, Entry, EntryKind};
use super::session::Session;
use super::trouble::{Result, Trouble};
use crate::around::progress::Progress;
use crate::{FILE_LIMIT_BYTES, Listed, Span, temporary};

/// Folders that are made or listed at one time; there are fewer sessions.
const FOLDERS_AT_ONCE: usize = 16;
/// A listing of a folder that is longer is not one of a repository's.
const LISTING_LIMIT_BYTES: u64 = 256 << 20;
const STEP_BYTES: usize = 64 << 10;
/// How long a server may take to say that it has stopped sending; then the session is given up.
const ABORT_LIMIT: Duration = Duration::from_secs(5);
/// The folder that gives its maker the right to store the config.
const CLAIM: &str = "config-tmp-claim";
/// How often another's claim is looked at, and how long between; it is held for three round trips.
const CLAIM_LOOKS: u32 = 100;
const CLAIM_PAUSE: Duration = Duration::from_millis(200);

/// Makes the root and the folders of every kind. What is there stays as it is.
pub(super) async fn create_layout(lanes: &Lanes) -> Result<()> {
    let mut lane = lanes.enter().await?;
    let made = make_folders_above(lane.session()).await;
    lane.leave_with(made)?;
    let kinds = FileKind::NAMED.into_iter().map(|kind| kind.folder().to_owned());
    let packs = (0..=u8::MAX).map(|first| format!("{}/{first:02x}", FileKind::Pack.folder()));
    for folders in [kinds.collect::<Vec<_>>(), packs.collect()] {
        let made = folders.into_iter().map(async |folder| {
            let mut lane = lanes.enter().await?;
            let path = lane.session().path(&folder);
            let made = lane.session().make_folder(&path).await;
            lane.leave_with(made)
        });
        stream::iter(made.collect::<Vec<_>>()).buffer_unordered(FOLDERS_AT_ONCE).try_collect::<()>().await?;
    }
    Ok(())
}

async fn make_folders_above(session: &mut Session) -> Result<()> {
    let root = session.path("");
    let root = root.trim_end_matches('/');
    let mut missing = vec![root];
    while let Some(&last) = missing.last() {
        match session.make_folder(last).await {
            Ok(()) => {
                missing.pop();
            }
            Err(trouble) if !trouble.ends_session && missing.len() <= root.matches('/').count() => {
                match last.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty()) {
                    Some(above) => missing.push(above),
                    None => return Err(trouble),
                }
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}

/// All files of one kind, and unfinished ones of ours that nobody works at any more, by their paths inside.
pub(super) async fn list(lanes: &Lanes, kind: FileKind) -> Result<(Vec<Listed>, Vec<String>)> {
    let mut folders = vec![kind.folder().to_owned()];
    if kind == FileKind::Pack {
        let is_two_digits =
            |name: &str| name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let entries = on_a_lane(lanes, kind.folder()).await?;
        let names = entries.iter().filter(|entry| entry.kind != EntryKind::File && is_two_digits(&entry.name));
        folders = names.map(|entry| format!("{}/{}", kind.folder(), entry.name)).collect();
    }
    let parts = folders.into_iter().map(async |folder| {
        let entries = on_a_lane(lanes, &folder).await?;
        sorted_out(lanes, kind, &folder, entries).await
    });
    let parts: Vec<_> = stream::iter(parts.collect::<Vec<_>>()).buffer_unordered(FOLDERS_AT_ONCE).try_collect().await?;
    let (mut found, mut leftovers) = (Vec::new(), Vec::new());
    for (files, unfinished) in parts {
        found.extend(files);
        leftovers.extend(unfinished);
    }
    found.sort_unstable();
    found.dedup_by_key(|listed| listed.id);
    Ok((found, leftovers))
}

async fn on_a_lane(lanes: &Lanes, folder: &str) -> Result<Vec<Entry>> {
    let mut lane = lanes.enter().await?;
    let entries = entries(lane.session(), folder).await;
    lane.leave_with(entries)
}

async fn sorted_out(
    lanes: &Lanes,
    kind: FileKind,
    folder: &str,
    entries: Vec<Entry>,
) -> Result<(Vec<Listed>, Vec<String>)> {
    // The newest time in a folder is a moment of the server's own clock that has passed; ours may differ from it.
    let newest = entries.iter().map(|entry| entry.modified).max().unwrap_or(SystemTime::UNIX_EPOCH);
    let age = Duration::from_secs(temporary::LEFTOVER_AGE_SECONDS.unsigned_abs());
    let stale_before = newest.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let (mut found, mut leftovers) = (Vec::new(), Vec::new());
    for entry in entries {
        if temporary::is_one(&entry.name) && entry.modified < stale_before {
            leftovers.push(format!("{folder}/{}", entry.name));
        }
        let Ok(id) = entry.name.parse::<Id>() else { continue };
        // A file in the wrong one of the 256 folders cannot be read by its name: it is not there.
        let path = FileName::new(kind, id).path();
        if path.rsplit_once('/').map(|(above, _)| above) != Some(folder) {
            continue;
        }
        match entry.kind {
            EntryKind::File => found.push(Listed { id, size: entry.size }),
            EntryKind::Folder => {}
            EntryKind::Link => {
                let mut lane = lanes.enter().await?;
                let size = lane.session().size(&path).await;
                match lane.leave_with(size) {
                    Ok(size) => found.push(Listed { id, size }),
                    Err(trouble) if trouble.kind == FaultKind::NotFound => {}
                    Err(trouble) => return Err(trouble),
                }
            }
        }
    }
    Ok((found, leftovers))
}

/// Everything in a folder.
async fn entries(session: &mut Session, folder: &str) -> Result<Vec<Entry>> {
    session.enter(folder).await?;
    let is_exact = session.has_exact_listings;
    let command = if is_exact { "MLSD" } else { "LIST" };
    let (_, mut data) =
        session.stream.custom_data_command(command, &[Status::AboutToSend, Status::AlreadyOpen]).await?;
    let mut text = Vec::new();
    let end = read_to_end(&mut data, LISTING_LIMIT_BYTES, &mut text).await?;
    data.finish().await?;
    if end == End::Cut {
        return Err(Trouble::broken("a listing ended without the end of TLS"));
    }
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| !line.is_empty());
    let entries = lines.filter_map(|line| listing::entry(line, is_exact).transpose());
    entries.collect::<std::result::Result<_, _>>().map_err(Trouble::damaged)
}

/// How a data connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As TLS wants it.
    Said,
    /// The connection was closed without a word: by a server that never says one, or by somebody between.
    Cut,
}

/// Everything that comes, up to `limit` bytes.
async fn read_to_end(data: &mut (impl AsyncRead + Unpin), limit: u64, into: &mut Vec<u8>) -> Result<End> {
    let progress = Progress::current();
    loop {
        let room = limit.saturating_add(1).saturating_sub(into.len() as u64).min(STEP_BYTES as u64);
        into.reserve(STEP_BYTES);
        match (&mut *data).take(room).read_buf(into).await {
            Ok(0) => return Ok(End::Said),
            Ok(_) if limit < into.len() as u64 => {
                let cause = format!("more than {limit} bytes came");
                return Err(Trouble { ends_session: true, ..Trouble::damaged(cause) });
            }
            Ok(_) => progress.note(),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(End::Cut),
            Err(error) => return Err(Trouble::broken(error)),
        }
    }
}

/// Exactly the bytes that were asked for.
pub(super) async fn read(session: &mut Session, inside: &str, span: Span) -> Result<Vec<u8>> {
    match span {
        Span::Whole => whole(session, inside).await,
        Span::Range { offset, length } => part(session, inside, offset, length).await,
    }
}

async fn whole(session: &mut Session, inside: &str) -> Result<Vec<u8>> {
    let path = session.path(inside);
    let mut data = match session.stream.retr_as_stream(&path).await.map_err(Trouble::from) {
        Ok(data) => data,
        Err(trouble) => return Err(why_not_read(session, inside, trouble).await),
    };
    let mut bytes = Vec::new();
    let end = read_to_end(&mut data, FILE_LIMIT_BYTES, &mut bytes).await?;
    data.finish().await?;
    if end == End::Cut && session.size(inside).await? != bytes.len() as u64 {
        return Err(Trouble::broken("the file ended too early"));
    }
    Ok(bytes)
}

async fn part(session: &mut Session, inside: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
    let beyond = || Trouble::damaged(format!("{length} bytes from {offset} were asked for and the file has less"));
    let fits = usize::try_from(length).ok().filter(|_| length <= FILE_LIMIT_BYTES);
    let (Some(fits), Some(end)) = (fits, offset.checked_add(length)) else { return Err(beyond()) };
    // Servers differ in what they do when asked for nothing, or to begin behind the end.
    if length == 0 || FILE_LIMIT_BYTES < end {
        let is_there = end <= session.size(inside).await?;
        return if is_there && length == 0 { Ok(Vec::new()) } else { Err(beyond()) };
    }
    let path = session.path(inside);
    session.stream.resume_transfer(offset as usize).await?;
    let mut data = match session.stream.retr_as_stream(&path).await.map_err(Trouble::from) {
        Ok(data) => data,
        Err(trouble) if trouble.ends_session => return Err(trouble),
        Err(trouble) => {
            return match session.size(inside).await {
                Ok(size) if size < end => Err(beyond()),
                Ok(_) => Err(why_not_read(session, inside, trouble).await),
                Err(other) => Err(other),
            };
        }
    };
    let progress = Progress::current();
    let mut bytes = Vec::with_capacity(fits);
    while bytes.len() < fits {
        let left = (fits - bytes.len()).min(STEP_BYTES) as u64;
        match (&mut data).take(left).read_buf(&mut bytes).await {
            Ok(0) => break,
            Ok(_) => progress.note(),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(Trouble::broken(error)),
        }
    }
    if bytes.len() < fits {
        data.finish().await?;
        return match session.size(inside).await? < end {
            true => Err(beyond()),
            false => Err(Trouble::broken("the file ended too early")),
        };
    }
    match data.read(&mut [0; 1]).await {
        Ok(0) => data.finish().await?,
        _ => session.is_spent = tokio::time::timeout(ABORT_LIMIT, ended(session, data)).await != Ok(true),
    }
    Ok(bytes)
}

/// Ends a transfer of which no more is wanted; true when the next answer will be that of the next command. Some servers
/// answer once more where the end of the file and our `ABOR` crossed, so one answer that we know is waited for.
async fn ended(session: &mut Session, data: TransferStream<AsyncRustlsStream>) -> bool {
    if session.stream.abort(data).await.is_err() {
        return false;
    }
    match session.stream.noop().await {
        Err(FtpError::UnexpectedResponse(_)) => session.stream.read_response(Status::CommandOk).await.is_ok(),
        outcome => outcome.is_ok(),
    }
}

/// What a refused read means.
async fn why_not_read(session: &mut Session, inside: &str, trouble: Trouble) -> Trouble {
    if !trouble.is_vague {
        return trouble;
    }
    match session.size(inside).await {
        Ok(_) => Trouble { kind: FaultKind::Denied, ..trouble },
        Err(other) => other,
    }
}

/// Stores a file; a config never replaces another.
pub(super) async fn write(session: &mut Session, name: FileName, bytes: &Bytes) -> Result<()> {
    let suffix = temporary::suffix().map_err(|error| Trouble::new(FaultKind::Failing, error.to_string()))?;
    let inside = format!("{}{suffix}", name.path());
    let stored = match store(session, &inside, bytes).await {
        Err(trouble) if !trouble.ends_session && trouble.kind != FaultKind::Full => {
            match make_missing_folder(session, name).await {
                Ok(true) => store(session, &inside, bytes).await,
                Ok(false) if trouble.is_vague => Err(Trouble { kind: FaultKind::Denied, ..trouble }),
                Ok(false) => Err(trouble),
                Err(missing) => Err(missing),
            }
        }
        other => other,
    };
    let settled = match (stored, name.kind()) {
        (Ok(()), FileKind::Config) => settle_config(session, &inside, bytes).await,
        (Ok(()), _) => settle(session, &inside, name, bytes).await,
        (Err(trouble), _) => Err(trouble),
    };
    if let Err(trouble) = &settled
        && !trouble.ends_session
    {
        let _ = session.remove(&inside).await;
    }
    settled
}

/// Stores bytes under a name that nobody looks at, and asks for their size.
async fn store(session: &mut Session, inside: &str, bytes: &Bytes) -> Result<()> {
    let path = session.path(inside);
    let progress = Progress::current();
    let mut data = session.stream.put_with_stream(&path).await?;
    let mut sent = Ok(());
    for piece in bytes.chunks(STEP_BYTES) {
        sent = data.write_all(piece).await;
        if sent.is_err() {
            break;
        }
        progress.note();
    }
    let finished = data.finish().await.map_err(Trouble::from);
    // Why a server closed the data connection, it says on the other one.
    match (sent, finished) {
        (_, Err(trouble)) => return Err(trouble),
        (Err(error), Ok(())) => return Err(Trouble::broken(error)),
        (Ok(()), Ok(())) => {}
    }
    match session.size(inside).await? {
        size if size == bytes.len() as u64 => Ok(()),
        size => {
            let cause = format!("the server kept {size} of {} bytes and called that a success", bytes.len());
            Err(Trouble::new(FaultKind::Failing, cause))
        }
    }
}

/// Gives a finished file its name, also where something damaged has it.
async fn settle(session: &mut Session, temporary: &str, name: FileName, bytes: &Bytes) -> Result<()> {
    let (from, to) = (session.path(temporary), session.path(&name.path()));
    let Err(trouble) = session.stream.rename(&from, &to).await.map_err(Trouble::from) else { return Ok(()) };
    if trouble.ends_session {
        return Err(trouble);
    }
    // Many servers do not rename over a file.
    match whole(session, &name.path()).await {
        Ok(stored) if stored == *bytes => return session.remove(temporary).await,
        Ok(_) => session.remove(&name.path()).await?,
        Err(other) if other.ends_session => return Err(other),
        Err(_) => return Err(trouble),
    }
    Ok(session.stream.rename(&from, &to).await?)
}

async fn settle_config(session: &mut Session, temporary: &str, bytes: &Bytes) -> Result<()> {
    let claim = session.path(CLAIM);
    for _ in 0..CLAIM_LOOKS {
        if let Some(verdict) = stored_config(session, bytes).await? {
            let _ = session.remove(temporary).await;
            return verdict;
        }
        match session.stream.custom_command(format!("MKD {claim}"), &[Status::PathCreated]).await {
            Ok(_) => {
                let settled = rename_config(session, temporary, bytes).await;
                let _ = session.stream.rmdir(&claim).await;
                return settled;
            }
            Err(error) => {
                let trouble = Trouble::from(error);
                if trouble.ends_session || trouble.kind == FaultKind::Denied {
                    return Err(trouble);
                }
            }
        }
        tokio::time::sleep(CLAIM_PAUSE).await;
        Progress::current().note();
    }
    // Whoever made it died with it. The next attempt finds it gone.
    session.stream.rmdir(&claim).await?;
    Err(Trouble::new(FaultKind::Failing, "another client began to store a config and did not end"))
}

async fn rename_config(session: &mut Session, temporary: &str, bytes: &Bytes) -> Result<()> {
    if let Some(verdict) = stored_config(session, bytes).await? {
        let _ = session.remove(temporary).await;
        return verdict;
    }
    let (from, to) = (session.path(temporary), session.path(&FileName::CONFIG.path()));
    Ok(session.stream.rename(&from, &to).await?)
}

/// What the config that is there means for ours; none while there is none.
async fn stored_config(session: &mut Session, bytes: &Bytes) -> Result<Option<Result<()>>> {
    match whole(session, &FileName::CONFIG.path()).await {
        Ok(stored) if stored == *bytes => Ok(Some(Ok(()))),
        Ok(_) => Ok(Some(Err(Trouble::new(FaultKind::Exists, "another config file is there")))),
        Err(trouble) if trouble.kind == FaultKind::NotFound => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// Makes the folder of a file on demand, but never a whole copy: where the root is missing (an unmounted disk at the
/// server), a write must fail. False when the folder was there.
async fn make_missing_folder(session: &mut Session, name: FileName) -> Result<bool> {
    let path = name.path();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    session.enter("").await?;
    if folder.is_empty() || session.enter(folder).await.is_ok() {
        return Ok(false);
    }
    for (slash, _) in path.match_indices('/') {
        let above = session.path(path.get(..slash).unwrap_or_default());
        session.make_folder(&above).await?;
    }
    Ok(true)
}
