//! In what the two may differ, and why. The README's list is this one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

use super::ServerPair;
use super::compare::{QueryCase, is_equal};
use super::fixtures::{DOMAIN, RecordSet};
use super::support::dns_wire::{DnsQuery, ResponseRecord, Transport};

/// A difference that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    Any,
    AtMost1232,
    LongerNames,
    NamesAbove,
    Slash,
    Reverse,
    Backslash,
    Twice,
    Mail,
    NoRecord,
    AliasBeside,
    SoaBelow,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Any,
        Self::AtMost1232,
        Self::LongerNames,
        Self::NamesAbove,
        Self::Slash,
        Self::Reverse,
        Self::Backslash,
        Self::Twice,
        Self::Mail,
        Self::NoRecord,
        Self::AliasBeside,
        Self::SoaBelow,
    ];

    /// Whether it takes so many questions to meet it that a usual run may not.
    pub fn is_rare(self) -> bool {
        self == Self::LongerNames
    }

    /// What it is, and why it is so.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Any => {
                "ANY is answered by one HINFO record (RFC 8482), where CoreDNS has no data"
            }
            Self::AtMost1232 => {
                "UDP answers are cut at 1,232 bytes whatever was asked for, as larger ones travel \
                 in fragments, which get lost; CoreDNS sends what was asked for"
            }
            Self::LongerNames => {
                "names are shortened otherwise, so that an SRV answer that CoreDNS just finds room \
                 for may be cut"
            }
            Self::NamesAbove => {
                "a name with others below it, the domain's own among them, has no data of a type \
                 (RFC 8020); CoreDNS says for some types that there is no such name"
            }
            Self::Slash => {
                "a slash in a label is a letter like others; to CoreDNS it parts a key, so that \
                 a/b.skydns.local finds b.a.skydns.local"
            }
            Self::Reverse => {
                "the names of a published address are told to who asks for them (PTR); to CoreDNS \
                 they lie outside its zone"
            }
            Self::Backslash => "a backslash in a text is told; CoreDNS takes it for an escape",
            Self::Mail => "MX is never answered: HighHock writes no such records",
            Self::NoRecord => {
                "a value that is no record is left out, and its neighbours are answered; CoreDNS \
                 fails for all names above it"
            }
            Self::AliasBeside => {
                "an alias is left out beside addresses of its name (RFC 1034), as a cache may \
                 follow it for all of the name; CoreDNS tells both"
            }
            Self::SoaBelow => {
                "only the domain itself has a SOA record; CoreDNS answers it, as the domain's, for \
                 all names in it, be there such a name or not"
            }
            Self::Twice => {
                "a record is told once, with the TTL that was met first (RFC 2181); where aliases \
                 meet, CoreDNS tells it again, with another TTL or until there is no more room"
            }
        }
    }
}

/// The difference that explains all in which these two answers are not the same.
pub fn known_difference(
    record_set: &RecordSet,
    case: &QueryCase,
    pair: &mut ServerPair,
) -> Option<Difference> {
    let query = &case.query;
    Difference::ALL.into_iter().find(|difference| match difference {
        Difference::Any => is_minimal_any(case),
        Difference::NamesAbove => is_name_above(case, pair),
        Difference::Slash => {
            query.labels.iter().any(|label| label.contains('/')) && case.ours.code == "NXDomain"
        }
        Difference::Reverse => is_reverse(record_set, case),
        Difference::Backslash => is_backslash(case),
        Difference::Twice => has_duplicates(case),
        Difference::NoRecord => {
            let codes = (case.coredns.code.as_str(), case.ours.code.as_str());
            record_set.invalid_key.is_some()
                && matches!(codes, ("ServFail", "NoError" | "NXDomain"))
        }
        Difference::Mail => is_mail(case),
        Difference::AliasBeside => is_alias_beside(case, pair),
        Difference::SoaBelow => is_soa_below(case, pair),
        // Found where the answers' lengths are looked at.
        Difference::AtMost1232 | Difference::LongerNames => false,
    })
}

/// One HINFO record, and a name that CoreDNS knows, too.
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

