//! A domain for the tests: `skydns.local`, with records by what follows its key.

use hickory_proto::rr::Name;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;

use super::lookup::NameIndex;
use super::zone_names::ZoneNames;
use crate::zone::Zone;

/// The domain with these records, and no others: path below the domain's key, and value.
pub(super) fn names(records: &[(&str, &str)]) -> NameIndex {
    let names = incomplete_names(records);
    names.zone.mark_complete();
    names
}

/// As [`names`], but there may be others.
pub(super) fn incomplete_names(records: &[(&str, &str)]) -> NameIndex {
    let zone = Zone::new();
    for (path, value) in records {
        let key = RecordKey::from_path(&format!("skydns/local/skydns/{path}"));
        zone.put(&key, value, None).expect("a record");
    }
    let name = DomainName::parse("skydns.local").expect("a domain");
    NameIndex { zone, domain: ZoneNames::new(&name, "skydns").expect("a domain") }
}

/// A name; without a final dot, one in the domain.
pub(super) fn name(text: &str) -> Name {
    let text = if text.ends_with('.') { text.to_owned() } else { format!("{text}.skydns.local.") };
    Name::from_ascii(text).expect("a name")
}
