//! Tests of all layers together: defaults, precedence, and errors.
//!
//! The tests compare kinds and fields of errors. Only the tests in `texts` compare texts.

mod admin;
mod display;
mod dns;
mod docker;
mod etcd;
mod files;
mod texts;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Map, Value, ValueKind};
use highhock_actors::model::publish_config::{AddressOwner, DiscoveryMethod, KeyLayout};

use super::*;
use crate::credentials::secret::{Secret, SecretSource};
use crate::tls::{ClientIdentity, TlsFiles};

/// Sources without any settings, independent of this machine.
fn sources() -> Sources {
    Sources {
        file: None,
        default_file: "/nonexistent/highhock.json".into(),
        flags: Vec::new(),
        environment: Environment::default(),
        docker_socket: "/nonexistent/docker.sock".into(),
    }
}

fn with_file(name: &str) -> Sources {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Sources { file: Some(folder.join(name).into()), ..sources() }
}

fn with_environment(variables: &[(&str, &str)]) -> Sources {
    Sources { environment: variables.iter().copied().collect(), ..sources() }
}

fn flag(path: &str, value: &str) -> Flag {
    let key = find(path).unwrap();
    Flag { name: format!("--{}", key.flag()), key, value: value.into() }
}

fn settings(sources: &Sources) -> Settings {
    let loaded = load(sources).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
    loaded.settings
}

fn with_flags(flags: &[(&str, &str)]) -> Sources {
    Sources { flags: flags.iter().map(|(path, value)| flag(path, value)).collect(), ..sources() }
}

fn errors(sources: &Sources) -> Vec<SettingsError> {
    load(sources).unwrap_err().0
}

/// Returns the only error, and panics if there are several.
#[track_caller]
fn only_error(sources: &Sources) -> SettingsError {
    let errors = errors(sources);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().unwrap()
}

fn file_error(sources: &Sources, key: &str, kind: SettingsErrorKind) -> SettingsError {
    let origin = Origin::File(sources.file.clone().unwrap().path);
    SettingsError { origin, key: key.to_owned(), kind }
}

fn variable_error(variable: &str, key: &str, kind: SettingsErrorKind) -> SettingsError {
    SettingsError { origin: Origin::Variable(variable.to_owned()), key: key.to_owned(), kind }
}

fn flag_error(key: &str, kind: SettingsErrorKind) -> SettingsError {
    let origin = Origin::Flag(format!("--{}", find(key).unwrap().flag()));
    SettingsError { origin, key: key.to_owned(), kind }
}

fn invalid_value(found: &str, expected: &str) -> SettingsErrorKind {
    SettingsErrorKind::InvalidValue { found: found.to_owned(), expected: expected.to_owned() }
}

fn socket(text: &str) -> std::net::SocketAddr {
    text.parse().unwrap()
}

#[test]
fn empty_sources_give_the_defaults() {
    let Settings { store, etcd, skydns, docker, discovery, dns, admin, log } = settings(&sources());
    assert_eq!(store, StoreKind::Etcd);
    assert_eq!(dns.listen, ["127.0.0.1:5354".parse().unwrap()]);
    assert_eq!((dns.forward, dns.rate_limit), (vec![], 500));
    assert_eq!(etcd.members(), "http://127.0.0.1:4001/");
    assert_eq!((etcd.tls, etcd.credentials), (TlsFiles::default(), None));
    assert_eq!(docker.tls, TlsFiles::default());
    assert_eq!((etcd.ttl.as_secs(), etcd.on_exit), (60, OnExit::Keep));
    assert_eq!((skydns.domain.to_string().as_str(), skydns.domain_is_set), ("skydns.local", false));
    assert_eq!((skydns.ttl.get(), skydns.prefix.as_str()), (60, "skydns"));
    assert_eq!((skydns.layout, skydns.hostname), (KeyLayout::Flat, None));
    assert_eq!(docker.url, DockerUrl::Tcp("127.0.0.1:2375".to_owned()));
    assert_eq!(docker.version, DockerVersion::Auto);
    assert_eq!((docker.poll.as_secs(), docker.poll_container.as_secs()), (10, 10));
    assert_eq!(docker.timeout.as_secs(), 30);
    assert_eq!((discovery.host, discovery.interface.as_str()), (None, "eth0"));
    assert_eq!((discovery.address, discovery.host6), (AddressOwner::Host, None));
    assert_eq!(discovery.metadata, []);
    assert_eq!(
        (discovery.methods, discovery.health),
        (vec![DiscoveryMethod::Env, DiscoveryMethod::Label], true)
    );
    assert!(!discovery.compose_project);
    assert_eq!(admin.listen, Some("127.0.0.1:9465".parse().unwrap()));
    assert_eq!((admin.token, admin.allow_remote), (None, false));
    assert_eq!((log.level, log.format), (LogLevel::Notice, LogFormat::Terminal));
}

