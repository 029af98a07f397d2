//! All keys of the configuration, in the order of the table in `config/README.md`.
//!
//! The checks of values, the environment variables, the flags, `--help` and the suggestion of the
//! nearest known key are all derived from this list.

use super::key::DefaultValue::{Derived, Fixed};
use super::key::Key;
use super::level::LogLevel;
use super::value_type::ValueType;
use super::{listen_values, values};
use crate::text::nearest::is_similar;

const TEXT: ValueType = ValueType::String {
    expected: "a string that is not empty",
    check: |text| values::text(text).map(drop),
};
const FILE: ValueType = ValueType::String {
    expected: "the path of a file",
    check: |text| values::text(text).map(drop),
};
const HOST: ValueType = ValueType::String {
    expected: "an IP address that clients can connect to, or a host name",
    check: |text| values::host(text).map(drop),
};

const fn seconds(min: u32, max: u32) -> ValueType {
    ValueType::Integer { min, max, unit: "seconds" }
}

/// One day. With a longer TTL, stale records would outlive every reasonable outage.
const TTL_MAX_SECONDS: u32 = 86_400;
/// One hour. Most records live shorter than a longer interval.
const POLL_MAX_SECONDS: u32 = 3_600;
/// Ten minutes. A longer wait only delays the report of an engine that hangs.
const ENGINE_TIMEOUT_MAX_SECONDS: u32 = 600;

