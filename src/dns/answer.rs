//! Builds the response to a query from the zone, by the rules of CoreDNS.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{CNAME, HINFO, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::alias_chain::{AliasChain, ExternalName};
use super::lookup::{NameIndex, NoSuchName, RecordFilter};
use super::rrset_ttl::unify_ttls;
use crate::dns::resource_record::{Section, address_record};
use crate::zone::record::{DEFAULT_TTL, DnsRecord, RecordKind};

/// The TTL of a negative response in seconds (RFC 2308, section 5).
const NEGATIVE_TTL_SECONDS: u32 = 30;

/// The refresh, retry and expire times of the SOA record in seconds (RFC 1035, section 3.3.13).
/// The values equal those of CoreDNS. No secondary server reads them.
const SOA_TIMERS: SoaTimers =
    SoaTimers { refresh_seconds: 7200, retry_seconds: 1800, expire_seconds: 86_400 };

/// The timers of an SOA record.
struct SoaTimers {
    refresh_seconds: i32,
    retry_seconds: i32,
    expire_seconds: i32,
}

/// The maximum number of PTR records in one response. A host's own address is published once for
/// each service.
const PTR_RECORDS_MAX: usize = 100;

/// The records of a response, before encoding.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Response {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// The names that upstreams must resolve to complete the response.
    pub(super) external_names: Vec<ExternalName>,
}

impl Response {
    /// Gives all records of one name and type the same TTL.
    pub(super) fn unify_ttls(&mut self) {
        unify_ttls(&mut self.answers);
        unify_ttls(&mut self.additionals);
    }
}

/// The reason for a response without records.
enum NoData {
    NoSuchName,
    /// A record is invalid for the query, so that the response is SERVFAIL.
    Failed,
}

impl From<NoSuchName> for NoData {
    fn from(NoSuchName: NoSuchName) -> Self {
        Self::NoSuchName
    }
}

/// Builds the response to a query for a name in the domain. The records repeat the letter case
/// of the query.
///
/// Until the zone is complete, a response without records is SERVFAIL, because a resolver would
/// cache a negative response.
pub(super) fn build_response(names: &NameIndex, name: &Name, kind: RecordType) -> Response {
    // Read before the lookup, because a record that is published during the lookup may be
    // missing from its result.
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
    response.unify_ttls();
    response
}

/// Returns the PTR response with the names under which `address` is published, or `None` if the
/// address is not published.
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
    let mut answers = found.iter().map(pointer).collect::<Vec<_>>();
    unify_ttls(&mut answers);
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

/// Keeps the first of equal records (RFC 2181, section 5). Aliases that lead to the same name
/// yield the records of that name several times. The least of their TTLs is kept.
fn dedup_records(mut records: Vec<Record>) -> Vec<Record> {
    unify_ttls(&mut records);
    let mut seen = HashSet::with_capacity(records.len());
    let is_new = |record: &Record| seen.insert((record.name.clone(), record.data.clone()));
    records.retain(is_new);
    records
}

/// Returns the SRV records (RFC 2782) of a name. The weights are shares among the records of
/// equal priority. The addresses of the targets are added to the additional section.
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

/// Adds the addresses of an SRV target to the additional section. Like CoreDNS, adds only IPv4
/// addresses of a target in the domain.
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

/// Returns the weight of a record. A weight of 0 counts as 100, as in SkyDNS.
fn effective_weight(dns_record: &DnsRecord) -> i64 {
    if dns_record.weight == 0 { 100 } else { dns_record.weight }
}

/// Returns the share of `weight` in the sum of equal priority, in percent and at least 1.
///
/// The floating point operations and their order are those of CoreDNS, so that the result is
/// rounded identically.
fn weight_share(weight: i64, sum: i64) -> u16 {
    #[expect(clippy::cast_precision_loss, reason = "weights are small numbers")]
    let share = (100.0 / sum as f64 * weight as f64).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts of floats saturate"
    )]
    let share = share as u16;
    share.max(1)
}

fn srv_data(dns_record: &DnsRecord, weight: u16) -> RData {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as CoreDNS does")]
    let (priority, port) = (dns_record.priority as u16, dns_record.port as u16);
    RData::SRV(SRV::new(priority, weight, port, dns_record.target.clone()))
}

/// Returns the alias at exactly this name, ignoring the names below it.
fn cname_records(names: &NameIndex, name: &Name) -> Result<Vec<Record>, NoData> {
    let found = names.lookup_exact(name)?;
    let first = found.first().and_then(|first| Some((first.ttl(), first.alias.clone()?)));
    let record = |(ttl, alias)| Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(alias)));
    Ok(first.map(record).into_iter().collect())
}

/// Returns the host name at exactly this name as a PTR record.
fn ptr_records(names: &NameIndex, name: &Name) -> Result<Vec<Record>, NoData> {
    let found = names.lookup_exact(name)?;
    let aliases =
        found.iter().filter_map(|dns_record| Some((dns_record.ttl(), dns_record.alias.clone()?)));
    let record = |(ttl, alias)| Record::from_rdata(name.clone(), ttl, RData::PTR(PTR(alias)));
    Ok(aliases.map(record).collect())
}

/// Returns the name servers of the domain, which are published at `ns.dns` below it.
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
            // A name server needs an address. An NS record must not lead to an alias (RFC 2181,
            // section 10.3).
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

/// Returns the minimal response to ANY, which prevents amplification (RFC 8482, section 4.2).
fn hinfo_record(name: &Name) -> Record {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Record::from_rdata(name.clone(), DEFAULT_TTL, data)
}

/// Returns the SOA record of the domain. Its TTL and its minimum field are the TTL of negative
/// responses (RFC 2308, section 3).
fn soa_record(names: &NameIndex) -> Record {
    let domain = &names.domain;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    #[expect(clippy::cast_possible_truncation, reason = "serial numbers wrap around (RFC 1982)")]
    let serial = seconds as u32;
    let (server, mailbox) = (domain.name_servers.clone(), domain.hostmaster.clone());
    let soa = SOA::new(
        server,
        mailbox,
        serial,
        SOA_TIMERS.refresh_seconds,
        SOA_TIMERS.retry_seconds,
        SOA_TIMERS.expire_seconds,
        NEGATIVE_TTL_SECONDS,
    );
    Record::from_rdata(domain.apex.clone(), NEGATIVE_TTL_SECONDS, RData::SOA(soa))
}

#[cfg(test)]
mod tests;
