//! Parses a configuration file in JSON, with comments and trailing commas.

use std::fmt;

use config::ValueKind;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::document::DocumentNode;
use super::json_comments::blank_comments;

/// Parses a text; `Ok(None)` if it contains comments and nothing else.
///
/// # Errors
/// Returns the reason with its line and column.
pub fn parse(text: &str) -> Result<Option<DocumentNode>, String> {
    let plain = blank_comments(text);
    if plain.trim().is_empty() {
        return Ok(None);
    }
    json5::from_str(&plain).map(Some).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for DocumentNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = DocumentNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<DocumentNode, E> {
        Ok(DocumentNode::Scalar(ValueKind::Boolean(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<DocumentNode, E> {
        Ok(DocumentNode::Scalar(ValueKind::I64(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<DocumentNode, E> {
        let number = i64::try_from(value).map_or(ValueKind::U64(value), ValueKind::I64);
        Ok(DocumentNode::Scalar(number))
    }

    fn visit_f64<E>(self, value: f64) -> Result<DocumentNode, E> {
        Ok(DocumentNode::Scalar(ValueKind::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<DocumentNode, E> {
        Ok(DocumentNode::Scalar(ValueKind::String(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<DocumentNode, E> {
        Ok(DocumentNode::Scalar(ValueKind::Nil))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<DocumentNode, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(DocumentNode::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<DocumentNode, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(DocumentNode::Table(table))
    }
}
