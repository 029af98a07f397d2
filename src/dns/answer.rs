//! From a question to the records of its answer, by CoreDNS's rules.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{CNAME, HINFO, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::alias_chain::{AliasChain, ExternalName};
use super::lookup::{NameIndex, NoSuchName, RecordFilter};
use crate::dns::resource_record::{Section, address_record};
use crate::zone::record::{DEFAULT_TTL, DnsRecord, RecordKind};

/// Seconds that a resolver may keep an answer that there is nothing.
const NEGATIVE_TTL_SECONDS: u32 = 30;

/// The refresh, retry and expire times of the SOA record, in seconds: said as
/// CoreDNS says them; no secondary server ever reads them.
const SOA_TIMERS_SECONDS: (i32, i32, i32) = (7200, 1800, 86_400);

/// How many names an address is given in one answer; a host's own address is
/// published once a service.
const PTR_RECORDS_MAX: usize = 100;

/// What answers a question.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Response {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// What has to be asked of other servers to make the answer whole.
    pub(super) external_names: Vec<ExternalName>,
}

/// Why there are no records.
enum NoData {
    NoSuchName,
    /// A record says what can't be answered: the lookup failed.
    Failed,
}

impl From<NoSuchName> for NoData {
    fn from(NoSuchName: NoSuchName) -> Self {
        Self::NoSuchName
    }
}

/// Answers a question for a name in the domain. The name is answered in the letters
/// that it was asked in.
///
/// Until all records are known, that none is there is no answer: it would be kept as one.
pub(super) fn build_response(names: &NameIndex, name: &Name, kind: RecordType) -> Response {
    // Asked for first: what is put meanwhile may be missing in what is found.
    let is_complete = names.zone.is_complete();
    let response = build_from_zone(names, name, kind);
    if response.answers.is_empty() && !is_complete {
        return Response { code: ResponseCode::ServFail, ..Response::default() };
    }
    response
}

fn build_from_zone(names: &NameIndex, name: &Name, kind: RecordType) -> Response {
    let mut response = Response::default();
    let found = match kind {
        RecordType::A | RecordType::AAAA | RecordType::TXT => {
            follow_aliases(names, name, kind, &mut response)
        }
        RecordType::SRV => srv_records(names, name, &mut response),
        RecordType::CNAME => cname_records(names, name),
        RecordType::PTR => ptr_records(names, name),
        RecordType::SOA if *name == names.domain.apex => Ok(vec![soa_record(names)]),
        RecordType::NS if *name == names.domain.apex => ns_records(names, name, &mut response),
        RecordType::ANY if names.exists(name) => Ok(vec![hinfo_record(name)]),
        _ => Err(NoData::NoSuchName),
    };
    match found {
        Ok(records) => response.answers = records,
        Err(NoData::Failed) => response.code = ResponseCode::ServFail,
        Err(NoData::NoSuchName) if !names.exists(name) => response.code = ResponseCode::NXDomain,
        Err(NoData::NoSuchName) => {}
    }
    if response.answers.is_empty() {
        response.additionals.clear();
        response.authorities.push(soa_record(names));
    }
    response
}

/// The names that an address is published under; `None`: it is not published.
pub(super) fn reverse_response(
    names: &NameIndex,
    name: &Name,
    address: IpAddr,
) -> Option<Response> {
    let found = names.zone.by_address(address, PTR_RECORDS_MAX);
    let pointer = |dns_record: &Arc<DnsRecord>| {
        let data = RData::PTR(PTR(dns_record.name.clone()));
        Record::from_rdata(name.clone(), dns_record.ttl(), data)
    };
    let answers = found.iter().map(pointer).collect::<Vec<_>>();
    (!answers.is_empty()).then(|| Response { answers, ..Response::default() })
}

fn follow_aliases(
    names: &NameIndex,
    name: &Name,
    kind: RecordType,
    response: &mut Response,
) -> Result<Vec<Record>, NoData> {
    let mut chain = AliasChain::new(names, kind, Section::Answer);
    let records = chain.follow(name)?;
    response.external_names = chain.external_names;
    let is_alias = |record: &Record| record.record_type() == RecordType::CNAME;
    Ok(if records.iter().any(is_alias) { dedup_records(records) } else { records })
}

/// Each record once, as it was met first (RFC 2181, section 5.2): where aliases meet, the
/// same record comes by each of them.
fn dedup_records(mut records: Vec<Record>) -> Vec<Record> {
    let mut seen = HashSet::with_capacity(records.len());
    let is_new = |record: &Record| seen.insert((record.name.clone(), record.data.clone()));
    records.retain(is_new);
    records
}

