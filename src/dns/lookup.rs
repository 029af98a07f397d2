//! [`NameIndex`]: finds the records of a name in the zone, by the rules of CoreDNS.

use std::sync::Arc;

use hickory_proto::rr::Name;

use super::zone_names::{KeyPattern, ZoneNames};
use crate::zone::Zone;
use crate::zone::record::DnsRecord;

/// The error for a name that has no record at it or below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSuchName;

/// The records that a lookup returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordFilter {
    /// Records with a host.
    Hosts,
    /// Records with a host, and records with only a text.
    Texts,
}

/// Finds the records of names.
#[derive(Debug)]
pub(super) struct NameIndex {
    pub(super) zone: Zone,
    pub(super) domain: ZoneNames,
}

impl NameIndex {
    /// Returns the records below a name at any depth, or the record at the name if there is none
    /// below it. Records of other groups are filtered out.
    ///
    /// # Errors
    /// Returns an error if neither the name nor a name below it exists.
    pub(super) fn lookup(
        &self,
        name: &Name,
        filter: RecordFilter,
    ) -> Result<Vec<Arc<DnsRecord>>, NoSuchName> {
        let key_pattern = self.domain.key_pattern(name).ok_or(NoSuchName)?;
        let mut found = self.zone.below(&key_pattern.key);
        if found.is_empty() {
            found.extend(self.zone.get(&key_pattern.key));
        }
        select(found, &key_pattern, filter)
    }

    /// Returns the record at a name, ignoring the names below it.
    ///
    /// # Errors
    /// Returns an error if there is no record at the name.
    pub(super) fn lookup_exact(&self, name: &Name) -> Result<Vec<Arc<DnsRecord>>, NoSuchName> {
        let key_pattern = self.domain.key_pattern(name).ok_or(NoSuchName)?;
        select(
            self.zone.get(&key_pattern.key).into_iter().collect(),
            &key_pattern,
            RecordFilter::Hosts,
        )
    }

    /// Returns the records for an address query. The addresses of the domain's own name are
    /// those at `apex.dns`, if there are any. Otherwise equals [`Self::lookup`].
    ///
    /// # Errors
    /// Returns an error if neither the name nor a name below it exists.
    pub(super) fn lookup_addresses(&self, name: &Name) -> Result<Vec<Arc<DnsRecord>>, NoSuchName> {
        if *name == self.domain.apex
            && let Ok(found) = self.lookup(&self.domain.apex_records, RecordFilter::Hosts)
        {
            return Ok(found);
        }
        self.lookup(name, RecordFilter::Hosts)
    }

    /// Returns `true` if the name or a name below it has a record. The domain's own name always
    /// exists.
    pub(super) fn exists(&self, name: &Name) -> bool {
        let has_record = |key_pattern: KeyPattern| self.zone.has_at_or_below(&key_pattern.key);
        *name == self.domain.apex || self.domain.key_pattern(name).is_some_and(has_record)
    }
}

fn select(
    mut found: Vec<Arc<DnsRecord>>,
    key_pattern: &KeyPattern,
    filter: RecordFilter,
) -> Result<Vec<Arc<DnsRecord>>, NoSuchName> {
    if found.is_empty() {
        return Err(NoSuchName);
    }
    found.retain(|dns_record| {
        let answers =
            dns_record.has_host() || filter == RecordFilter::Texts && !dns_record.text.is_empty();
        answers && key_pattern.matches(&dns_record.key)
    });
    Ok(filter_by_group(found))
}