#[test]
fn later_layers_override_earlier_ones_by_key() {
    let mut sources = with_file("tests/fixtures/first-readme.json");
    sources.environment = [
        ("HIGHHOCK_DOCKER__POLL", "20"),
        ("highhock_docker__pollcontainer", "21"),
        ("HIGHHOCK_PUBLICINTERFACE", "eth2"),
        ("HIGHHOCK_DISCOVERY__METHODS", "label"),
        ("HIGHHOCK_LOGLEVEL", ""),
        ("OTHER", "x"),
    ]
    .into_iter()
    .collect();
    sources.flags = vec![flag("docker.poll", "30"), flag("skydns.layout", "instance")];
    let settings = settings(&sources);
    assert_eq!(settings.docker.poll.as_secs(), 30);
    assert_eq!(settings.docker.poll_container.as_secs(), 21);
    assert_eq!(settings.discovery.interface, "eth2");
    assert_eq!(settings.discovery.methods, [DiscoveryMethod::Label]);
    assert_eq!(settings.skydns.layout, KeyLayout::Instance);
    assert_eq!(settings.skydns.ttl.get(), 90);
}

#[test]
fn accepts_all_methods_in_any_order() {
    let mut sources = with_environment(&[("HIGHHOCK_DISCOVERY__COMPOSEPROJECT", "true")]);
    sources.flags = vec![flag("discovery.methods", "compose,registrator,label,env")];
    let discovery = settings(&sources).discovery;
    let expected = [
        DiscoveryMethod::Compose,
        DiscoveryMethod::Registrator,
        DiscoveryMethod::Label,
        DiscoveryMethod::Env,
    ];
    assert_eq!(discovery.methods, expected);
    assert!(discovery.compose_project);
}

#[test]
fn reports_the_errors_of_all_layers_at_once() {
    let mut sources = with_file("tests/fixtures/several-faults.json");
    sources.environment =
        [("HIGHHOCK_ETCD__TTL", "1m"), ("DOCKER_HOST", "ssh://engine")].into_iter().collect();
    sources.flags = vec![flag("logFormat", "xml"), flag("etcd.ttl", "60")];
    let methods = "a list of env, label, registrator and compose, each at most once";
    let ttl = "a whole number from 5 to 86400 (seconds)";
    let in_file = |key: &str, kind| file_error(&sources, key, kind);
    let expected = [
        in_file(
            "discovery.methods",
            invalid_value("the list [\"env\", \"env\"] (an entry is listed twice)", methods),
        ),
        in_file("docker", invalid_value("a number", "a table of keys")),
        in_file("etcd.ttl", invalid_value("4", ttl)),
        in_file(
            "etcd.url",
            invalid_value(
                "\"ftp://etcd/\"",
                "the URL of an etcd member, such as http://127.0.0.1:2379/, or the URLs of several \
                 members separated by commas",
            ),
        ),
        in_file("loglevel", SettingsErrorKind::UnknownKey { nearest: Some("logLevel") }),
        in_file("publicHost", SettingsErrorKind::SetTwice { other: "discovery.host".to_owned() }),
        variable_error("HIGHHOCK_ETCD__TTL", "etcd.ttl", invalid_value("\"1m\"", ttl)),
        flag_error("logFormat", invalid_value("\"xml\"", "terminal or json")),
        variable_error(
            "DOCKER_HOST",
            "docker.url",
            invalid_value(
                "\"ssh://engine\"",
                "unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT",
            ),
        ),
    ];
    assert_eq!(errors(&sources), expected);
}

#[test]
fn metadata_selects_one_cloud_or_all() {
    use Cloud::{Aws, DigitalOcean, Gce};
    for (written, clouds) in [
        ("aws", &[Aws][..]),
        ("gce", &[Gce]),
        ("digitalocean", &[DigitalOcean]),
        ("auto", &[Aws, Gce, DigitalOcean]),
    ] {
        let flags = vec![flag("discovery.metadata", written)];
        assert_eq!(settings(&Sources { flags, ..sources() }).discovery.metadata, clouds);
    }
    let kind = invalid_value("\"azure\"", "aws, gce, digitalocean or auto");
    assert_eq!(
        only_error(&with_flags(&[("discovery.metadata", "azure")])),
        flag_error("discovery.metadata", kind)
    );
}

