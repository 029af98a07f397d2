//! The DNS server of standalone mode. It answers like CoreDNS with its `etcd` plugin, but from
//! the records of this process. The intended differences are listed in `config/dns.md`, section
//! "Differences from CoreDNS".
//!
//! The modules, from the sockets to the records:
//!
//! - `server` starts and stops the server. `sockets` binds its addresses. `udp` and `tcp` read
//!   queries and write responses.
//! - `responder` turns a packet into a response. `decode` reads the packet, and `encode` writes
//!   the response. `rate_limit` bounds the responses per network, and `round_robin` rotates the
//!   records.
//! - `answer` and `alias_chain` choose the records of a response, as `resource_record` encodes
//!   them. `lookup` finds the records of a name, and `zone_names` maps the name to a key.
//! - `forward` sends queries to the `upstreams`, one `upstream_query` at a time, for the clients
//!   that `client_acl` permits.
//! - `fuzz_entry` answers packets without a socket.
//!
//! Messages and the upstream client come from hickory. Its server is equally fast, but has two
//! faults. A socket on all addresses does not respond from the address that was queried. A
//! container that queries another address of its host than that of its bridge rejects such a
//! response. The number of TCP connections is unbounded.

mod alias_chain;
mod answer;
mod client_acl;
mod decode;
mod edns_options;
mod encode;
mod error;
mod forward;
mod fuzz_entry;
mod lookup;
mod rate_limit;
mod resource_record;
mod responder;
mod round_robin;
mod rrset_ttl;
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
