//! In what the two may differ, and why. The README's list is this one.

use hickory_proto::rr::RecordType;

use super::compare::Case;
use super::worlds::World;

/// A difference that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    Any,
    Serial,
    WhereItIsCut,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Any, Self::Serial, Self::WhereItIsCut];

    /// What it is, and why it is so.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Any => {
                "ANY is answered by one HINFO record (RFC 8482); CoreDNS has no data for it"
            }
            Self::Serial => "the SOA's serial: CoreDNS tells the time, HighHock counts changes",
            Self::WhereItIsCut => {
                "the one answer fits its room and the other does not: names are compressed otherwise"
            }
        }
    }
}

/// The difference that explains all in which these two answers are not the same.
pub fn named(_world: &World, case: &Case) -> Option<Difference> {
    let kind = case.question.kind;
    if kind == RecordType::ANY
        && case.ours.data("HINFO").len() == 1
        && case.coredns.answer.is_empty()
    {
        return Some(Difference::Any);
    }
    None
}
