//! The layers together: what wins, what is refused, and that the sample is true.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};
use highhock_actors::model::publish_config::{AddressOwner, DiscoveryMethod, KeyLayout};

use super::*;
use crate::credentials::secret::{Secret, SecretSource};
use crate::tls::{ClientIdentity, TlsFiles};

/// Sources with nothing in them, nothing of this machine included.
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
    Sources { file: Some(folder.join(name)), ..sources() }
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

fn errors(sources: &Sources) -> Vec<String> {
    load(sources).unwrap_err().0.iter().map(ToString::to_string).collect()
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
    flatten("", file::read(&path).unwrap().unwrap(), &mut sample);
    for key in KEYS {
        let value = sample.remove(key.path).unwrap_or_else(|| panic!("{} is missing", key.path));
        let default = key.default_value().unwrap_or(ValueKind::Nil);
        assert!(key::same_value(&value, &default), "{}: {value:?} is not {default:?}", key.path);
    }
    assert_eq!(sample.keys().collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn first_readme_file_loads_in_each_format() {
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
    let file = sources.file.clone().unwrap().display().to_string();
    let expected = [
        format!("{file}: discovery.methods: found the list [\"env\", \"env\"] (an entry stands twice); takes a list of env, label, registrator and compose, each at most once"),
        format!("{file}: docker: found a value of its own; takes a table of keys"),
        format!("{file}: etcd.ttl: found 4; takes a whole number from 5 to 86400 (seconds)"),
        format!("{file}: etcd.url: found \"ftp://etcd/\"; takes the URL of an etcd member, as http://127.0.0.1:2379/, or those of several with commas between them"),
        format!("{file}: loglevel: no such key; the nearest is logLevel"),
        format!("{file}: publicHost: set here and as discovery.host, to different values; takes one of the two"),
        "environment variable HIGHHOCK_ETCD__TTL: etcd.ttl: found \"1m\"; takes a whole number from 5 to 86400 (seconds)".to_owned(),
        "flag --log-format: logFormat: found \"xml\"; takes terminal or json".to_owned(),
        "environment variable DOCKER_HOST: docker.url: found \"ssh://engine\"; takes unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT".to_owned(),
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
    let refused =
        errors(&Sources { flags: vec![flag("discovery.metadata", "azure")], ..sources() });
    assert!(refused[0].ends_with("takes aws, gce, digitalocean or auto"), "{refused:?}");
}

#[test]
fn standalone_reads_listen_and_forward_addresses() {
    let with = |flags: &[(&str, &str)]| Sources {
        flags: flags.iter().map(|(path, value)| flag(path, value)).collect(),
        ..sources()
    };
    let alone = ("store", "standalone");
    let forward = ("dns.forward", "9.9.9.9, [2620:fe::fe]:5353");
    let listen = ("dns.listen", "127.0.0.1:5354,[::1]:5354");
    let loaded = settings(&with(&[alone, listen, forward, ("dns.rateLimit", "0")]));
    assert_eq!(loaded.store, StoreKind::Standalone);
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(loaded.dns.listen, addresses(["127.0.0.1:5354", "[::1]:5354"]));
    assert_eq!(loaded.dns.forward, addresses(["9.9.9.9:53", "[2620:fe::fe]:5353"]));
    assert_eq!(loaded.dns.rate_limit, 0);

    // All faults at once, each with what would do.
    let invalid_flags =
        [alone, ("dns.listen", "5354"), ("dns.forward", "dns.example"), ("store", "etcd")];
    let errors = |flags| load(&with(flags)).unwrap_err().0.len();
    assert_eq!(errors(&invalid_flags), 3);
    let round = [alone, ("dns.forward", "127.0.0.1:5354")];
    let text = load(&with(&round)).unwrap_err().to_string();
    assert!(text.contains("stands in dns.listen too"), "{text}");
    // Of no use beside etcd, and no fault either: the same file moves between the two.
    assert_eq!(load(&with(&round[1..])).unwrap().settings.store, StoreKind::Etcd);

    let open = [alone, ("dns.listen", "0.0.0.0:53"), forward];
    let no_servers = ("dns.forward", "[]");
    assert_eq!(settings(&with(&[alone, no_servers])).dns.forward, []);
    let warnings = |flags: &[_]| load(&with(flags)).unwrap().warnings;
    let listen = "0.0.0.0:53".parse().unwrap();
    assert_eq!(warnings(&open), [Warning::OpenResolver { listen }]);
    // What is forwarded is not for everybody (src/standalone/dns/forward.rs).
    let text = Warning::OpenResolver { listen }.to_string();
    for part in ["0.0.0.0:53", "private", "link-local", "refused"] {
        assert!(text.contains(part), "no {part} in: {text}");
    }
    for shut in [&open[1..], &open[..2]] {
        assert_eq!(warnings(shut), []);
    }
}

#[test]
fn rejects_overlapping_listen_addresses() {
    let error_text = |listen: &str, more: &[(&str, &str)]| {
        let all = [&[("store", "standalone"), ("dns.listen", listen)], more].concat();
        let flags = all.iter().map(|(path, value)| flag(path, value)).collect();
        match load(&Sources { flags, ..sources() }) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        }
    };
    for (listen, inside, outside) in [
        ("0.0.0.0:53,127.0.0.1:53", "127.0.0.1:53", "0.0.0.0:53"),
        ("[::1]:53,[::]:53", "[::1]:53", "[::]:53"),
        ("localhost:53,127.0.0.1:53", "127.0.0.1:53", "127.0.0.1:53"),
    ] {
        let text = error_text(listen, &[]);
        let error = format!("dns.listen: {inside} is a part of {outside}, which stands there too");
        assert!(text.contains(&error), "{text}");
    }
    for listen in ["0.0.0.0:53,127.0.0.1:54", "0.0.0.0:53,[::]:53", "127.0.0.1:53,127.0.0.2:53"] {
        assert_eq!(error_text(listen, &[]), "");
    }

    let seen = ("admin.listen", "127.0.0.1:9465");
    for listen in ["127.0.0.1:9465", "0.0.0.0:9465"] {
        let text = error_text(listen, &[seen]);
        assert!(
            text.contains(&format!(
                "dns.listen: {listen} and admin.listen, 127.0.0.1:9465, are one"
            )),
            "{text}"
        );
    }
    assert_eq!(error_text("127.0.0.1:9465", &[("admin.listen", "")]), "");
    assert_eq!(error_text("[::1]:9465", &[seen]), "");
    // One that can't be read is told alone.
    let text = error_text("127.0.0.1:9465", &[("admin.listen", "9465")]);
    assert!(text.starts_with("1 fault"), "{text}");
}

#[test]
fn ignores_etcd_file_errors_in_standalone_mode() {
    let with = |more: &[(&str, &str)]| {
        let all = [&[("etcd.ca", "/etc/ca.pem"), ("etcd.username", "root")], more].concat();
        let flags = all.iter().map(|(path, value)| flag(path, value)).collect();
        load(&Sources { flags, ..sources() })
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
        let errors = errors(&with_file(&format!("tests/fixtures/{fixture}"))).join("\n");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    let sources = with_environment(&[("HIGHHOCK_ETCD__PASSWORD", "hunter2")]);
    let errors = errors(&sources);
    assert_eq!(
        errors,
        [
            "environment variable HIGHHOCK_ETCD__PASSWORD: etcd.password: set without etcd.username; \
          takes both or neither"
        ]
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
    let errors = errors(&with_environment(&[name]));
    assert!(errors[0].contains("set without etcd.password or etcd.passwordFile"), "{errors:?}");
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
    let refused = errors(&sources);
    assert_eq!(refused.len(), 3, "{refused:?}");
    let expected_error =
        "flag --etcd-ca: etcd.ca: set, but etcd.url begins with http://, not https://";
    assert_eq!(refused[0], expected_error);
}

#[test]
fn reports_an_invalid_key_only_once() {
    let sources = Sources {
        flags: vec![flag("etcd.key", "/key"), flag("etcd.cert", ""), flag("etcd.url", "https://a")],
        ..sources()
    };
    let errors = errors(&sources);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("flag --etcd-cert: etcd.cert: found \"\""), "{errors:?}");
}

#[test]
fn warns_of_unknown_variables() {
    let sources = with_environment(&[
        ("HIGHHOCK_PORT_4001_TCP", "tcp://10.0.0.1:4001"),
        ("HIGHHOCK_ETCD__URLL", "http://etcd:2379/"),
    ]);
    let warnings: Vec<_> =
        load(&sources).unwrap().warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment variable HIGHHOCK_ETCD__URLL names no key and is ignored; the nearest is etcd.url",
            "environment variable HIGHHOCK_PORT_4001_TCP names no key and is ignored",
        ]
    );
}

#[test]
fn rejects_conflicting_variables_that_differ_in_case() {
    let sources = with_environment(&[("HIGHHOCK_ETCD__TTL", "10"), ("highhock_etcd__ttl", "11")]);
    let errors = errors(&sources);
    assert!(errors[0].contains("as environment variable HIGHHOCK_ETCD__TTL"), "{errors:?}");
    let same = with_environment(&[("HIGHHOCK_ETCD__TTL", "10"), ("highhock_etcd__ttl", "10")]);
    assert_eq!(settings(&same).etcd.ttl.as_secs(), 10);
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
    for url in ["http://e", "unix:///d.sock"] {
        let flags = vec![flag("docker.url", url), flag("docker.ca", "/ca")];
        let errors = errors(&Sources { flags, ..sources() });
        assert!(errors[0].starts_with("flag --docker-ca: docker.ca: set, but "), "{errors:?}");
    }
}

#[test]
fn container_and_ipv6_addresses_need_instance_layout() {
    let with = |flags: &[(&str, &str)]| Sources {
        flags: flags.iter().map(|(path, value)| flag(path, value)).collect(),
        ..sources()
    };
    let (container, six) = (("discovery.address", "container"), ("discovery.host6", "2001:db8::6"));
    let instance = ("skydns.layout", "instance");
    let discovery = settings(&with(&[container, six, instance])).discovery;
    assert_eq!(discovery.address, AddressOwner::Container);
    assert_eq!(discovery.host6, Some(Host6::Address("2001:db8::6".parse().unwrap())));
    let auto = settings(&with(&[("discovery.host6", "auto"), instance])).discovery;
    assert_eq!((auto.address, auto.host6), (AddressOwner::Host, Some(Host6::Auto)));

    let refused = errors(&with(&[container, six, ("etcd.ca", "/ca")]));
    assert_eq!(
        refused,
        [
            "flag --etcd-ca: etcd.ca: set, but etcd.url begins with http://, not https://",
            "flag --discovery-address: discovery.address: found \"container\", but skydns.layout is \
             flat; takes skydns.layout instance, since containers of several hosts have the same \
             addresses",
            "flag --discovery-host6: discovery.host6: set, but skydns.layout is flat; takes \
             skydns.layout instance, since a name has one record in the other",
        ]
    );
    // A layout that is misspelt may well be the right one.
    let misspelt = errors(&with(&[container, six, ("skydns.layout", "instances")]));
    assert_eq!(misspelt.len(), 1, "{misspelt:?}");
    assert!(misspelt[0].starts_with("flag --skydns-layout: "), "{misspelt:?}");
}

#[test]
fn record_ttl_is_at_least_etcd_ttl_unless_exact() {
    let ttl = |flags: &[(&str, &str)]| {
        let flags = flags.iter().map(|(path, value)| flag(path, value)).collect();
        let loaded = load(&Sources { flags, ..sources() }).unwrap();
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
    assert!(errors(&missing)[0].ends_with("nonexistent.json: there is no such file"));
    let folder = with_file("src");
    assert!(errors(&folder)[0].contains("src: can't be read: "));
}

#[test]
fn parse_error_does_not_hide_errors_of_other_layers() {
    let mut sources = with_file("tests/fixtures/broken.json");
    sources.flags = vec![flag("etcd.ttl", "0")];
    let errors = errors(&sources);
    assert_eq!(errors.len(), 2);
    assert!(errors[0].contains("can't be parsed") && errors[0].contains("line 4"), "{errors:?}");
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
    let nowhere = Sources { flags: vec![flag("admin.listen", "")], ..sources() };
    assert_eq!(settings(&nowhere).admin.listen, None);
    for text in
        ["0.0.0.0:9465", "10.0.0.1:9465", "[::]:9465", "[fe80::1]:80", "[::ffff:1.2.3.4]:80"]
    {
        let refused = errors(&with_environment(&[(LISTEN, text)]));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("can be reached from elsewhere; takes"), "{refused:?}");
        assert!(listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__ALLOWREMOTE", "true")]).allow_remote);
        let admin = listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__TOKEN", "hunter2")]);
        assert_eq!(admin.token, Some(SecretSource::Inline(Secret::new("hunter2"))));
        let admin = listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__TOKENFILE", "/run/token")]);
        assert_eq!(admin.token, Some(SecretSource::File("/run/token".into())));
    }
    for text in ["9465", ":9465", "host:9465", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999"] {
        let refused = errors(&with_environment(&[(LISTEN, text)]));
        assert!(refused[0].contains("takes an address with port"), "{refused:?}");
    }
}

#[test]
fn validates_the_token_and_its_single_source() {
    const TOKEN: &str = "HIGHHOCK_ADMIN__TOKEN";
    for token in ["two words", "t\u{f6}ken", "line\n"] {
        let refused = errors(&with_environment(&[(TOKEN, token)]));
        let expected = "found a value (not shown); takes a token of visible ASCII characters";
        assert!(refused[0].ends_with(expected), "{refused:?}");
    }
    let both = [(TOKEN, "hunter2"), ("HIGHHOCK_ADMIN__TOKENFILE", "/run/token")];
    let refused = errors(&with_environment(&both));
    assert!(refused[0].ends_with("set beside admin.token; takes one of the two"), "{refused:?}");
    // What was meant to be a token is told once, and not as lacking besides.
    let faulty = [(TOKEN, "two words"), ("HIGHHOCK_ADMIN__LISTEN", "0.0.0.0:9465")];
    assert_eq!(errors(&with_environment(&faulty)).len(), 1);
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
        let key = effective.iter().find(|one| one.key == key).unwrap();
        (key.value.to_string(), key.layer.as_str(), key.place.clone().unwrap_or_default())
    };
    let is = |value: &str, layer, place: &str| (value.to_owned(), layer, place.to_owned());
    assert_eq!(shown("etcd.ttl"), is("60", "default", ""));
    let file = sources.file.clone().unwrap().display().to_string();
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
        let key = all.into_iter().find(|one| one.key == "docker.url").unwrap();
        (key.value.as_str().unwrap().to_owned(), key.place)
    };
    let host = with_environment(&[("DOCKER_HOST", "tcp://10.0.0.1:2375")]);
    assert_eq!(
        effective(&host),
        ("http://10.0.0.1:2375/".to_owned(), Some("DOCKER_HOST".to_owned()))
    );
    assert_eq!(effective(&sources()), ("http://127.0.0.1:2375/".to_owned(), None));
}
