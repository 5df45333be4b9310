//! The power goes: what was not made durable is lost, in any part and any order.

use std::collections::{BTreeMap, BTreeSet};

use testkit::traced::{Disk, Event, Journal, Manner, Traced};
use testkit::{Random, seed};

use crate::points;
use crate::room::{OTHER_PASSWORD, PASSWORD, Room};

/// How often a long run says how far it is.
const PROGRESS_EVERY: usize = 25;

/// A whole life of a repository, with every call that it made.
struct Life {
    room: Room,
    journal: Journal,
}

impl Life {
    /// Runs the program; then this is promised: `+` before what holds from now on, `-` before what no longer does.
    fn step(&mut self, words: &[&str], promises: &[&str]) {
        let outcome = self.room.traced(words).record(&mut self.journal).unwrap();
        assert_eq!(outcome.ended.code, Some(0), "{words:?}: {}", outcome.ended.errors);
        self.promise(promises);
    }

    fn promise(&mut self, promises: &[&str]) {
        promises.iter().for_each(|promise| self.journal.promise(promise));
    }

    fn backup(&mut self, copies: &[&str], tag: &str, promises: &[&str]) {
        let source = self.room.source();
        let words: Vec<&str> = copies.iter().copied().chain(["backup", "--tag", tag, &source]).collect();
        self.step(&words, promises);
        self.room.remember(tag);
    }

    /// One copy is damaged; nobody may count on it until it is healed.
    fn damage(&mut self, copy: &str) {
        self.promise(&["-second@2", "-third@2", "-sound@2"]);
        let folder = self.room.folder();
        let outcome = Traced::new(self.room.damaging(copy), &[&folder]).record(&mut self.journal).unwrap();
        assert_eq!(outcome.ended.code, Some(0), "{}", outcome.ended.errors);
    }

    /// What holds at a moment.
    fn promised(&self, moment: usize) -> BTreeSet<&str> {
        let mut held = BTreeSet::new();
        for promise in self.journal.promises(moment) {
            match promise.split_at(1) {
                ("+", what) => held.insert(what),
                (_, what) => held.remove(what),
            };
        }
        held
    }
}

fn life() -> Life {
    let room = Room::new();
    let journal = Journal::of(&room.folder()).unwrap();
    let mut life = Life { room, journal };
    let both = crate::room::BOTH;
    let all = |words: &[&'static str]| both.iter().copied().chain(words.iter().copied()).collect::<Vec<&str>>();
    life.room.change_source(1);
    life.step(&all(&["init"]), &["+init", "+sound@1", "+sound@2"]);
    life.backup(&both, "first", &["+first@1", "+first@2"]);
    life.room.change_source(2);
    life.backup(&["-r", "1"], "second", &["+second@1"]);
    life.step(&all(&["copies", "sync"]), &["+second@2"]);
    let password = life.room.beside("other-password");
    let password = password.to_str().unwrap().to_owned();
    let mut words = all(&["key", "add", "--new-password-file"]);
    words.push(&password);
    life.step(&words, &["+key"]);
    life.room.change_source(3);
    life.backup(&both, "third", &["+third@1", "+third@2"]);
    life.promise(&["-first@1", "-first@2"]);
    life.step(&all(&["forget", "--keep-last", "2"]), &[]);
    for _phase in ["marks", "sweeps"] {
        life.step(&all(&["prune", "--max-unused", "0", "--grace", "0s"]), &[]);
    }
    life.damage("2");
    life.step(&all(&["copies", "heal", "--read-data"]), &["+second@2", "+third@2", "+sound@2"]);
    life.journal.assert_complete();
    life.room.change_source(4);
    life.room.remember("last");
    life
}

#[test]
fn a_loss_of_power_takes_nothing_that_was_acknowledged() {
    let random = &mut Random::new(seed("loss of power"));
    let life = life();
    let events = life.journal.events().len();
    let is_init = |event: &Event| matches!(event, Event::Promised(what) if what == "+init");
    let after_init = life.journal.events().iter().position(is_init).unwrap();
    let images = points(12, 200);
    let mut manners: BTreeMap<String, usize> = BTreeMap::new();
    let mut pending = 0;
    for image in 0..images {
        // `init` makes hundreds of folders, and is only one of ten steps; each image has a moment of its own.
        let (first, last) = if image % 10 == 0 { (0, after_init) } else { (after_init, events) };
        let moment = first + random.index(last - first + 1);
        let manner = Manner::ALL[random.index(Manner::ALL.len())];
        let disk = Disk::after(&life.journal, moment);
        pending += disk.pending();
        *manners.entry(format!("{manner:?}")).or_default() += 1;
        life.room.clear();
        disk.write_image(&life.room.folder(), manner, random).unwrap();
        std::fs::create_dir_all(life.room.path("home")).unwrap();
        if image > 0 && image.is_multiple_of(PROGRESS_EVERY) {
            println!("{image} images: {manners:?}");
        }
        judge(&life, moment, &format!("after {moment} of {events} calls, {manner:?}"));
    }
    println!("{images} images of {events} calls, {pending} changes not durable in all: {manners:?}");
    assert!(pending > images, "a disk that keeps everything proves nothing");
}

fn judge(life: &Life, moment: usize, when: &str) {
    let room = &life.room;
    let promised = life.promised(moment);
    for promise in &promised {
        if let Some((tag, copy)) = promise.split_once('@') {
            match tag {
                "sound" => room.assert_sound(copy, PASSWORD, when),
                tag => room.assert_restores(copy, tag, PASSWORD, when),
            }
        }
    }
    if !promised.contains("init") {
        let again = room.call(&room.both(&["init"]));
        assert!([Some(0), Some(1)].contains(&again.code), "{when}: {}", again.errors);
    } else if !promised.contains("sound@2") {
        room.ok(&room.both(&["copies", "heal", "--read-data"]));
    }
    if promised.contains("key") {
        let ended = room.call_with(OTHER_PASSWORD, &["-r", "2", "snapshots"]);
        assert_eq!(ended.code, Some(0), "{when}: the added password: {}", ended.errors);
    }
    let source = room.source();
    let next = room.call(&room.both(&["backup", "--tag", "last", &source]));
    assert_eq!(next.code, Some(0), "{when}: the next backup: {}\n{}", next.text(), next.errors);
    for copy in ["1", "2"] {
        room.assert_sound(copy, PASSWORD, when);
        room.assert_restores(copy, "last", PASSWORD, when);
    }
}
