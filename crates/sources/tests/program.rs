//! Programs that read a source for us: whole or an error, ended with us, and told no secret that is not for them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;
use std::time::Duration;

use model::Secret;
use repository::Cancel;
use repository::backup::{Origin, OriginError};
use sources::Command;
use sources::program::Program;
use testkit::process::{is_running, wait_until};

const LIMIT: Duration = Duration::from_secs(10);
const OUTPUT_LIMIT_BYTES: u64 = 1 << 20;

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").arguments(["-c", script])
}

fn command(script: &str) -> Command {
    let arguments = ["/bin/sh", "-c", script].map(std::ffi::OsString::from).to_vec();
    Command { name_in_snapshot: "out".to_owned(), arguments, deadline: None }
}

/// What the engine would see of the file.
fn read(origin: &dyn Origin) -> Result<Vec<u8>, OriginError> {
    let entries = origin.list(b"", &Cancel::new())?;
    let mut bytes = Vec::new();
    let read = origin.open(&entries[0].name, &entries[0], &Cancel::new())?.read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| error.downcast::<OriginError>().unwrap())
}

#[test]
fn what_a_command_writes_is_one_file() {
    let origin = command("printf 'one\\0two'; echo aside >&2");
    let entries = origin.list(b"", &Cancel::new()).unwrap();
    assert_eq!((entries.len(), entries[0].name.as_slice(), entries[0].size), (1, &b"out"[..], None));
    assert_eq!(read(&origin).unwrap(), b"one\0two");
    assert!(origin.manifest().unwrap().unwrap().contains("\"command\""));
}

#[test]
fn a_command_that_fails_after_its_output_is_an_error() {
    for (script, expected) in [
        ("echo half; echo 'no more' >&2; exit 3", "dump `out`: `sh` ended with code 3: no more"),
        ("echo half; kill -9 $$", "dump `out`: `sh` was ended by signal 9"),
        ("yes '0123456789' | head -c 100000 >&2; exit 1", "0123456789"),
    ] {
        let error = read(&command(script)).unwrap_err().to_string();
        assert!(error.contains(expected) && error.len() < 1000, "{error}");
    }
    let nowhere = Command { arguments: vec!["/nowhere/at-all".into()], ..command("") };
    assert!(read(&nowhere).unwrap_err().to_string().contains("`at-all` cannot be started"));
}

#[test]
fn a_program_is_killed_at_its_deadline_with_all_that_it_started() {
    let script = "sleep 600 & echo $!; wait";
    let mut running = shell(script).deadline(Duration::from_millis(300)).start().unwrap();
    let mut text = String::new();
    running.read_to_string(&mut text).unwrap();
    let error = running.finish().unwrap_err().to_string();
    assert!(error.contains("did not end within 0 s and was killed"), "{error}");
    let child = text.trim().parse().unwrap();
    assert!(wait_until(LIMIT, || !is_running(child)));
}

#[test]
fn a_program_that_says_nothing_is_killed_and_one_that_is_not_wanted_any_more_is_left() {
    // Nobody waits while it writes, however long that takes.
    let mut running = shell("echo a; sleep 0.3; echo b; sleep 0.3; echo c; sleep 600")
        .silence_limit(Duration::from_millis(600))
        .start()
        .unwrap();
    let mut text = String::new();
    running.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a\nb\nc\n");
    let error = running.finish().unwrap_err().to_string();
    assert!(error.contains("wrote nothing for 0 s and was killed"), "{error}");

    let cancel = Cancel::new();
    let mut running = shell("sleep 600").heeding(&cancel).start().unwrap();
    let stopped = std::thread::spawn(move || running.read(&mut [0; 10]).unwrap_err().to_string());
    cancel.set();
    assert_eq!(stopped.join().unwrap(), "interrupted");
}

#[test]
fn letting_go_of_a_program_kills_all_that_it_started() {
    let mut running = shell("sleep 600 & echo $!; wait").start().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        assert_eq!(running.read(&mut byte).unwrap(), 1);
        line.push(byte[0]);
    }
    let (leader, child) = (running.id(), String::from_utf8(line).unwrap().trim().parse().unwrap());
    assert!(is_running(leader) && is_running(child));
    drop(running);
    assert!(wait_until(LIMIT, || !is_running(leader) && !is_running(child)));
}

#[test]
fn a_secret_is_in_no_argument_no_message_and_no_file_with_a_name() {
    let secret = Secret::from("s3cr3t-value");
    let mut program = shell("stat -L -c '%a %F' \"$1\"; cat \"$1\"; tr '\\0' ' ' < /proc/$$/cmdline").argument("sh");
    let path = program.secret_file(&secret).unwrap();
    let output = program.argument(path).run(OUTPUT_LIMIT_BYTES).unwrap();
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("600 regular file\ns3cr3t-value"), "{output}");
    assert_eq!(output.matches("s3cr3t-value").count(), 1, "{output}");

    let said = shell("echo \"login with $WORD failed\" >&2; exit 1").secret_variable("WORD", &secret);
    let error = said.run(OUTPUT_LIMIT_BYTES).unwrap_err().to_string();
    assert!(error.contains("login with [hidden] failed"), "{error}");
    assert!(!format!("{:?}", shell("").secret_variable("A", &secret)).contains("s3cr3t"));
}

#[test]
fn no_other_program_inherits_a_secret_file() {
    let mut program = shell("sleep 600");
    program.secret_file(&Secret::from("s3cr3t")).unwrap();
    let _running = program.start().unwrap();
    let seen = shell("ls -l /proc/self/fd").run(OUTPUT_LIMIT_BYTES).unwrap();
    assert!(!String::from_utf8(seen).unwrap().contains("memfd"));
}

#[test]
fn output_is_bounded_and_input_arrives() {
    let error = shell("yes").run(1000).unwrap_err().to_string();
    assert!(error.contains("wrote more than 1000 bytes"), "{error}");
    let mut running = shell("tr a-z A-Z").with_input().start().unwrap();
    let mut input = running.take_input().unwrap();
    std::io::Write::write_all(&mut input, b"hello").unwrap();
    drop(input);
    let mut text = String::new();
    running.read_to_string(&mut text).unwrap();
    running.finish().unwrap();
    assert_eq!(text, "HELLO");
}
