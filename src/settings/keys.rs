//! Every key of the configuration, in the order of the contract's table.
//!
//! The one place that knows them: checks, environment, flags, `--help` and the
//! nearest known key all come from here.

use super::key::Fallback::{Is, WorkedOut};
use super::key::Key;
use super::level::LogLevel;
use super::value_type::Kind;
use super::{listen_values, values};

/// The variables that set keys start so, in any case.
pub const VARIABLE_PREFIX: &str = "HIGHHOCK_";

const TEXT: Kind = Kind::Text { takes: "a text", check: |text| values::text(text).map(drop) };
const FILE: Kind =
    Kind::Text { takes: "a file's path", check: |text| values::text(text).map(drop) };
const HOST: Kind = Kind::Text {
    takes: "an IP address that clients can connect to, or a host name",
    check: |text| values::host(text).map(drop),
};

const fn seconds(min: u32, max: u32) -> Kind {
    Kind::Whole { min, max, unit: "seconds" }
}

/// A day: longer, and a record would outlive any sensible outage.
const LONGEST_TTL: u32 = 86_400;
/// Longer polls would be longer than most records live.
const LONGEST_POLL: u32 = 3_600;

/// All of them.
pub static KEYS: &[Key] = &[
    Key::new(
        "store",
        Kind::Choice(&["etcd", "standalone"]),
        Is("etcd"),
        "Where records are kept: in etcd, or standalone in this process, which answers DNS",
    ),
    Key::new(
        "etcd.url",
        Kind::Text {
            takes: "the URL of an etcd member, as http://127.0.0.1:2379/, or those of several \
                    with commas between them",
            check: |text| values::etcd_urls(text).map(drop),
        },
        Is("http://127.0.0.1:4001/"),
        "etcd's client URL, or those of a cluster's members, separated by commas",
    )
    .short("e"),
    Key::new(
        "etcd.api",
        Kind::Choice(&["auto", "v2", "v3"]),
        Is("auto"),
        "The API of etcd to speak",
    ),
    Key::new(
        "etcd.ttl",
        seconds(5, LONGEST_TTL),
        Is("60"),
        "Seconds that a key outlives its last refresh (5 to 86400)",
    ),
    Key::new(
        "etcd.username",
        Kind::Text {
            takes: "a user's name, without a colon",
            check: |text| values::username(text).map(drop),
        },
        WorkedOut("none"),
        "etcd's user",
    ),
    Key::new("etcd.password", TEXT, WorkedOut("none"), "The password of etcd's user").secret(),
    Key::new("etcd.passwordFile", FILE, WorkedOut("none"), "A file that holds the password"),
    Key::new(
        "etcd.ca",
        FILE,
        WorkedOut("what the system trusts"),
        "PEM file: the CA to trust for etcd",
    ),
    Key::new("etcd.cert", FILE, WorkedOut("none"), "PEM file: the client certificate for etcd"),
    Key::new("etcd.key", FILE, WorkedOut("none"), "PEM file: the client certificate's key"),
    Key::new(
        "etcd.onExit",
        Kind::Choice(&["keep", "remove"]),
        Is("keep"),
        "On a clean stop: keep leaves the records to their TTL, remove withdraws them",
    ),
    Key::new(
        "skydns.domain",
        Kind::Text { takes: "a domain name", check: |text| values::domain(text).map(drop) },
        WorkedOut("skydns.local"),
        "The domain that services are put under",
    ),
    Key::new(
        "skydns.ttl",
        seconds(1, LONGEST_TTL),
        WorkedOut("as etcd.ttl"),
        "The ttl in the record, in seconds; one lower than etcd.ttl is ignored",
    ),
    Key::new("skydns.exactTtl", Kind::Truth, Is("false"), "Take skydns.ttl as it is"),
    Key::new(
        "skydns.prefix",
        Kind::Text { takes: "one DNS label", check: |text| values::label(text).map(drop) },
        Is("skydns"),
        "First part of every key",
    ),
    Key::new(
        "skydns.layout",
        Kind::Choice(&["flat", "instance"]),
        Is("flat"),
        "One key a service name (flat), or one an instance below the name (instance)",
    ),
    Key::new(
        "skydns.hostname",
        TEXT,
        WorkedOut("the name that the Docker engine gives for its host, else the machine's"),
        "Names this host in the keys of the instance layout",
    ),
    Key::new(
        "docker.url",
        Kind::Text {
            takes: "unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
            check: |text| values::docker_url(text).map(drop),
        },
        WorkedOut(
            "DOCKER_HOST, else unix:///var/run/docker.sock where that exists, \
             else http://127.0.0.1:2375",
        ),
        "Where the Docker engine listens",
    )
    .short("d"),
    Key::new(
        "docker.version",
        Kind::Text {
            takes: "auto or an API version in quotes, as \"v1.41\" or \"1.41\"",
            check: |text| values::docker_version(text).map(drop),
        },
        Is("auto"),
        "The API version of the engine: auto asks the engine",
    ),
    Key::new(
        "docker.poll",
        seconds(1, LONGEST_POLL),
        Is("10"),
        "Seconds between two listings of the running containers (1 to 3600)",
    )
    .short("p"),
    Key::new(
        "docker.pollContainer",
        seconds(1, LONGEST_POLL),
        Is("10"),
        "Seconds between two looks of a watcher at its container (1 to 3600)",
    ),
    Key::new(
        "docker.events",
        Kind::Truth,
        Is("true"),
        "Follow the engine's event stream, so that a change is seen at once",
    ),
    Key::new(
        "docker.ca",
        FILE,
        WorkedOut(
            "ca.pem in DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set, else what the system trusts",
        ),
        "PEM file: the CA to trust for the engine",
    ),
    Key::new(
        "docker.cert",
        FILE,
        WorkedOut("cert.pem in DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set, else none"),
        "PEM file: the client certificate for the engine",
    ),
    Key::new(
        "docker.key",
        FILE,
        WorkedOut("key.pem in DOCKER_CERT_PATH where DOCKER_TLS_VERIFY is set, else none"),
        "PEM file: the client certificate's key",
    ),
    Key::new(
        "discovery.host",
        HOST,
        WorkedOut(
            "EXTERNAL_IP, else the address of discovery.interface, else as discovery.metadata says",
        ),
        "The address or host name to publish",
    )
    .alias("publicHost"),
    Key::new(
        "discovery.interface",
        Kind::Text {
            takes: "a network interface's name, as eth0",
            check: |text| values::interface(text).map(drop),
        },
        Is("eth0"),
        "The interface whose address is published",
    )
    .alias("publicInterface")
    .short("i"),
    Key::new(
        "discovery.metadata",
        Kind::Choice(&["aws", "gce", "digitalocean", "auto"]),
        WorkedOut("none"),
        "The cloud whose metadata service is asked for the address, last of all",
    ),
    Key::new(
        "discovery.methods",
        Kind::List {
            takes: "a list of env, label, registrator and compose, each at most once",
            check: |text| values::method(text).map(drop),
            empty: false,
        },
        Is("env,label"),
        "How containers say what they offer; the first to name a service wins",
    ),
    Key::new(
        "discovery.address",
        Kind::Choice(&["host", "container"]),
        Is("host"),
        "Publish the host's address and port, or the container's own (instance layout)",
    ),
    Key::new(
        "discovery.health",
        Kind::Truth,
        Is("true"),
        "Publish a container that has a health check only while it is healthy",
    ),
    Key::new(
        "discovery.drain",
        Kind::Truth,
        Is("true"),
        "Withdraw at the stop signal, before the container dies",
    ),
    Key::new(
        "discovery.drainMax",
        seconds(1, LONGEST_TTL),
        Is("300"),
        "Seconds after which a container that outlives its stop signal is published again",
    ),
    Key::new(
        "discovery.host6",
        Kind::Text {
            takes: "an IPv6 address that clients can connect to, or auto",
            check: |text| values::host6(text).map(drop),
        },
        WorkedOut("none"),
        "An IPv6 address to publish beside the first (instance layout); auto: the interface's",
    ),
    Key::new(
        "discovery.composeProject",
        Kind::Truth,
        Is("false"),
        "Put Compose services under their project: <service>.<project>",
    ),
    Key::new(
        "dns.listen",
        Kind::List {
            takes: "a list of addresses with ports, as [\"127.0.0.1:5354\", \"[::1]:5354\"]",
            check: |text| listen_values::dns_listen(text).map(drop),
            empty: false,
        },
        Is("127.0.0.1:5354"),
        "Standalone: where DNS is answered, by UDP and TCP",
    ),
    Key::new(
        "dns.forward",
        Kind::List {
            takes: "a list of DNS servers' addresses, each with a port where that is not 53",
            check: |text| listen_values::dns_forward(text).map(drop),
            empty: true,
        },
        WorkedOut("none"),
        "Standalone: who is asked about other domains",
    ),
    Key::new(
        "dns.rateLimit",
        Kind::Whole { min: 0, max: 1_000_000, unit: "answers a second" },
        Is("500"),
        "Standalone: answers by UDP a second to one network beyond loopback; 0: no limit",
    ),
    Key::new(
        "admin.listen",
        Kind::Text {
            // Empty is a value here: nowhere.
            takes: "an address with port, as 127.0.0.1:9465 or [::1]:9465, or nothing",
            check: |text| listen_values::admin_listen(text).map(drop),
        },
        Is("127.0.0.1:9465"),
        "Where metrics, state and the status page are served; empty: nowhere",
    ),
    Key::new(
        "admin.token",
        Kind::Text { takes: "a token of visible ASCII characters", check: listen_values::token },
        WorkedOut("none"),
        "The bearer token that every question to admin.listen must have",
    )
    .secret(),
    Key::new("admin.tokenFile", FILE, WorkedOut("none"), "A file that holds the token"),
    Key::new(
        "admin.allowRemote",
        Kind::Truth,
        Is("false"),
        "Serve beyond loopback without a token",
    ),
    Key::new(
        "logLevel",
        Kind::Text {
            takes: "DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or EMERGENCY",
            check: |text| text.parse::<LogLevel>().map(drop),
        },
        Is("NOTICE"),
        "What is logged: DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or EMERGENCY and worse",
    )
    .short("l"),
    Key::new(
        "logFormat",
        Kind::Choice(&["terminal", "json"]),
        Is("terminal"),
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
    let is = |known: &str| known.eq_ignore_ascii_case(&path);
    KEYS.iter().find(|key| is(key.path) || key.alias.is_some_and(is))
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
    use crate::settings::key::Fallback;

    #[test]
    fn every_default_is_a_value_that_its_key_takes() {
        for key in KEYS {
            let is = matches!(key.fallback, Fallback::Is(_));
            assert_eq!(key.default_value().is_some(), is, "{}", key.path);
        }
    }

    #[test]
    fn no_name_flag_or_letter_is_given_twice() {
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
    fn variables_are_known_in_any_case() {
        for name in ["DOCKER__POLLCONTAINER", "docker__pollContainer", "Docker__PollContainer"] {
            assert_eq!(find_variable(name).unwrap().path, "docker.pollContainer");
        }
        assert_eq!(find_variable("LOGLEVEL").unwrap().path, "logLevel");
        assert_eq!(find_variable("PUBLICHOST").unwrap().path, "discovery.host");
        assert!(find_variable("PORT_4001_TCP").is_none());
        assert!(find_variable("DOCKER_POLL").is_none());
    }

    #[test]
    fn flags_are_paths_in_kebab_case() {
        assert_eq!(find("docker.pollContainer").unwrap().flag(), "docker-poll-container");
        assert_eq!(find("logLevel").unwrap().flag(), "log-level");
        assert_eq!(find("discovery.host6").unwrap().flag(), "discovery-host6");
        assert_eq!(find("publicHost").unwrap().alias_flag().unwrap(), "public-host");
    }

    #[test]
    fn the_nearest_key_is_one_that_a_slip_of_the_pen_explains() {
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
