//! A node as restic's JSON: the order of fields, what is left out, and how bytes are spelled decide a tree's id.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::go_json::{JsonObject, append_bytes_as_string, append_list, append_map, append_number, append_string};
use crate::node::{Node, NodeKind, go_mode, unix_mode};
use crate::quoted_name::{needs_no_quoting, quote, unquote};
use crate::wire::{WireBytes, WireId, WireIds, WireTime};

/// Appends a node.
pub(crate) fn append_node(out: &mut Vec<u8>, node: &Node) {
    let mut object = JsonObject::open(out);
    append_name(object.field("name"), &node.name);
    object.text("type", node.kind.word());
    object.number_if_any("mode", u64::from(go_mode(node.kind, node.mode) ^ node.mode_difference));
    object.time("mtime", &node.mtime);
    object.time("atime", &node.atime);
    object.time("ctime", &node.ctime);
    append_number(object.field("uid"), u64::from(node.uid));
    append_number(object.field("gid"), u64::from(node.gid));
    object.text_if_any("user", &node.user);
    object.text_if_any("group", &node.group);
    object.number_if_any("inode", node.inode);
    object.number_if_any("device_id", node.device_id);
    object.number_if_any("size", node.size);
    object.number_if_any("links", node.links);
    append_link_target(&mut object, node.link_target.as_deref().unwrap_or_default());
    if !node.extended_attributes.is_empty() {
        append_list(object.field("extended_attributes"), &node.extended_attributes, append_attribute);
    }
    if !node.generic_attributes.is_empty() {
        append_map(object.field("generic_attributes"), &node.generic_attributes);
    }
    object.number_if_any("device", node.device);
    match &node.content {
        Some(ids) => append_list(object.field("content"), ids, crate::go_json::append_id),
        None => object.field("content").extend_from_slice(b"null"),
    }
    object.id_if_any("subtree", node.subtree.as_ref());
    object.text_if_any("error", &node.error);
    object.unknown(&node.other);
    object.close();
}

fn append_name(out: &mut Vec<u8>, name: &[u8]) {
    if needs_no_quoting(name) {
        append_bytes_as_string(out, name);
    } else {
        append_string(out, &quote(name));
    }
}

/// A target that is not UTF-8 is written twice: once for old readers, with U+FFFD, once as it is.
fn append_link_target(object: &mut JsonObject<'_>, target: &[u8]) {
    if target.is_empty() {
        return;
    }
    append_bytes_as_string(object.field("linktarget"), target);
    if std::str::from_utf8(target).is_err() {
        object.base64("linktarget_raw", target);
    }
}

fn append_attribute(out: &mut Vec<u8>, (name, value): &(Vec<u8>, Vec<u8>)) {
    let mut object = JsonObject::open(out);
    append_bytes_as_string(object.field("name"), name);
    object.base64("value", value);
    object.close();
}

/// A node being read.
pub(crate) struct WireNode(pub(crate) Node);

impl<'de> Deserialize<'de> for WireNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = WireNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireNode, A::Error> {
        let mut reading = Reading::default();
        let mut seen = 0_u32;
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Known(known) if seen & 1 << known as u32 != 0 => {
                    return Err(A::Error::custom("a field that is there twice"));
                }
                Field::Known(known) => {
                    seen |= 1 << known as u32;
                    reading.take(known, &mut map)?;
                }
                Field::Other(name) => {
                    reading.node.other.insert(name, map.next_value()?);
                }
            }
        }
        reading.finish().map(WireNode).map_err(A::Error::custom)
    }
}

/// Declares the known fields, so that their names stand in one place.
macro_rules! fields {
    ($($name:ident = $text:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        enum Known { $($name,)* }

        enum Field { Known(Known), Other(String) }

        impl<'de> Deserialize<'de> for Field {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FieldVisitor;
                impl Visitor<'_> for FieldVisitor {
                    type Value = Field;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a field of a node")
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
                        Ok(match text { $($text => Field::Known(Known::$name),)* other => Field::Other(other.to_owned()) })
                    }
                }
                deserializer.deserialize_identifier(FieldVisitor)
            }
        }
    };
}

