//! Tests of all layers together: precedence, errors, and the sample file.
//!
//! The tests compare kinds and fields of errors. Only `each_error_has_its_wording` and
//! `each_warning_has_its_wording` compare texts.

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
fn sample_file_equals_the_defaults() {
    assert_eq!(settings(&with_file("config/highhock.json")), settings(&sources()));
}

#[test]
fn sample_file_lists_every_key_with_its_default() {
    fn flatten(section: &str, table: Map<String, Value>, into: &mut BTreeMap<String, ValueKind>) {
        for (name, value) in table {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            match value.kind {
                ValueKind::Table(table) => flatten(&path, table, into),
                kind => assert_eq!(into.insert(path, kind), None),
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/highhock.json");
    let mut sample = BTreeMap::new();
    flatten("", file::read(&path).unwrap().unwrap().table, &mut sample);
    // The package installs this file. A value would stay set when the default for another store or
    // another machine differs.
    let varies = [
        "skydns.layout",
        "discovery.interface",
        "discovery.methods",
        "discovery.address",
        "discovery.composeProject",
    ];
    for key in KEYS {
        let value = sample.remove(key.path).unwrap_or_else(|| panic!("{} is missing", key.path));
        let default = key.default_value().filter(|_| !varies.contains(&key.path));
        let default = default.unwrap_or(ValueKind::Nil);
        assert!(key::same_value(&value, &default), "{}: {value:?} is not {default:?}", key.path);
    }
    assert_eq!(sample.keys().collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn loads_older_spellings_in_each_format() {
    let json = settings(&with_file("tests/fixtures/first-readme.json"));
    assert_eq!(json.discovery.interface, "eth1");
    assert_eq!(json.log.level, LogLevel::Notice);
    assert_eq!(json.docker.url, DockerUrl::Tcp("127.0.0.1:2375".to_owned()));
    assert_eq!(json.docker.version, DockerVersion::Exactly { major: 1, minor: 16 });
    assert_eq!((json.docker.poll.as_secs(), json.docker.poll_container.as_secs()), (12, 7));
    assert_eq!(json.skydns.domain.to_string(), "highhock.local");
    assert_eq!((json.skydns.domain_is_set, json.skydns.ttl.get()), (true, 90));
    for other in ["tests/fixtures/first-readme.yaml", "tests/fixtures/first-readme.toml"] {
        assert_eq!(settings(&with_file(other)), json, "{other}");
    }
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
fn standalone_reads_listen_and_forward_addresses() {
    let alone = ("store", "standalone");
    let forward = ("dns.forward", "9.9.9.9, [2620:fe::fe]:5353");
    let listen = ("dns.listen", "127.0.0.1:5354,[::1]:5354");
    let loaded = settings(&with_flags(&[alone, listen, forward, ("dns.rateLimit", "0")]));
    assert_eq!(loaded.store, StoreKind::Standalone);
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(loaded.dns.listen, addresses(["127.0.0.1:5354", "[::1]:5354"]));
    assert_eq!(loaded.dns.forward, addresses(["9.9.9.9:53", "[2620:fe::fe]:5353"]));
    assert_eq!(loaded.dns.rate_limit, 0);

    // All errors are reported at once.
    let invalid_flags =
        [alone, ("dns.listen", "5354"), ("dns.forward", "dns.example"), ("store", "etcd")];
    let keys: Vec<_> = errors(&with_flags(&invalid_flags)).into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["dns.listen", "dns.forward", "store"]);
    let looping = [alone, ("dns.forward", "127.0.0.1:5354")];
    let kind = SettingsErrorKind::ForwardingLoop { address: socket("127.0.0.1:5354") };
    assert_eq!(only_error(&with_flags(&looping)), flag_error("dns.forward", kind));
    // Without effect in etcd mode, and no error: one file can serve both modes.
    assert_eq!(load(&with_flags(&looping[1..])).unwrap().settings.store, StoreKind::Etcd);

    let open = [alone, ("dns.listen", "0.0.0.0:53"), forward];
    let no_servers = ("dns.forward", "[]");
    assert_eq!(settings(&with_flags(&[alone, no_servers])).dns.forward, []);
    let warnings = |flags: &[_]| load(&with_flags(flags)).unwrap().warnings;
    let listen = "0.0.0.0:53".parse().unwrap();
    assert_eq!(warnings(&open), [Warning::OpenResolver { listen }]);
    for closed in [&open[1..], &open[..2]] {
        assert_eq!(warnings(closed), []);
    }
}

#[test]
fn rejects_overlapping_listen_addresses() {
    let errors = |listen: &str, more: &[(&str, &str)]| {
        let all = [&[("store", "standalone"), ("dns.listen", listen)], more].concat();
        load(&with_flags(&all)).map_or_else(|errors| errors.0, |_| Vec::new())
    };
    for (listen, inside, outside) in [
        ("0.0.0.0:53,127.0.0.1:53", "127.0.0.1:53", "0.0.0.0:53"),
        ("[::1]:53,[::]:53", "[::1]:53", "[::]:53"),
        ("localhost:53,127.0.0.1:53", "127.0.0.1:53", "127.0.0.1:53"),
    ] {
        let (inside, outside) = (socket(inside), socket(outside));
        let kind = SettingsErrorKind::OverlappingAddresses { inside, outside };
        assert_eq!(errors(listen, &[]), [flag_error("dns.listen", kind)]);
    }
    for listen in ["0.0.0.0:53,127.0.0.1:54", "0.0.0.0:53,[::]:53", "127.0.0.1:53,127.0.0.2:53"] {
        assert_eq!(errors(listen, &[]), []);
    }

    let admin = ("admin.listen", "127.0.0.1:9465");
    for listen in ["127.0.0.1:9465", "0.0.0.0:9465"] {
        let (address, admin_address) = (socket(listen), socket(admin.1));
        let kind = SettingsErrorKind::AdminAddressInUse { address, admin: admin_address };
        assert_eq!(errors(listen, &[admin]), [flag_error("dns.listen", kind)]);
    }
    assert_eq!(errors("127.0.0.1:9465", &[("admin.listen", "")]), []);
    assert_eq!(errors("[::1]:9465", &[admin]), []);
    // An invalid admin address is the only error.
    let invalid = errors("127.0.0.1:9465", &[("admin.listen", "9465")]);
    assert_eq!(invalid.iter().map(|error| &error.key).collect::<Vec<_>>(), ["admin.listen"]);
}

#[test]
fn ignores_etcd_file_errors_in_standalone_mode() {
    let with = |more: &[(&str, &str)]| {
        load(&with_flags(
            &[&[("etcd.ca", "/etc/ca.pem"), ("etcd.username", "root")], more].concat(),
        ))
    };
    assert_eq!(with(&[]).unwrap_err().0.len(), 2);
    assert_eq!(with(&[("store", "standalone")]).unwrap().warnings, []);
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
fn user_requires_a_password_or_a_password_file() {
    let credentials = |variables: &[_]| settings(&with_environment(variables)).etcd.credentials;
    let name = ("HIGHHOCK_ETCD__USERNAME", "root");
    let from_variable = credentials(&[name, ("HIGHHOCK_ETCD__PASSWORD", "hunter2")]).unwrap();
    assert_eq!(from_variable.password, SecretSource::Inline(Secret::new("hunter2")));
    let file = credentials(&[name, ("HIGHHOCK_ETCD__PASSWORDFILE", "/run/secret")]).unwrap();
    assert_eq!(file.password, SecretSource::File("/run/secret".into()));
    assert_eq!((from_variable.username.as_str(), file.username.as_str()), ("root", "root"));
    let kind = SettingsErrorKind::MissingOneOf { missing: &["etcd.password", "etcd.passwordFile"] };
    assert_eq!(
        only_error(&with_environment(&[name])),
        variable_error(name.0, "etcd.username", kind)
    );
}

#[test]
fn accepts_several_etcd_members_with_tls() {
    let mut sources = sources();
    sources.flags = vec![
        flag("etcd.url", "https://a:1,https://b:2"),
        flag("etcd.ca", "/ca"),
        flag("etcd.cert", "/cert"),
        flag("etcd.key", "/key"),
    ];
    let etcd = settings(&sources).etcd;
    assert_eq!(etcd.members(), "https://a:1/,https://b:2/");
    let identity = ClientIdentity { cert: "/cert".into(), key: "/key".into() };
    assert_eq!(etcd.tls, TlsFiles { ca: Some("/ca".into()), identity: Some(identity) });

    sources.flags.remove(0);
    let reason = "etcd.url begins with http://, not https://";
    let error = |key: &str| flag_error(key, SettingsErrorKind::UnusedTlsFile { reason });
    assert_eq!(errors(&sources), ["etcd.ca", "etcd.cert", "etcd.key"].map(error));
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
fn warns_of_unknown_variables() {
    let sources = with_environment(&[
        ("HIGHHOCK_PORT_4001_TCP", "tcp://10.0.0.1:4001"),
        ("HIGHHOCK_SERVICE_HOST", "10.0.0.1"),
        ("HIGHHOCK_TEST_RUN", "7"),
        ("HIGHHOCK_COLOUR", "red"),
        ("HIGHHOCK_ETCD__URLL", "http://etcd:2379/"),
        ("HIGHHOCK_LOG_LEVEL", "DEBUG"),
    ]);
    let warning = |name: &str, nearest: Option<&str>| Warning::UnknownVariable {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    assert_eq!(
        load(&sources).unwrap().warnings,
        [
            warning("HIGHHOCK_COLOUR", None),
            warning("HIGHHOCK_ETCD__URLL", Some("HIGHHOCK_ETCD__URL")),
            warning("HIGHHOCK_LOG_LEVEL", Some("HIGHHOCK_LOGLEVEL")),
        ]
    );
}

#[test]
fn rejects_variables_with_single_underscores() {
    let kind = SettingsErrorKind::MisspeltVariable { variable: "HIGHHOCK_ETCD__URL".to_owned() };
    let single = [("HIGHHOCK_ETCD_URL", "http://etcd:2379/")];
    let expected = variable_error("HIGHHOCK_ETCD_URL", "etcd.url", kind);
    assert_eq!(only_error(&with_environment(&single)), expected);
    assert_eq!(load(&with_environment(&[("HIGHHOCK_ETCD_URL", "")])).unwrap().warnings, []);
}

#[test]
fn rejects_conflicting_variables_that_differ_in_case() {
    let sources = with_environment(&[("HIGHHOCK_ETCD__TTL", "10"), ("highhock_etcd__ttl", "11")]);
    let other = "environment variable HIGHHOCK_ETCD__TTL".to_owned();
    let kind = SettingsErrorKind::SetTwice { other };
    assert_eq!(only_error(&sources), variable_error("highhock_etcd__ttl", "etcd.ttl", kind));
    let same = with_environment(&[("HIGHHOCK_ETCD__TTL", "10"), ("highhock_etcd__ttl", "10")]);
    let Loaded { settings, warnings, .. } = load(&same).unwrap();
    assert_eq!(settings.etcd.ttl.as_secs(), 10);
    let origin = Origin::Variable("highhock_etcd__ttl".to_owned());
    let other = "environment variable HIGHHOCK_ETCD__TTL".to_owned();
    assert_eq!(warnings, [Warning::SetTwice { origin, key: "etcd.ttl".to_owned(), other }]);
}

#[test]
fn finds_the_engine_like_the_docker_client() {
    let mut with_socket = with_environment(&[]);
    with_socket.docker_socket = "/dev/null".into();
    assert_eq!(settings(&with_socket).docker.url, DockerUrl::Unix("/dev/null".into()));
    with_socket.environment = [("DOCKER_HOST", "tcp://10.0.0.1:2375")].into_iter().collect();
    let engine = |url: &str| DockerUrl::Tcp(url.to_owned());
    assert_eq!(settings(&with_socket).docker.url, engine("10.0.0.1:2375"));
    with_socket.flags = vec![flag("docker.url", "tcp://10.0.0.2")];
    assert_eq!(settings(&with_socket).docker.url, engine("10.0.0.2:2375"));
}

#[test]
fn uses_engine_tls_like_the_docker_client() {
    let docker = |url: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]| {
        let mut sources = with_environment(variables);
        sources.flags = flags.iter().map(|(path, value)| flag(path, value)).collect();
        sources.flags.extend(url.map(|url| flag("docker.url", url)));
        let docker = settings(&sources).docker;
        (docker.url.to_string(), docker.tls)
    };
    let verify = ("DOCKER_TLS_VERIFY", "1");
    let folder = ("DOCKER_CERT_PATH", "/certs");
    let none = TlsFiles::default();
    let usual = TlsFiles {
        ca: Some("/certs/ca.pem".into()),
        identity: Some(ClientIdentity {
            cert: "/certs/cert.pem".into(),
            key: "/certs/key.pem".into(),
        }),
    };
    let own = TlsFiles { ca: Some("/ca".into()), ..none.clone() };
    let own_ca = TlsFiles { ca: Some("/ca".into()), ..usual.clone() };
    let (tcp, ca) = (("DOCKER_HOST", "tcp://e"), ("docker.ca", "/ca"));
    for (url, variables, flags, expected) in [
        (None, &[tcp, verify, folder][..], &[][..], ("https://e:2376/", &usual)),
        (None, &[tcp, folder], &[], ("http://e:2375/", &none)),
        (None, &[tcp, ("DOCKER_TLS_VERIFY", "")], &[], ("http://e:2375/", &none)),
        (None, &[verify], &[], ("https://127.0.0.1:2376/", &none)),
        (None, &[("DOCKER_HOST", "http://e:1"), verify], &[], ("https://e:1/", &none)),
        (Some("tcp://e:9"), &[verify, folder], &[], ("https://e:9/", &usual)),
        (Some("tcp://e"), &[], &[ca], ("https://e:2376/", &own)),
        (Some("tcp://e"), &[verify, folder], &[ca], ("https://e:2376/", &own_ca)),
        (Some("https://e"), &[], &[], ("https://e:2376/", &none)),
        (Some("https://e"), &[folder], &[], ("https://e:2376/", &none)),
        (Some("http://e"), &[verify, folder], &[], ("http://e:2375/", &none)),
        (Some("unix:///d.sock"), &[verify, folder], &[], ("unix:///d.sock", &none)),
    ] {
        let (shown, files) = docker(url, variables, flags);
        assert_eq!((shown.as_str(), &files), expected, "{url:?} {variables:?} {flags:?}");
    }
    for (url, reason) in [
        ("http://e", "docker.url begins with http://, not https://"),
        ("unix:///d.sock", "docker.url is a Unix socket, which does not use TLS"),
    ] {
        let kind = SettingsErrorKind::UnusedTlsFile { reason };
        let sources = with_flags(&[("docker.url", url), ("docker.ca", "/ca")]);
        assert_eq!(only_error(&sources), flag_error("docker.ca", kind));
    }
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
fn only_an_explicit_file_must_exist() {
    let missing = with_file("nonexistent.json");
    let expected = file_error(&missing, "", SettingsErrorKind::MissingFile);
    assert_eq!(only_error(&missing), expected);
    let folder = with_file("src");
    let kind = SettingsErrorKind::UnreadableFile("Is a directory (os error 21)".to_owned());
    assert_eq!(only_error(&folder), file_error(&folder, "", kind));
}

#[test]
fn environment_names_the_file_unless_a_flag_does() {
    let fixture = |name: &str| with_file(name).file.unwrap().path;
    let found = |flag: Option<PathBuf>, variable: (&str, &str)| {
        let environment = [variable].into_iter().collect();
        Sources::new(flag.map(ConfigFile::from), Vec::new(), environment).file
    };
    let json = fixture("tests/fixtures/first-readme.json");
    let path = json.to_str().unwrap();
    let named_by = FileOrigin::Variable("HIGHHOCK_CONFIG".to_owned());
    let file = found(None, ("HIGHHOCK_CONFIG", path)).unwrap();
    assert_eq!(file, ConfigFile { path: json.clone(), named_by });
    assert_eq!(settings(&Sources { file: Some(file), ..sources() }).discovery.interface, "eth1");
    assert_eq!(found(None, ("highhock_config", path)).unwrap().path, json);
    assert_eq!(found(None, ("HIGHHOCK_CONFIG", "")), None);
    let by_flag = found(Some("flag.json".into()), ("HIGHHOCK_CONFIG", path)).unwrap();
    assert_eq!(by_flag, PathBuf::from("flag.json").into());

    let missing = Sources { file: found(None, ("HIGHHOCK_CONFIG", "/no/file")), ..sources() };
    let kind = SettingsErrorKind::MissingFileOfVariable { variable: "HIGHHOCK_CONFIG".to_owned() };
    assert_eq!(only_error(&missing), file_error(&missing, "", kind));
    let named_by = FileOrigin::AttachedFlag("-cleanup".to_owned());
    let file = ConfigFile { path: "leanup".into(), named_by };
    let attached = Sources { file: Some(file), ..sources() };
    let (written, file) = ("-cleanup".to_owned(), "leanup".to_owned());
    let kind = SettingsErrorKind::MissingAttachedFile { written, file };
    assert_eq!(only_error(&attached), file_error(&attached, "", kind));
}

#[test]
fn key_given_twice_is_an_error_unless_the_values_are_equal() {
    let sources = with_file("tests/fixtures/repeated-keys.json");
    let twice = |key| file_error(&sources, key, SettingsErrorKind::GivenTwice);
    assert_eq!(errors(&sources), ["etcd.ttl", "skydns"].map(twice));
    for name in ["tests/fixtures/equal-keys.json", "tests/fixtures/equal-keys.yaml"] {
        let sources = with_file(name);
        let origin = Origin::File(sources.file.clone().unwrap().path);
        let Loaded { settings, warnings, .. } = load(&sources).unwrap();
        assert_eq!(settings.etcd.ttl.as_secs(), 15);
        let given = Warning::GivenTwice { origin: origin.clone(), key: "etcd.ttl".to_owned() };
        let (key, other) = ("publicHost".to_owned(), "discovery.host".to_owned());
        assert_eq!(warnings, [given, Warning::SetTwice { origin, key, other }], "{name}");
    }
}

#[test]
fn null_means_not_set_in_json_and_yaml() {
    for name in ["tests/fixtures/nulls.json", "tests/fixtures/nulls.yaml"] {
        assert_eq!(settings(&with_file(name)), settings(&sources()), "{name}");
    }
}

#[test]
fn file_with_only_comments_gives_the_defaults_and_a_warning() {
    for extension in ["json", "yaml", "toml"] {
        let sources = with_file(&format!("tests/fixtures/only-comments.{extension}"));
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.settings, settings(&super::tests::sources()));
        let origin = Origin::File(sources.file.clone().unwrap().path);
        assert_eq!(loaded.warnings, [Warning::OnlyComments(origin)]);
        let empty = with_file(&format!("tests/fixtures/empty.{extension}"));
        assert_eq!(only_error(&empty), file_error(&empty, "", SettingsErrorKind::EmptyFile));
    }
}

#[test]
fn admin_access_ignores_errors_of_other_keys() {
    let mut sources = with_file("tests/fixtures/several-faults.json");
    sources.environment = [
        ("HIGHHOCK_ETCD__TTL", "1m"),
        ("HIGHHOCK_ETCD_URL", "http://etcd/"),
        ("HIGHHOCK_ADMIN__LISTEN", "10.0.0.1:9000"),
    ]
    .into_iter()
    .collect();
    sources.flags = vec![flag("logFormat", "xml"), flag("logLevel", "DEBUG")];
    let AdminAccess { admin, log, warnings } = load_admin(&sources).unwrap();
    // The daemon would reject this address without a token. A client needs no token.
    assert_eq!(admin.listen, Some(socket("10.0.0.1:9000")));
    assert_eq!((log.level, log.format), (LogLevel::Debug, LogFormat::Terminal));
    assert_eq!(warnings, []);
    for (variable, key) in [
        ("HIGHHOCK_ADMIN__LISTEN", "admin.listen"),
        ("HIGHHOCK_ADMIN_LISTEN", "admin.listen"),
        ("HIGHHOCK_ADMIN__ALLOWREMOTE", "admin.allowRemote"),
    ] {
        sources.environment = [(variable, "x")].into_iter().collect();
        let keys: Vec<_> = load_admin(&sources).unwrap_err().0.into_iter().map(|e| e.key).collect();
        assert_eq!(keys, [key]);
    }
}

#[test]
fn admin_access_ignores_an_unusable_file_with_a_warning() {
    for (name, is_ignored) in [
        ("tests/fixtures/broken.json", true),
        ("tests/fixtures/empty.json", true),
        ("src", true),
        ("nonexistent.json", false),
    ] {
        let sources = Sources { flags: vec![flag("admin.listen", "[::1]:1")], ..with_file(name) };
        match load_admin(&sources) {
            Ok(AdminAccess { admin, warnings, .. }) => {
                assert!(is_ignored, "{name}");
                assert_eq!(admin.listen, Some(socket("[::1]:1")));
                assert!(matches!(&warnings[..], [Warning::FileIgnored(_)]), "{warnings:?}");
            }
            Err(errors) => assert!(!is_ignored, "{errors}"),
        }
    }
}

#[test]
fn prefix_keeps_its_case() {
    let skydns = settings(&with_flags(&[("skydns.prefix", "CoreDNS")])).skydns;
    assert_eq!(skydns.prefix, "CoreDNS");
}

#[test]
fn parse_error_does_not_hide_errors_of_other_layers() {
    let mut sources = with_file("tests/fixtures/broken.json");
    sources.flags = vec![flag("etcd.ttl", "0")];
    let errors = errors(&sources);
    let kind = invalid_value("\"0\"", "a whole number from 5 to 86400 (seconds)");
    assert_eq!(errors[1..], [flag_error("etcd.ttl", kind)]);
    let SettingsErrorKind::UnparsableFile(reason) = &errors[0].kind else { panic!("{errors:?}") };
    assert!(reason.contains("line 4"), "{reason}");
}

#[test]
fn remote_listen_needs_a_token_or_allow_remote() {
    let listening = |variables: &[_]| settings(&with_environment(variables)).admin;
    const LISTEN: &str = "HIGHHOCK_ADMIN__LISTEN";
    for (text, address) in [
        ("127.0.0.1:9465", "127.0.0.1:9465"),
        ("127.9.9.9:80", "127.9.9.9:80"),
        ("[::1]:9465", "[::1]:9465"),
        ("localhost:9465", "127.0.0.1:9465"),
    ] {
        assert_eq!(listening(&[(LISTEN, text)]).listen, Some(address.parse().unwrap()));
    }
    assert_eq!(settings(&with_flags(&[("admin.listen", "")])).admin.listen, None);
    for text in
        ["0.0.0.0:9465", "10.0.0.1:9465", "[::]:9465", "[fe80::1]:80", "[::ffff:1.2.3.4]:80"]
    {
        let kind = SettingsErrorKind::UnprotectedAdmin { address: socket(text) };
        assert_eq!(
            only_error(&with_environment(&[(LISTEN, text)])),
            variable_error(LISTEN, "admin.listen", kind)
        );
        assert!(listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__ALLOWREMOTE", "true")]).allow_remote);
        let admin = listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__TOKEN", "hunter2")]);
        assert_eq!(admin.token, Some(SecretSource::Inline(Secret::new("hunter2"))));
        let admin = listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__TOKENFILE", "/run/token")]);
        assert_eq!(admin.token, Some(SecretSource::File("/run/token".into())));
    }
    for (text, found) in [
        ("9465", "\"9465\""),
        (":9465", "\":9465\" (the address is missing)"),
        ("host:9465", "\"host:9465\""),
        ("127.0.0.1", "\"127.0.0.1\""),
        ("127.0.0.1:0", "\"127.0.0.1:0\" (port 0 is not allowed)"),
        ("127.0.0.1:99999", "\"127.0.0.1:99999\""),
    ] {
        let kind = invalid_value(
            found,
            "an address with a port, such as 127.0.0.1:9465 or [::1]:9465, or an empty value",
        );
        assert_eq!(
            only_error(&with_environment(&[(LISTEN, text)])),
            variable_error(LISTEN, "admin.listen", kind)
        );
    }
}

#[test]
fn validates_the_token_and_its_single_source() {
    const TOKEN: &str = "HIGHHOCK_ADMIN__TOKEN";
    for token in ["two words", "t\u{f6}ken", "line\n"] {
        let kind = invalid_value("a value (not shown)", "a token of visible ASCII characters");
        assert_eq!(
            only_error(&with_environment(&[(TOKEN, token)])),
            variable_error(TOKEN, "admin.token", kind)
        );
    }
    let file = ("HIGHHOCK_ADMIN__TOKENFILE", "/run/token");
    let kind = SettingsErrorKind::Exclusive { other: "admin.token" };
    assert_eq!(
        only_error(&with_environment(&[(TOKEN, "hunter2"), file])),
        variable_error(file.0, "admin.tokenFile", kind)
    );
    // An invalid token is not also reported as missing.
    let invalid = [(TOKEN, "two words"), ("HIGHHOCK_ADMIN__LISTEN", "0.0.0.0:9465")];
    assert_eq!(only_error(&with_environment(&invalid)).key, "admin.token");
}

#[test]
fn shows_every_key_with_its_layer_and_no_secret() {
    let mut sources = with_file("tests/fixtures/first-readme.json");
    sources.environment = [
        ("highhock_docker__pollcontainer", "21"),
        ("HIGHHOCK_ETCD__USERNAME", "root"),
        ("HIGHHOCK_ETCD__PASSWORD", "hunter2"),
        ("HIGHHOCK_ADMIN__TOKEN", "hunter2"),
    ]
    .into_iter()
    .collect();
    sources.flags = vec![flag("discovery.methods", "label,env")];
    let effective = load(&sources).unwrap().effective;
    assert_eq!(effective.len(), KEYS.len());
    assert!(!format!("{effective:?}").contains("hunter2"), "{effective:?}");
    let shown = |key: &str| {
        let key = effective.iter().find(|entry| entry.key == key).unwrap();
        (key.value.to_string(), key.layer.as_str(), key.place.clone().unwrap_or_default())
    };
    let is = |value: &str, layer, place: &str| (value.to_owned(), layer, place.to_owned());
    assert_eq!(shown("etcd.ttl"), is("60", "default", ""));
    let file = sources.file.clone().unwrap().path.display().to_string();
    assert_eq!(shown("docker.poll"), is("12", "file", &file));
    let variable = "highhock_docker__pollcontainer";
    assert_eq!(shown("docker.pollContainer"), is("21", "environment", variable));
    let variable = "HIGHHOCK_ETCD__PASSWORD";
    assert_eq!(shown("etcd.password"), is("\"(set, not shown)\"", "environment", variable));
    assert_eq!(
        shown("discovery.methods"),
        is("[\"label\",\"env\"]", "flag", "--discovery-methods")
    );
    assert_eq!(shown("etcd.ca"), is("null", "default", ""));
}

#[test]
fn shows_derived_values() {
    let effective = |sources: &Sources| {
        let all = load(sources).unwrap().effective;
        let key = all.into_iter().find(|entry| entry.key == "docker.url").unwrap();
        (key.value.as_str().unwrap().to_owned(), key.place)
    };
    let host = with_environment(&[("DOCKER_HOST", "tcp://10.0.0.1:2375")]);
    assert_eq!(
        effective(&host),
        ("http://10.0.0.1:2375/".to_owned(), Some("DOCKER_HOST".to_owned()))
    );
    assert_eq!(effective(&sources()), ("http://127.0.0.1:2375/".to_owned(), None));
}

#[test]
fn each_error_has_its_wording() {
    use SettingsErrorKind as Kind;
    let text = str::to_owned;
    for (kind, wording) in [
        (
            invalid_value("4", "a whole number from 5 to 86400 (seconds)"),
            "found 4; expected a whole number from 5 to 86400 (seconds)",
        ),
        (Kind::UnknownKey { nearest: None }, "unknown key"),
        (
            Kind::UnknownKey { nearest: Some("logLevel") },
            "unknown key; the nearest known key is logLevel",
        ),
        (
            Kind::SetTwice { other: text("discovery.host") },
            "also set as discovery.host, to a different value; set only one of the two",
        ),
        (Kind::GivenTwice, "given twice, with different values; keep only one of the two"),
        (
            Kind::MisspeltVariable { variable: text("HIGHHOCK_ETCD__URL") },
            "written with single underscores; rename the variable to HIGHHOCK_ETCD__URL",
        ),
        (
            Kind::MissingKey { missing: text("etcd.username") },
            "set without etcd.username; set both or neither",
        ),
        (
            Kind::MissingOneOf { missing: &["etcd.password", "etcd.passwordFile"] },
            "set without etcd.password or etcd.passwordFile; set one of them",
        ),
        (
            Kind::Exclusive { other: "admin.token" },
            "set together with admin.token; set only one of the two",
        ),
        (
            Kind::UnusedTlsFile { reason: "etcd.url begins with http://, not https://" },
            "set, but etcd.url begins with http://, not https://; remove this key or change the \
                URL",
        ),
        (
            Kind::NeedsInstanceLayout { found: text("\"auto\""), reason: "of a reason" },
            "found \"auto\", but skydns.layout is flat; set skydns.layout to instance, because of a \
             reason",
        ),
        (
            Kind::OverlappingAddresses {
                inside: socket("127.0.0.1:53"),
                outside: socket("0.0.0.0:53"),
            },
            "127.0.0.1:53 is included in 0.0.0.0:53, which is listed too; remove one of the two",
        ),
        (
            Kind::AdminAddressInUse {
                address: socket("0.0.0.0:9465"),
                admin: socket("127.0.0.1:9465"),
            },
            "0.0.0.0:9465 conflicts with admin.listen 127.0.0.1:9465; change the port of one of \
             the two",
        ),
        (
            Kind::ForwardingLoop { address: socket("127.0.0.1:5354") },
            "127.0.0.1:5354 is listed in dns.listen too, so queries would loop; list other DNS \
             servers",
        ),
        (
            Kind::UnprotectedAdmin { address: socket("0.0.0.0:9465") },
            "0.0.0.0:9465 is reachable from other hosts; use a loopback address such as \
             127.0.0.1:9465, or set admin.token, admin.tokenFile or admin.allowRemote",
        ),
        (Kind::MissingFile, "no such file"),
        (
            Kind::MissingFileOfVariable { variable: text("HIGHHOCK_CONFIG") },
            "no such file; correct or unset the environment variable HIGHHOCK_CONFIG",
        ),
        (
            Kind::MissingAttachedFile { written: text("-cleanup"), file: text("leanup") },
            "no such file: -cleanup means -c leanup; name a file by -c FILE, and begin a long flag \
             with two dashes",
        ),
        (Kind::EmptyFile, "empty file; add keys to it, or remove it to use the defaults"),
        (Kind::UnreadableFile(text("a reason")), "cannot be read: a reason"),
        (Kind::UnparsableFile(text("a reason")), "cannot be parsed: a reason"),
        (Kind::Internal(text("a reason")), "internal error: a reason; please report it"),
    ] {
        assert_eq!(kind.to_string(), wording);
    }

    let missing = SettingsErrorKind::MissingFile;
    let file = Origin::File("/etc/highhock.json".into());
    let errors = [
        SettingsError { origin: file, key: String::new(), kind: missing.clone() },
        variable_error("HIGHHOCK_ETCD__TTL", "etcd.ttl", missing.clone()),
        flag_error("etcd.ttl", missing),
    ];
    let lines = [
        "  /etc/highhock.json: no such file",
        "  environment variable HIGHHOCK_ETCD__TTL: etcd.ttl: no such file",
        "  flag --etcd-ttl: etcd.ttl: no such file",
    ];
    let text = SettingsErrors(errors[..1].to_vec()).to_string();
    assert_eq!(text, format!("1 error in the configuration:\n{}", lines[0]));
    let text = SettingsErrors(errors.to_vec()).to_string();
    assert_eq!(text, format!("3 errors in the configuration:\n{}", lines.join("\n")));
}

#[test]
fn each_warning_has_its_wording() {
    let unknown_variable = |nearest: Option<&str>| Warning::UnknownVariable {
        name: "HIGHHOCK_A".into(),
        nearest: nearest.map(str::to_owned),
    };
    let file = Origin::File("/etc/highhock.json".into());
    let unreadable = SettingsError {
        origin: file.clone(),
        key: String::new(),
        kind: SettingsErrorKind::UnreadableFile("a reason".to_owned()),
    };
    for (warning, wording) in [
        (unknown_variable(None), "environment variable HIGHHOCK_A ignored: it names no key"),
        (
            unknown_variable(Some("HIGHHOCK_ETCD__URL")),
            "environment variable HIGHHOCK_A ignored: it names no key; the nearest known variable \
             is HIGHHOCK_ETCD__URL",
        ),
        (
            Warning::SetTwice {
                origin: file.clone(),
                key: "publicHost".into(),
                other: "discovery.host".into(),
            },
            "/etc/highhock.json: publicHost: also set as discovery.host, to the same value; remove \
             one of the two",
        ),
        (
            Warning::GivenTwice { origin: file.clone(), key: "etcd.ttl".into() },
            "/etc/highhock.json: etcd.ttl: given twice, with the same value; remove one of the two",
        ),
        (
            Warning::OnlyComments(file),
            "/etc/highhock.json: sets no key: the file has only comments; uncomment the keys to set",
        ),
        (
            Warning::FileIgnored(unreadable),
            "/etc/highhock.json: cannot be read: a reason; finding the daemon by the defaults, \
             environment variables and flags of admin.*",
        ),
        (
            Warning::SkydnsTtlIgnored { skydns: 5, etcd: 60 },
            "skydns.ttl 5 ignored: it is lower than etcd.ttl, so records contain 60; set \
             skydns.exactTtl to use it",
        ),
        (
            Warning::OpenResolver { listen: socket("0.0.0.0:53") },
            "dns.forward is set, and 0.0.0.0:53 in dns.listen is reachable from other hosts: \
             queries for other domains are forwarded for this host and for all clients with a \
             loopback, private or link-local address, and refused for all others; block unwanted \
             clients with a firewall, or unset dns.forward",
        ),
    ] {
        assert_eq!(warning.to_string(), wording);
    }
}
