//! Remote trees through the whole engine: backed up, restored, compared; and a second backup that asks for what changed
//! alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod remote_ground;
#[path = "../../repository/tests/room/mod.rs"]
mod room;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use destinations::{Access, S3Access};
use model::{Secret, Verdict};
use remote_ground::{
    Kind, Likes, Tree, ftp, ftp_access, marks, old_file, on_disk, opened, ssh_access, tree_in, webdav_access,
};
use repository::backup::{BackupReport, BackupRequest, Given, Origin, backup};
use repository::{Error, Repository};
use room::Room;
use testkit::proxy::{At, Break, HttpFault, Lane, Lie, Relay, Rule, Way};
use testkit::{
    CephServer, CertificateFlaw, FaultProxy, FtpKind, FtpServer, SshServer, SshServerOptions, Verb, WebdavKind,
    WebdavOptions, WebdavServer,
};

fn back_up(room: &Room, repository: &Repository, origin: &Arc<dyn Origin>) -> Result<BackupReport, Error> {
    let folder = PathBuf::from("/remote");
    let given = Given { origin: Arc::clone(origin), paths: vec![folder.clone()], folder };
    backup(repository, &BackupRequest { origin: Some(given), ..room.request(&[]) })
}

/// What restic restores of the newest snapshot.
fn restored(room: &Room) -> Tree {
    let restic = testkit::components::restic("0.19").expect("restic is among the components");
    let target = room.path("back");
    let _ = std::fs::remove_dir_all(&target);
    room.restic(&restic, "a", &["check", "--read-data"]);
    room.restic(&restic, "a", &["restore", "latest", "--target", target.to_str().unwrap()]);
    on_disk(&target.join("remote"))
}

/// Backs up twice and once more after a change; `fetched` says how many files were fetched so far.
#[track_caller]
fn assert_backs_up(origin: &Arc<dyn Origin>, tree: &Path, fetched: &dyn Fn() -> usize) {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let before = marks(tree);
    let report = back_up(&room, &repository, origin).unwrap_or_else(|error| panic!("{}: {error}", origin.place()));
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.troubles);
    assert!(restored(&room) == on_disk(tree), "{}: another tree came back", origin.place());
    assert_eq!(marks(tree), before, "{}: somebody wrote there", origin.place());
    let files = on_disk(tree).values().filter(|kind| matches!(kind, Kind::File(_))).count();
    let first = fetched();
    assert!(files <= first, "{}: {first} of {files} files were fetched", origin.place());

    let second = back_up(&room, &repository, origin).unwrap();
    assert_eq!(fetched() - first, 0, "{}: what had not changed was fetched", origin.place());
    assert_eq!(second.summary.files_unmodified, files as u64);

    old_file(&tree.join("nothing"), b"something after all");
    back_up(&room, &repository, origin).unwrap();
    assert_eq!(fetched() - first, 1, "{}: not the one that had changed", origin.place());
    assert!(restored(&room) == on_disk(tree));
}

#[test]
fn trees_on_ftp_servers_are_backed_up_and_unchanged_files_are_not_fetched_again() {
    let Some((server, likes, user)) = ftp(FtpKind::Vsftpd, CertificateFlaw::None) else { return };
    let runtime = remote_ground::runtime();
    let tree = tree_in(&server.data_dir, likes);
    let access = ftp_access(&server, FtpServer::PASSWORD);
    let origin = opened(&server.location(user, "tree"), access.clone(), &runtime);
    let log = server.server.folder().join("transfers");
    let fetched = || {
        let text = std::fs::read(&log).unwrap();
        text.split(|byte| *byte == b'\n').filter(|line| line.windows(11).any(|part| part == b"OK DOWNLOAD")).count()
    };
    assert_backs_up(&origin, &tree, &fetched);
    // No snapshot is made of what is not there, or of what cannot be listed.
    let room = Room::new();
    let repository = room.init(&["a"]);
    let before = marks(&server.data_dir);
    std::fs::create_dir(tree.join("closed")).unwrap();
    let listed = marks(&server.data_dir);
    for path in ["three", "tree"] {
        let origin = opened(&server.location(user, path), access.clone(), &runtime);
        let error = back_up(&room, &repository, &origin).expect_err("a snapshot");
        assert!(error.to_string().contains("550"), "{error}");
    }
    assert_ne!(before, listed);
    assert_eq!(marks(&server.data_dir), listed, "somebody wrote there");
    assert!(room.restic(&testkit::components::restic("0.19").unwrap(), "a", &["snapshots", "--json"]).contains("[]"));
}

