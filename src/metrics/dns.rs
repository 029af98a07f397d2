//! The families of the DNS server, where this process is one.

use std::fmt::Result;

use super::writer::{Families, family};
use crate::dns::{CODES, DnsCounts};

pub(super) fn encode_dns(counts: &DnsCounts, families: &mut Families) -> Result {
    families.counters(
        family("dns_questions", "Questions that came, by how they did."),
        [("udp", counts.questions_udp), ("tcp", counts.questions_tcp)]
            .map(|(transport, count)| (vec![("transport", transport)], count)),
    )?;
    families.counters(
        family("dns_answers", "Answers that were given, by their code."),
        CODES.iter().zip(counts.answers).map(|(code, count)| (vec![("rcode", *code)], count)),
    )?;
    families.counter(
        family("dns_forwarded", "Questions that were passed on to the servers of dns.forward."),
        counts.forwarded,
    )?;
    families.counter(
        family("dns_forward_failures", "How often a server of dns.forward gave no answer."),
        counts.forward_failures,
    )?;
    families.counter(
        family("dns_limited", "Questions of networks over dns.rateLimit: answered empty and truncated, so that a resolver asks again by TCP, or not at all."),
        counts.limited,
    )?;
    families.counter(
        family("dns_malformed", "Packets that were no questions, and got no answer."),
        counts.dropped,
    )
}
