//! A folder's listing, in restic's exact JSON: who lists the same folder gets the same id.

use std::fmt;

use model::Id;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::blob::BlobKind;
use crate::error::{FormatError, Result};
use crate::hash::hash;
use crate::node::Node;
use crate::node_json::{WireNode, append_node};

const WHAT: &str = "the tree";

/// The most entries of one folder: what fits [`BlobKind::TREE_BYTES_MAX`] with room to spare.
pub const TREE_NODES_MAX: usize = 4 << 20;

/// About what a node takes.
const NODE_TEXT_BYTES: usize = 420;

/// A folder's entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    /// In the order of their names' bytes.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// Reads a listing. Names must be single components and different from each other; entries that are not in order
    /// are accepted, see [`Tree::is_sorted`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > BlobKind::TREE_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "a tree (bytes)", limit: BlobKind::TREE_BYTES_MAX as u64 });
        }
        let json: TreeJson = serde_json::from_slice(bytes).map_err(|error| FormatError::malformed(WHAT, error))?;
        if json.is_too_long {
            return Err(FormatError::TooLarge { what: "a tree (entries)", limit: TREE_NODES_MAX as u64 });
        }
        let tree = Self { nodes: json.nodes };
        tree.check()?;
        Ok(tree)
    }

    fn check(&self) -> Result<()> {
        if let Some(node) = self.nodes.iter().find(|node| !node.child_name_is_safe()) {
            return Err(FormatError::malformed(WHAT, format!("unsafe name `{}`", node.name.escape_ascii())));
        }
        if self.is_sorted() {
            return Ok(());
        }
        let mut names: Vec<&[u8]> = self.nodes.iter().map(|node| node.name.as_slice()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(FormatError::malformed(WHAT, format!("two entries named `{}`", pair[0].escape_ascii()))),
            None => Ok(()),
        }
    }

    /// True when each name is greater than the one before it, as restic writes them.
    pub fn is_sorted(&self) -> bool {
        self.nodes.is_sorted_by(|left, right| left.name < right.name)
    }

    /// Puts the entries in order.
    pub fn sort(&mut self) {
        self.nodes.sort_by(|left, right| left.name.cmp(&right.name));
    }

    /// The entry of this name.
    pub fn find(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The exact text, with the line feed behind it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.nodes.len() * NODE_TEXT_BYTES + 16);
        self.append_to(&mut out);
        out
    }

    /// Appends the exact text to a buffer that is used again and again.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"nodes\":");
        crate::go_json::append_list(out, &self.nodes, append_node);
        out.extend_from_slice(b"}\n");
    }

    /// The id: the hash of the text.
    pub fn id(&self) -> Id {
        hash(&self.to_bytes())
    }
}

struct TreeJson {
    nodes: Vec<Node>,
    is_too_long: bool,
}

impl<'de> Deserialize<'de> for TreeJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct TreeVisitor;
        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = TreeJson;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tree")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<TreeJson, A::Error> {
                let mut tree = None;
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "nodes" if tree.is_some() => return Err(A::Error::duplicate_field("nodes")),
                        "nodes" => tree = Some(map.next_value::<NodeList>()?.0),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                tree.ok_or_else(|| A::Error::missing_field("nodes"))
            }
        }
        deserializer.deserialize_map(TreeVisitor)
    }
}

struct NodeList(TreeJson);

impl<'de> Deserialize<'de> for NodeList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = NodeList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of nodes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<NodeList, A::Error> {
                let mut nodes = Vec::new();
                while nodes.len() < TREE_NODES_MAX {
                    match items.next_element::<WireNode>()? {
                        Some(WireNode(node)) => nodes.push(node),
                        None => return Ok(NodeList(TreeJson { nodes, is_too_long: false })),
                    }
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(NodeList(TreeJson { nodes: Vec::new(), is_too_long: true }))
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}
