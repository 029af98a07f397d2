//! In what the two may differ, and why. The README's list is this one.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;

use super::Pair;
use super::compare::{Case, same};
use super::support::wire::{Question, Row, Way};
use super::worlds::{DOMAIN, World};

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
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 10] = [
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
            Self::Twice => {
                "a record is told once, with the TTL that was met first (RFC 2181); where aliases \
                 meet, CoreDNS tells it again, with another TTL or until there is no more room"
            }
        }
    }
}

/// The difference that explains all in which these two answers are not the same.
pub fn named(world: &World, case: &Case, pair: &mut Pair) -> Option<Difference> {
    let question = &case.question;
    Difference::ALL.into_iter().find(|difference| match difference {
        Difference::Any => is_minimal_any(case),
        Difference::NamesAbove => is_name_above(case, pair),
        Difference::Slash => {
            question.labels.iter().any(|label| label.contains('/')) && case.ours.code == "NXDomain"
        }
        Difference::Reverse => is_reverse(world, case),
        Difference::Backslash => is_backslash(case),
        Difference::Twice => is_twice(case),
        Difference::NoRecord => {
            let codes = (case.coredns.code.as_str(), case.ours.code.as_str());
            world.spoilt.is_some() && matches!(codes, ("ServFail", "NoError" | "NXDomain"))
        }
        Difference::Mail => is_mail(case),
        // Found where the answers' lengths are looked at.
        Difference::AtMost1232 | Difference::LongerNames => false,
    })
}

/// One HINFO record, and a name that CoreDNS knows, too.
fn is_minimal_any(case: &Case) -> bool {
    let Case { question, coredns, ours } = case;
    let [row] = &ours.answer[..] else { return false };
    question.kind == RecordType::ANY
        && coredns.code == "NoError"
        && coredns.answer.is_empty()
        && (row.name.as_str(), row.kind.as_str()) == (question.name().as_str(), "HINFO")
        && ours.code == "NoError"
        && ours.authority.is_empty()
        && ours.additional.is_empty()
}

/// All is the same but for the code, and CoreDNS itself knows the name by another type, or fails at it.
fn is_name_above(case: &Case, pair: &mut Pair) -> bool {
    let Case { question, coredns, ours } = case;
    if (coredns.code.as_str(), ours.code.as_str()) != ("NXDomain", "NoError") {
        return false;
    }
    let mut but_for_code = case.clone();
    but_for_code.coredns.code.clone_from(&ours.code);
    let is_apex = question.name().eq_ignore_ascii_case(&format!("{DOMAIN}."));
    let by_address = Question { kind: RecordType::A, way: Way::Tcp, ..question.clone() };
    same(&but_for_code) && (is_apex || pair.ask(&by_address).coredns.code != "NXDomain")
}

/// CoreDNS refuses it, and the answer has the name of each record with that address.
fn is_reverse(world: &World, case: &Case) -> bool {
    let Case { question, coredns, ours } = case;
    let Some(address) = address_asked_for(question) else { return false };
    let name = |(key, value): (&String, &String)| {
        let value: Value = serde_json::from_str(value).unwrap();
        let host: Option<IpAddr> = value["host"].as_str().and_then(|host| host.parse().ok());
        let labels: Vec<_> = key.rsplit('/').collect();
        let name = labels[..labels.len() - 1].join(".") + ".";
        (host.map(|host| host.to_canonical()) == Some(address)).then_some(name)
    };
    let mut names: Vec<_> = world.records.iter().filter_map(name).collect();
    names.sort();
    let mut said: Vec<_> = ours.answer.iter().map(|row| row.data.clone()).collect();
    said.sort();
    let is_pointer = |row: &Row| row.kind == "PTR" && row.name == question.name();
    coredns.code == "Refused"
        && ours.code == "NoError"
        && ours.answer.iter().all(is_pointer)
        && !names.is_empty()
        && said == names
}

/// A name without MX records, where CoreDNS has some.
fn is_mail(case: &Case) -> bool {
    let Case { question, coredns, ours } = case;
    question.kind == RecordType::MX
        && coredns.answer.iter().any(|row| row.kind == "MX")
        && ours.code == "NoError"
        && ours.answer.is_empty()
        && matches!(&ours.authority[..], [row] if row.kind == "SOA")
}

/// All is the same but for the backslashes, and what CoreDNS says more than once.
fn is_backslash(case: &Case) -> bool {
    let mut case = case.clone();
    let texts = case.ours.answer.iter_mut().filter(|row| row.data.contains('\\'));
    let found = texts.map(|row| row.data = row.data.replace('\\', "")).count();
    found > 0 && (same(&case) || is_twice(&case))
}

/// All is the same but for the TTLs, and letters' case, of what CoreDNS says more than once.
fn is_twice(case: &Case) -> bool {
    let mut case = case.clone();
    let Case { coredns, ours, .. } = &mut case;
    let mut found = false;
    for (theirs, ours) in
        [(&mut coredns.answer, &ours.answer), (&mut coredns.additional, &ours.additional)]
    {
        let all = theirs.clone();
        theirs.retain(|row| {
            let others = all.iter().filter(|other| is_same_record(row, other));
            let is_twice = others.clone().any(|other| other != row);
            found |= is_twice;
            !is_twice || ours.contains(row) || !others.clone().any(|other| ours.contains(other))
        });
    }
    found && same(&case)
}

/// What counts as one record in DNS, where no letter's case does, but in a text.
fn is_same_record(one: &Row, other: &Row) -> bool {
    let is_same_data = match one.kind.as_str() {
        "TXT" => one.data == other.data,
        _ => one.data.eq_ignore_ascii_case(&other.data),
    };
    one.kind == other.kind && one.name.eq_ignore_ascii_case(&other.name) && is_same_data
}

fn address_asked_for(question: &Question) -> Option<IpAddr> {
    let name = Name::from_ascii(question.name()).ok()?;
    (question.kind == RecordType::PTR)
        .then(|| name.parse_arpa_name().ok())
        .flatten()
        .map(|network| network.addr())
}
