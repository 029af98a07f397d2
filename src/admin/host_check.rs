//! By which names the server may be called: the defence against DNS rebinding.
//!
//! A page of an attacker's can point its own name at this server and then read what its
//! visitor can reach. The browser still sends that name as `Host`. So only names are
//! answered to that no stranger can have pointed here.

use std::net::IpAddr;

/// Which names are answered to, beside this server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// None: the server listens on loopback and asks for no token.
    Refused,
    /// Every address and every name without a dot, as containers call each other:
    /// neither can be a stranger's. The server can be reached from elsewhere and asks
    /// for no token.
    Unspoofable,
    /// All: a token is asked for, and a stranger's page has none.
    Taken,
}

/// The names of a server.
#[derive(Clone, Debug)]
pub struct Hosts {
    listens: IpAddr,
    machine: String,
    others: Others,
}

impl Hosts {
    /// The names of a server that listens at this address, on a machine of this name.
    pub fn new(listens: IpAddr, machine: &str, others: Others) -> Self {
        Self { listens, machine: machine.trim_end_matches('.').to_ascii_lowercase(), others }
    }

    /// Whether a `Host` header's value, with or without a port, is answered to.
    pub fn allow(&self, header: &str) -> bool {
        if self.others == Others::Taken {
            return true;
        }
        let Some(host) = without_port(header.trim()) else { return false };
        if let Ok(address) = host.parse::<IpAddr>() {
            return address == self.listens
                || address.is_loopback()
                || self.others == Others::Unspoofable;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let first_label = self.machine.split('.').next();
        host == "localhost"
            || (!host.is_empty() && (host == self.machine || Some(&*host) == first_label))
            || (self.others == Others::Unspoofable && is_bare_name(&host))
    }
}

/// A name of one label.
fn is_bare_name(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// `[::1]:80` as `::1`, `name:80` as `name`; `None` for what is no host at all.
fn without_port(header: &str) -> Option<&str> {
    if let Some(rest) = header.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_fits.then_some(address);
    }
    match header.split_once(':') {
        Some((host, port)) => is_port(port).then_some(host),
        None => Some(header),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(others: Others) -> Hosts {
        Hosts::new([10, 0, 0, 7].into(), "Web-1.example.org", others)
    }

    const OWN: [&str; 11] = [
        "10.0.0.7:9465",
        "10.0.0.7",
        "localhost:9465",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1:9465",
        "127.1.2.3",
        "[::1]:9465",
        "web-1:80",
        "web-1.example.org",
        "WEB-1.Example.Org.:9465",
    ];
    const UNSPOOFABLE: [&str; 4] = ["10.0.0.8:9465", "[2001:db8::1]", "highhock:9465", "high_hock"];
    const FOREIGN: [&str; 12] = [
        "evil.example.org",
        "example.org",
        "localhost.evil.org",
        "127.0.0.1.evil.org",
        "evil.org:9465",
        "web-1.example.org.evil.org",
        "",
        ":9465",
        "[::1",
        "[::1]evil",
        "a b",
        "localhost:http",
    ];

    #[test]
    fn its_own_names_are_answered_to_always() {
        for others in [Others::Refused, Others::Unspoofable, Others::Taken] {
            for name in OWN {
                assert!(hosts(others).allow(name), "{name} {others:?}");
            }
        }
    }

    #[test]
    fn others_are_answered_to_as_far_as_no_stranger_can_use_them() {
        for name in UNSPOOFABLE {
            assert!(!hosts(Others::Refused).allow(name), "{name}");
            assert!(hosts(Others::Unspoofable).allow(name), "{name}");
            assert!(hosts(Others::Taken).allow(name), "{name}");
        }
        for name in FOREIGN {
            assert!(!hosts(Others::Refused).allow(name), "{name}");
            assert!(!hosts(Others::Unspoofable).allow(name), "{name}");
            assert!(hosts(Others::Taken).allow(name), "{name}");
        }
    }

    #[test]
    fn a_machine_without_a_name_is_called_by_none() {
        let hosts = Hosts::new([127, 0, 0, 1].into(), "", Others::Refused);
        assert!(!hosts.allow("") && !hosts.allow(".") && hosts.allow("localhost"));
    }
}
