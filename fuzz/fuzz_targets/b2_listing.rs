//! What B2 says of accounts, buckets, uploads and pages is taken or refused, and errors are read from anything.
#![no_main]

use b2_answers::{Account, Buckets, Files, UploadUrl, Version, parse_error};
use libfuzzer_sys::fuzz_target;

/// The parser alone: all that is around it in its crate speaks to networks and takes minutes to build.
#[path = "../../crates/destinations/src/b2/answers.rs"]
mod b2_answers;

/// What the parser hands on, in its shape.
mod bucket {
    pub(crate) struct Page {
        pub(crate) objects: Vec<(String, u64)>,
        pub(crate) next: Option<String>,
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(files) = serde_json::from_slice::<Files>(bytes) {
        let listed = files.files.len();
        if let Ok(page) = files.page() {
            assert!(page.objects.len() <= listed);
            let _ = page.next;
        }
        if let Some(cut) = bytes.trim_ascii_end().strip_suffix(b"}") {
            assert!(serde_json::from_slice::<Files>(cut).is_err(), "a page that was cut is none");
        }
    }
    if let Ok(account) = serde_json::from_slice::<Account>(bytes) {
        let _ = account.api_info.storage_api.allowed.bucket_id("bucket");
    }
    let _ = serde_json::from_slice::<Buckets>(bytes);
    let _ = serde_json::from_slice::<UploadUrl>(bytes);
    if let Ok(version) = serde_json::from_slice::<Version>(bytes) {
        let _ = (version.is_file(), version.hides_older_ones(), version.holds(bytes.len(), ""));
    }
    let error = parse_error(&String::from_utf8_lossy(bytes));
    let _ = (error.kind(), error.is_about_the_token());
});
