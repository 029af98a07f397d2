//! The families of the DNS server, where this process is one.

use std::fmt::Result;

use super::writer::{MetricWriter, family};
use crate::dns::{DnsStatsSnapshot, RESPONSE_CODES};

pub(super) fn encode_dns(counts: &DnsStatsSnapshot, writer: &mut MetricWriter) -> Result {
    writer.counters(
        family("dns_questions", "Questions that came, by how they did."),
        [("udp", counts.queries_udp), ("tcp", counts.queries_tcp)]
            .map(|(transport, count)| (vec![("transport", transport)], count)),
    )?;
    writer.counters(
        family("dns_answers", "Answers that were given, by their code."),
        RESPONSE_CODES
            .iter()
            .zip(counts.responses)
            .map(|(code, count)| (vec![("rcode", *code)], count)),
    )?;
    writer.counter(
        family("dns_forwarded", "Questions that were passed on to the servers of dns.forward."),
        counts.forwarded,
    )?;
    writer.counter(
        family("dns_forward_failures", "How often a server of dns.forward gave no answer."),
        counts.forward_failures,
    )?;
    writer.counter(
        family("dns_limited", "Questions of networks over dns.rateLimit: answered empty and truncated, so that a resolver asks again by TCP, or not at all."),
        counts.rate_limited,
    )?;
    writer.counter(
        family("dns_malformed", "Packets that were no questions, and got no answer."),
        counts.dropped,
    )
}
