//! The metrics of the DNS server (standalone mode only).

use std::fmt::Result;

use super::writer::{MetricWriter, family};
use crate::dns::{DnsStatsSnapshot, RESPONSE_CODES};

pub(super) fn encode_dns(counts: &DnsStatsSnapshot, writer: &mut MetricWriter) -> Result {
    writer.counters(
        family("dns_questions", "DNS queries received, by transport."),
        [("udp", counts.queries_udp), ("tcp", counts.queries_tcp)]
            .map(|(transport, count)| (vec![("transport", transport)], count)),
    )?;
    writer.counters(
        family("dns_answers", "DNS responses sent, by response code."),
        RESPONSE_CODES
            .iter()
            .zip(counts.responses)
            .map(|(code, count)| (vec![("rcode", *code)], count)),
    )?;
    writer.counter(
        family("dns_forwarded", "DNS queries forwarded to the upstream servers in dns.forward."),
        counts.forwarded,
    )?;
    writer.counter(
        family(
            "dns_forward_failures",
            "Forwarded DNS queries that an upstream server did not answer.",
        ),
        counts.forward_failures,
    )?;
    writer.counter(
        family(
            "dns_rate_limited",
            "DNS queries above dns.rateLimit: dropped, or answered with \
            an empty truncated response, after which a resolver uses TCP.",
        ),
        counts.rate_limited,
    )?;
    writer.counter(
        family("dns_malformed", "Packets that are not valid DNS queries; they get no response."),
        counts.dropped,
    )
}
