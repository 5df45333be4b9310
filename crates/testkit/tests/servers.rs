//! The real servers start, do their work, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;
use std::time::Duration;

use clock::{Clock, SystemClock};
use testkit::process::{is_running, run, wait_until};
use testkit::{CephServer, CertificateFlaw, RestServer, RestServerOptions, components};

const PASSWORD: &str = "correct horse";

fn restic(version: &str, repository: &str) -> Option<Command> {
    let mut command = Command::new(components::restic(version)?);
    command.args(["--no-cache", "-r", repository]).env("RESTIC_PASSWORD", PASSWORD);
    Some(command)
}

fn gone(pid: u32) -> bool {
    wait_until(Duration::from_secs(10), || !is_running(pid))
}

#[test]
fn rest_server_works_with_tls_and_a_login() {
    let Some(server) = RestServer::start(&RestServerOptions::default()) else { return };
    for (version, _) in components::every_restic() {
        let repository = server.repository_with_credentials(&format!("r{version}"));
        let mut init = restic(version, &repository).unwrap();
        init.arg("--cacert").arg(server.ca_file.as_ref().unwrap()).arg("init");
        run(&mut init, Duration::from_secs(60)).unwrap().expect_code(0);
        assert!(server.folder(&format!("r{version}")).join("config").is_file());

        // Without the authority and without the password it must not work, or these two would test nothing.
        let mut untrusted = restic(version, &repository).unwrap();
        untrusted.args(["snapshots"]);
        let refused = run(&mut untrusted, Duration::from_secs(3));
        assert!(refused.map_or(true, |ended| ended.code != Some(0)));
        let mut nobody = restic(version, &server.repository(&format!("r{version}"))).unwrap();
        nobody.arg("--cacert").arg(server.ca_file.as_ref().unwrap()).arg("snapshots");
        let refused = run(&mut nobody, Duration::from_secs(3));
        assert!(refused.map_or(true, |ended| ended.code != Some(0)));
    }
}

#[test]
fn append_only_rest_server_refuses_to_forget() {
    let options = RestServerOptions { append_only: true, ..RestServerOptions::open() };
    let Some(server) = RestServer::start(&options) else { return };
    let repository = server.repository("repo");
    let Some(mut init) = restic("0.18", &repository) else { return };
    run(init.arg("init"), Duration::from_secs(60)).unwrap().expect_code(0);
    let key = std::fs::read_dir(server.folder("repo/keys")).unwrap().next().unwrap().unwrap().file_name();
    let address = format!("127.0.0.1:{}", server.server.port());
    let answer = raw_http(&address, &format!("DELETE /repo/keys/{} HTTP/1.0\r\n\r\n", key.to_str().unwrap()));
    assert!(answer.contains(" 403 "), "{answer}");
}

