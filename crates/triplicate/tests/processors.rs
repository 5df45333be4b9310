//! One program for every processor: what the newest instructions compute, plain ones compute too, and each reads what the
//! other wrote. Old processors are the program's own mask (`TRIPLICATE_CPU`) and an emulated one that never had them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod stage;

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stage::{Place, Stage};
use testkit::process::{Ended, run};
use testkit::{Manifest, components, corpus, manifest, seed};

/// An emulated processor is some thirty times slower.
const LIMIT: Duration = Duration::from_secs(600);

/// A way to run the program.
struct Processor {
    name: &'static str,
    /// Value of the mask.
    mask: &'static str,
    /// The emulator and its options; nothing runs the program itself.
    launcher: Vec<OsString>,
}

impl Processor {
    fn masked(name: &'static str, mask: &'static str) -> Self {
        Self { name, mask, launcher: Vec::new() }
    }

    /// Every way that this machine has, the untouched one first.
    fn every() -> Vec<Self> {
        let mut every =
            vec![Self::masked("as it is", ""), Self::masked("avx2", "avx2"), Self::masked("plain", "plain")];
        if let Some(emulator) = components::qemu() {
            // 2010: AES instructions, no AVX2, no SHA. 2006: neither of them.
            for (name, model) in [("Westmere", "Westmere"), ("Core 2", "core2duo")] {
                let launcher = vec![emulator.clone().into(), "-cpu".into(), model.into()];
                every.push(Self { name, mask: "", launcher });
            }
        }
        every
    }

    #[track_caller]
    fn run(&self, stage: &Stage, arguments: &[&str]) -> Ended {
        let native = stage.command_on(&[stage.address(Place::Folder)]);
        let mut words = self.launcher.clone();
        words.push(native.get_program().into());
        words.extend(native.get_args().map(OsString::from));
        words.extend(arguments.iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(native.get_current_dir().unwrap()).env("TRIPLICATE_CPU", self.mask);
        for (name, value) in native.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        run(&mut command, LIMIT).unwrap().expect_code(0)
    }
}

/// Random bytes, text and small files: every path through the kernels.
fn fill(stage: &Stage, seed: u64) {
    let source = stage.path("source");
    std::fs::create_dir_all(&source).unwrap();
    corpus::random_file(&source.join("random"), 9 << 20, seed).unwrap();
    corpus::text_file(&source.join("text"), 3 << 20, seed).unwrap();
    corpus::small_files(&source.join("small"), 100, seed).unwrap();
}

fn summary(ended: &Ended) -> Value {
    serde_json::from_str(ended.text().lines().last().unwrap()).unwrap()
}

fn tree_of_latest(processor: &Processor, stage: &Stage) -> String {
    let listed: Value = serde_json::from_str(&processor.run(stage, &["snapshots", "latest", "--json"]).text()).unwrap();
    listed[0]["tree"].as_str().unwrap().to_owned()
}

#[test]
fn every_processor_writes_and_reads_the_same() {
    let seed = seed("processors");
    let stage = Stage::small();
    fill(&stage, seed);
    let every = Processor::every();
    let native = &every[0];
    native.run(&stage, &["init"]);
    let first = summary(&native.run(&stage, &["backup", "source", "--json"]));
    assert!(first["data_blobs"].as_u64().unwrap() > 70);
    let tree = tree_of_latest(native, &stage);
    let before = manifest(stage.path("source")).unwrap();
    for processor in &every[1..] {
        let again = summary(&processor.run(&stage, &["backup", "source", "--force", "--json"]));
        assert_eq!((&again["data_blobs"], &again["tree_blobs"]), (&0.into(), &0.into()), "{}", processor.name);
        assert_eq!(tree_of_latest(processor, &stage), tree, "{}", processor.name);
        processor.run(&stage, &["check", "--read-data"]);
        let target = format!("restored by {}", processor.name);
        processor.run(&stage, &["restore", "latest", "--target", &target]);
        let restored = manifest(stage.path(&target).join("source")).unwrap();
        assert_eq!(Manifest::difference(&before, &restored), Vec::<String>::new(), "{}", processor.name);

        // A repository of its own making, judged by the untouched program.
        let own = Stage::small();
        fill(&own, seed);
        processor.run(&own, &["init"]);
        processor.run(&own, &["backup", "source"]);
        native.run(&own, &["check", "--read-data"]);
        let again = summary(&native.run(&own, &["backup", "source", "--force", "--json"]));
        assert_eq!(again["data_blobs"], 0, "{}", processor.name);
    }
}
