//! One TTL for all records of one name and type.

use std::collections::HashMap;

use hickory_proto::rr::{Name, Record, RecordType};

/// Sets the TTL of each record to the least TTL of its name and type (RFC 2181, section 5.2).
pub(super) fn unify_ttls(records: &mut [Record]) {
    let Some(first) = records.first() else { return };
    if records.iter().all(|record| record.ttl == first.ttl) {
        return;
    }
    let mut least = HashMap::<(Name, RecordType), u32>::with_capacity(records.len());
    for record in &*records {
        let ttl = least.entry(rrset(record)).or_insert(record.ttl);
        *ttl = record.ttl.min(*ttl);
    }
    for record in records {
        record.ttl = least.get(&rrset(record)).copied().unwrap_or(record.ttl);
    }
}

fn rrset(record: &Record) -> (Name, RecordType) {
    (record.name.clone(), record.record_type())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::dns::resource_record::{address_record, text_record};

    #[test]
    fn each_name_and_type_gets_its_least_ttl() {
        let name = |text| Name::from_ascii(text).expect("valid name");
        let address =
            |owner, ttl, last| address_record(&name(owner), ttl, IpAddr::from([10, 0, 0, last]));
        let mut records = vec![
            address("a.example.", 60, 1),
            address("A.example.", 30, 2),
            address("a.example.", 45, 3),
            address("b.example.", 90, 1),
            text_record(&name("a.example."), 5, "text"),
        ];
        unify_ttls(&mut records);
        assert_eq!(
            records.iter().map(|record| record.ttl).collect::<Vec<_>>(),
            [30, 30, 30, 90, 5]
        );
        unify_ttls(&mut []);
    }
}
