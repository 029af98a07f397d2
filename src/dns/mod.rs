//! The DNS server of standalone: what CoreDNS's `etcd` plugin would answer of the same
//! records, without etcd and without CoreDNS.
//!
//! From the outside in: `server` runs it, `listen` binds its sockets, `udp` and
//! `tcp` read and write them; `respond` makes an answer of a packet, for which
//! `question` reads it and `frame` writes it; `answer` and `chain` find an
//! answer's records, `lookup` what is published at a name, `domain` the key that a
//! name stands for. `forward` asks other servers (`servers`, `exchange`), for those whom `neighbours` knows, `limit` keeps strangers small, `turns` turns
//! records round, and
//! `packets` answers without any socket.
//!
//! Messages and the client that forwards are hickory's. Its server is not used, for all that
//! it is as quick: listening on all addresses it can't answer from the one that was asked
//! (a container that asks another of its host's addresses than its bridge's takes no such
//! answer), and its TCP connections have no bound.
//!
//! # What differs from CoreDNS 1.15, and why
//!
//! - A name that some question finds is NOERROR to all (RFC 8020). CoreDNS answers
//!   NXDOMAIN to CNAME and PTR of a name that only has others below it, and to the
//!   domain's own name while it has no record, or, of NS, none at `ns.dns`: a resolver
//!   that keeps that takes the name for gone for half a minute, whatever is asked.
//! - ANY is answered with one HINFO record (RFC 8482); CoreDNS says that there is none
//!   of that type, but for its plugin `any`.
//! - PTR of an address that is published gives the names that it is published under,
//!   100 at most. CoreDNS answers for reverse zones that it is configured for, from
//!   records of their own.
//! - An alias is left out beside addresses of its name (RFC 1034, section 3.6.2): a cache
//!   may follow it for all of the name. CoreDNS tells both.
//! - Only the domain itself has a SOA record. CoreDNS answers it for all names in it, be
//!   there such a name or not.
//! - Until all records have been put at least once, a name or type that is not here is
//!   SERVFAIL: that it is not there would be kept. CoreDNS has no such time.
//! - A record is answered once, with the TTL that was met first (RFC 2181, section
//!   5.2); CoreDNS repeats an alias once a record, and what aliases meet at once an
//!   alias.
//! - UDP answers have at most 1232 bytes, whatever the client takes, so that they
//!   pass every path without fragments; EDNS says so.
//! - Names are shortened otherwise, so that an SRV answer that CoreDNS just finds room for
//!   may be cut.
//! - A value that is no record is no answer, and its neighbours are answered. CoreDNS
//!   fails (SERVFAIL) for all names above it.
//! - A name with a slash in it is not there. CoreDNS takes `a/b` for `b.a`.
//! - Only labels before the domain can be wildcards: a domain `any.example` is one
//!   like all others.
//! - MX is never answered: HighHock writes no such records.
//! - More than 1000 aliases are not followed for one question.
//! - A backslash in a text is told; CoreDNS takes it for an escape.
//! - A text of exactly 255 bytes, or a multiple, ends without an empty string.
//! - Answers are turned round robin; CoreDNS has the plugin `loadbalance` for that.

mod alias_chain;
mod answer;
mod client_acl;
mod decode;
mod encode;
mod error;
mod forward;
mod fuzz_entry;
mod lookup;
mod rate_limit;
mod resource_record;
mod responder;
mod round_robin;
mod server;
mod sockets;
mod stats;
mod tcp;
#[cfg(test)]
mod test_zone;
mod udp;
mod upstream_query;
mod upstreams;
mod zone_names;

pub use error::DnsError;
pub use fuzz_entry::PacketResponder;
pub use server::{DnsServer, DnsSettings};
pub use stats::{DnsStats, DnsStatsSnapshot, RESPONSE_CODES};
