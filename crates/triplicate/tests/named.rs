//! Places by name: two REST servers with different passwords, one call; options; what is wrong in the configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use program::Ground;
use testkit::{RestServer, RestServerOptions};

fn server(password: &str) -> Option<RestServer> {
    let users = vec![("alice".to_owned(), password.to_owned())];
    RestServer::start(&RestServerOptions { users, ..RestServerOptions::default() })
}

fn configure(ground: &Ground, text: &str) {
    let folder = ground.path("home/.config/triplicate");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("triplicate.toml"), text).unwrap();
}

#[test]
fn two_servers_with_their_own_credentials_are_two_copies_of_one_call() {
    let (Some(one), Some(two)) = (server("first hush"), server("second hush")) else { return };
    let ground = Ground::new();
    let table = |name: &str, server: &RestServer, reference: &str| {
        let (url, authority) = (server.repository("repo"), server.ca_file.as_ref().unwrap().display().to_string());
        format!(
            "[destinations.{name}]\nurl = \"{url}\"\nusername = \"alice\"\npassword = {reference}\nca_certificate = \"{authority}\"\n\n"
        )
    };
    let tables = table("one", &one, "{ file = \"one-password\" }") + &table("two", &two, "{ env = \"TWO_PASSWORD\" }");
    configure(&ground, &format!("version = 1\n\n{tables}"));
    std::fs::write(ground.path("home/.config/triplicate/one-password"), "first hush\n").unwrap();
    let call = |words: &[&str]| {
        let mut command = ground.command(words);
        // A named place takes nothing from the environment that its table does not name.
        command.env("RESTIC_REST_USERNAME", "mallory").env("RESTIC_REST_PASSWORD", "wrong");
        command.env("TWO_PASSWORD", "second hush");
        testkit::process::run(&mut command, program::CALL_LIMIT).unwrap()
    };
    let source = ground.source();
    call(&["init", "-r", "@one", "-r", "@two"]).expect_code(0);
    call(&["backup", "-r", "@one", "-r", "@two", &source]).expect_code(0);
    assert_eq!(
        testkit::manifest(one.folder("repo")).unwrap().entries.len(),
        testkit::manifest(two.folder("repo")).unwrap().entries.len(),
    );
    call(&["check", "--read-data", "-r", "@two", "-o", "rest.connections=2"]).expect_code(0);
    // A third one joins by its address, and one more name leads to a place that is named already.
    call(&["copies", "add", "-r", "@one", "-r", "@two", "local-copy"]).expect_code(0);
    assert!(ground.path("local-copy/config").exists());
    let twice = call(&["snapshots", "-r", "@one", "-r", "@one"]);
    assert_eq!(twice.code, Some(2));
    assert!(twice.errors.contains("is named twice"), "{}", twice.errors);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_is_done() {
    let ground = Ground::with_copies(1);
    configure(
        &ground,
        "version = 1\n[destinations.nas]\nurl = \"rest:https://host/\"\npasword = { file = \"x\" }\n[destinations.disk]\nurl = \"./1\"\nconnections = 0\n",
    );
    let before = ground.everything();
    for (words, wanted) in [
        (
            &["snapshots", "-r", "@nas"][..],
            &[":4:1: `destinations.nas.pasword`", "`password` may be meant", ":7:15: "][..],
        ),
        (&["snapshots", "--config", "none.toml", "-r", "@nas"], &["cannot read the configuration `none.toml`"]),
        (&["snapshots", "-r", "1", "-o", "local.conections=3"], &["`local.connections` may be meant"]),
        (&["snapshots", "-r", "1", "-o", "s3.region=x"], &["`s3.region` is for no copy that was named"]),
        (&["snapshots", "-r", "1", "-o", "hush"], &["write `-o kind.name=value`"]),
        (
            &["snapshots", "-r", "rest:http://127.0.0.1:1/", "-o", "rest.password=hush"],
            &["does not belong on a command line"],
        ),
    ] {
        let ended = ground.call(words);
        assert_eq!(ended.code, Some(2), "{words:?}: {}", ended.errors);
        for wanted in wanted {
            assert!(ended.errors.contains(wanted), "{words:?}: {}", ended.errors);
        }
        assert!(!ended.errors.contains("hush"), "{}", ended.errors);
    }
    ground.assert_untouched(&before);
}
