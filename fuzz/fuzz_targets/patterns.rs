//! Patterns of every kind: what matches a folder matches what is in it, and what is selected is reached.
#![no_main]

use filter::{Case, PatternList, Selection, TagFile, parse_pattern_file, parse_size};
use libfuzzer_sys::fuzz_target;

/// The room alone: its crate takes minutes to build.
#[path = "../../crates/repository/src/filter/mod.rs"]
#[allow(dead_code, unused_imports)]
mod filter;

fuzz_target!(|input: (&[u8], &[u8], bool)| {
    let (file, path, sensitive) = input;
    let _ = (TagFile::parse(file), parse_size(&String::from_utf8_lossy(file)));
    let Ok(patterns) = parse_pattern_file(file, |name| Some(name.to_lowercase())) else { return };
    let case = if sensitive { Case::Sensitive } else { Case::Insensitive };
    let mut list = PatternList::default();
    for pattern in &patterns {
        let _ = list.add(pattern, case);
    }
    let path = [b"/", path].concat();
    let below = [path.trim_ascii_end(), b"/child"].concat();
    let takes_nothing_back = !patterns.iter().any(|pattern| pattern.starts_with(b"!"));
    if takes_nothing_back && list.matches(path.trim_ascii_end()) {
        assert!(list.matches(&below), "what is in a folder that matches");
    }
    // A restore walks from the root: each folder above what is selected must be entered.
    let selection = Selection { include: list, exclude: PatternList::default() };
    if selection.selects(&below, false).selected {
        for (at, _) in below.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
            assert!(selection.selects(&below[..at], true).descend, "a folder above what is selected");
        }
    }
});