#[test]
fn trees_over_sftp_are_backed_up_and_unchanged_files_are_not_fetched_again() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let runtime = remote_ground::runtime();
    let tree = tree_in(&server.home, Likes { bytes: true, links: true });
    let relay = Relay::start(server.server.port(), 0..0);
    let mut access = ssh_access(&server);
    access.ssh.known_hosts = Some(server.known_at(relay.port()).unwrap());
    let origin = opened(&relay.through(&server.location("sftp", "tree")), access, &runtime);
    let came = || relay.passed(Lane::Main, Way::Down);
    let room = Room::new();
    let repository = room.init(&["a"]);
    let before = marks(&tree);
    let report = back_up(&room, &repository, &origin).unwrap();
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.troubles);
    assert!(restored(&room) == on_disk(&tree));
    let first = came();
    back_up(&room, &repository, &origin).unwrap();
    let second = came() - first;
    assert!(5_000_003 < first && second < 100_000, "{first} bytes came first, {second} then");
    println!("sftp: {first} bytes came first, {second} for what had not changed");
    assert_eq!(marks(&tree), before, "somebody wrote there");
}

#[test]
fn trees_on_webdav_servers_are_backed_up_and_unchanged_files_are_not_fetched_again() {
    let Some(server) = WebdavServer::start(&WebdavOptions::plain(WebdavKind::Apache)) else { return };
    let runtime = remote_ground::runtime();
    let tree = tree_in(&server.data_dir, Likes { bytes: true, links: false });
    let proxy = FaultProxy::start(server.server.port());
    let location = format!("webdav:{}tree/", proxy.through(&server.url));
    let origin = opened(&location, webdav_access(), &runtime);
    assert_backs_up(&origin, &tree, &|| proxy.asked().iter().filter(|asked| asked.method == "GET").count());
    let changing = ["GET", "HEAD", "PROPFIND"];
    assert!(proxy.asked().iter().all(|asked| changing.contains(&asked.method.as_str())));
}

#[test]
fn objects_are_backed_up_and_unchanged_ones_are_not_fetched_again() {
    let Some(server) = CephServer::shared() else { return };
    let runtime = remote_ground::runtime();
    let bucket = server.new_bucket();
    let content = remote_ground::noise(5_000_003, 8);
    for (key, bytes) in [("tree/large", &content[..]), ("tree/a folder/grüße", b"hello"), ("tree/nothing", b"")] {
        bucket.put(key, bytes).unwrap();
    }
    let access: Access = S3Access {
        key_id: Some(server.access_key.clone()),
        key: Some(Secret::from(server.secret_key.clone())),
        ..S3Access::default()
    }
    .into();
    let port = server.endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = FaultProxy::start(port);
    let origin = opened(&proxy.through(&bucket.repository("tree")), access, &runtime);
    let room = Room::new();
    let repository = room.init(&["a"]);
    let report = back_up(&room, &repository, &origin).unwrap();
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.troubles);
    let fetched = || proxy.asked().iter().filter(|asked| asked.method == "GET" && !asked.target.contains('?')).count();
    let expected: Tree = [
        (&b"large"[..], Kind::File(content.clone())),
        (b"a folder", Kind::Folder),
        ("a folder/grüße".as_bytes(), Kind::File(b"hello".to_vec())),
        (b"nothing", Kind::File(Vec::new())),
    ]
    .into_iter()
    .map(|(path, kind)| (path.to_vec(), kind))
    .collect();
    assert!(restored(&room) == expected);
    assert_eq!(fetched(), 3);
    back_up(&room, &repository, &origin).unwrap();
    assert_eq!(fetched(), 3, "what had not changed was fetched");
    bucket.put("tree/nothing", b"something").unwrap();
    bucket.put("tree/double//slash", b"lost").unwrap();
    let third = back_up(&room, &repository, &origin).unwrap();
    assert_eq!(fetched(), 4);
    assert_eq!((third.verdict, third.troubles.len()), (Verdict::Partial, 1), "{:?}", third.troubles);
    assert!(proxy.asked().iter().all(|asked| asked.method == "GET"), "something else was asked");
}

