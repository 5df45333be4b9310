//! A listing of a REST server that is accepted reads the same when it is written again, and is whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rest_answers::{parse_listing, parse_names};

/// The parser alone: all that is around it in its crate speaks to networks and takes minutes to build.
#[path = "../../crates/destinations/src/rest/answers.rs"]
mod rest_answers;

/// What the parser finds around it.
#[derive(Debug, PartialEq)]
struct Listed {
    id: model::Id,
    size: u64,
}

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.trim_ascii_end();
    let cut = &cut[..cut.len().saturating_sub(1)];
    if let Ok(listed) = parse_listing(bytes) {
        let entry = |listed: &Listed| format!(r#"{{"size":{},"name":"{}"}}"#, listed.size, listed.id);
        let written = format!("[{}]", listed.iter().map(entry).collect::<Vec<_>>().join(","));
        assert_eq!(parse_listing(written.as_bytes()).as_ref(), Ok(&listed));
        assert!(parse_listing(cut).is_err(), "a listing that was cut is none");
    }
    if let Ok(names) = parse_names(bytes) {
        let written = format!("[{}]", names.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(","));
        assert_eq!(parse_names(written.as_bytes()).as_ref(), Ok(&names));
        assert!(parse_names(cut).is_err(), "a listing that was cut is none");
    }
});
