//! The intended differences from CoreDNS. `config/dns.md`, section "Differences from CoreDNS",
//! describes them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

use super::ServerPair;
use super::compare::{QueryCase, is_equal};
use super::fixtures::{DOMAIN, RecordSet};
use super::support::dns_wire::{DnsQuery, ResponseRecord, Transport};

/// An intended difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    Any,
    UdpSizeLimit,
    UncompressedTargets,
    EmptyNonTerminal,
    SlashInLabel,
    PublishedAddress,
    BackslashInText,
    RepeatedRecord,
    Mx,
    InvalidValue,
    AliasAndAddresses,
    SoaOfSubdomain,
    RrsetTtl,
}

impl Difference {
    /// All differences, in the order in which they are checked.
    pub const ALL: [Self; 13] = [
        Self::Any,
        Self::UdpSizeLimit,
        Self::UncompressedTargets,
        Self::EmptyNonTerminal,
        Self::SlashInLabel,
        Self::PublishedAddress,
        Self::BackslashInText,
        Self::RepeatedRecord,
        Self::Mx,
        Self::InvalidValue,
        Self::AliasAndAddresses,
        Self::SoaOfSubdomain,
        Self::RrsetTtl,
    ];

    /// Returns `true` if a normal run may not contain the difference.
    pub fn is_rare(self) -> bool {
        self == Self::UncompressedTargets
    }

    /// Describes the difference and its reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Any => {
                "HighHock answers ANY with one HINFO record (RFC 8482), and CoreDNS with no data"
            }
            Self::UdpSizeLimit => {
                "HighHock limits UDP responses to 1,232 bytes, because larger ones travel in \
                 fragments, which get lost; CoreDNS uses the client's buffer size"
            }
            Self::UncompressedTargets => {
                "HighHock does not compress SRV targets, so that a response may be truncated \
                 that just fits with CoreDNS"
            }
            Self::EmptyNonTerminal => {
                "HighHock answers NOERROR for a missing type of a name with names below it, or of \
                 the domain (RFC 8020); CoreDNS answers NXDOMAIN for some types"
            }
            Self::SlashInLabel => {
                "HighHock treats a slash in a label as a character; CoreDNS treats it as a key \
                 separator, so that a/b.skydns.local finds b.a.skydns.local"
            }
            Self::PublishedAddress => {
                "HighHock answers PTR with the names of a published address; for CoreDNS these \
                 queries are outside its zone"
            }
            Self::BackslashInText => {
                "HighHock keeps a backslash in a text; CoreDNS removes it as an escape"
            }
            Self::Mx => "HighHock never answers MX, because it writes no such records",
            Self::InvalidValue => {
                "HighHock skips a value that is not a record; CoreDNS answers SERVFAIL for every \
                 name above it"
            }
            Self::AliasAndAddresses => {
                "HighHock omits an alias of a name with addresses (RFC 1034), because a cache may \
                 follow it for every type; CoreDNS returns both"
            }
            Self::SoaOfSubdomain => {
                "HighHock answers SOA only for the domain; CoreDNS answers it for every name in \
                 the domain"
            }
            Self::RepeatedRecord => {
                "HighHock returns a record once (RFC 2181); with aliases that meet, CoreDNS \
                 repeats it in other letter case or with other TTLs"
            }
            Self::RrsetTtl => {
                "HighHock gives all records of one name and type the least of their TTLs \
                 (RFC 2181, section 5.2); CoreDNS gives each its own"
            }
        }
    }
}

/// Returns the difference that completely explains two unequal responses.
pub fn known_difference(
    record_set: &RecordSet,
    case: &QueryCase,
    pair: &mut ServerPair,
) -> Option<Difference> {
    let query = &case.query;
    Difference::ALL.into_iter().find(|difference| match difference {
        Difference::Any => is_minimal_any(case),
        Difference::EmptyNonTerminal => is_empty_non_terminal(case, pair),
        Difference::SlashInLabel => {
            query.labels.iter().any(|label| label.contains('/')) && case.ours.code == "NXDomain"
        }
        Difference::PublishedAddress => is_published_address(record_set, case),
        Difference::BackslashInText => is_backslash(case),
        Difference::RepeatedRecord => has_duplicates(case),
        Difference::InvalidValue => {
            let codes = (case.coredns.code.as_str(), case.ours.code.as_str());
            record_set.invalid_key.is_some()
                && matches!(codes, ("ServFail", "NoError" | "NXDomain"))
        }
        Difference::Mx => is_mx(case),
        Difference::AliasAndAddresses => is_alias_and_addresses(case, pair),
        Difference::SoaOfSubdomain => is_soa_of_subdomain(case, pair),
        // Detected by the comparison of lengths and of TTLs.
        Difference::UdpSizeLimit | Difference::UncompressedTargets | Difference::RrsetTtl => false,
    })
}

