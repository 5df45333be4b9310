//! OpenSSH in the situations that the suite does not have: hosts that are not who they were, keys and passwords that
//! do not fit, folders and disks that take nothing, connections that die, and restic in the same folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use destinations::{Destination, Limits, Location, RetryListener, Span, SshAccess, open_heard};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id, Secret};
use sha2::{Digest as _, Sha256};
use testkit::process::{run, wait_until};
use testkit::{SshServer, SshServerOptions, components, skip};

const LIMIT: Duration = Duration::from_secs(120);

fn named(bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

fn opened(location: &str, access: &SshAccess, retries: &Arc<AtomicUsize>) -> Arc<dyn Destination> {
    let counter = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let location: Location = location.parse().unwrap();
    open_heard(&location, &access.clone().into(), &Limits::default(), Some(listener)).unwrap()
}

fn knowing(server: &SshServer) -> SshAccess {
    SshAccess { known_hosts: Some(server.known_hosts.clone()), ..SshAccess::default() }
}

fn with_key(server: &SshServer, key_file: &Path) -> SshAccess {
    SshAccess { key_file: Some(key_file.to_owned()), ..knowing(server) }
}

/// A failure that must come at once, here of a request and of the next one.
async fn fault_at_once(server: &SshServer, access: &SshAccess) -> Fault {
    let retries = Arc::default();
    let place = opened(&server.location("sftp", "repo"), access, &retries);
    let fault = place.list(FileKind::Key).await.expect_err("a listing");
    assert_eq!(retries.load(Ordering::Relaxed), 0, "tried again: {fault}");
    let again = place.stat(FileName::CONFIG).await.expect_err("a size");
    assert_eq!(again.kind, fault.kind, "{again}");
    fault
}

#[track_caller]
fn assert_fault(fault: &Fault, kind: FaultKind, words: &[&str]) {
    assert_eq!(fault.kind, kind, "{fault}");
    for word in words {
        assert!(fault.cause.contains(word), "`{word}` is not in: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_host_that_is_meant_is_believed() {
    let Some(mut server) = SshServer::start(&SshServerOptions::default()) else { return };
    let empty = server.server.folder().join("nobody");
    let stranger = SshAccess { known_hosts: Some(empty), ..with_key(&server, &server.key_file) };
    let fault = fault_at_once(&server, &stranger).await;
    assert_fault(&fault, FaultKind::Misconfigured, &["is not known", "ssh-ed25519 SHA256:", "nobody", "ssh-keyscan"]);
    let shown = fault.cause.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
    let pinned = shown.trim_end_matches(';').to_owned();
    let pinning = SshAccess { host_fingerprint: Some(pinned.clone()), ..stranger.clone() };
    opened(&server.location("sftp", "repo"), &pinning, &Arc::default()).create().await.unwrap();
    let known = with_key(&server, &server.key_file);
    let place = opened(&server.location("sftp", "repo"), &known, &Arc::default());
    place.create().await.unwrap();
    // Through the system's ssh the same rules hold.
    let ssh_program =
        Some([server.programs.join("ssh").to_str().unwrap(), "-F", "/dev/null"].map(str::to_owned).to_vec());
    let through_program = |access: &SshAccess| SshAccess { ssh_program: ssh_program.clone(), ..access.clone() };
    let fault = fault_at_once(&server, &through_program(&stranger)).await;
    assert_fault(&fault, FaultKind::Misconfigured, &["Host key verification failed"]);
    server.change_host_key().unwrap();
    for access in [&known, &pinning, &through_program(&known)] {
        let fault = fault_at_once(&server, access).await;
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    }
    assert_fault(
        &fault_at_once(&server, &known).await,
        FaultKind::Misconfigured,
        &["has changed", "line 1 of", "SHA256:"],
    );
    assert_fault(&fault_at_once(&server, &pinning).await, FaultKind::Misconfigured, &["not the pinned", &pinned]);
    // A run that was under way stops too: its connections broke when the server was set up anew.
    let fault = place.list(FileKind::Key).await.expect_err("another host");
    assert_fault(&fault, FaultKind::Misconfigured, &["has changed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_passphrases_passwords_and_agents_let_in_and_wrong_ones_are_denied() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let stranger = server.new_key("stranger", "ed25519", "").unwrap();
    let locked = server.new_key("locked", "ed25519", "hush hush").unwrap();
    let other_kinds = [server.new_key("rsa", "rsa", "").unwrap(), server.new_key("ecdsa", "ecdsa", "").unwrap()];
    for key in [&locked].into_iter().chain(&other_kinds) {
        server.authorize(key).unwrap();
    }
    let secret = |text: &str| Some(Secret::from(text));
    let open_locked = SshAccess { key_passphrase: secret("hush hush"), ..with_key(&server, &locked) };
    let good_password = SshAccess { password: secret(server.password), ..knowing(&server) };
    let home = server.server.folder().join("user");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    std::fs::copy(&server.key_file, home.join(".ssh/id_ed25519")).unwrap();
    let usual_key = SshAccess { home: Some(home), ..knowing(&server) };
    let mut good = vec![open_locked, good_password, usual_key];
    good.extend(other_kinds.iter().map(|key| with_key(&server, key)));
    for access in &good {
        let place = opened(&server.location("sftp", "repo"), access, &Arc::default());
        place.create().await.unwrap_or_else(|fault| panic!("{access:?}: {fault}"));
    }
    let bad_password = SshAccess { password: secret("not-this-one"), ..knowing(&server) };
    for (access, kind, words) in [
        (with_key(&server, &stranger), FaultKind::Denied, ["stranger`", "it takes: publickey"]),
        (bad_password, FaultKind::Denied, ["refused `alice`", "the password"]),
        (with_key(&server, &locked), FaultKind::Denied, ["no key", "is encrypted and no passphrase"]),
        (
            SshAccess { key_passphrase: secret("not-this-one"), ..with_key(&server, &locked) },
            FaultKind::Misconfigured,
            ["locked`", "passphrase"],
        ),
        (with_key(&server, Path::new("/not/there")), FaultKind::Misconfigured, ["/not/there", "cannot read"]),
        (knowing(&server), FaultKind::Denied, ["no key, password or agent", "alice"]),
    ] {
        let fault = fault_at_once(&server, &access).await;
        assert_fault(&fault, kind, &words);
        assert!(!format!("{fault} {fault:?} {access:?}").contains("not-this-one"), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lets_in() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let socket = server.server.folder().join("agent");
    let mut agent = Command::new(server.programs.join("ssh-agent"));
    let mut agent = agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    assert!(wait_until(LIMIT, || socket.exists()), "no agent");
    let with_agent = SshAccess { agent_socket: Some(socket.clone()), ..knowing(&server) };
    let fault = fault_at_once(&server, &with_agent).await;
    assert_fault(&fault, FaultKind::Denied, &["0 keys of the agent"]);
    let mut add = Command::new(server.programs.join("ssh-add"));
    run(add.arg(&server.key_file).env("SSH_AUTH_SOCK", &socket), LIMIT).unwrap().expect_code(0);
    let place = opened(&server.location("sftp", "repo"), &with_agent, &Arc::default());
    place.create().await.unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_takes_nothing_says_so_at_once() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let retries = Arc::default();
    let place = opened(&server.location("sftp", "repo"), &with_key(&server, &server.key_file), &retries);
    place.create().await.unwrap();
    let (name, bytes) = named(vec![9; 100_000]);
    place.write(name, bytes.clone()).await.unwrap();
    let folder = server.home.join("repo").join(name.path()).parent().unwrap().to_owned();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    for fault in [place.write(name, bytes.clone()).await.unwrap_err(), place.remove(name).await.unwrap_err()] {
        assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Denied, 0), "{fault}");
    }
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes, "reading goes on");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    place.remove(name).await.unwrap();
    // A copy whose root is gone, because a disk is not mounted at the server, is not made again by a write.
    std::fs::rename(server.home.join("repo"), server.home.join("elsewhere")).unwrap();
    let fault = place.write(name, bytes).await.expect_err("no root");
    assert_eq!((fault.kind, server.home.join("repo").exists()), (FaultKind::NotFound, false), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_full_at_once() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let disk = server.home.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=4m,mode=777", "none"]).arg(&disk);
    if !run(&mut mount, LIMIT).is_ok_and(|ended| ended.code == Some(0)) {
        return skip("needs the right to mount a small disk");
    }
    let retries = Arc::default();
    let place = opened(&server.location("sftp", "disk/repo"), &with_key(&server, &server.key_file), &retries);
    place.create().await.unwrap();
    let (name, bytes) = named(vec![6; 16 << 20]);
    let fault = place.write(name, bytes).await.expect_err("no room");
    let absent = place.stat(name).await.expect_err("never there");
    let left: Vec<_> = std::fs::read_dir(disk.join("repo").join(name.path()).parent().unwrap()).unwrap().collect();
    drop(place);
    let gone = wait_until(LIMIT, || run(Command::new("umount").arg(&disk), LIMIT).unwrap().code == Some(0));
    assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Full, 0), "{fault}");
    assert_eq!((absent.kind, left.len(), gone), (FaultKind::NotFound, 0, true), "{absent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_in_the_middle_cost_a_second_try_and_leave_nothing_behind() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let retries = Arc::default();
    let place = opened(&server.location("sftp", "repo"), &with_key(&server, &server.key_file), &retries);
    place.create().await.unwrap();
    let packs: Vec<_> = (0..6_u8).map(|number| named(vec![number; 24 << 20])).collect();
    let writing = packs.iter().map(|(name, bytes)| place.write(*name, bytes.clone()));
    let mut killed = 0;
    let data = server.home.join("repo/data");
    let killing = tokio::task::spawn_blocking({
        let half_there = move || {
            let folders = std::fs::read_dir(&data).unwrap().flatten();
            let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
            files.into_iter().any(|file| file.metadata().is_ok_and(|file| 0 < file.len()))
        };
        move || {
            assert!(wait_until(LIMIT, half_there), "nothing was written");
            let pids = server.kill_connections();
            (server, pids)
        }
    });
    let written = futures::future::join_all(writing).await;
    let (server, pids) = killing.await.unwrap();
    killed += pids;
    for outcome in written {
        outcome.unwrap_or_else(|fault| panic!("no second try: {fault}"));
    }
    assert!(0 < killed && 0 < retries.load(Ordering::Relaxed), "{killed} connections were killed");
    for (name, bytes) in &packs {
        assert!(place.read(*name, Span::Whole).await.unwrap() == *bytes, "{name} came back changed");
    }
    // Idle connections that died are noticed before they are used, or cost one more try.
    server.kill_connections();
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), packs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_killed_writers_left_is_swept_a_day_later() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let place = opened(&server.location("sftp", "repo"), &with_key(&server, &server.key_file), &Arc::default());
    place.create().await.unwrap();
    let (name, bytes) = named(vec![1; 1000]);
    place.write(name, bytes.clone()).await.unwrap();
    let beside = |suffix: &str| server.home.join("repo").join(format!("{}{suffix}", name.path()));
    let (old, young, foreign) =
        (beside("-tmp-t0123456789abcdef"), beside("-tmp-tfedcba9876543210"), beside("-tmp-123"));
    for (file, age) in [(&old, "2 days ago"), (&young, "1 hour ago"), (&foreign, "2 days ago")] {
        std::fs::write(file, b"half").unwrap();
        run(Command::new("touch").args(["-d", age]).arg(file), LIMIT).unwrap().expect_code(0);
    }
    let listed = place.list(FileKind::Pack).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(old.exists(), "a listing removes nothing");
    place.write(name, bytes).await.unwrap();
    assert_eq!([old.exists(), young.exists(), foreign.exists()], [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_use_one_folder() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let Some(program) = components::restic("0.19") else { return };
    let source = server.server.folder().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), vec![7; 3_000_000]).unwrap();
    let mut words = server.ssh_words();
    words.extend(["-s", "sftp"].map(str::to_owned));
    let restic = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(["--no-cache", "-r", "sftp:alice@127.0.0.1:repo", "-o"])
            .arg(format!("sftp.command={}", words.join(" ")));
        run(command.args(arguments).env("RESTIC_PASSWORD", "open sesame"), LIMIT).unwrap().expect_code(0);
    };
    restic(&["init"]);
    restic(&["backup", source.to_str().unwrap()]);
    let place = opened(&server.location("sftp", "repo"), &with_key(&server, &server.key_file), &Arc::default());
    let other = opened(&server.location("sftp", "copy"), &with_key(&server, &server.key_file), &Arc::default());
    other.create().await.unwrap();
    place.create().await.unwrap();
    let mut files = vec![FileName::CONFIG];
    for (kind, count) in
        [(FileKind::Key, 1), (FileKind::Snapshot, 1), (FileKind::Index, 1), (FileKind::Pack, 2), (FileKind::Lock, 0)]
    {
        let listed = place.list(kind).await.unwrap();
        assert_eq!(listed.len(), count, "{kind:?}: {listed:?}");
        files.extend(listed.iter().map(|found| FileName::new(kind, found.id)));
    }
    for name in files {
        let bytes = place.read(name, Span::Whole).await.unwrap();
        place.write(name, bytes.clone()).await.unwrap();
        other.write(name, bytes).await.unwrap();
    }
    restic(&["check", "--read-data"]);
    std::fs::rename(server.home.join("copy"), server.home.join("theirs")).unwrap();
    std::fs::rename(server.home.join("repo"), server.home.join("ours")).unwrap();
    std::fs::rename(server.home.join("theirs"), server.home.join("repo")).unwrap();
    restic(&["check", "--read-data"]);
    restic(&["backup", source.to_str().unwrap()]);
}
