//! A page of a bucket's listing that is accepted is whole and says what follows; errors are read from anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3_answers::{kind_of_code, parse_error, parse_page};

/// The parser alone: all that is around it in its crate speaks to networks and takes minutes to build.
#[path = "../../crates/destinations/src/s3/answers.rs"]
mod s3_answers;

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

const END: &[u8] = b"</ListBucketResult>";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(page) = parse_page(bytes) {
        assert!(page.next.is_none_or(|next| !next.is_empty()));
        assert!(page.objects.len() <= bytes.len());
        let whole = bytes.trim_ascii_end();
        if let Some(cut) = whole.strip_suffix(END) {
            assert!(parse_page(cut).is_err(), "a page that was cut is none");
        }
    }
    let error = parse_error(&String::from_utf8_lossy(bytes));
    let _ = kind_of_code(&error.code);
});
