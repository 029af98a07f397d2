//! Records of random containers are valid for DNS servers.
//!
//! One invalid record would break its name and all names above it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{
    AddressOwner, DiscoveryMethod, KeyLayout, PublishConfig,
};
use highhock_actors::model::record::DesiredRecord;
use highhock_actors::publish::endpoint::PortAccess;
use highhock_actors::publish::plan;
use highhock_actors::{
    Container, ContainerId, ContainerState, EngineTime, Health, Host, NetworkAttachment,
    NetworkMode, PortBinding, Protocol,
};
use serde::Deserialize;

const ITERATIONS: usize = 5_000;

/// Valid and invalid labels of a name.
const LABELS: [&str; 16] = [
    "httpd", "API", "_sip", "-", "8080", "a_b-C", "skydns", "x", "*", "any", "Dns", "", "a b", "ö",
    "a/b", "a\u{0}b",
];
const PORTS: [&str; 10] =
    ["80", "81/udp", "82/sctp", "80/TCP", "0", "65536", "-80", "80.5", "", "80/http"];
const NUMBERS: [&str; 12] =
    ["0", "1", "100", "65535", "65536", "86400", "86401", "-1", "1.5", "1e3", "", "99999999999"];
const HOSTS: [&str; 12] = [
    "10.0.0.1",
    "2001:DB8::1",
    "Web.Example.com.",
    "web",
    "0.0.0.0",
    "fe80::1",
    "10.0.0.300",
    "10.0.0.1:80",
    "httpd.skydns.local",
    "*.example.com",
    "",
    "a..b",
];
const TEXTS: [&str; 6] = ["hello", "\"", "\\", "\n\u{0}", "größe", ""];
const ATTRIBUTES: [&str; 6] = ["priority", "weight", "ttl", "text", "group", "host"];

/// A record's value as declared by CoreDNS (`plugin/etcd/msg/service.go`), within the ranges of
/// DNS. Unknown fields are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkyDnsValue {
    host: String,
    port: u16,
    #[serde(default, rename = "priority")]
    _priority: Option<u16>,
    #[serde(default, rename = "weight")]
    _weight: Option<u16>,
    text: Option<String>,
    ttl: u32,
    group: Option<String>,
}

#[test]
fn records_of_random_containers_are_valid() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut written = 0;
    for _ in 0..ITERATIONS {
        let container = container(&mut random);
        let config = config(&mut random);
        for record in plan(&container, &PortAccess::from_container(&container), &config).desired {
            written += 1;
            assert_valid(&record, &config);
        }
    }
    println!("{written} records");
    assert!(written > ITERATIONS / 10, "only {written} valid records");
}

fn config(random: &mut fastrand::Rng) -> PublishConfig {
    let host = random.choice(["10.77.66.0", "2001:db8::7", "node1.example.com"]).unwrap();
    let hostname = random.choice(["n".to_owned(), "n".repeat(30)]).unwrap();
    PublishConfig {
        prefix: "skydns".into(),
        domain: DomainName::parse("SkyDNS.local").unwrap(),
        layout: random.choice([KeyLayout::Flat, KeyLayout::Instance]).unwrap(),
        hostname,
        address: random.choice([AddressOwner::Host, AddressOwner::Container]).unwrap(),
        host: Host::parse(host).unwrap(),
        host6: random.bool().then(|| "2001:db8::6".parse().unwrap()),
        ttl: NonZeroU32::new(60).unwrap(),
        methods: vec![
            DiscoveryMethod::Env,
            DiscoveryMethod::Label,
            DiscoveryMethod::Registrator,
            DiscoveryMethod::Compose,
        ],
        compose_project: random.bool(),
        health: true,
        text_beside_name: false,
    }
}

