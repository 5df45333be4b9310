//! Any name that stays in its folder survives being quoted.
#![no_main]

use format::{Node, NodeKind, Tree, is_safe_child_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &[u8]| {
    let mut node = Node::new(name, NodeKind::Symlink);
    node.link_target = (!name.is_empty()).then(|| name.to_vec());
    let tree = Tree { nodes: vec![node] };
    match Tree::parse(&tree.to_bytes()) {
        Ok(read) => assert_eq!(read, tree),
        Err(error) => assert!(!is_safe_child_name(name), "{error}"),
    }
});