fields! {
    Name = "name", Kind = "type", Mode = "mode", Mtime = "mtime", Atime = "atime", Ctime = "ctime",
    Uid = "uid", Gid = "gid", User = "user", Group = "group", Inode = "inode", DeviceId = "device_id",
    Size = "size", Links = "links", LinkTarget = "linktarget", LinkTargetRaw = "linktarget_raw",
    ExtendedAttributes = "extended_attributes", GenericAttributes = "generic_attributes", Device = "device",
    Content = "content", Subtree = "subtree", NodeError = "error",
}

#[derive(Default)]
struct Reading {
    node: Node,
    has_name: bool,
    kind: Option<NodeKind>,
    go_mode: u32,
    raw_target: Option<Vec<u8>>,
}

impl Reading {
    fn take<'de, A: MapAccess<'de>>(&mut self, field: Known, map: &mut A) -> Result<(), A::Error> {
        let node = &mut self.node;
        match field {
            Known::Name => {
                node.name = map.next_value::<QuotedName>()?.0;
                self.has_name = true;
            }
            Known::Kind => self.kind = Some(map.next_value::<KindWord>()?.0),
            Known::Mode => self.go_mode = map.next_value()?,
            Known::Mtime => node.mtime = map.next_value::<WireTime>()?.0,
            Known::Atime => node.atime = map.next_value::<WireTime>()?.0,
            Known::Ctime => node.ctime = map.next_value::<WireTime>()?.0,
            Known::Uid => node.uid = map.next_value()?,
            Known::Gid => node.gid = map.next_value()?,
            Known::User => node.user = map.next_value()?,
            Known::Group => node.group = map.next_value()?,
            Known::Inode => node.inode = map.next_value()?,
            Known::DeviceId => node.device_id = map.next_value()?,
            Known::Size => node.size = map.next_value()?,
            Known::Links => node.links = map.next_value()?,
            Known::LinkTarget => node.link_target = Some(map.next_value::<String>()?.into_bytes()),
            Known::LinkTargetRaw => self.raw_target = map.next_value::<Option<WireBytes>>()?.map(|wire| wire.0),
            Known::ExtendedAttributes => {
                let attributes = map.next_value::<Option<Vec<Attribute>>>()?.unwrap_or_default();
                node.extended_attributes = attributes.into_iter().map(Attribute::into_pair).collect();
            }
            Known::GenericAttributes => {
                node.generic_attributes = map.next_value::<Option<Map<String, Value>>>()?.unwrap_or_default();
            }
            Known::Device => node.device = map.next_value()?,
            Known::Content => node.content = map.next_value::<Option<WireIds>>()?.map(|wire| wire.0),
            Known::Subtree => node.subtree = map.next_value::<Option<WireId>>()?.map(|wire| wire.0),
            Known::NodeError => node.error = map.next_value()?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Node, &'static str> {
        let mut node = self.node;
        if !self.has_name {
            return Err("a node without a name");
        }
        node.kind = self.kind.ok_or("a node without a type")?;
        node.mode = unix_mode(self.go_mode);
        node.mode_difference = self.go_mode ^ go_mode(node.kind, node.mode);
        if self.raw_target.is_some() {
            node.link_target = self.raw_target;
        }
        Ok(node)
    }
}

#[derive(Deserialize)]
struct Attribute {
    name: String,
    #[serde(default)]
    value: Option<WireBytes>,
}

impl Attribute {
    fn into_pair(self) -> (Vec<u8>, Vec<u8>) {
        (self.name.into_bytes(), self.value.map(|wire| wire.0).unwrap_or_default())
    }
}

struct QuotedName(Vec<u8>);

impl<'de> Deserialize<'de> for QuotedName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = QuotedName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quoted name")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<QuotedName, E> {
                unquote(text).map(QuotedName).ok_or_else(|| E::custom("a name that is not quoted as Go does"))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

struct KindWord(NodeKind);

impl<'de> Deserialize<'de> for KindWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl Visitor<'_> for KindVisitor {
            type Value = KindWord;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node's type")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<KindWord, E> {
                let kind = NodeKind::ALL.into_iter().find(|kind| kind.word() == text);
                kind.map(KindWord).ok_or_else(|| E::custom("a node of unknown type"))
            }
        }
        deserializer.deserialize_str(KindVisitor)
    }
}