/// All keys.
pub static KEYS: &[Key] = &[
    Key::new(
        "store",
        ValueType::Enum(&["etcd", "standalone"]),
        Fixed("etcd"),
        "The store of the records: etcd, or standalone: this process, which answers DNS itself",
    ),
    Key::new(
        "etcd.url",
        ValueType::String {
            expected: "the URL of an etcd member, such as http://127.0.0.1:2379/, or the URLs of \
                       several members separated by commas",
            check: |text| values::etcd_urls(text).map(drop),
        },
        Fixed("http://127.0.0.1:4001/"),
        "etcd's client URL, or the URLs of several members, separated by commas",
    )
    .short("e"),
    Key::new(
        "etcd.api",
        ValueType::Enum(&["auto", "v2", "v3"]),
        Fixed("auto"),
        "The API of etcd to use",
    ),
    Key::new(
        "etcd.ttl",
        seconds(5, TTL_MAX_SECONDS),
        Fixed("60"),
        "Seconds that a key outlives its last refresh (5 to 86400)",
    ),
    Key::new(
        "etcd.username",
        ValueType::String {
            expected: "a user name without a colon",
            check: |text| values::username(text).map(drop),
        },
        Derived("none"),
        "The user for etcd's authentication",
    ),
    Key::new("etcd.password", TEXT, Derived("none"), "The password of that user").secret(),
    Key::new("etcd.passwordFile", FILE, Derived("none"), "A file with the password"),
    Key::new(
        "etcd.ca",
        FILE,
        Derived("the system's CAs"),
        "PEM file: the only CAs to trust for etcd",
    ),
    Key::new("etcd.cert", FILE, Derived("none"), "PEM file: the client certificate for etcd"),
    Key::new("etcd.key", FILE, Derived("none"), "PEM file: the client certificate's key"),
    Key::new(
        "etcd.onExit",
        ValueType::Enum(&["keep", "remove"]),
        Fixed("keep"),
        "On a clean stop, keep leaves the records until their TTL ends; remove withdraws them",
    ),
    Key::new(
        "skydns.domain",
        ValueType::String {
            expected: "a domain name",
            check: |text| values::domain(text).map(drop),
        },
        Derived("skydns.local"),
        "The domain of all names",
    ),
    Key::new(
        "skydns.ttl",
        seconds(1, TTL_MAX_SECONDS),
        Derived("as etcd.ttl"),
        "The ttl in the record, in seconds; a value below etcd.ttl is ignored",
    ),
    Key::new(
        "skydns.exactTtl",
        ValueType::Bool,
        Fixed("false"),
        "Use skydns.ttl even if it is \
        below etcd.ttl",
    ),
    Key::new(
        "skydns.prefix",
        ValueType::String {
            expected: "one DNS label",
            check: |text| values::prefix(text).map(drop),
        },
        Fixed("skydns"),
        "The first part of every key",
    ),
    Key::new(
        "skydns.layout",
        ValueType::Enum(&["flat", "instance"]),
        Fixed("flat"),
        "One key per name (flat), or one key per container and port below the name (instance)",
    ),
    Key::new(
        "skydns.hostname",
        TEXT,
        Derived("Docker's name of its host, else the machine's name"),
        "Names this host in the keys of the instance layout",
    ),
    Key::new(
        "docker.url",
        ValueType::String {
            expected: "unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
            check: |text| values::docker_url(text).map(drop),
        },
        Derived(
            "DOCKER_HOST, else unix:///var/run/docker.sock if it exists, \
             else http://127.0.0.1:2375",
        ),
        "The URL of the Docker engine",
    )
    .short("d"),
    Key::new(
        "docker.version",
        ValueType::String {
            expected: "auto, or an API version in quotes such as \"v1.41\" or \"1.41\"",
            check: |text| values::docker_version(text).map(drop),
        },
        Fixed("auto"),
        "The API version of the engine; auto negotiates it",
    ),
    Key::new(
        "docker.poll",
        seconds(1, POLL_MAX_SECONDS),
        Fixed("10"),
        "Seconds between two listings of the running containers (1 to 3600)",
    )
    .short("p"),
    Key::new(
        "docker.pollContainer",
        seconds(1, POLL_MAX_SECONDS),
        Fixed("10"),
        "Seconds between two checks of each container's row in the latest listing (1 to 3600)",
    ),
    Key::new(
        "docker.timeout",
        seconds(1, ENGINE_TIMEOUT_MAX_SECONDS),
        Fixed("30"),
        "Seconds within which the engine must answer a request, such as a listing (1 to 600)",
    ),
    Key::new(
        "docker.events",
        ValueType::Bool,
        Fixed("true"),
        "Follow the engine's event stream; false: poll only",
    ),
    Key::new(
        "docker.ca",
        FILE,
        Derived("ca.pem in DOCKER_CERT_PATH if DOCKER_TLS_VERIFY is set, else the system's CAs"),
        "PEM file: the only CAs to trust for the engine",
    ),
    Key::new(
        "docker.cert",
        FILE,
        Derived("cert.pem in DOCKER_CERT_PATH if DOCKER_TLS_VERIFY is set, else none"),
        "PEM file: the client certificate for the engine",
    ),
    Key::new(
        "docker.key",
        FILE,
        Derived("key.pem in DOCKER_CERT_PATH if DOCKER_TLS_VERIFY is set, else none"),
        "PEM file: the client certificate's key",
    ),
    Key::new(
        "discovery.host",
        HOST,
        Derived(
            "EXTERNAL_IP, else the address of discovery.interface, else from discovery.metadata",
        ),
        "The address or host name to publish",
    )
    .alias("publicHost"),
    Key::new(
        "discovery.interface",
        ValueType::String {
            expected: "the name of a network interface, such as eth0",
            check: |text| values::interface(text).map(drop),
        },
        Fixed("eth0"),
        "The interface whose address is published",
    )
    .alias("publicInterface")
    .short("i"),
    Key::new(
        "discovery.metadata",
        ValueType::Enum(&["aws", "gce", "digitalocean", "auto"]),
        Derived("none"),
        "The cloud whose metadata service supplies the address if nothing else does",
    ),
    Key::new(
        "discovery.methods",
        ValueType::List {
            expected: "a list of env, label, registrator and compose, each at most once",
            check: |text| values::method(text).map(drop),
            may_be_empty: false,
        },
        Fixed("env,label"),
        "The discovery methods in order; the first one that names a service wins",
    ),
    Key::new(
        "discovery.address",
        ValueType::Enum(&["host", "container"]),
        Fixed("host"),
        "Publish the host's address and the published port, or the container's own (instance \
            layout)",
    ),
    Key::new(
        "discovery.health",
        ValueType::Bool,
        Fixed("true"),
        "Publish a container with a health check only while it is healthy",
    ),
    Key::new(
        "discovery.drain",
        ValueType::Bool,
        Fixed("true"),
        "Withdraw a container at its stop signal, before it exits",
    ),
    Key::new(
        "discovery.drainMax",
        seconds(1, TTL_MAX_SECONDS),
        Fixed("300"),
        "Seconds after which a container that survived its stop signal is published again",
    ),
    Key::new(
        "discovery.host6",
        ValueType::String {
            expected: "an IPv6 address that clients can connect to, or auto",
            check: |text| values::host6(text).map(drop),
        },
        Derived("none"),
        "An IPv6 address to publish beside the first (instance layout); auto: from the interface",
    ),
    Key::new(
        "discovery.composeProject",
        ValueType::Bool,
        Fixed("false"),
        "Name Compose services <service>.<project>",
    ),
    Key::new(
        "dns.listen",
        ValueType::List {
            expected: "a list of addresses with ports, such as [\"127.0.0.1:5354\", \
                \"[::1]:5354\"]",
            check: |text| listen_values::dns_listen(text).map(drop),
            may_be_empty: false,
        },
        Fixed("127.0.0.1:5354"),
        "Standalone: addresses and ports at which DNS is answered, by UDP and TCP",
    ),
    Key::new(
        "dns.forward",
        ValueType::List {
            expected: "a list of addresses of DNS servers, each with a port unless it is 53",
            check: |text| listen_values::dns_forward(text).map(drop),
            may_be_empty: true,
        },
        Derived("none"),
        "Standalone: the upstream DNS servers for other domains, in order",
    ),
    Key::new(
        "dns.rateLimit",
        ValueType::Integer { min: 0, max: 1_000_000, unit: "answers per second" },
        Fixed("500"),
        "Standalone: UDP answers per second to one network beyond loopback; 0: no limit",
    ),
    Key::new(
        "admin.listen",
        ValueType::String {
            // An empty value disables the admin interface.
            expected: "an address with a port, such as 127.0.0.1:9465 or [::1]:9465, or an \
                empty value",
            check: |text| listen_values::admin_listen(text).map(drop),
        },
        Fixed("127.0.0.1:9465"),
        "The address of the admin interface: metrics, state, status page; empty: none",
    ),
    Key::new(
        "admin.token",
        ValueType::String {
            expected: "a token of visible ASCII characters",
            check: listen_values::token,
        },
        Derived("none"),
        "The token that every request to the admin interface must carry",
    )
    .secret(),
    Key::new("admin.tokenFile", FILE, Derived("none"), "A file with the token"),
    Key::new(
        "admin.allowRemote",
        ValueType::Bool,
        Fixed("false"),
        "Allow admin.listen beyond loopback without a token; /config is then hidden",
    ),
    Key::new(
        "logLevel",
        ValueType::String {
            expected: "DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or EMERGENCY",
            check: |text| text.parse::<LogLevel>().map(drop),
        },
        Fixed("NOTICE"),
        "The lowest level to log: DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or \
            EMERGENCY",
    )
    .short("l"),
    Key::new(
        "logFormat",
        ValueType::Enum(&["terminal", "json"]),
        Fixed("terminal"),
        "The format of log lines",
    ),
];