/// SRV records: the weights shared out among equals in priority, and the addresses of
/// their targets beside them.
fn srv_records(
    names: &NameIndex,
    name: &Name,
    response: &mut Response,
) -> Result<Vec<Record>, NoData> {
    let found = names.lookup(name, RecordFilter::Hosts)?;
    let mut weights = HashMap::<i64, i64>::new();
    for dns_record in &found {
        let sum = weights.entry(dns_record.priority).or_default();
        *sum = sum.saturating_add(effective_weight(dns_record));
    }
    let mut records = Vec::with_capacity(found.len());
    let (mut seen_services, mut seen_addresses, mut resolved_targets) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    for dns_record in found.iter().filter(|dns_record| dns_record.port != -1) {
        let sum = weights.get(&dns_record.priority).copied().unwrap_or_default();
        let ttl = dns_record.ttl();
        let record = || {
            let data = srv_data(dns_record, weight_share(effective_weight(dns_record), sum));
            Record::from_rdata(name.clone(), ttl, data)
        };
        match dns_record.kind() {
            RecordKind::Address(address) => {
                if seen_services.insert((&dns_record.target, dns_record.port)) {
                    records.push(record());
                }
                if seen_addresses.insert((&dns_record.target, address)) {
                    response.additionals.push(address_record(&dns_record.target, ttl, address));
                }
            }
            RecordKind::Alias(_) => {
                records.push(record());
                if resolved_targets.insert(&dns_record.target) {
                    add_addresses(names, &dns_record.target, response);
                }
            }
            RecordKind::Text | RecordKind::Empty => {}
        }
    }
    if resolved_targets.is_empty() {
        return Ok(records);
    }
    response.additionals = dedup_records(std::mem::take(&mut response.additionals));
    Ok(dedup_records(records))
}

/// Puts the addresses of an SRV record's target beside it. In the domain, as CoreDNS:
/// the IPv4 ones.
fn add_addresses(names: &NameIndex, target: &Name, response: &mut Response) {
    if !names.domain.contains(target) {
        for kind in [RecordType::A, RecordType::AAAA] {
            let name = target.clone();
            response.external_names.push(ExternalName { name, kind, section: Section::Additional });
        }
        return;
    }
    let mut chain = AliasChain::new(names, RecordType::A, Section::Additional);
    response.additionals.extend(chain.follow(target).unwrap_or_default());
    response.external_names.append(&mut chain.external_names);
}

/// A weight of 0 counts as 100.
fn effective_weight(dns_record: &DnsRecord) -> i64 {
    if dns_record.weight == 0 { 100 } else { dns_record.weight }
}

/// A weight as its share of all with the same priority, in hundredths, at least 1.
///
/// In floating point and in this order, so that it is rounded as CoreDNS does.
fn weight_share(weight: i64, sum: i64) -> u16 {
    #[expect(clippy::cast_precision_loss, reason = "a weight is a small number")]
    let share = (100.0 / sum as f64 * weight as f64).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
    let share = share as u16;
    share.max(1)
}

fn srv_data(dns_record: &DnsRecord, weight: u16) -> RData {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as CoreDNS does")]
    let (priority, port) = (dns_record.priority as u16, dns_record.port as u16);
    RData::SRV(SRV::new(priority, weight, port, dns_record.target.clone()))
}

/// The alias of exactly this name.
fn cname_records(names: &NameIndex, name: &Name) -> Result<Vec<Record>, NoData> {
    let found = names.lookup_exact(name)?;
    let first = found.first().and_then(|first| Some((first.ttl(), first.alias.clone()?)));
    let record = |(ttl, alias)| Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(alias)));
    Ok(first.map(record).into_iter().collect())
}

/// The host's name at exactly this name, said as a pointer.
fn ptr_records(names: &NameIndex, name: &Name) -> Result<Vec<Record>, NoData> {
    let found = names.lookup_exact(name)?;
    let aliases = found.iter().filter_map(|one| Some((one.ttl(), one.alias.clone()?)));
    let record = |(ttl, alias)| Record::from_rdata(name.clone(), ttl, RData::PTR(PTR(alias)));
    Ok(aliases.map(record).collect())
}

/// The domain's name servers, as they are published at `ns.dns` in it.
fn ns_records(
    names: &NameIndex,
    name: &Name,
    response: &mut Response,
) -> Result<Vec<Record>, NoData> {
    let found = names.lookup(&names.domain.name_servers, RecordFilter::Hosts)?;
    let mut records = Vec::new();
    let mut seen = HashSet::new();
    for dns_record in &found {
        let address = match dns_record.kind() {
            RecordKind::Address(address) => address,
            // A name server must have an address to be asked at.
            RecordKind::Alias(_) => return Err(NoData::Failed),
            RecordKind::Text | RecordKind::Empty => continue,
        };
        let (server, ttl) = (&dns_record.target, dns_record.ttl());
        response.additionals.push(address_record(server, ttl, address));
        if seen.insert(server) {
            let data = RData::NS(NS(server.clone()));
            records.push(Record::from_rdata(name.clone(), ttl, data));
        }
    }
    Ok(records)
}

/// The answer to ANY that costs nobody anything (RFC 8482, section 4.2).
fn hinfo_record(name: &Name) -> Record {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Record::from_rdata(name.clone(), DEFAULT_TTL, data)
}

/// The SOA record, which says how long a resolver may keep that there is nothing.
fn soa_record(names: &NameIndex) -> Record {
    let domain = &names.domain;
    let (refresh, retry, expire) = SOA_TIMERS_SECONDS;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    #[expect(clippy::cast_possible_truncation, reason = "serials are counted round (RFC 1982)")]
    let serial = seconds as u32;
    let (server, mailbox) = (domain.name_servers.clone(), domain.hostmaster.clone());
    let soa = SOA::new(server, mailbox, serial, refresh, retry, expire, NEGATIVE_TTL_SECONDS);
    Record::from_rdata(domain.apex.clone(), NEGATIVE_TTL_SECONDS, RData::SOA(soa))
}

#[cfg(test)]
mod tests;
