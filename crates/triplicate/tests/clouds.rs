//! One backup into a folder and into three clouds at once, as restic names them in its environment: equal copies, and
//! others read them there. Azure is Microsoft's own emulator; Google and B2 are stand-ins that rclone takes for the real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod program;

use program::{CALL_LIMIT, Ground, PASSWORD, text};
use testkit::process::{Ended, run};
use testkit::{AzureServer, B2Server, GoogleServer, Manifest, Oracle, manifest};

struct Clouds {
    ground: Ground,
    azure: AzureServer,
    google: GoogleServer,
    b2: B2Server,
}

impl Clouds {
    fn start() -> Option<Self> {
        let (azure, google, b2) = (AzureServer::start()?, GoogleServer::start()?, B2Server::start()?);
        Some(Self { ground: Ground::new(), azure, google, b2 })
    }

    fn call(&self, words: &[&str]) -> Ended {
        let credentials = self.ground.path("service-account.json");
        std::fs::write(&credentials, &self.google.credentials).unwrap();
        let endpoints = [("azure", &self.azure.endpoint), ("gs", &self.google.url), ("b2", &self.b2.url)];
        let options: Vec<String> = endpoints.map(|(kind, url)| format!("{kind}.endpoint={url}")).to_vec();
        let mut all = vec!["-r", "folder", "-r", "azure:box:/repo", "-r", "gs:box:/repo", "-r", "b2:bucket:repo"];
        all.extend(options.iter().flat_map(|option| ["-o", option.as_str()]));
        all.extend(words);
        let mut command = self.ground.command(&all);
        command.env("AZURE_ACCOUNT_NAME", AzureServer::ACCOUNT).env("AZURE_ACCOUNT_KEY", AzureServer::KEY);
        command.env("GOOGLE_APPLICATION_CREDENTIALS", &credentials);
        command.env("B2_ACCOUNT_ID", B2Server::KEY_ID).env("B2_ACCOUNT_KEY", B2Server::KEY);
        run(&mut command, CALL_LIMIT).unwrap()
    }

    fn ok(&self, words: &[&str]) -> Ended {
        self.call(words).expect_code(0)
    }
}

#[test]
fn a_backup_into_three_clouds_is_the_same_as_in_a_folder() {
    let Some(clouds) = Clouds::start() else { return };
    let source = clouds.ground.path("source");
    testkit::corpus::tree(&source.join("many"), 200, 20_000, 31).unwrap();
    testkit::corpus::random_file(&source.join("large"), 24 << 20, 32).unwrap();
    clouds.ok(&["init"]);
    clouds.ok(&["copies", "probe"]);
    clouds.ok(&["backup", &clouds.ground.source()]);
    std::fs::remove_file(source.join("large")).unwrap();
    let expected = manifest(&source).unwrap();
    clouds.ok(&["backup", &clouds.ground.source()]);
    clouds.ok(&["forget", "--keep-last", "1", "--prune", "--grace", "0s"]);
    clouds.ok(&["check", "--read-data"]);
    let back = clouds.ground.path("back");
    clouds.ok(&["restore", "latest", "--target", &text(&back)]);
    let difference = Manifest::difference(&expected, &manifest(&back).unwrap().below(&source));
    assert!(difference.is_empty(), "{difference:#?}");

    let folder = text(&clouds.ground.path("folder"));
    if let Some(checked) = clouds.google.rclone(&["check", "--download", &folder, "cloud:box/repo"]) {
        checked.expect_code(0);
        clouds.b2.rclone(&["check", "--download", &folder, "cloud:bucket/repo"]).unwrap().expect_code(0);
    }
    let Some(rustic) = Oracle::rustic("opendal:azblob", PASSWORD) else { return };
    let rustic = rustic.with("OPENDAL_CONTAINER", "box").with("OPENDAL_ROOT", "/repo");
    let rustic = rustic.with("OPENDAL_ENDPOINT", &clouds.azure.endpoint);
    let rustic = rustic.with("OPENDAL_ACCOUNT_NAME", AzureServer::ACCOUNT);
    rustic.with("OPENDAL_ACCOUNT_KEY", AzureServer::KEY).check(true);
}

#[test]
fn a_cloud_that_is_full_is_named_and_the_others_finish() {
    let Some(clouds) = Clouds::start() else { return };
    clouds.ok(&["init"]);
    clouds.google.control("{\"quota\": 0}");
    clouds.b2.control("{\"cap\": 0}");
    let ended = clouds.call(&["backup", &clouds.ground.source()]);
    assert_eq!(ended.code, Some(3), "{}\n{}", ended.text(), ended.errors);
    let said = format!("{}\n{}", ended.text(), ended.errors);
    for word in ["gs:box:/repo", "b2:bucket:/repo", "quotaExceeded", "storage_cap_exceeded"] {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
    for secret in [AzureServer::KEY, B2Server::KEY, "PRIVATE KEY", "ya29."] {
        assert!(!said.contains(secret), "{said}");
    }
    clouds.google.control("{}");
    clouds.b2.control("{}");
    clouds.ok(&["copies", "sync"]);
    clouds.ok(&["check", "--read-data"]);
}