/// Keeps the records of the group of the shortest key, and the records without a group. If keys
/// of that length have different groups, all records are kept.
///
/// Like CoreDNS, the search for the shortest key ends at a shorter key without a group, and the
/// groups of later keys are not compared.
fn filter_by_group(found: Vec<Arc<DnsRecord>>) -> Vec<Arc<DnsRecord>> {
    let Some(first) = found.first() else { return found };
    let depth = |dns_record: &DnsRecord| dns_record.key.matches('/').count();
    let (mut group, mut shortest) = (first.group.as_str(), depth(first));
    let mut examined = 0;
    for dns_record in &found {
        examined += 1;
        if depth(dns_record) >= shortest {
            continue;
        }
        if dns_record.group.is_empty() {
            break;
        }
        (group, shortest) = (dns_record.group.as_str(), depth(dns_record));
    }
    if group.is_empty() {
        return found;
    }
    let disagrees = |dns_record: &Arc<DnsRecord>| {
        depth(dns_record) == shortest && !dns_record.group.is_empty() && dns_record.group != group
    };
    if found.iter().take(examined).any(disagrees) {
        return found;
    }
    let is_in_group =
        |dns_record: &&Arc<DnsRecord>| dns_record.group.is_empty() || dns_record.group == group;
    found.iter().filter(is_in_group).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::test_zone::{self, name};

    /// Creates an index of records, given as path and group.
    fn names(records: &[(&str, &str)]) -> NameIndex {
        let values = records
            .iter()
            .map(|(path, group)| (*path, format!(r#"{{"host":"10.0.0.1","group":"{group}"}}"#)));
        let values = values.collect::<Vec<_>>();
        let records = values.iter().map(|(path, value)| (*path, value.as_str()));
        test_zone::names(&records.collect::<Vec<_>>())
    }

    fn found(names: &NameIndex, text: &str) -> Vec<String> {
        let found = names.lookup(&name(text), RecordFilter::Hosts).expect("existing name");
        let short = |key: &str| key.replace("skydns/local/skydns/", "");
        found.iter().map(|dns_record| short(&dns_record.key)).collect()
    }

    #[test]
    fn lookup_finds_records_at_any_depth() {
        let names = names(&[("httpd/a", ""), ("httpd/b/c", ""), ("httpdx/a", "")]);
        assert_eq!(found(&names, "httpd"), ["httpd/a", "httpd/b/c"]);
        assert_eq!(found(&names, "b.httpd"), ["httpd/b/c"]);
    }

    #[test]
    fn child_records_hide_their_parent() {
        let names = names(&[("httpd", ""), ("httpd/a", "")]);
        assert_eq!(found(&names, "httpd"), ["httpd/a"]);
    }

    #[test]
    fn wildcards_match_exactly_one_label() {
        let names = names(&[("httpd/a/x", ""), ("httpd/b/x", ""), ("httpd/b/y", "")]);
        assert_eq!(found(&names, "x.*.httpd"), ["httpd/a/x", "httpd/b/x"]);
        assert_eq!(found(&names, "any.httpd"), ["httpd/a/x", "httpd/b/x", "httpd/b/y"]);
        assert_eq!(found(&names, "*.x.a.httpd"), [""; 0]);
    }

    #[test]
    fn names_without_records_do_not_exist() {
        let names = names(&[("httpd/a", "")]);
        let count = |text| names.lookup(&name(text), RecordFilter::Hosts).map(|found| found.len());
        assert_eq!(count("http"), Err(NoSuchName));
        assert_eq!(count("x.a.httpd"), Err(NoSuchName));
        assert_eq!(count("*.http"), Err(NoSuchName));
    }

    #[test]
    fn the_group_of_the_shortest_key_applies() {
        let names = names(&[("d/a", "g1"), ("d/s/b", "g2"), ("d/s/c", "g1"), ("d/s/d", "")]);
        assert_eq!(found(&names, "d"), ["d/a", "d/s/c", "d/s/d"]);
    }

    #[test]
    fn conflicting_shortest_keys_disable_groups() {
        let names = names(&[("d/a", "g1"), ("d/b", "g2"), ("d/s/c", "g1")]);
        assert_eq!(found(&names, "d"), ["d/a", "d/b", "d/s/c"]);
    }

    #[test]
    fn a_later_shorter_key_sets_the_group() {
        let names = names(&[("d/a/x", "g1"), ("d/b", "g2")]);
        assert_eq!(found(&names, "d"), ["d/b"]);
    }
}
