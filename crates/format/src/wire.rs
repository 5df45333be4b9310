//! How single JSON values are read: ids, times and base64, without an allocation for the text in between.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Id;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::moment::Moment;

/// Declares a newtype that is read from a JSON string by a function.
macro_rules! from_text {
    ($(#[$doc:meta])* $name:ident($inner:ty), $expecting:literal, $parse:expr) => {
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FromText;
                impl Visitor<'_> for FromText {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let parse: fn(&str) -> Option<$inner> = $parse;
                        parse(text).map($name).ok_or_else(|| E::custom(concat!("not ", $expecting)))
                    }
                }
                deserializer.deserialize_str(FromText)
            }
        }
    };
}

from_text!(
    /// An id.
    WireId(Id), "an id of 64 lower-case hexadecimal digits", |text| text.parse().ok()
);
from_text!(
    /// A time.
    WireTime(Moment), "a time as in RFC 3339", |text| text.parse().ok()
);
from_text!(
    /// Go's `[]byte`.
    WireBytes(Vec<u8>), "base64", |text| STANDARD.decode(text).ok()
);

/// A list of ids.
pub(crate) struct WireIds(pub(crate) Vec<Id>);

impl<'de> Deserialize<'de> for WireIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FromList;
        impl<'de> Visitor<'de> for FromList {
            type Value = WireIds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of ids")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<WireIds, A::Error> {
                let mut ids = Vec::new();
                while let Some(WireId(id)) = items.next_element()? {
                    ids.push(id);
                }
                Ok(WireIds(ids))
            }
        }
        deserializer.deserialize_seq(FromList)
    }
}

/// For `#[serde(deserialize_with)]`: a required id.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
    WireId::deserialize(deserializer).map(|wire| wire.0)
}

/// For `#[serde(deserialize_with)]`: an id, or `null`.
pub(crate) fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Ok(Option::<WireId>::deserialize(deserializer)?.map(|wire| wire.0))
}

/// For `#[serde(deserialize_with)]`: a required time.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
    WireTime::deserialize(deserializer).map(|wire| wire.0)
}

/// For `#[serde(deserialize_with)]`: a time, or `null`.
pub(crate) fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Moment>, D::Error> {
    Ok(Option::<WireTime>::deserialize(deserializer)?.map(|wire| wire.0))
}

/// For `#[serde(deserialize_with)]`: bytes, or `null` for none.
pub(crate) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Ok(Option::<WireBytes>::deserialize(deserializer)?.map(|wire| wire.0).unwrap_or_default())
}

/// For `#[serde(deserialize_with)]`: a list, or `null` for an empty one, as Go writes a list that was never made.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
