//! Files to store: of any bytes, and all those of a repository that restic made.
#![allow(dead_code)] // each of the test programs uses its own part

use bytes::Bytes;
use destinations::{Destination, LocalFolder, LocalLocation, Span};
use format::{FileKind, FileName};
use model::Id;
use sha2::{Digest as _, Sha256};
use testkit::{Oracle, components};

/// A pack of these bytes, with its name.
pub(crate) fn named(bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

/// A repository that restic made.
pub(crate) struct Seed {
    /// What opens it.
    pub(crate) password: String,
    /// How many files it has, `config` among them.
    pub(crate) files: usize,
    /// It itself, in a folder `copy`, beside its `source`.
    pub(crate) folder: tempfile::TempDir,
}

/// Fills `place` with a small repository of restic's; none when there is no restic.
pub(crate) async fn copied_from_restic(place: &dyn Destination) -> Option<Seed> {
    let newest = components::RESTIC_VERSIONS.last()?;
    let folder = tempfile::tempdir().unwrap();
    let (root, source) = (folder.path().join("copy"), folder.path().join("source"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), vec![7; 3_000_000]).unwrap();
    let password = "open sesame".to_owned();
    let restic = Oracle::restic(newest, root.to_str().unwrap(), &password)?;
    restic.init(2);
    restic.backup(&[&source], &[]);
    let local = LocalFolder::new(&LocalLocation { path: root });
    place.create().await.unwrap();
    let mut names = vec![FileName::CONFIG];
    for kind in FileKind::NAMED {
        names.extend(local.list(kind).await.unwrap().into_iter().map(|listed| FileName::new(kind, listed.id)));
    }
    for name in &names {
        place.write(*name, local.read(*name, Span::Whole).await.unwrap()).await.unwrap();
    }
    Some(Seed { password, files: names.len(), folder })
}
