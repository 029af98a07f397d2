//! Every key of the configuration, in the order of the contract's table.
//!
//! The one place that knows them: checks, environment, flags, `--help` and the
//! nearest known key all come from here.

use super::key::DefaultValue::{Derived, Fixed};
use super::key::Key;
use super::level::LogLevel;
use super::value_type::ValueType;
use super::{listen_values, values};

/// The variables that set keys start so, in any case.
pub const VARIABLE_PREFIX: &str = "HIGHHOCK_";

const TEXT: ValueType =
    ValueType::String { expected: "a text", check: |text| values::text(text).map(drop) };
const FILE: ValueType =
    ValueType::String { expected: "a file's path", check: |text| values::text(text).map(drop) };
const HOST: ValueType = ValueType::String {
    expected: "an IP address that clients can connect to, or a host name",
    check: |text| values::host(text).map(drop),
};

const fn seconds(min: u32, max: u32) -> ValueType {
    ValueType::Integer { min, max, unit: "seconds" }
}

/// A day: longer, and a record would outlive any sensible outage.
const TTL_MAX_SECONDS: u32 = 86_400;
/// Longer polls would be longer than most records live.
const POLL_MAX_SECONDS: u32 = 3_600;

/// All of them.
pub static KEYS: &[Key] = &[
    Key::new(
        "store",
        ValueType::Enum(&["etcd", "standalone"]),
        Fixed("etcd"),
        "Where records are kept: in etcd, or standalone in this process, which answers DNS",
    ),
    Key::new(
        "etcd.url",
        ValueType::String {
            expected: "the URL of an etcd member, as http://127.0.0.1:2379/, or those of several \
                    with commas between them",
            check: |text| values::etcd_urls(text).map(drop),
        },
        Fixed("http://127.0.0.1:4001/"),
        "etcd's client URL, or those of a cluster's members, separated by commas",
    )
    .short("e"),
    Key::new(
        "etcd.api",
        ValueType::Enum(&["auto", "v2", "v3"]),
        Fixed("auto"),
        "The API of etcd to speak",
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
            expected: "a user's name, without a colon",
            check: |text| values::username(text).map(drop),
        },
        Derived("none"),
        "etcd's user",
    ),
    Key::new("etcd.password", TEXT, Derived("none"), "The password of etcd's user").secret(),
    Key::new("etcd.passwordFile", FILE, Derived("none"), "A file that holds the password"),
    Key::new(
        "etcd.ca",
        FILE,
        Derived("what the system trusts"),
        "PEM file: the CA to trust for etcd",
    ),
    Key::new("etcd.cert", FILE, Derived("none"), "PEM file: the client certificate for etcd"),
    Key::new("etcd.key", FILE, Derived("none"), "PEM file: the client certificate's key"),
    Key::new(
        "etcd.onExit",
        ValueType::Enum(&["keep", "remove"]),
        Fixed("keep"),
        "On a clean stop: keep leaves the records to their TTL, remove withdraws them",
    ),
    Key::new(
        "skydns.domain",
        ValueType::String { expected: "a domain name", check: |text| values::domain(text).map(drop) },
        Derived("skydns.local"),
        "The domain that services are put under",
    ),
    Key::new(
        "skydns.ttl",
        seconds(1, TTL_MAX_SECONDS),
        Derived("as etcd.ttl"),
        "The ttl in the record, in seconds; one lower than etcd.ttl is ignored",
    ),
    Key::new("skydns.exactTtl", ValueType::Bool, Fixed("false"), "Take skydns.ttl as it is"),
    Key::new(
        "skydns.prefix",
        ValueType::String { expected: "one DNS label", check: |text| values::label(text).map(drop) },
        Fixed("skydns"),
        "First part of every key",
    ),
    Key::new(
        "skydns.layout",
        ValueType::Enum(&["flat", "instance"]),
        Fixed("flat"),
        "One key a service name (flat), or one an instance below the name (instance)",
    ),
    Key::new(
        "skydns.hostname",
        TEXT,
        Derived("the name that the Docker engine gives for its host, else the machine's"),
        "Names this host in the keys of the instance layout",
    ),
    Key::new(
        "docker.url",
        ValueType::String {
            expected: "unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
            check: |text| values::docker_url(text).map(drop),
        },
        Derived(
            "DOCKER_HOST, else unix:///var/run/docker.sock where that exists, \
             else http://127.0.0.1:2375",
        ),
        "Where the Docker engine listens",
    )
    .short("d"),
    Key::new(
        "docker.version",
        ValueType::String {
            expected: "auto or an API version in quotes, as \"v1.41\" or \"1.41\"",
            check: |text| values::docker_version(text).map(drop),
        },
        Fixed("auto"),
        "The API version of the engine: auto asks the engine",
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
        "Seconds between two looks of a watcher at its container (1 to 3600)",
    ),
    Key::new(
        "docker.events",
        ValueType::Bool,
        Fixed("true"),
        "Follow the engine's event stream, so that a change is seen at once",
    ),
    Key::new(
        "docker.ca",
        FILE,
        Derived(
            "ca.pem in DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set, else what the system trusts",
        ),
        "PEM file: the CA to trust for the engine",
    ),
    Key::new(
        "docker.cert",
        FILE,
        Derived("cert.pem in DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set, else none"),
        "PEM file: the client certificate for the engine",
    ),
    Key::new(
        "docker.key",
        FILE,
        Derived("key.pem in DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set, else none"),
        "PEM file: the client certificate's key",
    ),
    Key::new(
        "discovery.host",
        HOST,
        Derived(
            "EXTERNAL_IP, else the address of discovery.interface, else as discovery.metadata says",
        ),
        "The address or host name to publish",
    )
    .alias("publicHost"),
    Key::new(
        "discovery.interface",
        ValueType::String {
            expected: "a network interface's name, as eth0",
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
        "The cloud whose metadata service is asked for the address, last of all",
    ),
    Key::new(
        "discovery.methods",
        ValueType::List {
            expected: "a list of env, label, registrator and compose, each at most once",
            check: |text| values::method(text).map(drop),
            may_be_empty: false,
        },
        Fixed("env,label"),
        "How containers say what they offer; the first to name a service wins",
    ),
    Key::new(
        "discovery.address",
        ValueType::Enum(&["host", "container"]),
        Fixed("host"),
        "Publish the host's address and port, or the container's own (instance layout)",
    ),
    Key::new(
        "discovery.health",
        ValueType::Bool,
        Fixed("true"),
        "Publish a container that has a health check only while it is healthy",
    ),
    Key::new(
        "discovery.drain",
        ValueType::Bool,
        Fixed("true"),
        "Withdraw at the stop signal, before the container dies",
    ),
    Key::new(
        "discovery.drainMax",
        seconds(1, TTL_MAX_SECONDS),
        Fixed("300"),
        "Seconds after which a container that outlives its stop signal is published again",
    ),
    Key::new(
        "discovery.host6",
        ValueType::String {
            expected: "an IPv6 address that clients can connect to, or auto",
            check: |text| values::host6(text).map(drop),
        },
        Derived("none"),
        "An IPv6 address to publish beside the first (instance layout); auto: the interface's",
    ),
    Key::new(
        "discovery.composeProject",
        ValueType::Bool,
        Fixed("false"),
        "Put Compose services under their project: <service>.<project>",
    ),
    Key::new(
        "dns.listen",
        ValueType::List {
            expected: "a list of addresses with ports, as [\"127.0.0.1:5354\", \"[::1]:5354\"]",
            check: |text| listen_values::dns_listen(text).map(drop),
            may_be_empty: false,
        },
        Fixed("127.0.0.1:5354"),
        "Standalone: where DNS is answered, by UDP and TCP",
    ),
    Key::new(
        "dns.forward",
        ValueType::List {
            expected: "a list of DNS servers' addresses, each with a port where that is not 53",
            check: |text| listen_values::dns_forward(text).map(drop),
            may_be_empty: true,
        },
        Derived("none"),
        "Standalone: who is asked about other domains",
    ),
    Key::new(
        "dns.rateLimit",
        ValueType::Integer { min: 0, max: 1_000_000, unit: "answers a second" },
        Fixed("500"),
        "Standalone: answers by UDP a second to one network beyond loopback; 0: no limit",
    ),
    Key::new(
        "admin.listen",
        ValueType::String {
            // Empty is a value here: nowhere.
            expected: "an address with port, as 127.0.0.1:9465 or [::1]:9465, or nothing",
            check: |text| listen_values::admin_listen(text).map(drop),
        },
        Fixed("127.0.0.1:9465"),
        "Where metrics, state and the status page are served; empty: nowhere",
    ),
    Key::new(
        "admin.token",
        ValueType::String { expected: "a token of visible ASCII characters", check: listen_values::token },
        Derived("none"),
        "The bearer token that every question to admin.listen must have",
    )
    .secret(),
    Key::new("admin.tokenFile", FILE, Derived("none"), "A file that holds the token"),
    Key::new(
        "admin.allowRemote",
        ValueType::Bool,
        Fixed("false"),
        "Serve beyond loopback without a token",
    ),
    Key::new(
        "logLevel",
        ValueType::String {
            expected: "DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or EMERGENCY",
            check: |text| text.parse::<LogLevel>().map(drop),
        },
        Fixed("NOTICE"),
        "What is logged: DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or EMERGENCY and worse",
    )
    .short("l"),
    Key::new(
        "logFormat",
        ValueType::Enum(&["terminal", "json"]),
        Fixed("terminal"),
        "How log lines look",
    ),
];

