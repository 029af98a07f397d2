//! Whether two answers to one question say the same.

use hickory_proto::rr::RecordType;

use super::Pair;
use super::differences::{Difference, named};
use super::fixtures::World;
use super::support::dns_wire::{Question, Row, Said, Way};

/// One question, and what each of the two said.
#[derive(Clone)]
pub struct Case {
    pub question: Question,
    pub coredns: Said,
    pub ours: Said,
}

/// What came of it.
pub enum Verdict {
    Alike,
    Named(Vec<Difference>),
    /// Why, and the answers that were compared: those by TCP, where one was cut.
    Wrong(String, Box<Case>),
}

/// Seconds by which a lease's rest and the time may differ: both round, and one is asked first.
const ROUNDING: u32 = 2;

/// The largest answer that HighHock gives by UDP, in bytes.
const LARGEST: u16 = 1232;

pub fn judge(world: &World, case: &Case, pair: &mut Pair) -> Verdict {
    if let Err(why) = is_sound(&case.question, &case.ours) {
        return Verdict::Wrong(why, case.clone().into());
    }
    let mut case = case.clone();
    let mut differences = Vec::new();
    if case.coredns.truncated || case.ours.truncated {
        let cut = case;
        case = pair.ask(&Question { way: Way::Tcp, ..cut.question.clone() });
        if let Err(why) = is_cut_well(&cut.ours, &case.ours) {
            return Verdict::Wrong(why, case.into());
        }
        // What failed was not cut.
        if cut.coredns.truncated != cut.ours.truncated && cut.coredns.code != "ServFail" {
            let Some(why) = why_cut(&cut, &case) else {
                return Verdict::Wrong("only one of the answers is cut".into(), cut.into());
            };
            differences.push(why);
        }
        // Both answers are whole now, and only one of them had EDNS's record.
        case.coredns.edns = case.ours.edns;
    }
    mask_serials(&mut case);
    if world.lease.is_some() {
        round_ttls(&mut case);
    }
    if !same(&case) {
        let Some(found) = named(world, &case, pair) else {
            return Verdict::Wrong("the answers differ".into(), case.into());
        };
        differences.push(found);
    }
    if differences.is_empty() { Verdict::Alike } else { Verdict::Named(differences) }
}

/// What must hold of an answer whatever CoreDNS says.
fn is_sound(question: &Question, said: &Said) -> Result<(), String> {
    let limit = match question.way {
        Way::Udp => 512,
        Way::Edns(size) => usize::from(size.clamp(512, LARGEST)),
        Way::Tcp => usize::from(u16::MAX),
    };
    let asked = question.name();
    let repeats = |rows: &[Row]| rows.windows(2).any(|pair| pair[0] == pair[1]);
    let faults = [
        (said.bytes > limit, "longer than was asked for"),
        (said.question != asked, "the question did not come back as it was"),
        (said.edns != matches!(question.way, Way::Edns(_)), "EDNS is answered by EDNS only"),
        (said.recursion_desired != question.wants_recursion, "recursion was asked for otherwise"),
        (said.recursion_available, "offers recursion that it doesn't do"),
        (said.truncated && question.way == Way::Tcp, "cut where there is room"),
        (
            repeats(&said.answer) || repeats(&said.authority) || repeats(&said.additional),
            "a record comes twice",
        ),
    ];
    match faults.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => Err(why.into()),
        None => Ok(()),
    }
}

/// Why only one of two answers was cut, by the whole ones; `None`: there is no reason.
fn why_cut(cut: &Case, whole: &Case) -> Option<Difference> {
    let records = |said: &Said| said.answer.len() + said.additional.len();
    match cut.question.way {
        Way::Edns(size) if size > LARGEST && cut.ours.truncated => Some(Difference::AtMost1232),
        _ if cut.ours.truncated && cut.question.kind == RecordType::SRV => {
            Some(Difference::LongerNames)
        }
        _ if cut.coredns.truncated && records(&whole.coredns) > records(&whole.ours) => {
            Some(Difference::Twice)
        }
        _ => None,
    }
}

/// What there was room for is a part of the whole.
fn is_cut_well(cut: &Said, whole: &Said) -> Result<(), String> {
    let is_part = |part: &[Row], of: &[Row]| {
        let same = |a: &Row, b: &Row| (&a.name, &a.kind, &a.data) == (&b.name, &b.kind, &b.data);
        part.iter().all(|row| of.iter().any(|other| same(row, other)))
    };
    let is_so = is_part(&cut.answer, &whole.answer)
        && is_part(&cut.additional, &whole.additional)
        && cut.code == whole.code;
    if is_so { Ok(()) } else { Err(format!("cut to what the whole answer lacks: {cut:#?}")) }
}

/// Both tell the time, the one a little later.
fn mask_serials(case: &mut Case) {
    let mut seen: Vec<u32> = Vec::new();
    for said in [&mut case.coredns, &mut case.ours] {
        for row in said.answer.iter_mut().chain(&mut said.authority) {
            if row.kind == "SOA" {
                let mut parts: Vec<_> = row.data.split(' ').collect();
                let serial = parts[2].parse().unwrap();
                if seen.iter().all(|other| other.abs_diff(serial) <= ROUNDING) {
                    parts[2] = "now";
                }
                seen.push(serial);
                row.data = parts.join(" ");
            }
        }
    }
}

fn round_ttls(case: &mut Case) {
    let Case { coredns, ours, .. } = case;
    for (theirs, ours) in sections(coredns, ours) {
        for row in ours.iter_mut() {
            let is_near = |other: &&Row| {
                let rounded = Row { ttl: other.ttl, ..row.clone() };
                rounded == **other && row.ttl.abs_diff(other.ttl) <= ROUNDING
            };
            if let Some(near) =
                theirs.iter().filter(is_near).min_by_key(|other| row.ttl.abs_diff(other.ttl))
            {
                row.ttl = near.ttl;
            }
        }
        ours.sort();
    }
}

fn sections<'a>(coredns: &'a Said, ours: &'a mut Said) -> [(&'a Vec<Row>, &'a mut Vec<Row>); 3] {
    [
        (&coredns.answer, &mut ours.answer),
        (&coredns.authority, &mut ours.authority),
        (&coredns.additional, &mut ours.additional),
    ]
}

/// The same code, flags and sets of records.
pub fn same(case: &Case) -> bool {
    let Case { coredns, ours, .. } = case;
    coredns.code == ours.code
        && coredns.authoritative == ours.authoritative
        && same_rows(&coredns.answer, &ours.answer)
        && same_rows(&coredns.authority, &ours.authority)
        && same_rows(&coredns.additional, &ours.additional)
}

/// CoreDNS says some records twice.
pub fn same_rows(coredns: &[Row], ours: &[Row]) -> bool {
    let mut once = coredns.to_vec();
    once.dedup();
    once == ours
}
