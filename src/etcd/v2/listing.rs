//! Everything below one key, as a recursive read shows it, cut to single keys.

use std::collections::HashMap;

use highhock_actors::{Found, RecordKey};

use super::wire::Node;

/// What stands at a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, or an empty directory, which is as good as nothing.
    Nothing,
    /// A value.
    Value(Found),
    /// A directory with something in it, for instance this key.
    Directory { with: String },
    /// A value stands above it, at this key.
    BelowValue { at: String },
}

/// What stands at the node's own key.
pub(super) fn standing(node: &Node) -> Standing {
    if !node.dir {
        return Standing::Value(node.found());
    }
    match node.nodes.first() {
        Some(child) => Standing::Directory { with: child.key.trim_start_matches('/').to_owned() },
        None => Standing::Nothing,
    }
}

/// Whether a listing of `root` would show a key, if it is there: etcd hides what
/// is in a part that starts with `_`.
pub(super) fn shows(root: &RecordKey, key: &RecordKey) -> bool {
    let below = key.as_str().strip_prefix(root.as_str());
    match below {
        Some("") => true,
        Some(rest) => rest.starts_with('/') && !rest.contains("/_"),
        None => false,
    }
}

/// The nodes of a recursive read, by their keys without a leading slash.
pub(super) struct Listing(HashMap<String, Node>);

impl Listing {
    /// A listing of what isn't there.
    pub(super) fn empty() -> Self {
        Self(HashMap::new())
    }

    /// A listing of what can't be there, since a value stands above.
    pub(super) fn below_value(at: String) -> Self {
        let key = at.trim_start_matches('/').to_owned();
        Self(HashMap::from([(key, Node::default())]))
    }

    /// Takes a recursive read apart.
    pub(super) fn new(root: Node) -> Self {
        let mut nodes = HashMap::new();
        let mut rest = vec![root];
        while let Some(mut node) = rest.pop() {
            // A directory keeps its first child, to tell that it has one, and
            // which.
            let children = std::mem::take(&mut node.nodes);
            node.nodes.extend(
                children.first().map(|child| Node { key: child.key.clone(), ..Node::default() }),
            );
            rest.extend(children);
            nodes.insert(node.key.trim_start_matches('/').to_owned(), node);
        }
        Self(nodes)
    }

    /// What stands at a key that the listing shows.
    pub(super) fn at(&self, key: &RecordKey) -> Standing {
        if let Some(node) = self.0.get(key.as_str()) {
            return standing(node);
        }
        let mut above = key.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if self.0.get(parent).is_some_and(|node| !node.dir) {
                return Standing::BelowValue { at: parent.to_owned() };
            }
            above = parent;
        }
        Standing::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use highhock_actors::Tie;

    use super::*;

    const LISTING: &str = r#"{"key":"/skydns/local","dir":true,"nodes":[
        {"key":"/skydns/local/one","value":"1","modifiedIndex":5,"ttl":9,"expiration":"2026"},
        {"key":"/skydns/local/empty","dir":true},
        {"key":"/skydns/local/full","dir":true,"nodes":[
            {"key":"/skydns/local/full/api","value":"2","modifiedIndex":6}]}]}"#;

    fn at(key: &str) -> Standing {
        let listing = Listing::new(serde_json::from_str(LISTING).unwrap());
        listing.at(&RecordKey::from_path(key))
    }

    fn found(value: &str, version: u64, ttl: Option<u64>) -> Standing {
        Standing::Value(Found {
            value: value.to_owned(),
            version,
            tie: ttl.map_or(Tie::None, |seconds| Tie::Ttl(Duration::from_secs(seconds))),
        })
    }

    #[test]
    fn tells_what_stands_where() {
        assert_eq!(at("skydns/local/one"), found("1", 5, Some(9)));
        assert_eq!(at("skydns/local/full/api"), found("2", 6, None));
        assert_eq!(at("skydns/local/empty"), Standing::Nothing);
        assert_eq!(at("skydns/local/none"), Standing::Nothing);
        assert_eq!(at("skydns/local/none/below"), Standing::Nothing);
        let directory = Standing::Directory { with: "skydns/local/full/api".to_owned() };
        assert_eq!(at("skydns/local/full"), directory);
        let below = Standing::BelowValue { at: "skydns/local/one".to_owned() };
        assert_eq!(at("skydns/local/one/deep/down"), below);
    }

    #[test]
    fn knows_what_a_listing_leaves_out() {
        let root = RecordKey::from_path("skydns/_local");
        let shows = |key| shows(&root, &RecordKey::from_path(key));
        assert!(shows("skydns/_local"));
        assert!(shows("skydns/_local/a_b/c"));
        assert!(!shows("skydns/_local/a/_tcp/c"));
        assert!(!shows("skydns/_localhost/a"));
        assert!(!shows("skydns/other"));
    }
}