#[test]
fn accepts_explicit_defaults() {
    let flags = KEYS.iter().filter_map(|key| match key.default {
        DefaultValue::Fixed(default) => Some(flag(key.path, default)),
        DefaultValue::Derived(_) => None,
    });
    let sources = Sources { flags: flags.collect(), ..sources() };
    assert_eq!(settings(&sources), settings(&super::tests::sources()));
}

#[test]
fn rejects_secrets_without_showing_them() {
    for fixture in ["standalone.json", "password-in-url.json", "halves.json"] {
        let errors = load(&with_file(&format!("tests/fixtures/{fixture}"))).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains("hunter2"), "{errors}");
    }
    let variable = "HIGHHOCK_ETCD__PASSWORD";
    let kind = SettingsErrorKind::MissingKey { missing: "etcd.username".to_owned() };
    assert_eq!(
        only_error(&with_environment(&[(variable, "hunter2")])),
        variable_error(variable, "etcd.password", kind)
    );
}

#[test]
fn reports_an_invalid_key_only_once() {
    let sources = Sources {
        flags: vec![flag("etcd.key", "/key"), flag("etcd.cert", ""), flag("etcd.url", "https://a")],
        ..sources()
    };
    let kind = invalid_value("\"\"", "the path of a file");
    assert_eq!(only_error(&sources), flag_error("etcd.cert", kind));
}

#[test]
fn container_and_ipv6_addresses_need_instance_layout() {
    let (container, host6) =
        (("discovery.address", "container"), ("discovery.host6", "2001:db8::6"));
    let instance = ("skydns.layout", "instance");
    let discovery = settings(&with_flags(&[container, host6, instance])).discovery;
    assert_eq!(discovery.address, AddressOwner::Container);
    assert_eq!(discovery.host6, Some(Host6::Address("2001:db8::6".parse().unwrap())));
    let auto = settings(&with_flags(&[("discovery.host6", "auto"), instance])).discovery;
    assert_eq!((auto.address, auto.host6), (AddressOwner::Host, Some(Host6::Auto)));

    let error = |key: &str, found: &str, reason| {
        let kind = SettingsErrorKind::NeedsInstanceLayout { found: found.to_owned(), reason };
        flag_error(key, kind)
    };
    let reason = "etcd.url begins with http://, not https://";
    assert_eq!(
        errors(&with_flags(&[container, host6, ("etcd.ca", "/ca")])),
        [
            flag_error("etcd.ca", SettingsErrorKind::UnusedTlsFile { reason }),
            error(
                "discovery.address",
                "\"container\"",
                "containers of several hosts have the same addresses"
            ),
            error(
                "discovery.host6",
                "\"2001:db8::6\"",
                "a name has only one record in the flat layout"
            ),
        ]
    );
    // A misspelt layout may have been meant as `instance`.
    let misspelt = with_flags(&[container, host6, ("skydns.layout", "instances")]);
    let found = "\"instances\" (the nearest value is instance)";
    let kind = invalid_value(found, "flat or instance");
    assert_eq!(only_error(&misspelt), flag_error("skydns.layout", kind));
}

#[test]
fn record_ttl_is_at_least_etcd_ttl_unless_exact() {
    let ttl = |flags: &[(&str, &str)]| {
        let loaded = load(&with_flags(flags)).unwrap();
        (loaded.settings.skydns.ttl.get(), loaded.warnings)
    };
    assert_eq!(ttl(&[("etcd.ttl", "15")]), (15, vec![]));
    assert_eq!(ttl(&[("skydns.ttl", "300")]), (300, vec![]));
    let ignored = Warning::SkydnsTtlIgnored { skydns: 5, etcd: 60 };
    assert_eq!(ttl(&[("skydns.ttl", "5")]), (60, vec![ignored]));
    assert_eq!(ttl(&[("skydns.ttl", "5"), ("skydns.exactTtl", "true")]), (5, vec![]));
}

#[test]
fn prefix_keeps_its_case() {
    let skydns = settings(&with_flags(&[("skydns.prefix", "CoreDNS")])).skydns;
    assert_eq!(skydns.prefix, "CoreDNS");
}
