//! When a prune does nothing: each refusal names what, on which copy, and what to do; and no file changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName};
use model::FaultKind;
use repository::Error;
use repository::prune::{PruneRequest, prepare};
use repository::records::listed::Listing;
use testkit::{Act, Faulty, Script, Verb, When};

use crate::ground::{Ground, thorough};
use crate::room::{plain, with_faults};

/// Prunes on these destinations, which must be refused with `words`, and a hint with `hint`; nothing changes.
#[track_caller]
fn refused(ground: &Ground, destinations: Vec<Arc<dyn Destination>>, words: &[&str], hint: &str) {
    let files = || {
        let all = ground.copies.each_ref().map(|copy| copy.files());
        all.map(|files| files.into_iter().filter(|(name, _)| name.kind() != FileKind::Lock).collect::<BTreeMap<_, _>>())
    };
    let before = files();
    let repository = ground.open_on(destinations);
    let error = prepare(&repository, &thorough()).and_then(|pruning| pruning.run()).unwrap_err();
    let (text, hints) = (error.to_string(), error.hint().unwrap_or_default());
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(hints.contains(hint), "{text}: {hints}");
    assert_eq!(before, files());
}

#[test]
fn copies_that_disagree() {
    let mut ground = Ground::half_forgotten(11, 2);
    // One that is missing among many is no listing that lies.
    for _ in 0..6 {
        ground.backup();
    }
    let pack = ground.names(FileKind::Pack)[0];
    let needed: Vec<FileName> = {
        // The packs that are needed: those that the plan does not mark.
        let plan = ground.plan(&thorough());
        assert!(plan.mark.packs == 1);
        let mut packs = ground.names(FileKind::Pack);
        packs.retain(|name| {
            let bytes = ground.copies[2].take(*name).unwrap();
            let is_needed = ground.try_prune(&PruneRequest { dry_run: true, ..thorough() }).is_err();
            ground.copies[2].put(*name, bytes);
            is_needed
        });
        packs
    };
    assert_eq!(needed.len(), ground.names(FileKind::Pack).len() - 1, "{pack}");
    // Files make the largest: folders that nobody can read are refused for another reason, before sizes are.
    let needed = *needed.iter().max_by_key(|name| ground.copies[0].get(**name).unwrap().len()).unwrap();
    let bytes = ground.copies[2].take(needed).unwrap();
    refused(&ground, plain(&ground.copies), &["memory:third lacks", &needed.path()], "copies sync");
    ground.copies[2].put(needed, bytes.slice(1..));
    refused(&ground, plain(&ground.copies), &["another size on memory:third", &needed.path()], "copies heal");
    for copy in &ground.copies {
        copy.put(needed, bytes.slice(1..));
    }
    refused(&ground, plain(&ground.copies), &["not as the index says", &needed.path()], "check");
    ground.copies.iter().for_each(|copy| copy.put(needed, bytes.clone()));
    let snapshot = ground.names(FileKind::Snapshot)[0];
    let bytes = ground.copies[1].take(snapshot).unwrap();
    refused(&ground, plain(&ground.copies), &["memory:second lacks snapshot"], "copies sync");
    ground.copies[1].put(snapshot, bytes.slice(1..));
    refused(&ground, plain(&ground.copies), &["memory:second has another size of snapshot"], "copies heal");
    ground.copies[1].put(snapshot, bytes);
    ground.prune(&thorough());
}

#[test]
fn a_copy_that_is_away_or_that_cannot_be_listed() {
    let ground = Ground::half_forgotten(11, 2);
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let script = Script::new(1).with(When::Kind(Verb::List, kind), Act::FailBefore(FaultKind::Failing));
        let (destinations, _) = with_faults(&ground.copies, 1, script);
        refused(&ground, destinations, &["copy memory:second cannot be used", kind.folder()], "");
    }
    let script = Script::new(1).with(When::Always, Act::FailBefore(FaultKind::Unreachable));
    let (destinations, _) = with_faults(&ground.copies, 2, script);
    refused(&ground, destinations, &["copy memory:third cannot be used"], "");
}

