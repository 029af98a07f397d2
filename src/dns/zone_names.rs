//! The domain that is answered for: its names, and the keys that they stand for.

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;

/// The labels that stand for any label in a question.
const WILDCARDS: [&str; 2] = ["*", "any"];

/// The domain that is answered for.
#[derive(Debug)]
pub(super) struct Domain {
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
pub(super) struct Place {
    /// The key, up to the first wildcard.
    pub(super) key: String,
    /// From the first wildcard on: the labels that must follow it, a wildcard being
    /// `None`. Empty where there is none.
    pub(super) pattern: Vec<Option<String>>,
}

impl Domain {
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
            key: RecordKey::of_domain(prefix, name).as_str().to_owned(),
        })
    }

    /// Whether the name is the domain's or below it.
    pub(super) fn holds(&self, name: &Name) -> bool {
        self.apex.zone_of(name)
    }

    /// What a name of this domain stands for, letters' case aside; none for a name
    /// that no key can spell.
    pub(super) fn place(&self, name: &Name) -> Option<Place> {
        let mut place = Place { key: self.key.clone(), pattern: Vec::new() };
        for label in name.iter().rev().skip(self.apex.iter().len()) {
            let label = std::str::from_utf8(label).ok()?.to_ascii_lowercase();
            if label.contains('/') {
                return None;
            }
            if WILDCARDS.contains(&label.as_str()) {
                place.pattern.push(None);
            } else if place.pattern.is_empty() {
                place.key.push('/');
                place.key.push_str(&label);
            } else {
                place.pattern.push(Some(label));
            }
        }
        Some(place)
    }
}

impl Place {
    /// Whether a key at or below [`Place::key`] has what the wildcards ask for.
    pub(super) fn admits(&self, key: &str) -> bool {
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

    fn domain() -> Domain {
        let name = DomainName::parse("skydns.local").expect("a domain");
        Domain::new(&name, "skydns").expect("a domain")
    }

    fn place(name: &str) -> Place {
        domain().place(&Name::from_ascii(name).expect("a name")).expect("a place")
    }

    #[test]
    fn a_name_stands_for_its_labels_reversed_below_the_domains_key() {
        assert_eq!(place("api.httpd.skydns.local.").key, "skydns/local/skydns/httpd/api");
        assert_eq!(place("API.Httpd.SKYDNS.local.").key, "skydns/local/skydns/httpd/api");
        assert_eq!(place("skydns.local.").key, "skydns/local/skydns");
    }

    #[test]
    fn a_wildcard_ends_the_key_and_begins_the_pattern() {
        for name in ["a.*.httpd.skydns.local.", "a.any.httpd.skydns.local."] {
            let place = place(name);
            assert_eq!(place.key, "skydns/local/skydns/httpd");
            assert!(place.admits("skydns/local/skydns/httpd/x/a"));
            assert!(place.admits("skydns/local/skydns/httpd/x/a/deeper"));
            assert!(!place.admits("skydns/local/skydns/httpd/x/b"));
            assert!(!place.admits("skydns/local/skydns/httpd/x"));
            assert!(!place.admits("skydns/local/skydns/httpd"));
        }
    }

    #[test]
    fn what_no_key_can_spell_stands_for_none() {
        let labels = |first: &'static [u8]| [first, b"skydns", b"local"];
        for first in [b"a/b".as_slice(), b"\xff\xfe"] {
            let name = Name::from_labels(labels(first)).expect("a name");
            assert_eq!(domain().place(&name), None);
        }
    }

    #[test]
    fn the_domain_holds_its_own_name_and_those_below() {
        let name = |text| Name::from_ascii(text).expect("a name");
        assert!(domain().holds(&name("SKYDNS.local.")));
        assert!(domain().holds(&name("a.skydns.local.")));
        assert!(!domain().holds(&name("xskydns.local.")));
        assert!(!domain().holds(&name("local.")));
        assert!(!domain().holds(&name(".")));
    }
}
