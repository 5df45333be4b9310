//! A page of a container's listing that is accepted is whole; errors are read from anything.
#![no_main]

use azure_answers::{kind_of_code, parse_error, parse_page};
use libfuzzer_sys::fuzz_target;

/// The parser alone: all that is around it in its crate speaks to networks and takes minutes to build.
#[path = "../../crates/destinations/src/azure/answers.rs"]
mod azure_answers;

/// The error that it reads.
#[path = "../../crates/destinations/src/xml_error.rs"]
mod xml_error;

/// What the parser hands on, in its shape.
mod bucket {
    pub(crate) struct Page {
        pub(crate) objects: Vec<(String, u64)>,
        pub(crate) next: Option<String>,
    }
}

const END: &[u8] = b"</EnumerationResults>";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(page) = parse_page(bytes) {
        assert!(page.next.is_none_or(|next| !next.is_empty()));
        assert!(page.objects.len() <= bytes.len());
        if let Some(cut) = bytes.trim_ascii_end().strip_suffix(END) {
            assert!(parse_page(cut).is_err(), "a page that was cut is none");
        }
    }
    let error = parse_error(&String::from_utf8_lossy(bytes));
    let _ = kind_of_code(&error.code);
});