fn container(random: &mut fastrand::Rng) -> Container {
    let names: Vec<_> = (0..3).map(|_| name(random)).collect();
    let entry = |name: &String| format!("{name}:{}", choose(random, &PORTS));
    let entries = names.iter().map(entry).collect::<Vec<_>>().join(",");
    let mut labels = BTreeMap::new();
    for _ in 0..random.usize(..8) {
        let attribute = choose(random, &ATTRIBUTES);
        let value = match attribute {
            "text" if random.u8(..4) == 0 => "x".repeat(random.usize(2047..2050)),
            "text" => choose(random, &TEXTS).to_owned(),
            "host" => choose(random, &HOSTS).to_owned(),
            "group" => name(random),
            _ => choose(random, &NUMBERS).to_owned(),
        };
        let of_one = format!("highhock.{}.{attribute}", choose(random, &[&names[0], &names[1]]));
        labels.insert(random.choice([format!("highhock.{attribute}"), of_one]).unwrap(), value);
    }
    for key in ["SERVICE_NAME", "SERVICE_81_NAME", "com.docker.compose.service"] {
        labels.insert(key.into(), name(random));
    }
    labels.insert("com.docker.compose.project".into(), name(random));
    let image = format!("registry:5000/team/{}:1", name(random));
    let bound_to = |address: &str, port, proto| PortBinding {
        port,
        proto,
        host_address: address.parse().unwrap(),
        host_port: 8000 + port,
    };
    let binding = |port, proto| bound_to("0.0.0.0", port, proto);
    let attachment = NetworkAttachment {
        address4: random.bool().then(|| [172, 18, 0, 2].into()),
        address6: random.bool().then(|| "fd00::2".parse().unwrap()),
    };
    Container {
        id: ContainerId::new(&"0123456789abcdef".repeat(4)),
        name: "web".into(),
        state: ContainerState::Running,
        health: Health::Unchecked,
        started: EngineTime(0),
        restarts: 0,
        exit_code: 0,
        env: BTreeMap::from([("DISCOVER".into(), entries)]),
        labels,
        network: NetworkMode::Own,
        bindings: vec![
            binding(80, Protocol::Tcp),
            bound_to("::", 80, Protocol::Tcp),
            binding(81, Protocol::Udp),
            binding(82, Protocol::Sctp),
        ],
        exposed: Vec::new(),
        requested: Vec::new(),
        shared_ports: None,
        networks: [("web".to_owned(), attachment)].into(),
        image,
        stop_signal: 15,
        fingerprint: 0,
    }
}

/// Returns a name of one or more labels, some of maximum length or longer.
fn name(random: &mut fastrand::Rng) -> String {
    let count = if random.u8(..8) == 0 { random.usize(..10) } else { random.usize(1..3) };
    let labels: Vec<_> = (0..count)
        .map(|_| match random.u8(..8) {
            0 => "l".repeat(random.usize(60..66)),
            _ => choose(random, &LABELS).to_owned(),
        })
        .collect();
    labels.join(".")
}

fn choose<'a>(random: &mut fastrand::Rng, of: &[&'a str]) -> &'a str {
    of[random.usize(..of.len())]
}

#[track_caller]
fn assert_valid(record: &DesiredRecord, config: &PublishConfig) {
    let path = record.key.as_str();
    let labels: Vec<_> = path.split('/').skip(1).collect();
    assert_eq!(labels[..2], ["local", "skydns"], "{path}");
    for label in &labels {
        assert!(is_label(label) && *label == label.to_lowercase(), "{path}");
        assert!(!matches!(*label, "*" | "any" | "dns"), "{path}");
    }
    let least = match config.layout {
        KeyLayout::Flat => 3,
        KeyLayout::Instance => 4,
    };
    let name = labels.iter().rev().copied().collect::<Vec<_>>().join(".");
    assert!(labels.len() >= least && name.len() <= 253, "{path}");

    let json = record.value.to_json();
    let value: SkyDnsValue = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
    assert!(value.port >= 1 && (1..=86_400).contains(&value.ttl), "{json}");
    assert!(value.group.as_deref().is_none_or(is_label), "{json}");
    assert!(value.text.as_ref().is_none_or(|text| (1..=2048).contains(&text.len())), "{json}");
    if let Ok(address) = value.host.parse::<IpAddr>() {
        assert!(!address.is_unspecified() && !address.is_multicast(), "{json}");
    } else {
        assert!(value.host.len() <= 253 && value.host.split('.').all(is_label), "{json}");
        assert!(value.text.is_none() || !record.own_host, "{json}");
        assert!(!name.ends_with(&value.host), "{json} at {path}");
    }
}

fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&text.len()) && text.bytes().all(fits)
}
