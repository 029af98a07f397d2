//! The domain that is answered for: its names, and the keys that they stand for.

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;

/// The labels that stand for any label in a question.
const WILDCARDS: [&str; 2] = ["*", "any"];

/// The domain that is answered for.
#[derive(Debug)]
pub(super) struct ZoneNames {
    /// Its name, lower case.
    pub(super) apex: Name,
    /// Where the addresses of the domain's own name are published.
    pub(super) apex_records: Name,
    /// Where the domain's name servers are published.
    pub(super) name_servers: Name,
    /// Whom to write to; only ever said, as a SOA record must say it.
    pub(super) hostmaster: Name,
    /// The key that all of its records are below.
    key: String,
}

/// The place among the keys that a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyPattern {
    /// The key, up to the first wildcard.
    pub(super) key: String,
    /// From the first wildcard on: the labels that must follow it, a wildcard being
    /// `None`. Empty where there is none.
    pub(super) pattern: Vec<Option<String>>,
}

impl ZoneNames {
    /// The domain as the settings name it.
    ///
    /// # Errors
    /// It is too long for the names that must be in it (`hostmaster.`, `ns.dns.`,
    /// `apex.dns.`).
    pub(super) fn new(name: &DomainName, prefix: &str) -> Result<Self, ProtoError> {
        let below = |labels: &[&str]| {
            let labels = labels.iter().copied().chain(name.labels()).map(str::as_bytes);
            Name::from_labels(labels.collect::<Vec<_>>())
        };
        Ok(Self {
            apex: below(&[])?,
            apex_records: below(&["apex", "dns"])?,
            name_servers: below(&["ns", "dns"])?,
            hostmaster: below(&["hostmaster"])?,
            key: RecordKey::domain_directory(prefix, name).as_str().to_owned(),
        })
    }

    /// Whether the name is the domain's or below it.
    pub(super) fn contains(&self, name: &Name) -> bool {
        self.apex.zone_of(name)
    }

    /// What a name of this domain stands for, letters' case aside; none for a name
    /// that no key can spell.
    pub(super) fn key_pattern(&self, name: &Name) -> Option<KeyPattern> {
        let mut key_pattern = KeyPattern { key: self.key.clone(), pattern: Vec::new() };
        for label in name.iter().rev().skip(self.apex.iter().len()) {
            let label = std::str::from_utf8(label).ok()?.to_ascii_lowercase();
            if label.contains('/') {
                return None;
            }
            if WILDCARDS.contains(&label.as_str()) {
                key_pattern.pattern.push(None);
            } else if key_pattern.pattern.is_empty() {
                key_pattern.key.push('/');
                key_pattern.key.push_str(&label);
            } else {
                key_pattern.pattern.push(Some(label));
            }
        }
        Some(key_pattern)
    }
}

impl KeyPattern {
    /// Whether a key at or below [`KeyPattern::key`] has what the wildcards ask for.
    pub(super) fn matches(&self, key: &str) -> bool {
        if self.pattern.is_empty() {
            return true;
        }
        let mut labels = key.get(self.key.len()..).unwrap_or_default().split('/').skip(1);
        self.pattern.iter().all(|wanted| match (wanted, labels.next()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(label)) => wanted == label,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> ZoneNames {
        let name = DomainName::parse("skydns.local").expect("a domain");
        ZoneNames::new(&name, "skydns").expect("a domain")
    }

    fn key_pattern(name: &str) -> KeyPattern {
        domain().key_pattern(&Name::from_ascii(name).expect("a name")).expect("a place")
    }

    #[test]
    fn maps_names_to_reversed_keys_below_the_domain() {
        assert_eq!(key_pattern("api.httpd.skydns.local.").key, "skydns/local/skydns/httpd/api");
        assert_eq!(key_pattern("API.Httpd.SKYDNS.local.").key, "skydns/local/skydns/httpd/api");
        assert_eq!(key_pattern("skydns.local.").key, "skydns/local/skydns");
    }

    #[test]
    fn wildcards_end_the_key_and_start_the_pattern() {
        for name in ["a.*.httpd.skydns.local.", "a.any.httpd.skydns.local."] {
            let key_pattern = key_pattern(name);
            assert_eq!(key_pattern.key, "skydns/local/skydns/httpd");
            assert!(key_pattern.matches("skydns/local/skydns/httpd/x/a"));
            assert!(key_pattern.matches("skydns/local/skydns/httpd/x/a/deeper"));
            assert!(!key_pattern.matches("skydns/local/skydns/httpd/x/b"));
            assert!(!key_pattern.matches("skydns/local/skydns/httpd/x"));
            assert!(!key_pattern.matches("skydns/local/skydns/httpd"));
        }
    }

    #[test]
    fn names_without_a_key_have_no_pattern() {
        let labels = |first: &'static [u8]| [first, b"skydns", b"local"];
        for first in [b"a/b".as_slice(), b"\xff\xfe"] {
            let name = Name::from_labels(labels(first)).expect("a name");
            assert_eq!(domain().key_pattern(&name), None);
        }
    }

    #[test]
    fn contains_the_apex_and_names_below_it() {
        let name = |text| Name::from_ascii(text).expect("a name");
        assert!(domain().contains(&name("SKYDNS.local.")));
        assert!(domain().contains(&name("a.skydns.local.")));
        assert!(!domain().contains(&name("xskydns.local.")));
        assert!(!domain().contains(&name("local.")));
        assert!(!domain().contains(&name(".")));
    }
}
