//! A tree that is accepted has only names that stay in their folder, and is written so that it reads the same.
#![no_main]

use format::{Node, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = Tree::parse(bytes) {
        assert!(read.nodes.iter().all(Node::child_name_is_safe));
        let written = read.to_bytes();
        assert_eq!(Tree::parse(&written).as_ref(), Ok(&read));
        assert_eq!(Tree::parse(&written).unwrap().to_bytes(), written);
    }
});