/// One HINFO record, for a name that CoreDNS knows too.
fn is_minimal_any(case: &QueryCase) -> bool {
    let QueryCase { query, coredns, ours } = case;
    let [row] = &ours.answer[..] else { return false };
    query.kind == RecordType::ANY
        && coredns.code == "NoError"
        && coredns.answer.is_empty()
        && (row.name.as_str(), row.kind.as_str()) == (query.name().as_str(), "HINFO")
        && ours.code == "NoError"
        && ours.authority.is_empty()
        && ours.additional.is_empty()
}

/// Only the code differs, and CoreDNS itself knows the name by another type, or fails.
fn is_empty_non_terminal(case: &QueryCase, pair: &mut ServerPair) -> bool {
    let QueryCase { query, coredns, ours } = case;
    if (coredns.code.as_str(), ours.code.as_str()) != ("NXDomain", "NoError") {
        return false;
    }
    let mut with_same_code = case.clone();
    with_same_code.coredns.code.clone_from(&ours.code);
    let is_apex = query.name().eq_ignore_ascii_case(&format!("{DOMAIN}."));
    let by_address = DnsQuery { kind: RecordType::A, transport: Transport::Tcp, ..query.clone() };
    is_equal(&with_same_code) && (is_apex || pair.query(&by_address).coredns.code != "NXDomain")
}

/// CoreDNS refuses, and HighHock returns the names of all records with the address.
fn is_published_address(record_set: &RecordSet, case: &QueryCase) -> bool {
    let QueryCase { query, coredns, ours } = case;
    let Some(address) = queried_address(query) else { return false };
    let name = |(key, value): (&String, &String)| {
        let value: Value = serde_json::from_str(value).unwrap();
        let host: Option<IpAddr> = value["host"].as_str().and_then(|host| host.parse().ok());
        let labels: Vec<_> = key.rsplit('/').collect();
        let name = labels[..labels.len() - 1].join(".") + ".";
        (host.map(|host| host.to_canonical()) == Some(address)).then_some(name)
    };
    let mut names: Vec<_> = record_set.records.iter().filter_map(name).collect();
    names.sort();
    let mut response: Vec<_> = ours.answer.iter().map(|row| row.data.clone()).collect();
    response.sort();
    let is_pointer = |row: &ResponseRecord| row.kind == "PTR" && row.name == query.name();
    coredns.code == "Refused"
        && ours.code == "NoError"
        && ours.answer.iter().all(is_pointer)
        && !names.is_empty()
        && response == names
}

/// The responses differ only in aliases of names with addresses, and in the records behind these
/// aliases.
fn is_alias_and_addresses(case: &QueryCase, pair: &mut ServerPair) -> bool {
    let mut case = case.clone();
    let QueryCase { query, coredns, ours } = &mut case;
    let owners = |rows: &[ResponseRecord]| {
        let aliases = rows.iter().filter(|row| row.kind == "CNAME");
        aliases.map(|row| row.name.to_lowercase()).collect::<BTreeSet<_>>()
    };
    let mut aliased = owners(&coredns.answer);
    aliased.append(&mut owners(&coredns.additional));
    aliased.retain(|owner| has_addresses(owner, query, pair));
    if aliased.is_empty() {
        return false;
    }
    let targets = coredns.answer.iter().filter(|row| row.kind == "SRV");
    let target =
        |row: &ResponseRecord| row.data.rsplit(' ').next().unwrap_or_default().to_lowercase();
    let targets = targets.map(target).collect();
    let queried = BTreeSet::from([query.name().to_lowercase()]);
    for (rows, roots) in [(&mut coredns.answer, queried), (&mut coredns.additional, targets)] {
        rows.retain(|row| row.kind != "CNAME" || !aliased.contains(&row.name.to_lowercase()));
        drop_unreachable_records(rows, roots);
    }
    // A response without records contains the SOA record.
    if coredns.answer.is_empty() && matches!(&ours.authority[..], [row] if row.kind == "SOA") {
        coredns.authority.clone_from(&ours.authority);
    }
    is_equal(&case) || has_duplicates(&case) || is_backslash(&case)
}

