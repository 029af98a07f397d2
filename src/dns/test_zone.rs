//! A zone `skydns.local` for tests.

use hickory_proto::rr::Name;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;

use super::lookup::NameIndex;
use super::zone_names::ZoneNames;
use crate::zone::Zone;

/// Creates a complete zone. Each record is a path below the domain's key, and a value.
pub(super) fn names(records: &[(&str, &str)]) -> NameIndex {
    let names = incomplete_names(records);
    names.zone.mark_complete();
    names
}

/// Creates a zone like [`names`] that is not yet complete.
pub(super) fn incomplete_names(records: &[(&str, &str)]) -> NameIndex {
    let zone = Zone::new();
    for (path, value) in records {
        let key = RecordKey::from_path(&format!("skydns/local/skydns/{path}"));
        zone.put(&key, value, None).expect("valid record");
    }
    let name = DomainName::parse("skydns.local").expect("valid domain");
    NameIndex { zone, domain: ZoneNames::new(&name, "skydns").expect("valid domain") }
}

/// Parses a name. A name without a final dot is relative to the domain.
pub(super) fn name(text: &str) -> Name {
    let text = if text.ends_with('.') { text.to_owned() } else { format!("{text}.skydns.local.") };
    Name::from_ascii(text).expect("valid name")
}