#[test]
fn listings_that_lie() {
    let mut ground = Ground::new(12);
    for number in 0..10 {
        ground.write(number..number + 1);
        ground.backup();
    }
    ground.prune(&PruneRequest::default());
    let snapshots = ground.names(FileKind::Snapshot);
    // An empty listing of snapshots on one copy, then on all; then a short one on all.
    for (copies, act, words) in [
        (1, Act::EmptyListing, "copy memory:first lists 0 files in `snapshots`, and listed 10"),
        (3, Act::EmptyListing, "lists 0 files in `snapshots`, and listed 10"),
    ] {
        let faulty = ground.copies.iter().enumerate().map(|(number, copy)| {
            let rule = (When::Kind(Verb::List, FileKind::Snapshot), act.clone());
            let script = if number < copies { Script::new(1).with(rule.0, rule.1) } else { Script::new(1) };
            Arc::new(Faulty::new(copy.clone(), script)) as Arc<dyn Destination>
        });
        refused(&ground, faulty.collect(), &[words], "--believe-listings");
    }
    for (number, name) in snapshots.iter().enumerate() {
        ground.copies.iter().for_each(|copy| drop(copy.take(*name)));
        ground.states.remove(&name.id().unwrap());
        if number < 2 {
            // A fifth may go without a word.
            ground.plan(&thorough());
        } else {
            break;
        }
    }
    refused(&ground, plain(&ground.copies), &["lists 7 files in `snapshots`, and listed 10"], "--believe-listings");
    ground.prune(&PruneRequest { believe_listings: true, ..thorough() });
    ground.prune(&thorough());
    for name in ground.names(FileKind::Snapshot) {
        ground.copies.iter().for_each(|copy| drop(copy.take(name)));
    }
    let error = ground.try_prune(&PruneRequest { believe_listings: true, ..thorough() }).unwrap_err().to_string();
    assert!(error.contains("list no snapshot at all") && error.contains("memory:second"), "{error}");
    assert_eq!(Listing::default().files, 0);
}

#[test]
fn what_nobody_can_read() {
    let ground = Ground::half_forgotten(11, 2);
    let damage_all = |name: FileName| {
        ground.copies.iter().for_each(|copy| assert!(copy.damage(name, |bytes| *bytes.last_mut().unwrap() ^= 1)));
    };
    let snapshot = ground.names(FileKind::Snapshot)[0];
    damage_all(snapshot);
    refused(&ground, plain(&ground.copies), &["1 snapshots cannot be read", &snapshot.path()], "copies heal");
    damage_all(snapshot);
    let index = ground.names(FileKind::Index)[0];
    damage_all(index);
    refused(&ground, plain(&ground.copies), &["no copy has a sound", &index.path()], "");
    damage_all(index);
    // One copy is enough.
    ground.copies[0].damage(index, |bytes| bytes[20] ^= 1);
    ground.plan(&thorough());
    ground.copies[0].damage(index, |bytes| bytes[20] ^= 1);
    ground.prune(&thorough());
}

