//! The check of the `Host` header, which is the defence against DNS rebinding.
//!
//! In this attack a web page points its own name at the address of this server, and then reads the
//! responses through the browser of its visitor. The browser still sends the name of the page as
//! `Host`. The server therefore accepts only names that an attacker cannot point at it.

use std::net::IpAddr;

/// The policy for names other than the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownHosts {
    /// All are rejected: the server listens on loopback and needs no token.
    Rejected,
    /// Addresses and names without a dot, as used between containers, are accepted: an attacker
    /// controls neither. The server listens beyond loopback and needs no token.
    Unspoofable,
    /// All are accepted: the server requires a token, which a foreign web page does not have.
    Accepted,
}

/// The accepted names of a server.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    listen_ip: IpAddr,
    machine: String,
    unknown_hosts: UnknownHosts,
}

impl AllowedHosts {
    /// Creates the list for a server on this address of this machine.
    pub fn new(listen_ip: IpAddr, machine: &str, unknown_hosts: UnknownHosts) -> Self {
        Self {
            listen_ip,
            machine: machine.trim_end_matches('.').to_ascii_lowercase(),
            unknown_hosts,
        }
    }

    /// Returns `true` if the value of a `Host` header, with or without a port, is accepted.
    pub fn allow(&self, header: &str) -> bool {
        if self.unknown_hosts == UnknownHosts::Accepted {
            return true;
        }
        let Some(host) = without_port(header.trim()) else { return false };
        if let Ok(address) = host.parse::<IpAddr>() {
            return address == self.listen_ip
                || address.is_loopback()
                || self.unknown_hosts == UnknownHosts::Unspoofable;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let first_label = self.machine.split('.').next();
        host == "localhost"
            || (!host.is_empty() && (host == self.machine || Some(&*host) == first_label))
            || (self.unknown_hosts == UnknownHosts::Unspoofable && is_bare_name(&host))
    }
}

/// Returns `true` for a name without a dot.
fn is_bare_name(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Returns `::1` for `[::1]:80` and `name` for `name:80`, or `None` for an invalid host.
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

    fn hosts(unknown_hosts: UnknownHosts) -> AllowedHosts {
        AllowedHosts::new([10, 0, 0, 7].into(), "Web-1.example.org", unknown_hosts)
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
    fn always_allows_its_own_names() {
        for unknown_hosts in
            [UnknownHosts::Rejected, UnknownHosts::Unspoofable, UnknownHosts::Accepted]
        {
            for name in OWN {
                assert!(hosts(unknown_hosts).allow(name), "{name} {unknown_hosts:?}");
            }
        }
    }

    #[test]
    fn allows_unknown_hosts_by_policy() {
        for name in UNSPOOFABLE {
            assert!(!hosts(UnknownHosts::Rejected).allow(name), "{name}");
            assert!(hosts(UnknownHosts::Unspoofable).allow(name), "{name}");
            assert!(hosts(UnknownHosts::Accepted).allow(name), "{name}");
        }
        for name in FOREIGN {
            assert!(!hosts(UnknownHosts::Rejected).allow(name), "{name}");
            assert!(!hosts(UnknownHosts::Unspoofable).allow(name), "{name}");
            assert!(hosts(UnknownHosts::Accepted).allow(name), "{name}");
        }
    }

    #[test]
    fn rejects_empty_host_without_a_machine_name() {
        let hosts = AllowedHosts::new([127, 0, 0, 1].into(), "", UnknownHosts::Rejected);
        assert!(!hosts.allow("") && !hosts.allow(".") && hosts.allow("localhost"));
    }
}
