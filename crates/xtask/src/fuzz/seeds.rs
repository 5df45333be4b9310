//! What fuzzing begins with: valid files of each kind, made by our own code and by restic. A parser of JSON or XML is
//! not found by chance.

use std::fs;
use std::path::Path;

use format::{
    BlobKind, Compression, Compressor, Config, Decompressor, FileKind, IndexFile, IndexedPack, KeyFile, KeyOwner, Lock,
    MarkedPack, MasterKey, Moment, Node, NodeKind, PackWriter, PackedBlob, ScryptCost, Snapshot, Tree,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::{Id, Secret};
use testkit::Oracle;

/// Any: what it opens is thrown away.
const PASSWORD: &str = "password";

type Seeds = Vec<Vec<u8>>;

/// Puts the seeds of a target into its corpus.
pub(super) fn plant(target: &str, corpus: &Path) -> Result<(), String> {
    let mut seeds = own(target).map_err(|error| format!("no seeds for `{target}`: {error}"))?;
    // restic's are as good tomorrow as today, and take seconds to make.
    let marker = corpus.join("restic-was-here");
    if !marker.exists() {
        seeds.extend(restics(target)?);
        seeds.push(Vec::new());
        write(&marker, b"")?;
    }
    for seed in seeds {
        write(&corpus.join(format::hash(&seed).to_hex()), &seed)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}

fn moment() -> Moment {
    Moment::local(1_700_000_000, 123_456_789, &TimeZone::UTC)
}

fn own(target: &str) -> format::Result<Seeds> {
    Ok(match target {
        "config" => vec![Config::generate()?.to_bytes()],
        "key_file" => keys()?,
        "snapshot" => snapshots(),
        "index" => indexes()?,
        "tree" => vec![tree().to_bytes(), Tree { nodes: Vec::new() }.to_bytes()],
        "lock" => [true, false].map(|exclusive| Lock::new(moment(), exclusive).to_bytes()).to_vec(),
        "names" => ["plain", "\"quoted\"\n", "\u{fffd}\u{2028}<&>", "..", "a/b"].map(|name| name.into()).to_vec(),
        "pack_header" => vec![header()?],
        "zstd_blob" => Compressor::new(Compression::Max).compress(&[7; 900]).into_iter().collect(),
        "rest_listing" => rest_listings(),
        "s3_listing" => s3_listings(),
        "azure_listing" => AZURE_LISTINGS.map(Into::into).to_vec(),
        "gs_listing" => GOOGLE_LISTINGS.map(Into::into).to_vec(),
        "b2_listing" => B2_ANSWERS.map(Into::into).to_vec(),
        "ftps_listing" => FTP_LINES.map(Into::into).to_vec(),
        "patterns" => ["*.o\n!/keep/*.o\n", "/a/**/b?[c-d]\n# x\n$HOME/x\n", "CACHEDIR.TAG:Signature\n", "10.5G"]
            .map(Into::into)
            .to_vec(),
        // Numbers are all that it takes.
        _ => Vec::new(),
    })
}

fn keys() -> format::Result<Seeds> {
    let created = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let owner = KeyOwner { hostname: "host".to_owned(), username: "user".to_owned(), created };
    let key = KeyFile::seal(&MasterKey::generate()?, &Secret::from(PASSWORD), &owner, ScryptCost::FAST_FOR_TESTS)?;
    let costly = KeyFile { n: 1 << 20, r: 64, p: 16, ..key.clone() };
    Ok(vec![key.to_bytes(), costly.to_bytes()])
}

fn snapshots() -> Seeds {
    let mut snapshot = Snapshot::new(moment(), Id::from_bytes([3; 32]));
    let plain = snapshot.to_bytes();
    snapshot.tags = vec!["a".to_owned(), "run:1".to_owned()];
    snapshot.hostname = "host".to_owned();
    vec![plain, snapshot.to_bytes()]
}

/// A pack with a chunk and a listing.
fn pack(master: &MasterKey) -> format::Result<format::FinishedPack> {
    let mut pack = PackWriter::new();
    let mut compressor = Compressor::new(Compression::Auto);
    for (kind, plain) in [(BlobKind::Data, vec![5; 3000]), (BlobKind::Tree, tree().to_bytes())] {
        pack.push(master, kind, format::hash(&plain), &plain, Some(&mut compressor))?;
    }
    pack.finish(master)
}

fn indexes() -> format::Result<Seeds> {
    let pack = pack(&MasterKey::generate()?)?;
    let marked = MarkedPack { id: pack.id, blobs: pack.blobs.clone(), time: Some(moment()), size: Some(99) };
    let packs = vec![IndexedPack { id: pack.id, blobs: pack.blobs }];
    let index = IndexFile { packs, ..IndexFile::default() };
    let marking = IndexFile { packs_to_delete: vec![marked], ..index.clone() };
    Ok(vec![index.to_bytes(), marking.to_bytes(), IndexFile::default().to_bytes()])
}

fn tree() -> Tree {
    let mut folder = Node::new("folder", NodeKind::Dir);
    folder.subtree = Some(Id::from_bytes([1; 32]));
    let mut link = Node::new("link\n\"\u{fffd}", NodeKind::Symlink);
    link.link_target = Some(b"some/where\xff".to_vec());
    let mut tree = Tree { nodes: vec![folder, link, Node::new("pipe", NodeKind::Fifo)] };
    tree.sort();
    tree
}

/// The target takes the size of all blobs, then the entries as they are under the seal.
fn header() -> format::Result<Vec<u8>> {
    let master = MasterKey::generate()?;
    let pack = pack(&master)?;
    let blobs: u64 = pack.blobs.iter().map(|blob| u64::from(blob.length)).sum();
    let from = usize::try_from(blobs).unwrap_or(0);
    let to = pack.bytes.len() - format::HEADER_LENGTH_FIELD_BYTES;
    let entries = master.open(pack.bytes.get(from..to).unwrap_or_default())?;
    Ok([blobs.to_le_bytes().as_slice(), &entries].concat())
}

fn rest_listings() -> Seeds {
    let (one, two) = ("ab".repeat(32), "0c".repeat(32));
    let with_sizes =
        format!(r#"[{{"name":"{one}","size":17}},{{"name":"{two}","size":4096}},{{"name":"x","size":0}}]"#);
    vec![with_sizes.into_bytes(), format!(r#"["{one}","{two}"]"#).into_bytes(), b"[]".to_vec()]
}

fn s3_listings() -> Seeds {
    let entry = |n: u32| {
        format!(
            "<Contents><Key>pre%2Fdata/{n}+x</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>{n}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    };
    let page = |rest: &str| {
        let (first, second) = (entry(1), entry(22));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><Prefix>pre/</Prefix><KeyCount>2</KeyCount><EncodingType>url</EncodingType>{rest}{first}{second}</ListBucketResult>"
        )
    };
    let error = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>later</Message><Region>r</Region></Error>";
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>";
    let pages = [page(more), page("<IsTruncated>false</IsTruncated>"), error.to_owned()];
    pages.map(String::into_bytes).to_vec()
}

const AZURE_LISTINGS: [&str; 2] = [
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://host/\" ContainerName=\"box\">\
     <Prefix>pre/</Prefix><Blobs><Blob><Name>pre/keys/a</Name><Properties><Content-Length>7</Content-Length></Properties>\
     </Blob><Blob><Name Encoded=\"true\">pre%2Fb</Name><Properties><Content-Length>0</Content-Length></Properties></Blob>\
     </Blobs><NextMarker>m&amp;1</NextMarker></EnumerationResults>",
    "<?xml version=\"1.0\"?><Error><Code>ServerBusy</Code><Message>later</Message></Error>",
];

const GOOGLE_LISTINGS: [&str; 2] = [
    r#"{"kind":"storage#objects","nextPageToken":"m","items":[{"name":"pre/keys/a","size":"7","md5Hash":"x=="}]}"#,
    r#"{"error":{"code":429,"message":"slower","errors":[{"domain":"usageLimits","reason":"rateLimitExceeded"}]}}"#,
];

const B2_ANSWERS: [&str; 4] = [
    r#"{"files":[{"fileName":"pre/keys/a","fileId":"4_z","action":"upload","contentLength":7,"contentSha1":"none"},{"fileName":"pre/b","fileId":"4_y","action":"hide","contentLength":0,"contentSha1":null}],"nextFileName":"pre/c","nextFileId":"4_x"}"#,
    r#"{"accountId":"a","authorizationToken":"t","apiInfo":{"storageApi":{"apiUrl":"https://api","downloadUrl":"https://down","allowed":{"buckets":[{"id":"i","name":"bucket"}],"capabilities":[],"namePrefix":null}}}}"#,
    r#"{"bucketId":"i","uploadUrl":"https://up/1","authorizationToken":"t"}"#,
    r#"{"status":401,"code":"expired_auth_token","message":"ended"}"#,
];

const FTP_LINES: [&str; 3] = [
    "type=file;size=7;modify=20261122040000;UNIX.mode=0644; 0c0c\ntype=dir;modify=20261122040000; data\ntype=cdir; .",
    "total 8\n-rw-r--r-- 1 nobody nogroup 7 Nov 22 04:00 0c0c\ndrwxr-xr-x 2 nobody nogroup 4096 Nov 22 2025 data",
    "11-22-26  04:00AM       <DIR>          data\n11-22-26  04:00AM                    7 0c0c",
];

/// The files of a small repository of restic's, opened; nothing when it is not installed.
fn restics(target: &str) -> Result<Seeds, String> {
    if !["config", "key_file", "snapshot", "index", "tree"].contains(&target) {
        return Ok(Vec::new());
    }
    let scratch = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (source, copy) = (scratch.path().join("source"), scratch.path().join("copy"));
    testkit::corpus::tree(&source, 12, 4000, 1).map_err(|error| format!("no source: {error}"))?;
    let Some(restic) = Oracle::restic("0.19", &copy.to_string_lossy(), PASSWORD) else { return Ok(Vec::new()) };
    restic.init(2);
    restic.backup(&[&source], &["--tag", "one,two"]);
    opened(target, &copy).map_err(|why| format!("cannot open what restic wrote: {why}"))
}

fn opened(target: &str, copy: &Path) -> Result<Seeds, String> {
    let keys = files(copy, FileKind::Key)?;
    if target == "key_file" {
        return Ok(keys);
    }
    let told = |error: format::FormatError| error.to_string();
    let key = keys.first().ok_or("it has no key")?;
    let master = KeyFile::parse(key).and_then(|key| key.open(&Secret::from(PASSWORD))).map_err(told)?;
    let open = |kind| -> Result<Seeds, String> {
        files(copy, kind)?.iter().map(|sealed| format::open_file(&master, sealed).map_err(told)).collect()
    };
    match target {
        "config" => {
            let sealed = fs::read(copy.join("config")).map_err(|error| error.to_string())?;
            Ok(vec![format::open_file(&master, &sealed).map_err(told)?])
        }
        "snapshot" => open(FileKind::Snapshot),
        "index" => open(FileKind::Index),
        _ => {
            let mut trees = Vec::new();
            for index in open(FileKind::Index)? {
                for pack in IndexFile::parse(&index).map_err(told)?.packs {
                    trees.extend(trees_in(copy, &master, &pack)?);
                }
            }
            Ok(trees)
        }
    }
}

fn trees_in(copy: &Path, master: &MasterKey, pack: &IndexedPack) -> Result<Seeds, String> {
    let path = copy.join(format::FileName::pack(pack.id).path());
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let of = |blob: &PackedBlob| {
        let mut sealed = bytes.get(blob.offset as usize..blob.end() as usize)?.to_vec();
        format::open_blob(master, blob, &mut sealed, &mut Decompressor::new()).ok()
    };
    Ok(pack.blobs.iter().filter(|blob| blob.kind == BlobKind::Tree).filter_map(of).collect())
}

fn files(copy: &Path, kind: FileKind) -> Result<Seeds, String> {
    let entries = fs::read_dir(copy.join(kind.folder())).map_err(|error| error.to_string())?;
    entries.map(|entry| entry.and_then(|entry| fs::read(entry.path())).map_err(|error| error.to_string())).collect()
}