/// Returns `true` if CoreDNS returns addresses of exactly this name for a query like `query`.
fn has_addresses(name: &str, query: &DnsQuery, pair: &mut ServerPair) -> bool {
    let labels = name.trim_end_matches('.').split('.').map(str::to_owned).collect::<Vec<_>>();
    [RecordType::A, RecordType::AAAA].into_iter().any(|kind| {
        let by_kind =
            DnsQuery { kind, transport: Transport::Tcp, labels: labels.clone(), ..query.clone() };
        let response = pair.query(&by_kind).coredns;
        let is_address =
            |row: &ResponseRecord| row.kind != "CNAME" && row.name.eq_ignore_ascii_case(name);
        response.answer.iter().any(is_address)
    })
}

/// Removes records that are not reachable from `roots`, and aliases in the domain that lead to
/// no record.
fn drop_unreachable_records(rows: &mut Vec<ResponseRecord>, roots: BTreeSet<String>) {
    loop {
        let before = rows.len();
        let mut reached = roots.clone();
        for _ in 0..rows.len() {
            let aliases = rows
                .iter()
                .filter(|row| row.kind == "CNAME" && reached.contains(&row.name.to_lowercase()));
            reached = aliases.map(|row| row.data.to_lowercase()).chain(reached.clone()).collect();
        }
        let names = rows.iter().map(|row| row.name.to_lowercase()).collect::<BTreeSet<_>>();
        rows.retain(|row| {
            let target = row.data.to_lowercase();
            let has_target = row.kind != "CNAME"
                || !target.ends_with(&format!("{DOMAIN}."))
                || names.contains(&target);
            has_target && reached.contains(&row.name.to_lowercase())
        });
        if rows.len() == before {
            return;
        }
    }
}

/// CoreDNS returns the SOA record of the domain for another name. HighHock returns it in the
/// authority section of a negative response.
fn is_soa_of_subdomain(case: &QueryCase, pair: &mut ServerPair) -> bool {
    let QueryCase { query, coredns, ours } = case;
    let is_soa = |rows: &[ResponseRecord]| matches!(rows, [row] if row.kind == "SOA");
    let is_apex = query.name().eq_ignore_ascii_case(&format!("{DOMAIN}."));
    let is_negative = query.kind == RecordType::SOA
        && !is_apex
        && is_soa(&coredns.answer)
        && ours.answer.is_empty()
        && is_soa(&ours.authority);
    if !is_negative {
        return false;
    }
    let by_address = DnsQuery { kind: RecordType::A, transport: Transport::Tcp, ..query.clone() };
    pair.query(&by_address).ours.code == ours.code
}

/// HighHock returns no MX records for a name for which CoreDNS has some.
fn is_mx(case: &QueryCase) -> bool {
    let QueryCase { query, coredns, ours } = case;
    query.kind == RecordType::MX
        && coredns.answer.iter().any(|row| row.kind == "MX")
        && ours.code == "NoError"
        && ours.answer.is_empty()
        && matches!(&ours.authority[..], [row] if row.kind == "SOA")
}

/// The responses differ only in backslashes and in repeated records of CoreDNS.
fn is_backslash(case: &QueryCase) -> bool {
    let mut case = case.clone();
    let texts = case.ours.answer.iter_mut().filter(|row| row.data.contains('\\'));
    let found = texts.map(|row| row.data = row.data.replace('\\', "")).count();
    found > 0 && (is_equal(&case) || has_duplicates(&case))
}

/// The responses differ only in the TTLs and the letter case of repeated records of CoreDNS.
fn has_duplicates(case: &QueryCase) -> bool {
    let mut case = case.clone();
    let QueryCase { coredns, ours, .. } = &mut case;
    let mut found = false;
    for (theirs, ours) in
        [(&mut coredns.answer, &ours.answer), (&mut coredns.additional, &ours.additional)]
    {
        let all = theirs.clone();
        theirs.retain(|row| {
            let others = all.iter().filter(|other| is_same_record(row, other));
            let has_duplicates = others.clone().any(|other| other != row);
            found |= has_duplicates;
            !has_duplicates
                || ours.contains(row)
                || !others.clone().any(|other| ours.contains(other))
        });
    }
    found && is_equal(&case)
}

/// Returns `true` if both are the same DNS record. Letter case matters only in texts.
fn is_same_record(record: &ResponseRecord, other: &ResponseRecord) -> bool {
    let is_same_data = match record.kind.as_str() {
        "TXT" => record.data == other.data,
        _ => record.data.eq_ignore_ascii_case(&other.data),
    };
    record.kind == other.kind && record.name.eq_ignore_ascii_case(&other.name) && is_same_data
}

fn queried_address(query: &DnsQuery) -> Option<IpAddr> {
    let name = Name::from_ascii(query.name()).ok()?;
    (query.kind == RecordType::PTR)
        .then(|| name.parse_arpa_name().ok())
        .flatten()
        .map(|network| network.addr())
}
