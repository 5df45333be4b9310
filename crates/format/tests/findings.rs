//! What fuzzing found, each as a test of its own: it stays found.
#![allow(clippy::unwrap_used, missing_docs)]

use format::{Lock, Snapshot};

/// Numbers of fields that only another version knows lost their last bit on the way through.
#[test]
fn long_numbers_in_unknown_fields_read_the_same_when_they_are_written_again() {
    let digits = "5".repeat(41);
    for number in
        [format!("{digits}0"), "0.1e-300".to_owned(), format!("1.{digits}"), "123456789012345680000".to_owned()]
    {
        let text = format!(r#"{{"time":"2023-11-14T22:13:20.123456789Z","further":{number}}}"#);
        let lock = Lock::parse(text.as_bytes()).unwrap();
        assert_eq!(Lock::parse(&lock.to_bytes()).unwrap(), lock, "{number}");
        let tree = "ab".repeat(32);
        let text = format!(r#"{{"time":"2023-11-14T22:13:20Z","tree":"{tree}","further":[{number}]}}"#);
        let snapshot = Snapshot::parse(text.as_bytes()).unwrap();
        assert_eq!(Snapshot::parse(&snapshot.to_bytes()).unwrap(), snapshot, "{number}");
    }
}
