//! [`AliasChain`]: finds the addresses or texts of a name and of its aliases.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::lookup::{NameIndex, NoSuchName, RecordFilter};
use super::resource_record::{Section, address_record, text_record};
use crate::zone::record::{DnsRecord, RecordKind};

/// The maximum depth of an alias chain, as in CoreDNS.
const CHAIN_LENGTH_MAX: usize = 10;

/// The maximum number of aliases followed for one query in total. The bound is necessary because
/// each of many aliases can lead to all of them again.
const ALIASES_FOLLOWED_MAX: usize = 1000;

/// A name outside the domain, to be resolved by an upstream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExternalName {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// The section of the response that the records of the name are added to.
    pub(super) section: Section,
}

/// A lookup of one record type that follows aliases within the domain. Aliases of other domains
/// are collected in `external_names`.
pub(super) struct AliasChain<'a> {
    names: &'a NameIndex,
    kind: RecordType,
    section: Section,
    /// The aliases on the path from the queried name to the current one.
    visited: Vec<Name>,
    followed: usize,
    /// The aliases outside the domain that were found.
    pub(super) external_names: Vec<ExternalName>,
}

impl<'a> AliasChain<'a> {
    /// Creates a lookup of A, AAAA or TXT records for a section of the response.
    pub(super) fn new(names: &'a NameIndex, kind: RecordType, section: Section) -> Self {
        Self { names, kind, section, visited: Vec::new(), followed: 0, external_names: Vec::new() }
    }

    /// Returns the records of `name`. Each alias is followed by the records behind it, and an
    /// alias without records behind it is skipped.
    ///
    /// # Errors
    /// Returns an error if neither the name nor a name below it exists.
    pub(super) fn follow(&mut self, name: &Name) -> Result<Vec<Record>, NoSuchName> {
        let found = match self.kind {
            RecordType::TXT => self.names.lookup(name, RecordFilter::Texts)?,
            _ => self.names.lookup_addresses(name)?,
        };
        // An alias has no other records beside it (RFC 1034, section 3.6.2). A cache may follow
        // the alias for every type of the name, and would lose the addresses.
        let has_addresses = match self.kind {
            // The addresses of the domain's own name are at `apex.dns`, but its texts are not.
            RecordType::TXT => {
                self.names.lookup_addresses(name).is_ok_and(|found| has_address(&found))
            }
            _ => has_address(&found),
        };
        let mut records = Vec::with_capacity(found.len());
        let (mut addresses, mut texts) = (HashSet::new(), HashSet::new());
        // The aliases that were followed, and the position of their records.
        let mut aliases = HashMap::<&Name, Option<usize>>::new();
        for dns_record in &found {
            match dns_record.kind() {
                RecordKind::Address(address)
                    if self.wants(address.is_ipv4()) && addresses.insert(address) =>
                {
                    records.push(address_record(name, dns_record.ttl(), address));
                }
                RecordKind::Text
                    if self.kind == RecordType::TXT && texts.insert(&dns_record.text) =>
                {
                    records.push(text_record(name, dns_record.ttl(), &dns_record.text));
                }
                RecordKind::Alias(alias) if !has_addresses => {
                    let ttl = dns_record.ttl();
                    if let Some(position) = aliases.get(alias) {
                        lower_ttl(&mut records, *position, ttl);
                        continue;
                    }
                    let mut found = self.follow_alias(name, ttl, alias);
                    aliases.insert(alias, (!found.is_empty()).then_some(records.len()));
                    records.append(&mut found);
                }
                _ => {}
            }
        }
        Ok(records)
    }

    /// Returns the alias record and the records behind it.
    fn follow_alias(&mut self, name: &Name, ttl: u32, alias: &Name) -> Vec<Record> {
        // Names at or below `name` would lead back to `name`.
        if name.zone_of(alias)
            || self.visited.len() > CHAIN_LENGTH_MAX
            || self.visited.contains(alias)
        {
            return Vec::new();
        }
        self.followed += 1;
        if self.followed > ALIASES_FOLLOWED_MAX {
            return Vec::new();
        }
        let record = Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(alias.clone())));
        if !self.names.domain.contains(alias) {
            let (name, kind, section) = (alias.clone(), self.kind, self.section);
            self.external_names.push(ExternalName { name, kind, section });
            return vec![record];
        }
        self.visited.push(alias.clone());
        let target_records = self.follow(alias).unwrap_or_default();
        self.visited.pop();
        if target_records.is_empty() {
            return Vec::new();
        }
        std::iter::once(record).chain(target_records).collect()
    }

    fn wants(&self, is_ipv4: bool) -> bool {
        self.kind == if is_ipv4 { RecordType::A } else { RecordType::AAAA }
    }
}

/// Lowers the TTL of the record at `position` to `ttl`.
fn lower_ttl(records: &mut [Record], position: Option<usize>, ttl: u32) {
    if let Some(record) = position.and_then(|position| records.get_mut(position)) {
        record.ttl = record.ttl.min(ttl);
    }
}

fn has_address(found: &[Arc<DnsRecord>]) -> bool {
    found.iter().any(|dns_record| matches!(dns_record.kind(), RecordKind::Address(_)))
}
