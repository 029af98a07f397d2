//! From a question to the records of its answer, by CoreDNS's rules.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{CNAME, HINFO, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::alias_chain::{Chain, Elsewhere};
use super::lookup::{Names, NoSuchName, Wanted};
use crate::dns::resource_record::{Section, address_record};
use crate::zone::record::{DEFAULT_TTL, Published, Sort};

/// Seconds that a resolver may keep an answer that there is nothing.
const NEGATIVE_TTL: u32 = 30;

/// The refresh, retry and expire times of the SOA record, in seconds: said as
/// CoreDNS says them; no secondary server ever reads them.
const SOA_TIMES: (i32, i32, i32) = (7200, 1800, 86_400);

/// How many names an address is given in one answer; a host's own address is
/// published once a service.
const NAMES_OF_AN_ADDRESS: usize = 100;

/// What answers a question.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// What has to be asked of other servers to make the answer whole.
    pub(super) elsewhere: Vec<Elsewhere>,
}

/// Why there are no records.
enum Empty {
    NoSuchName,
    /// A record says what can't be answered: the lookup failed.
    Failed,
}

impl From<NoSuchName> for Empty {
    fn from(NoSuchName: NoSuchName) -> Self {
        Self::NoSuchName
    }
}

/// Answers a question for a name in the domain. The name is answered in the letters
/// that it was asked in.
///
/// Until all records are known, that none is there is no answer: it would be kept as one.
pub(super) fn answer(names: &Names, name: &Name, kind: RecordType) -> Answer {
    // Asked for first: what is put meanwhile may be missing in what is found.
    let is_complete = names.zone.is_complete();
    let answer = answer_from_here(names, name, kind);
    if answer.answers.is_empty() && !is_complete {
        return Answer { code: ResponseCode::ServFail, ..Answer::default() };
    }
    answer
}

fn answer_from_here(names: &Names, name: &Name, kind: RecordType) -> Answer {
    let mut answer = Answer::default();
    let found = match kind {
        RecordType::A | RecordType::AAAA | RecordType::TXT => {
            aliased(names, name, kind, &mut answer)
        }
        RecordType::SRV => services(names, name, &mut answer),
        RecordType::CNAME => alias(names, name),
        RecordType::PTR => pointers(names, name),
        RecordType::SOA if *name == names.domain.apex => Ok(vec![authority(names)]),
        RecordType::NS if *name == names.domain.apex => name_servers(names, name, &mut answer),
        RecordType::ANY if names.exists(name) => Ok(vec![any(name)]),
        _ => Err(Empty::NoSuchName),
    };
    match found {
        Ok(records) => answer.answers = records,
        Err(Empty::Failed) => answer.code = ResponseCode::ServFail,
        Err(Empty::NoSuchName) if !names.exists(name) => answer.code = ResponseCode::NXDomain,
        Err(Empty::NoSuchName) => {}
    }
    if answer.answers.is_empty() {
        answer.additionals.clear();
        answer.authorities.push(authority(names));
    }
    answer
}

/// The names that an address is published under; `None`: it is not published.
pub(super) fn names_of_address(names: &Names, name: &Name, address: IpAddr) -> Option<Answer> {
    let found = names.zone.of_address(address, NAMES_OF_AN_ADDRESS);
    let pointer = |published: &Arc<Published>| {
        let data = RData::PTR(PTR(published.name.clone()));
        Record::from_rdata(name.clone(), published.ttl(), data)
    };
    let answers = found.iter().map(pointer).collect::<Vec<_>>();
    (!answers.is_empty()).then(|| Answer { answers, ..Answer::default() })
}

fn aliased(
    names: &Names,
    name: &Name,
    kind: RecordType,
    answer: &mut Answer,
) -> Result<Vec<Record>, Empty> {
    let mut chain = Chain::new(names, kind, Section::Answer);
    let records = chain.follow(name)?;
    answer.elsewhere = chain.elsewhere;
    let is_alias = |record: &Record| record.record_type() == RecordType::CNAME;
    Ok(if records.iter().any(is_alias) { once(records) } else { records })
}

/// Each record once, as it was met first (RFC 2181, section 5.2): where aliases meet, the
/// same record comes by each of them.
fn once(mut records: Vec<Record>) -> Vec<Record> {
    let mut seen = HashSet::with_capacity(records.len());
    let is_new = |record: &Record| seen.insert((record.name.clone(), record.data.clone()));
    records.retain(is_new);
    records
}

