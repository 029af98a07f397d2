//! Addresses and texts of a name, and of the names that it is an alias of.

use std::collections::HashSet;
use std::sync::Arc;

use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::lookup::{NameIndex, NoSuchName, RecordFilter};
use super::resource_record::{Section, address_record, text_record};
use crate::zone::record::{DnsRecord, RecordKind};

/// How many aliases lead on from one to the next, as in CoreDNS.
const CHAIN_LENGTH_MAX: usize = 10;

/// How many aliases are followed for one question in all: records that name each
/// other could keep it busy for ever.
const ALIASES_FOLLOWED_MAX: usize = 1000;

/// A name that other servers know.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExternalName {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// Where its records belong.
    pub(super) section: Section,
}

/// The lookup of one kind of record, through aliases.
pub(super) struct AliasChain<'a> {
    names: &'a NameIndex,
    kind: RecordType,
    section: Section,
    /// The aliases that led here.
    visited: Vec<Name>,
    followed: usize,
    /// The names that were met outside the domain.
    pub(super) external_names: Vec<ExternalName>,
}

impl<'a> AliasChain<'a> {
    /// For records of this kind (A, AAAA or TXT), in this section of the answer.
    pub(super) fn new(names: &'a NameIndex, kind: RecordType, section: Section) -> Self {
        Self { names, kind, section, visited: Vec::new(), followed: 0, external_names: Vec::new() }
    }

    /// The records of this name: aliases, each with what it leads to. One that leads
    /// to nothing is left out.
    pub(super) fn follow(&mut self, name: &Name) -> Result<Vec<Record>, NoSuchName> {
        let found = match self.kind {
            RecordType::TXT => self.names.lookup(name, RecordFilter::Texts)?,
            _ => self.names.lookup_addresses(name)?,
        };
        // No alias goes beside addresses (RFC 1034, section 3.6.2): a cache may follow it
        // for all of the name, and lose them.
        let has_addresses = match self.kind {
            // The domain's own name has its texts from elsewhere than its addresses.
            RecordType::TXT => self.names.lookup_addresses(name).is_ok_and(|it| has_address(&it)),
            _ => has_address(&found),
        };
        let mut records = Vec::with_capacity(found.len());
        let (mut addresses, mut texts, mut aliases) =
            (HashSet::new(), HashSet::new(), HashSet::new());
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
                RecordKind::Alias(alias) if !has_addresses && aliases.insert(alias) => {
                    let ttl = dns_record.ttl();
                    records.append(&mut self.follow_alias(name, ttl, alias));
                }
                _ => {}
            }
        }
        Ok(records)
    }

    /// An alias and what it leads to.
    fn follow_alias(&mut self, name: &Name, ttl: u32, alias: &Name) -> Vec<Record> {
        // What is at or below the name itself would lead back to it.
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

fn has_address(found: &[Arc<DnsRecord>]) -> bool {
    found.iter().any(|dns_record| matches!(dns_record.kind(), RecordKind::Address(_)))
}
