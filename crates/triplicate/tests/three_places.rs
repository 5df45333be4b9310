//! One read of a real tree into a folder, a REST server over TLS and an S3 gateway: equal copies, every judge agrees.
//!
//! `TRIPLICATE_TREE` names the tree (`/usr/share` otherwise).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod stage;

use std::path::PathBuf;

use stage::Stage;
use testkit::{Manifest, Oracle, manifest};

#[test]
fn a_real_tree_in_three_places() {
    let stage = Stage::full();
    let tree = PathBuf::from(std::env::var_os("TRIPLICATE_TREE").unwrap_or_else(|| "/usr/share".into()));
    let expected = manifest(&tree).unwrap();
    println!("{} entries in {}", expected.entries.len(), tree.display());
    stage.init();
    let ended = stage.run(0, &["backup", "--json", tree.to_str().unwrap()]);
    let summary = ended.text().lines().last().unwrap().to_owned();
    println!("{summary}");
    stage.assert_equal_copies();

    for place in stage.places() {
        for version in testkit::components::RESTIC_VERSIONS {
            let Some(restic) = stage.restic(version, place) else { continue };
            restic.check(true);
        }
    }
    // Each judge restores from another copy: what one copy gives, all give, since their bytes are equal.
    let places = stage.places();
    let turn = |n: usize| places[n % places.len()];
    let judges: Vec<Oracle> = [
        stage.restic("0.14", turn(0)),
        stage.restic("0.18", turn(1)),
        stage.restic("0.19", turn(2)),
        stage.rustic(turn(1)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (n, judge) in judges.iter().enumerate() {
        let scratch = stage.path(&format!("judged-{n}"));
        let difference = judge.restored_difference("latest", &tree, &expected, &scratch, &[]);
        assert!(difference.is_empty(), "{}: {:#?}", judge.name(), &difference[..difference.len().min(20)]);
        std::fs::remove_dir_all(&scratch).unwrap();
    }
    let ours = stage.path("ours");
    stage.run(0, &["restore", "latest", "--target", ours.to_str().unwrap()]);
    let difference = Manifest::difference(&expected, &manifest(&ours).unwrap().below(&tree));
    assert!(difference.is_empty(), "{:#?}", &difference[..difference.len().min(20)]);
}

#[test]
fn every_judge_restores_from_every_copy() {
    let stage = Stage::full();
    let source = stage.path("source");
    testkit::corpus::tree(&source, 1500, 200_000, 11).unwrap();
    testkit::corpus::random_file(&source.join("large"), 20 << 20, 12).unwrap();
    std::fs::hard_link(source.join("large"), source.join("large-again")).unwrap();
    let expected = manifest(&source).unwrap();
    stage.init();
    stage.run(0, &["backup", source.to_str().unwrap()]);
    stage.assert_equal_copies();
    for place in stage.places() {
        let versions = testkit::components::RESTIC_VERSIONS;
        let mut judges: Vec<Oracle> = versions.iter().filter_map(|version| stage.restic(version, place)).collect();
        judges.extend(stage.rustic(place));
        for judge in judges {
            judge.check(true);
            let scratch = stage.path("judged");
            let difference = judge.restored_difference("latest", &source, &expected, &scratch, &[]);
            assert!(difference.is_empty(), "{} from {place:?}: {difference:#?}", judge.name());
            std::fs::remove_dir_all(&scratch).unwrap();
        }
        let scratch = stage.path("ours");
        stage.run_on(&[place], 0, &["restore", "latest", "--target", scratch.to_str().unwrap()]);
        let difference = Manifest::difference(&expected, &manifest(&scratch).unwrap().below(&source));
        assert!(difference.is_empty(), "ours from {place:?}: {difference:#?}");
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