/// All is the same but for the code, and CoreDNS itself knows the name by another type, or fails at it.
fn is_name_above(case: &QueryCase, pair: &mut ServerPair) -> bool {
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

/// CoreDNS refuses it, and the answer has the name of each record with that address.
fn is_reverse(record_set: &RecordSet, case: &QueryCase) -> bool {
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

/// All is the same but for aliases of names with addresses, and what only those lead to.
fn is_alias_beside(case: &QueryCase, pair: &mut ServerPair) -> bool {
    let mut case = case.clone();
    let QueryCase { query, coredns, ours } = &mut case;
    let owners = |rows: &[ResponseRecord]| {
        let aliases = rows.iter().filter(|row| row.kind == "CNAME");
        aliases.map(|row| row.name.to_lowercase()).collect::<BTreeSet<_>>()
    };
    let mut beside = owners(&coredns.answer);
    beside.append(&mut owners(&coredns.additional));
    beside.retain(|owner| has_addresses(owner, query, pair));
    if beside.is_empty() {
        return false;
    }
    let targets = coredns.answer.iter().filter(|row| row.kind == "SRV");
    let target =
        |row: &ResponseRecord| row.data.rsplit(' ').next().unwrap_or_default().to_lowercase();
    let targets = targets.map(target).collect();
    let asked = BTreeSet::from([query.name().to_lowercase()]);
    for (rows, roots) in [(&mut coredns.answer, asked), (&mut coredns.additional, targets)] {
        rows.retain(|row| row.kind != "CNAME" || !beside.contains(&row.name.to_lowercase()));
        drop_unreachable_records(rows, roots);
    }
    // Where nothing is left, that is told with the SOA record.
    if coredns.answer.is_empty() && matches!(&ours.authority[..], [row] if row.kind == "SOA") {
        coredns.authority.clone_from(&ours.authority);
    }
    is_equal(&case) || has_duplicates(&case) || is_backslash(&case)
}

/// Whether CoreDNS itself knows addresses of exactly this name, in a question's manner.
fn has_addresses(name: &str, query: &DnsQuery, pair: &mut ServerPair) -> bool {
    let labels = name.trim_end_matches('.').split('.').map(str::to_owned).collect::<Vec<_>>();
    [RecordType::A, RecordType::AAAA].into_iter().any(|kind| {
        let by_kind =
            DnsQuery { kind, transport: Transport::Tcp, labels: labels.clone(), ..query.clone() };
        let response = pair.query(&by_kind).coredns;
        let is_it =
            |row: &ResponseRecord| row.kind != "CNAME" && row.name.eq_ignore_ascii_case(name);
        response.answer.iter().any(is_it)
    })
}

/// Drops what is not led to from these names, and aliases in the domain that lead to nothing.
fn drop_unreachable_records(rows: &mut Vec<ResponseRecord>, roots: BTreeSet<String>) {
    loop {
        let before = rows.len();
        let mut reached = roots.clone();
        for _ in 0..rows.len() {
            let led = rows
                .iter()
                .filter(|row| row.kind == "CNAME" && reached.contains(&row.name.to_lowercase()));
            reached = led.map(|row| row.data.to_lowercase()).chain(reached.clone()).collect();
        }
        let names = rows.iter().map(|row| row.name.to_lowercase()).collect::<BTreeSet<_>>();
        rows.retain(|row| {
            let to = row.data.to_lowercase();
            let leads =
                row.kind != "CNAME" || !to.ends_with(&format!("{DOMAIN}.")) || names.contains(&to);
            leads && reached.contains(&row.name.to_lowercase())
        });
        if rows.len() == before {
            return;
        }
    }
}

/// CoreDNS answers the domain's SOA record for another name, and here it is beside that there
/// is none.
fn is_soa_below(case: &QueryCase, pair: &mut ServerPair) -> bool {
    let QueryCase { query, coredns, ours } = case;
    let is_soa = |rows: &[ResponseRecord]| matches!(rows, [row] if row.kind == "SOA");
    let is_apex = query.name().eq_ignore_ascii_case(&format!("{DOMAIN}."));
    let is_meant = query.kind == RecordType::SOA
        && !is_apex
        && is_soa(&coredns.answer)
        && ours.answer.is_empty()
        && is_soa(&ours.authority);
    if !is_meant {
        return false;
    }
    let by_address = DnsQuery { kind: RecordType::A, transport: Transport::Tcp, ..query.clone() };
    pair.query(&by_address).ours.code == ours.code
}

/// A name without MX records, where CoreDNS has some.
fn is_mail(case: &QueryCase) -> bool {
    let QueryCase { query, coredns, ours } = case;
    query.kind == RecordType::MX
        && coredns.answer.iter().any(|row| row.kind == "MX")
        && ours.code == "NoError"
        && ours.answer.is_empty()
        && matches!(&ours.authority[..], [row] if row.kind == "SOA")
}

/// All is the same but for the backslashes, and what CoreDNS says more than once.
fn is_backslash(case: &QueryCase) -> bool {
    let mut case = case.clone();
    let texts = case.ours.answer.iter_mut().filter(|row| row.data.contains('\\'));
    let found = texts.map(|row| row.data = row.data.replace('\\', "")).count();
    found > 0 && (is_equal(&case) || has_duplicates(&case))
}

/// All is the same but for the TTLs, and letters' case, of what CoreDNS says more than once.
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

/// What counts as one record in DNS, where no letter's case does, but in a text.
fn is_same_record(one: &ResponseRecord, other: &ResponseRecord) -> bool {
    let is_same_data = match one.kind.as_str() {
        "TXT" => one.data == other.data,
        _ => one.data.eq_ignore_ascii_case(&other.data),
    };
    one.kind == other.kind && one.name.eq_ignore_ascii_case(&other.name) && is_same_data
}

fn queried_address(query: &DnsQuery) -> Option<IpAddr> {
    let name = Name::from_ascii(query.name()).ok()?;
    (query.kind == RecordType::PTR)
        .then(|| name.parse_arpa_name().ok())
        .flatten()
        .map(|network| network.addr())
}
