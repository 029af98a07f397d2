//! Parses a configuration file in YAML.

use std::collections::HashMap;

use config::ValueKind;
use yaml_rust2::parser::{MarkedEventReceiver, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};
use yaml_rust2::{Event, Yaml};

use super::document::DocumentNode;

/// Parses a text; `Ok(None)` if it contains no document.
///
/// # Errors
/// Returns the reason with its line and column.
pub fn parse(text: &str) -> Result<Option<DocumentNode>, String> {
    let mut loader = Loader::default();
    let parsed = Parser::new(text.chars()).load(&mut loader, true);
    parsed.map_err(|error| at(error.info(), error.marker()))?;
    match loader.error {
        Some(error) => Err(error),
        None => Ok(loader.root),
    }
}

fn at(reason: &str, mark: &Marker) -> String {
    format!("{reason} at line {} column {}", mark.line(), mark.col() + 1)
}

/// A value with an anchor, and its size in bytes.
struct Anchored {
    node: DocumentNode,
    size: usize,
}

/// A list or a table that is not complete yet.
enum Open {
    List(Vec<DocumentNode>),
    /// The entries, and a key whose value follows.
    Table(Vec<(String, DocumentNode)>, Option<String>),
}

/// The limit of all copies that the anchors and aliases of a file make, in bytes.
const COPIES_MAX: usize = 1 << 20;

/// Builds the only document of a file from the events of the parser.
#[derive(Default)]
struct Loader {
    /// The lists and tables that contain the next value, from the outermost on, each with the
    /// number of its anchor.
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Anchored>,
    /// The size of all copies so far, in bytes.
    copied: usize,
    root: Option<DocumentNode>,
    error: Option<String>,
}

impl MarkedEventReceiver for Loader {
    fn on_event(&mut self, event: Event, mark: Marker) {
        if self.error.is_some() {
            return;
        }
        match event {
            Event::DocumentStart if self.root.is_some() => {
                self.error = Some(at("a second document begins; keep one", &mark));
            }
            Event::SequenceStart(anchor, _) => self.open.push((Open::List(Vec::new()), anchor)),
            Event::MappingStart(anchor, _) => {
                self.open.push((Open::Table(Vec::new(), None), anchor));
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&mark),
            Event::Scalar(text, style, anchor, tag) => {
                // Quotes and the tag `!!str` both make a string.
                let is_text = tag.is_some_and(|tag| tag.suffix == "str");
                let is_plain = style == TScalarStyle::Plain && !is_text;
                self.add(scalar(text, is_plain), anchor, &mark);
            }
            Event::Alias(anchor) => self.add_alias(anchor, &mark),
            _ => {}
        }
    }
}

impl Loader {
    fn close(&mut self, mark: &Marker) {
        match self.open.pop() {
            Some((Open::List(items), anchor)) => self.add(DocumentNode::List(items), anchor, mark),
            Some((Open::Table(entries, _), anchor)) => {
                self.add(DocumentNode::Table(entries), anchor, mark);
            }
            None => {}
        }
    }

    /// Adds a copy of the value with this anchor.
    fn add_alias(&mut self, anchor: usize, mark: &Marker) {
        let Some(size) = self.anchors.get(&anchor).map(|anchored| anchored.size) else {
            self.error = Some(at("unknown anchor", mark));
            return;
        };
        if self.count_copy(size, mark)
            && let Some(node) = self.anchors.get(&anchor).map(|anchored| anchored.node.clone())
        {
            self.add(node, 0, mark);
        }
    }

    /// Counts a copy of this size. Returns `false`, with an error, if the copies are too large.
    fn count_copy(&mut self, size: usize, mark: &Marker) -> bool {
        self.copied = self.copied.saturating_add(size);
        let is_within = self.copied <= COPIES_MAX;
        if !is_within {
            let limit = COPIES_MAX >> 20;
            let reason = format!("the anchors and aliases expand to more than {limit} MiB");
            self.error = Some(at(&format!("{reason}; use fewer"), mark));
        }
        is_within
    }

    /// Adds a complete value to the innermost list or table.
    fn add(&mut self, node: DocumentNode, anchor: usize, mark: &Marker) {
        // The numbers of anchors begin with 1.
        if anchor > 0 {
            let size = size_of_node(&node);
            if !self.count_copy(size, mark) {
                return;
            }
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        match self.open.last_mut().map(|(open, _)| open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Table(entries, key)) => match (key.take(), node) {
                (Some(key), node) => entries.push((key, node)),
                (None, DocumentNode::Scalar(value)) => *key = Some(value.to_string()),
                (None, _) => self.error = Some(at("a list or a table is no key", mark)),
            },
        }
    }
}

/// Returns the size of a value with all values that it contains, in bytes.
fn size_of_node(node: &DocumentNode) -> usize {
    let content = match node {
        DocumentNode::Scalar(ValueKind::String(text)) => text.len(),
        DocumentNode::Scalar(_) => 0,
        DocumentNode::List(items) => items.iter().map(size_of_node).sum(),
        DocumentNode::Table(entries) => entries
            .iter()
            .map(|(key, value)| size_of::<String>() + key.len() + size_of_node(value))
            .sum(),
    };
    size_of::<DocumentNode>() + content
}

fn scalar(text: String, is_plain: bool) -> DocumentNode {
    let value = match if is_plain { Yaml::from_str(&text) } else { Yaml::Null } {
        _ if !is_plain => ValueKind::String(text),
        Yaml::Null => ValueKind::Nil,
        Yaml::Boolean(value) => ValueKind::Boolean(value),
        Yaml::Integer(number) => ValueKind::I64(number),
        Yaml::Real(number) => match number.parse() {
            Ok(number) => ValueKind::Float(number),
            // Such as `.inf`.
            Err(_) => ValueKind::String(text),
        },
        _ => ValueKind::String(text),
    };
    DocumentNode::Scalar(value)
}
