//! Addresses and texts of a name, and of the names that it is an alias of.

use std::collections::HashSet;
use std::sync::Arc;

use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::lookup::{Names, NoSuchName, Wanted};
use super::resource_record::{Section, address_record, text_record};
use crate::zone::record::{Published, Sort};

/// How many aliases lead on from one to the next, as in CoreDNS.
const LONGEST: usize = 10;

/// How many aliases are followed for one question in all: records that name each
/// other could keep it busy for ever.
const FOLLOWED: usize = 1000;

/// A name that other servers know.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Elsewhere {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// Where its records belong.
    pub(super) section: Section,
}

/// The lookup of one kind of record, through aliases.
pub(super) struct Chain<'a> {
    names: &'a Names,
    kind: RecordType,
    section: Section,
    /// The aliases that led here.
    behind: Vec<Name>,
    followed: usize,
    /// The names that were met outside the domain.
    pub(super) elsewhere: Vec<Elsewhere>,
}

impl<'a> Chain<'a> {
    /// For records of this kind (A, AAAA or TXT), in this section of the answer.
    pub(super) fn new(names: &'a Names, kind: RecordType, section: Section) -> Self {
        Self { names, kind, section, behind: Vec::new(), followed: 0, elsewhere: Vec::new() }
    }

    /// The records of this name: aliases, each with what it leads to. One that leads
    /// to nothing is left out.
    pub(super) fn follow(&mut self, name: &Name) -> Result<Vec<Record>, NoSuchName> {
        let found = match self.kind {
            RecordType::TXT => self.names.below_or_at(name, Wanted::Texts)?,
            _ => self.names.for_addresses(name)?,
        };
        // No alias goes beside addresses (RFC 1034, section 3.6.2): a cache may follow it
        // for all of the name, and lose them.
        let has_addresses = match self.kind {
            // The domain's own name has its texts from elsewhere than its addresses.
            RecordType::TXT => self.names.for_addresses(name).is_ok_and(|it| has_address(&it)),
            _ => has_address(&found),
        };
        let mut records = Vec::with_capacity(found.len());
        let (mut addresses, mut texts, mut aliases) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for published in &found {
            match published.sort() {
                Sort::Address(address)
                    if self.asks_for(address.is_ipv4()) && addresses.insert(address) =>
                {
                    records.push(address_record(name, published.ttl(), address));
                }
                Sort::Text if self.kind == RecordType::TXT && texts.insert(&published.text) => {
                    records.push(text_record(name, published.ttl(), &published.text));
                }
                Sort::Alias(alias) if !has_addresses && aliases.insert(alias) => {
                    let ttl = published.ttl();
                    records.append(&mut self.through(name, ttl, alias));
                }
                _ => {}
            }
        }
        Ok(records)
    }

    /// An alias and what it leads to.
    fn through(&mut self, name: &Name, ttl: u32, alias: &Name) -> Vec<Record> {
        // What is at or below the name itself would lead back to it.
        if name.zone_of(alias) || self.behind.len() > LONGEST || self.behind.contains(alias) {
            return Vec::new();
        }
        self.followed += 1;
        if self.followed > FOLLOWED {
            return Vec::new();
        }
        let record = Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(alias.clone())));
        if !self.names.domain.holds(alias) {
            let (name, kind, section) = (alias.clone(), self.kind, self.section);
            self.elsewhere.push(Elsewhere { name, kind, section });
            return vec![record];
        }
        self.behind.push(alias.clone());
        let led_to = self.follow(alias).unwrap_or_default();
        self.behind.pop();
        if led_to.is_empty() {
            return Vec::new();
        }
        std::iter::once(record).chain(led_to).collect()
    }

    fn asks_for(&self, is_ipv4: bool) -> bool {
        self.kind == if is_ipv4 { RecordType::A } else { RecordType::AAAA }
    }
}

fn has_address(found: &[Arc<Published>]) -> bool {
    found.iter().any(|published| matches!(published.sort(), Sort::Address(_)))
}