/// Returns the key with this path or alias.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == name || key.alias == Some(name))
}

/// Returns `true` if this name is a section, which contains keys.
pub fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| section(key.path) == Some(name))
}

fn section(path: &str) -> Option<&str> {
    path.split_once('.').map(|(section, _)| section)
}

/// Returns the known key or section that is most similar to an unknown one; `None` if none is
/// similar.
pub fn nearest_key(unknown: &str) -> Option<&'static str> {
    let unknown = unknown.to_lowercase();
    let names = KEYS
        .iter()
        .flat_map(|key| [Some(key.path), key.alias, section(key.path)].into_iter().flatten());
    // A known key in the wrong section, or in none, counts as one typing error.
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
        let whole = strsim::damerau_levenshtein(&unknown, &name);
        if last(&unknown) == last(&name) { whole.min(1) } else { whole }
    };
    let (name, distance) =
        names.map(|name| (name, distance(name))).min_by_key(|&(_, distance)| distance)?;
    is_similar(&unknown, distance).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::key::DefaultValue;

    #[test]
    fn every_fixed_default_is_valid() {
        for key in KEYS {
            let is_match = matches!(key.default, DefaultValue::Fixed(_));
            assert_eq!(key.default_value().is_some(), is_match, "{}", key.path);
        }
    }

    #[test]
    fn names_flags_and_letters_are_unique() {
        let names = KEYS.iter().flat_map(|key| std::iter::once(key.path).chain(key.alias));
        let flags = KEYS.iter().flat_map(|key| std::iter::once(key.flag()).chain(key.alias_flag()));
        let letters = KEYS.iter().filter_map(|key| key.short).chain(["c"]);
        let all: Vec<_> = names.map(str::to_owned).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        let all: Vec<_> = flags.collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        let all: Vec<_> = letters.collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn flags_are_key_paths_in_kebab_case() {
        assert_eq!(find("docker.pollContainer").unwrap().flag(), "docker-poll-container");
        assert_eq!(find("logLevel").unwrap().flag(), "log-level");
        assert_eq!(find("discovery.host6").unwrap().flag(), "discovery-host6");
        assert_eq!(find("publicHost").unwrap().alias_flag().unwrap(), "public-host");
    }

    #[test]
    fn nearest_key_corrects_typos_only() {
        for (unknown, near) in [
            ("etcd.urll", "etcd.url"),
            ("etcd.uri", "etcd.url"),
            ("loglevel", "logLevel"),
            ("ectd", "etcd"),
            ("pollContainer", "docker.pollContainer"),
            ("docker.poll_container", "docker.pollContainer"),
            ("publicInterfaces", "publicInterface"),
            ("skydns.ttl2", "skydns.ttl"),
        ] {
            assert_eq!(nearest_key(unknown), Some(near), "{unknown}");
        }
        for unknown in ["", "x", "completely.different", "port_4001_tcp"] {
            assert_eq!(nearest_key(unknown), None, "{unknown}");
        }
    }
}