/// The key of this path or alias, and the name that it was found by.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == name || key.alias == Some(name))
}

/// Whether keys lie below this name.
pub fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| section(key.path) == Some(name))
}

fn section(path: &str) -> Option<&str> {
    path.split_once('.').map(|(section, _)| section)
}

/// The key of an environment variable's name behind its prefix:
/// `DOCKER__POLLCONTAINER`, in any case.
pub fn find_variable(name: &str) -> Option<&'static Key> {
    let path = name.replace("__", ".");
    let is_match = |known: &str| known.eq_ignore_ascii_case(&path);
    KEYS.iter().find(|key| is_match(key.path) || key.alias.is_some_and(is_match))
}

/// The known key or section most like an unknown one; `None` where none is alike.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let unknown = unknown.to_lowercase();
    let names = KEYS
        .iter()
        .flat_map(|key| [Some(key.path), key.alias, section(key.path)].into_iter().flatten());
    // A right key in the wrong section, or in none, is as near as a slip of the pen.
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
        let whole = strsim::damerau_levenshtein(&unknown, &name);
        if last(&unknown) == last(&name) { whole.min(1) } else { whole }
    };
    let (name, distance) =
        names.map(|name| (name, distance(name))).min_by_key(|&(_, distance)| distance)?;
    (distance <= unknown.len().div_ceil(3)).then_some(name)
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
    fn finds_variables_in_any_case() {
        for name in ["DOCKER__POLLCONTAINER", "docker__pollContainer", "Docker__PollContainer"] {
            assert_eq!(find_variable(name).unwrap().path, "docker.pollContainer");
        }
        assert_eq!(find_variable("LOGLEVEL").unwrap().path, "logLevel");
        assert_eq!(find_variable("PUBLICHOST").unwrap().path, "discovery.host");
        assert!(find_variable("PORT_4001_TCP").is_none());
        assert!(find_variable("DOCKER_POLL").is_none());
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
            assert_eq!(nearest(unknown), Some(near), "{unknown}");
        }
        for unknown in ["", "x", "completely.different", "port_4001_tcp"] {
            assert_eq!(nearest(unknown), None, "{unknown}");
        }
    }
}