#[test]
fn a_missing_tree_or_blob_is_named_by_snapshot_and_path() {
    let mut ground = Ground::new(13);
    ground.write(0..20);
    let snapshot = ground.backup();
    let repository = ground.open();
    let root = repository.snapshot(snapshot).unwrap().tree;
    let indexed = repository.indexed().unwrap();
    let mut node = None;
    let mut id = root;
    for name in ["source", "folder-3", "file-8"] {
        node = indexed.tree(&id).unwrap().find(name.as_bytes()).cloned();
        id = node.as_ref().unwrap().subtree.unwrap_or(id);
    }
    let (tree, data) = (id, node.unwrap().content.unwrap()[0]);
    let tree_place = indexed.index.get(format::BlobKind::Tree, &tree).unwrap();
    let data_place = indexed.index.get(format::BlobKind::Data, &data).unwrap();
    drop(indexed);
    // In no index.
    let name = ground.names(FileKind::Index)[0];
    let whole = ground.copies[0].get(name).unwrap();
    let sealed_without = |gone: model::Id| {
        let mut file = format::IndexFile::parse(&repository.open_file(name, &whole).unwrap()).unwrap();
        file.packs.iter_mut().for_each(|pack| pack.blobs.retain(|blob| blob.id != gone));
        repository.seal_file(FileKind::Index, &file.to_bytes())
    };
    let short = snapshot.short();
    for (gone, kind, path) in [(data, "data", "/source/folder-3/file-8"), (tree, "tree", "/source/folder-3")] {
        let (other, bytes) = sealed_without(gone);
        for copy in &ground.copies {
            copy.take(name);
            copy.put(other, bytes.clone());
        }
        let words = [format!("`{path}` of snapshot {short}"), format!("the {kind} blob {gone}")];
        refused(&ground, plain(&ground.copies), &[&words[0], &words[1]], "check");
        for copy in &ground.copies {
            copy.take(other);
            copy.put(name, whole.clone());
        }
    }
    // Damaged in its pack, on every copy: a tree is found out when it is read, a chunk when its pack is written anew.
    let folders = ground.copies.clone();
    let damage_all = |place: repository::index::Location| {
        let pack = FileName::pack(place.pack);
        folders.iter().for_each(|copy| assert!(copy.damage(pack, |bytes| bytes[place.offset as usize + 20] ^= 1)));
    };
    damage_all(tree_place);
    let words = [format!("`/source/folder-3` of snapshot {short}"), format!("the tree blob {tree}")];
    refused(&ground, plain(&ground.copies), &[&words[0], &words[1]], "check");
    damage_all(tree_place);
    ground.write(0..2);
    ground.write(5..6);
    let second = ground.backup();
    ground.forget(snapshot);
    damage_all(data_place);
    let words = [format!("`/source/folder-3/file-8` of snapshot {}", second.short()), format!("the data blob {data}")];
    let indexes = ground.names(FileKind::Index);
    let error = ground.try_prune(&thorough()).unwrap_err().to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert_eq!(ground.names(FileKind::Index), indexes, "no index file came or went");
    damage_all(data_place);
    // One sound copy is enough.
    ground.copies[0].damage(FileName::pack(data_place.pack), |bytes| bytes[data_place.offset as usize + 20] ^= 1);
    let report = ground.try_prune(&thorough()).unwrap();
    assert_eq!((report.verdict, report.plan.repack.packs), (model::Verdict::Ok, 2));
    ground.assert_sound();
    ground.assert_restores();
}

#[test]
fn locks_of_others_and_no_locks_of_ours() {
    let ground = Ground::half_forgotten(11, 2);
    let other = ground.open();
    let guard = other.lock(repository::locks::LockMode::Adding).unwrap();
    let error = ground.try_prune(&thorough()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    // A look at the plan disturbs nobody.
    ground.try_prune(&PruneRequest { dry_run: true, ..thorough() }).unwrap();
    drop(guard);
    let surroundings = repository::Surroundings { no_lock: true, ..ground.surroundings() };
    let password = crate::room::PASSWORD.to_owned().into();
    let repository = repository::Repository::open(plain(&ground.copies), &password, surroundings).unwrap();
    let error = prepare(&repository, &thorough()).unwrap_err().to_string();
    assert!(error.contains("without locks"), "{error}");
    ground.prune(&thorough());
}

#[test]
fn a_snapshot_that_comes_in_spite_of_the_lock_keeps_everything_in_place() {
    let mut ground = Ground::half_forgotten(11, 2);
    ground.write(5..6);
    let before = ground.copies.each_ref().map(|copy| copy.files());
    let snapshot = ground.backup();
    let after = ground.copies[0].files();
    ground.copies.iter().zip(before.clone()).for_each(|(copy, files)| copy.reset(files));
    let state = ground.states.remove(&snapshot).unwrap();
    let indexes = ground.names(FileKind::Index);
    // It comes while the prune writes its first pack.
    let gate = testkit::Gate::closed();
    let script = Script::new(1).with(When::Kind(Verb::Write, FileKind::Pack), Act::Wait(gate.clone()));
    let (destinations, _) = with_faults(&ground.copies, 1, script);
    let repository = ground.open_on(destinations);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| prepare(&repository, &thorough()).unwrap().run());
        assert!(testkit::process::wait_until(std::time::Duration::from_secs(60), || gate.waiting() > 0));
        for copy in &ground.copies {
            after.iter().filter(|(name, _)| copy.get(**name).is_none()).for_each(|(name, bytes)| {
                copy.put(*name, bytes.clone());
            });
        }
        gate.open();
        let error = running.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("nothing was removed: somebody added or removed a snapshot"), "{error}");
    });
    drop(repository);
    assert!(indexes.iter().all(|name| ground.copies[1].get(*name).is_some()));
    ground.states.insert(snapshot, state);
    ground.assert_sound();
    ground.prune(&thorough());
    ground.assert_restores();
}
