//! restic at work in the same folder: it does not mind what a killed writer of ours leaves, and we see its files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use destinations::{Destination, LocalFolder, LocalLocation, Span};
use format::{FileKind, FileName};
use sha2::{Digest as _, Sha256};
use testkit::components;
use testkit::process::run;

const LIMIT: Duration = Duration::from_secs(120);

fn restic(program: &Path, root: &Path, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(["--no-cache", "-r"]).arg(root).args(arguments).env("RESTIC_PASSWORD", "open sesame");
    run(&mut command, LIMIT).unwrap().expect_code(0);
}

#[tokio::test]
async fn restic_and_the_folder_see_the_same_files() {
    for (version, program) in components::every_restic() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("copy");
        let source = above.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), vec![7; 3_000_000]).unwrap();
        restic(&program, &root, &["init"]);
        let place = LocalFolder::new(&LocalLocation { path: root.clone() });
        // What a writer of ours leaves when it is killed between its first byte and the rename.
        for folder in ["data/7f", "index", "snapshots", "keys", "locks"] {
            let name = format!("{}-tmp-t0123456789abcdef", "7f".repeat(32));
            std::fs::write(root.join(folder).join(name), b"half a file").unwrap();
        }
        restic(&program, &root, &["backup", source.to_str().unwrap()]);
        restic(&program, &root, &["check", "--read-data"]);
        place.create().await.unwrap();
        for (kind, count) in [
            (FileKind::Key, 1),
            (FileKind::Snapshot, 1),
            (FileKind::Index, 1),
            (FileKind::Pack, 2),
            (FileKind::Lock, 0),
        ] {
            let listed = place.list(kind).await.unwrap();
            assert_eq!(listed.len(), count, "{kind:?} of restic {version}");
            for found in listed {
                let name = FileName::new(kind, found.id);
                let bytes = place.read(name, Span::Whole).await.unwrap();
                assert_eq!(Sha256::digest(&bytes)[..], found.id.as_bytes()[..], "{name} of restic {version}");
                assert_eq!(bytes.len() as u64, found.size);
                // What we write, restic reads: the same file again through our own writer.
                place.write(name, bytes).await.unwrap();
            }
        }
        restic(&program, &root, &["check", "--read-data"]);
    }
}