fn raw_http(address: &str, request: &str) -> String {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn certificates_with_a_flaw_are_refused() {
    for flaw in [CertificateFlaw::Expired, CertificateFlaw::WrongHost] {
        let options = RestServerOptions { tls: Some(flaw), ..RestServerOptions::default() };
        let Some(server) = RestServer::start(&options) else { return };
        let Some(mut init) = restic("0.18", &server.repository_with_credentials("repo")) else { return };
        init.arg("--cacert").arg(server.ca_file.as_ref().unwrap()).arg("init");
        let refused = run(&mut init, Duration::from_secs(3));
        assert!(refused.map_or(true, |ended| ended.code != Some(0)), "{flaw:?}");
        assert!(!server.folder("repo").join("config").exists(), "{flaw:?}");
    }
}

#[test]
fn rest_server_leaves_nothing_behind() {
    let Some(server) = RestServer::start(&RestServerOptions::default()) else { return };
    let (pid, folder) = (server.server.pid(), server.server.folder().to_owned());
    assert!(is_running(pid) && folder.is_dir());
    drop(server);
    assert!(gone(pid));
    assert!(!folder.exists());
}

#[test]
fn rest_server_comes_back_after_a_kill_with_its_files() {
    let Some(mut server) = RestServer::start(&RestServerOptions::open()) else { return };
    let repository = server.repository("repo");
    let Some(mut init) = restic("0.14", &repository) else { return };
    run(init.arg("init"), Duration::from_secs(60)).unwrap().expect_code(0);
    let first = server.server.pid();
    server.server.kill().unwrap();
    assert!(gone(first));
    server.server.start_again().unwrap();
    let mut snapshots = restic("0.14", &repository).unwrap();
    run(snapshots.arg("snapshots"), Duration::from_secs(60)).unwrap().expect_code(0);
    let (folder, second) = (server.server.folder().to_owned(), server.server.pid());
    drop(server);
    assert!(gone(second) && !folder.exists());
}

#[test]
fn ceph_works_and_leaves_nothing_behind() {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let Some(server) = CephServer::start() else { return };
    println!("ceph: up in {:?}", clock.monotonic() - began);
    let bucket = server.new_bucket();
    bucket.put("a/b c&d", b"some bytes").unwrap();
    bucket.put("a/e", &vec![7; 5_000_000]).unwrap();
    assert_eq!(bucket.list("a/").unwrap(), [("a/b c&d".to_owned(), 10), ("a/e".to_owned(), 5_000_000)]);
    assert_eq!(bucket.get("a/b c&d").unwrap(), b"some bytes");
    bucket.delete("a/b c&d").unwrap();
    assert_eq!(bucket.list("").unwrap().len(), 1);
    assert!(bucket.get("a/b c&d").is_err());
    let pids = server.pids().to_vec();
    assert_eq!(pids.len(), 3);
    drop(server);
    for pid in pids {
        assert!(gone(pid));
    }
}

#[test]
fn ceph_takes_repositories_of_restic() {
    let Some(server) = CephServer::shared() else { return };
    let bucket = server.new_bucket();
    let repository = bucket.repository("deep/prefix");
    let Some(mut init) = restic("0.19", &repository) else { return };
    let credentials =
        [("AWS_ACCESS_KEY_ID", server.access_key.as_str()), ("AWS_SECRET_ACCESS_KEY", server.secret_key.as_str())];
    run(init.envs(credentials).arg("init"), Duration::from_secs(120)).unwrap().expect_code(0);
    assert!(bucket.list("").unwrap().iter().any(|(key, _)| key == "deep/prefix/config"));
    let wrong = [("AWS_ACCESS_KEY_ID", server.access_key.as_str()), ("AWS_SECRET_ACCESS_KEY", "wrong")];
    let refused = run(restic("0.19", &repository).unwrap().envs(wrong).arg("snapshots"), Duration::from_secs(5));
    assert!(refused.map_or(true, |ended| ended.code != Some(0)));
}

#[test]
fn a_program_that_does_not_end_is_killed() {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let error = run(Command::new("sleep").arg("600"), Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(clock.monotonic() - began < Duration::from_secs(60));
}

/// The child half of the next test: it starts servers, says their pids and waits to be killed.
#[test]
fn servers_end_with_a_killed_holder() {
    use std::io::{BufRead, BufReader};
    if std::env::var_os("TESTKIT_HOLD").is_some() {
        let rest = RestServer::start(&RestServerOptions::open()).unwrap();
        let ceph = CephServer::shared().unwrap();
        let pids: Vec<String> = ceph.pids().iter().chain([&rest.server.pid()]).map(u32::to_string).collect();
        println!("holding {} {}", rest.server.folder().display(), pids.join(" "));
        loop {
            std::thread::park();
        }
    }
    if components::rest_server().is_none() || components::ceph_rootfs().is_none() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers_end_with_a_killed_holder", "--nocapture"])
        .env("TESTKIT_HOLD", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.split_once("holding ").map(|(_, rest)| rest.to_owned())).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let mut words = line.split(' ');
    let folder = std::path::PathBuf::from(words.next().unwrap());
    let pids: Vec<u32> = words.map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 4);
    for pid in pids {
        assert!(gone(pid), "{pid} outlived its holder");
    }
    assert!(wait_until(Duration::from_secs(10), || !folder.exists()));
}