/// No snapshot is made of a tree of which anything could not be listed, or whose names lead elsewhere; and all goes well
/// again when the server does.
#[test]
fn listings_that_are_cut_or_hostile_or_fail_give_no_snapshot() {
    let Some(server) = WebdavServer::start(&WebdavOptions::plain(WebdavKind::Apache)) else { return };
    let runtime = remote_ground::runtime();
    let tree = tree_in(&server.data_dir, Likes { bytes: true, links: false });
    let proxy = FaultProxy::start(server.server.port());
    let location = format!("webdav:{}tree/", proxy.through(&server.url));
    let origin = opened(&location, webdav_access(), &runtime);
    let room = Room::new();
    let repository = room.init(&["a"]);
    let before = marks(&tree);
    let told = |name: &str| {
        let entry = |path: &str, kind: &str| {
            format!(
                "<d:response><d:href>/tree/{path}</d:href><d:propstat><d:prop><d:resourcetype>{kind}</d:resourcetype>\
                     <d:getcontentlength>1</d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
            )
        };
        let (itself, other) = (entry("", "<d:collection/>"), entry(name, ""));
        let body = format!("<d:multistatus xmlns:d=\"DAV:\">{itself}{other}</d:multistatus>");
        HttpFault::Answer { status: 207, headers: Vec::new(), body }
    };
    let hostile = ["..%2Fevil", "%2E%2E", "a%2Fb", "%00", "x/y"].map(told);
    let broken = [
        HttpFault::Listing(Lie::Cut),
        HttpFault::ShortBody,
        HttpFault::status(403),
        HttpFault::status(500),
        HttpFault::status(200),
        HttpFault::Break(Break::Finish, At::Reply(700)),
        HttpFault::Break(Break::Reset, At::Reply(700)),
    ];
    for (number, fault) in hostile.into_iter().chain(broken).enumerate() {
        // The first listing of all, and later ones.
        let from = 1 + number as u64 % 3;
        let shown = format!("{fault:?}");
        proxy.follow([Rule::new(fault).on(Verb::List).from(from)]);
        let ended = back_up(&room, &repository, &origin);
        assert!(ended.is_err(), "{shown}: {ended:?}");
        assert!(0 < proxy.fired(), "{shown} never came");
    }
    let restic = testkit::components::restic("0.19").unwrap();
    assert!(room.restic(&restic, "a", &["snapshots", "--json"]).contains("[]"), "a snapshot was made");
    // What passes after a while is not told at all.
    proxy.follow([Rule::new(HttpFault::status(503)).times(2)]);
    assert_eq!(back_up(&room, &repository, &origin).unwrap().verdict, Verdict::Ok);
    assert!(restored(&room) == on_disk(&tree));
    assert_eq!(marks(&tree), before, "somebody wrote there");
}

/// Names in UTF-8 and Latin-1; 20,000 of them where everything is tried.
#[test]
fn many_files_on_an_ftp_server_are_backed_up_and_then_hardly_asked_about() {
    let Some((server, _, user)) = ftp(FtpKind::Vsftpd, CertificateFlaw::None) else { return };
    let runtime = remote_ground::runtime();
    let is_exhaustive = std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1");
    let files = if is_exhaustive { 20_000 } else { 300 };
    let tree = server.data_dir.join("tree");
    for number in 0..files {
        let folder = tree.join(format!("{:03}", number / 100));
        std::fs::create_dir_all(&folder).unwrap();
        let name = match number % 3 {
            0 => format!("größe {number}").into_bytes(),
            1 => [b"gr\xf6\xdfe ", number.to_string().as_bytes()].concat(),
            _ => format!("file-{number}").into_bytes(),
        };
        old_file(&folder.join(OsStr::from_bytes(&name)), &remote_ground::noise(number % 5_000, number as u64));
    }
    let origin = opened(&server.location(user, "tree"), ftp_access(&server, FtpServer::PASSWORD), &runtime);
    let room = Room::new();
    let repository = room.init(&["a"]);
    let first = back_up(&room, &repository, &origin).unwrap();
    assert_eq!((first.verdict, first.summary.files_new), (Verdict::Ok, files as u64));
    assert!(restored(&room) == on_disk(&tree));
    let second = back_up(&room, &repository, &origin).unwrap();
    assert_eq!((second.summary.files_unmodified, second.summary.data_added), (files as u64, 0));
    println!("{files} files over FTP: {:?} first, {:?} then", first.duration, second.duration);
}