/// SRV records: the weights shared out among equals in priority, and the addresses of
/// their targets beside them.
fn services(names: &Names, name: &Name, answer: &mut Answer) -> Result<Vec<Record>, Empty> {
    let found = names.below_or_at(name, Wanted::Hosts)?;
    let mut weights = HashMap::<i64, i64>::new();
    for published in &found {
        let sum = weights.entry(published.priority).or_default();
        *sum = sum.saturating_add(weight_of(published));
    }
    let mut records = Vec::with_capacity(found.len());
    let (mut named, mut addressed, mut looked_up) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    for published in found.iter().filter(|published| published.port != -1) {
        let sum = weights.get(&published.priority).copied().unwrap_or_default();
        let ttl = published.ttl();
        let record = || {
            let data = service(published, share(weight_of(published), sum));
            Record::from_rdata(name.clone(), ttl, data)
        };
        match published.sort() {
            Sort::Address(address) => {
                if named.insert((&published.target, published.port)) {
                    records.push(record());
                }
                if addressed.insert((&published.target, address)) {
                    answer.additionals.push(address_record(&published.target, ttl, address));
                }
            }
            Sort::Alias(_) => {
                records.push(record());
                if looked_up.insert(&published.target) {
                    addresses_of(names, &published.target, answer);
                }
            }
            Sort::Text | Sort::Nothing => {}
        }
    }
    if looked_up.is_empty() {
        return Ok(records);
    }
    answer.additionals = once(std::mem::take(&mut answer.additionals));
    Ok(once(records))
}

/// Puts the addresses of an SRV record's target beside it. In the domain, as CoreDNS:
/// the IPv4 ones.
fn addresses_of(names: &Names, target: &Name, answer: &mut Answer) {
    if !names.domain.holds(target) {
        for kind in [RecordType::A, RecordType::AAAA] {
            let name = target.clone();
            answer.elsewhere.push(Elsewhere { name, kind, section: Section::Additional });
        }
        return;
    }
    let mut chain = Chain::new(names, RecordType::A, Section::Additional);
    answer.additionals.extend(chain.follow(target).unwrap_or_default());
    answer.elsewhere.append(&mut chain.elsewhere);
}

/// A weight of 0 counts as 100.
fn weight_of(published: &Published) -> i64 {
    if published.weight == 0 { 100 } else { published.weight }
}

/// A weight as its share of all with the same priority, in hundredths, at least 1.
///
/// In floating point and in this order, so that it is rounded as CoreDNS does.
fn share(weight: i64, sum: i64) -> u16 {
    #[expect(clippy::cast_precision_loss, reason = "a weight is a small number")]
    let share = (100.0 / sum as f64 * weight as f64).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
    let share = share as u16;
    share.max(1)
}

fn service(published: &Published, weight: u16) -> RData {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as CoreDNS does")]
    let (priority, port) = (published.priority as u16, published.port as u16);
    RData::SRV(SRV::new(priority, weight, port, published.target.clone()))
}

/// The alias of exactly this name.
fn alias(names: &Names, name: &Name) -> Result<Vec<Record>, Empty> {
    let found = names.at(name)?;
    let first = found.first().and_then(|first| Some((first.ttl(), first.alias.clone()?)));
    let record = |(ttl, alias)| Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(alias)));
    Ok(first.map(record).into_iter().collect())
}

/// The host's name at exactly this name, said as a pointer.
fn pointers(names: &Names, name: &Name) -> Result<Vec<Record>, Empty> {
    let found = names.at(name)?;
    let aliases = found.iter().filter_map(|one| Some((one.ttl(), one.alias.clone()?)));
    let record = |(ttl, alias)| Record::from_rdata(name.clone(), ttl, RData::PTR(PTR(alias)));
    Ok(aliases.map(record).collect())
}

/// The domain's name servers, as they are published at `ns.dns` in it.
fn name_servers(names: &Names, name: &Name, answer: &mut Answer) -> Result<Vec<Record>, Empty> {
    let found = names.below_or_at(&names.domain.name_servers, Wanted::Hosts)?;
    let mut records = Vec::new();
    let mut seen = HashSet::new();
    for published in &found {
        let address = match published.sort() {
            Sort::Address(address) => address,
            // A name server must have an address to be asked at.
            Sort::Alias(_) => return Err(Empty::Failed),
            Sort::Text | Sort::Nothing => continue,
        };
        let (server, ttl) = (&published.target, published.ttl());
        answer.additionals.push(address_record(server, ttl, address));
        if seen.insert(server) {
            let data = RData::NS(NS(server.clone()));
            records.push(Record::from_rdata(name.clone(), ttl, data));
        }
    }
    Ok(records)
}

/// The answer to ANY that costs nobody anything (RFC 8482, section 4.2).
fn any(name: &Name) -> Record {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Record::from_rdata(name.clone(), DEFAULT_TTL, data)
}

/// The SOA record, which says how long a resolver may keep that there is nothing.
fn authority(names: &Names) -> Record {
    let domain = &names.domain;
    let (refresh, retry, expire) = SOA_TIMES;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    #[expect(clippy::cast_possible_truncation, reason = "serials are counted round (RFC 1982)")]
    let serial = seconds as u32;
    let (server, mailbox) = (domain.name_servers.clone(), domain.hostmaster.clone());
    let soa = SOA::new(server, mailbox, serial, refresh, retry, expire, NEGATIVE_TTL);
    Record::from_rdata(domain.apex.clone(), NEGATIVE_TTL, RData::SOA(soa))
}

#[cfg(test)]
mod tests;
