//! [`Document`]: the values of a configuration file, in any format.

use config::{Map, Value, ValueKind};

use super::error::SettingsErrorKind;
use super::value_type::describe_type;

/// A value as it is written in a file. A table keeps every entry, so that a key that is given twice
/// is found.
#[derive(Clone, Debug)]
pub enum DocumentNode {
    /// A value that contains no other value.
    Scalar(ValueKind),
    /// A list.
    List(Vec<DocumentNode>),
    /// A table of keys, in the order of the file.
    Table(Vec<(String, DocumentNode)>),
}

/// A key that a file gives twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedKey {
    /// The path of the key.
    pub key: String,
    /// `true` if both values are equal.
    pub is_equal: bool,
}

/// The values of a configuration file.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The values by key. Of a key that is given twice, this is the first value.
    pub table: Map<String, Value>,
    /// The keys that are given twice.
    pub repeated: Vec<RepeatedKey>,
    /// `true` if the file contains comments and nothing else.
    pub has_only_comments: bool,
}

impl Document {
    /// Creates the document with this value at the top level.
    ///
    /// # Errors
    /// Returns an error if the value is not a table.
    pub fn from_root(root: DocumentNode) -> Result<Self, SettingsErrorKind> {
        let mut repeated = Vec::new();
        match into_value("", root, &mut repeated) {
            ValueKind::Table(table) => Ok(Self { table, repeated, has_only_comments: false }),
            other => Err(SettingsErrorKind::InvalidValue {
                found: format!("{} at the top level", describe_type(&other)),
                expected: "a table of keys, such as store or etcd".to_owned(),
            }),
        }
    }
}

/// Converts a node at this path, and adds the keys that are given twice to `repeated`.
fn into_value(path: &str, node: DocumentNode, repeated: &mut Vec<RepeatedKey>) -> ValueKind {
    match node {
        DocumentNode::Scalar(value) => value,
        DocumentNode::List(items) => {
            let value = |item| Value::new(None, into_value(path, item, repeated));
            ValueKind::Array(items.into_iter().map(value).collect())
        }
        DocumentNode::Table(entries) => {
            let mut table: Map<String, Value> = Map::new();
            for (name, node) in entries {
                let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let value = Value::new(None, into_value(&key, node, repeated));
                match table.get(&name) {
                    Some(first) => repeated.push(RepeatedKey { key, is_equal: *first == value }),
                    None => drop(table.insert(name, value)),
                }
            }
            ValueKind::Table(table)
        }
    }
}
