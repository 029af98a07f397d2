//! [`ZoneNames`]: the names of the domain, and the keys of their records.

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;

/// The labels that match any label of a name.
const WILDCARDS: [&str; 2] = ["*", "any"];

/// The names of the domain.
#[derive(Debug)]
pub(super) struct ZoneNames {
    /// The domain name in lower case.
    pub(super) apex: Name,
    /// The name with the addresses of the domain's own name.
    pub(super) apex_records: Name,
    /// The name with the name servers of the domain.
    pub(super) name_servers: Name,
    /// The mailbox in the SOA record, which is mandatory (RFC 1035, section 3.3.13).
    pub(super) hostmaster: Name,
    /// The directory of all records of the domain.
    key: String,
}

/// The keys that match a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyPattern {
    /// The key up to the first wildcard.
    pub(super) key: String,
    /// The labels from the first wildcard on. `None` is a wildcard. Empty for a name without
    /// wildcards.
    pub(super) pattern: Vec<Option<String>>,
}

impl ZoneNames {
    /// Creates the names of a domain.
    ///
    /// # Errors
    /// Returns an error if the domain is too long for the names below it (`hostmaster.`,
    /// `ns.dns.`, `apex.dns.`).
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

    /// Returns `true` if `name` is the domain or a name below it.
    pub(super) fn contains(&self, name: &Name) -> bool {
        self.apex.zone_of(name)
    }

    /// Returns the keys that match a name, in lower case. `None` for a name without a valid key,
    /// for example with a slash in a label.
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
    /// Returns `true` if a key at or below [`KeyPattern::key`] matches the pattern.
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
        let name = DomainName::parse("skydns.local").expect("valid domain");
        ZoneNames::new(&name, "skydns").expect("valid domain")
    }

    fn key_pattern(name: &str) -> KeyPattern {
        domain().key_pattern(&Name::from_ascii(name).expect("valid name")).expect("valid key")
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
            let name = Name::from_labels(labels(first)).expect("valid name");
            assert_eq!(domain().key_pattern(&name), None);
        }
    }

    #[test]
    fn contains_the_apex_and_names_below_it() {
        let name = |text| Name::from_ascii(text).expect("valid name");
        assert!(domain().contains(&name("SKYDNS.local.")));
        assert!(domain().contains(&name("a.skydns.local.")));
        assert!(!domain().contains(&name("xskydns.local.")));
        assert!(!domain().contains(&name("local.")));
        assert!(!domain().contains(&name(".")));
    }
}
