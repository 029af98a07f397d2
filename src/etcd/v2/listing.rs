//! A recursive read of one directory, and the state of single keys in it.

use std::collections::HashMap;

use highhock_actors::{RecordKey, StoredRecord};

use super::wire::Node;

/// The content of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    /// The key does not exist, or is an empty directory, which counts as absent.
    Absent,
    /// The key holds a value.
    Value(StoredRecord),
    /// The key is a directory with content, for example the key `child`.
    Directory { child: String },
    /// The key `value_key` above this key holds a value.
    BelowValue { value_key: String },
}

/// Returns the state of the node's own key.
pub(super) fn key_state(node: &Node) -> KeyState {
    if !node.dir {
        return KeyState::Value(node.stored_record());
    }
    match node.nodes.first() {
        Some(child) => KeyState::Directory { child: child.key.trim_start_matches('/').to_owned() },
        None => KeyState::Absent,
    }
}

/// Returns `true` if a listing of `root` shows `key` when it exists. etcd hides keys with a part
/// below `root` that starts with `_`.
pub(super) fn is_listed(root: &RecordKey, key: &RecordKey) -> bool {
    let suffix = key.as_str().strip_prefix(root.as_str());
    match suffix {
        Some("") => true,
        Some(rest) => rest.starts_with('/') && !rest.contains("/_"),
        None => false,
    }
}

/// The nodes of a recursive read, by their keys without a leading slash.
pub(super) struct Listing(HashMap<String, Node>);

impl Listing {
    /// Returns the listing of a root that does not exist.
    pub(super) fn empty() -> Self {
        Self(HashMap::new())
    }

    /// Returns the listing of a root that cannot exist, because a key above it holds a value.
    pub(super) fn below_value(value_key: String) -> Self {
        let key = value_key.trim_start_matches('/').to_owned();
        Self(HashMap::from([(key, Node::default())]))
    }

    /// Returns the listing with all nodes below `root`.
    pub(super) fn new(root: Node) -> Self {
        let mut nodes = HashMap::new();
        let mut rest = vec![root];
        while let Some(mut node) = rest.pop() {
            // A directory keeps its first child, as a sign and an example of its content.
            let children = std::mem::take(&mut node.nodes);
            node.nodes.extend(
                children.first().map(|child| Node { key: child.key.clone(), ..Node::default() }),
            );
            rest.extend(children);
            nodes.insert(node.key.trim_start_matches('/').to_owned(), node);
        }
        Self(nodes)
    }

    /// Returns the state of a key that the listing shows (see [`is_listed`]).
    pub(super) fn state_of(&self, key: &RecordKey) -> KeyState {
        if let Some(node) = self.0.get(key.as_str()) {
            return key_state(node);
        }
        let mut ancestor = key.as_str();
        while let Some((parent, _)) = ancestor.rsplit_once('/') {
            if self.0.get(parent).is_some_and(|node| !node.dir) {
                return KeyState::BelowValue { value_key: parent.to_owned() };
            }
            ancestor = parent;
        }
        KeyState::Absent
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use highhock_actors::Expiry;

    use super::*;

    const LISTING: &str = r#"{"key":"/skydns/local","dir":true,"nodes":[
        {"key":"/skydns/local/one","value":"1","modifiedIndex":5,"ttl":9,"expiration":"2026"},
        {"key":"/skydns/local/empty","dir":true},
        {"key":"/skydns/local/full","dir":true,"nodes":[
            {"key":"/skydns/local/full/api","value":"2","modifiedIndex":6}]}]}"#;

    fn state_of(key: &str) -> KeyState {
        let listing = Listing::new(serde_json::from_str(LISTING).unwrap());
        listing.state_of(&RecordKey::from_path(key))
    }

    fn found(value: &str, version: u64, ttl: Option<u64>) -> KeyState {
        KeyState::Value(StoredRecord {
            value: value.to_owned(),
            version,
            expiry: ttl.map_or(Expiry::Never, |seconds| Expiry::Ttl(Duration::from_secs(seconds))),
        })
    }

    #[test]
    fn reports_the_state_of_each_key() {
        assert_eq!(state_of("skydns/local/one"), found("1", 5, Some(9)));
        assert_eq!(state_of("skydns/local/full/api"), found("2", 6, None));
        assert_eq!(state_of("skydns/local/empty"), KeyState::Absent);
        assert_eq!(state_of("skydns/local/none"), KeyState::Absent);
        assert_eq!(state_of("skydns/local/none/below"), KeyState::Absent);
        let directory = KeyState::Directory { child: "skydns/local/full/api".to_owned() };
        assert_eq!(state_of("skydns/local/full"), directory);
        let below = KeyState::BelowValue { value_key: "skydns/local/one".to_owned() };
        assert_eq!(state_of("skydns/local/one/deep/down"), below);
    }

    #[test]
    fn recognises_keys_that_a_listing_omits() {
        let root = RecordKey::from_path("skydns/_local");
        let is_listed = |key| is_listed(&root, &RecordKey::from_path(key));
        assert!(is_listed("skydns/_local"));
        assert!(is_listed("skydns/_local/a_b/c"));
        assert!(!is_listed("skydns/_local/a/_tcp/c"));
        assert!(!is_listed("skydns/_localhost/a"));
        assert!(!is_listed("skydns/other"));
    }
}
