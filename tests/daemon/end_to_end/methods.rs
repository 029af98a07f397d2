//! The discovery methods, and their explanations.

use serde_json::Value;

use crate::fixture::{Fixture, KEY_PREFIX, Records, wait_for_records};
use crate::support::compose::Project;
use crate::support::daemon::Highhock;
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::{TIMEOUT, record};

/// A name, its container, and the container port behind it.
type Service<'a> = (&'a str, &'a Container, &'a str);

fn records(services: &[Service<'_>]) -> Records {
    let record_of = |&(name, container, port): &Service<'_>| {
        (format!("{KEY_PREFIX}{name}"), record(container.published_port(port)))
    };
    services.iter().map(record_of).collect()
}

fn with_methods(fixture: &Fixture, etcd: &Etcd, methods: &str) -> Highhock {
    fixture.highhock(&etcd.url()).flag("--discovery-methods", methods)
}

/// The test image, tagged as Registrator derives names from it.
fn image_name() -> &'static str {
    docker::image().rsplit('/').next().unwrap().split(':').next().unwrap()
}

#[test]
fn registrator_method_publishes_like_registrator() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let by_image = fixture.container(&["-p", "0:80"]);
    let by_variable = fixture.container(&["-e", "SERVICE_NAME=db", "-p", "0:5432"]);
    let by_label = fixture.container(&["--label", "SERVICE_NAME=web", "-p", "0:80", "-p", "0:443"]);
    let by_port = fixture.container(
        &[
            &[
                "-e",
                "SERVICE_NAME=env",
                "--label",
                "SERVICE_NAME=api",
                "-e",
                "SERVICE_81_NAME=admin",
            ],
            &["-e", "SERVICE_82_IGNORE=1", "-p", "0:80", "-p", "0:81", "-p", "0:82"][..],
        ]
        .concat(),
    );
    let _ignored = fixture.container(&["--label", "SERVICE_IGNORE=true", "-p", "0:80"]);
    let _unpublished = fixture.container(&["-e", "SERVICE_NAME=inner", "--expose", "80"]);

    let daemon = with_methods(&fixture, &etcd, "registrator").start();
    let expected = records(&[
        (image_name(), &by_image, "80/tcp"),
        ("db", &by_variable, "5432/tcp"),
        ("web-80", &by_label, "80/tcp"),
        ("web-443", &by_label, "443/tcp"),
        ("api-80", &by_port, "80/tcp"),
        ("admin", &by_port, "81/tcp"),
    ]);
    wait_for_records(&etcd.v3(), &expected, TIMEOUT);
    daemon.wait_for_log(&["SERVICE_82_IGNORE=1", "excludes ports, as in Registrator"]);
}

#[test]
fn registrator_publishes_exposed_ports_in_host_network() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let _on_host =
        fixture.container(&["--network", "host", "--expose", "8099", "-e", "SERVICE_NAME=on-host"]);
    let _daemon = with_methods(&fixture, &etcd, "registrator").start();
    let expected = [(format!("{KEY_PREFIX}on-host"), record(8099))].into();
    wait_for_records(&etcd.v3(), &expected, TIMEOUT);
}

/// A container with the labels of `docker-compose`.
fn run_compose_container(
    fixture: &Fixture,
    service: &str,
    one_off: bool,
    options: &[&str],
) -> Container {
    let service = format!("com.docker.compose.service={service}");
    let one_off = format!("com.docker.compose.oneoff={}", if one_off { "True" } else { "False" });
    let project = "com.docker.compose.project=shop";
    let labels = ["--label", &service, "--label", project, "--label", &one_off];
    fixture.container(&[&labels, options].concat())
}

#[test]
fn compose_method_publishes_services() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let one = run_compose_container(&fixture, "db", false, &["-p", "0:5432"]);
    let two = run_compose_container(&fixture, "web", false, &["-p", "0:80", "-p", "0:443"]);
    let both = run_compose_container(&fixture, "ns", false, &["-p", "0:53/udp", "-p", "0:53/tcp"]);
    let _one_off = run_compose_container(&fixture, "task", true, &["-p", "0:80"]);
    let _unpublished = run_compose_container(&fixture, "inner", false, &[]);
    let _by_itself = fixture.container(&["-p", "0:80"]);

    let highhock = with_methods(&fixture, &etcd, "compose");
    let mut daemon = highhock.clone().flag("--etcd-on-exit", "remove").start();
    let expected = records(&[
        ("db", &one, "5432/tcp"),
        ("web-80", &two, "80/tcp"),
        ("web-443", &two, "443/tcp"),
        ("ns", &both, "53/tcp"),
    ]);
    wait_for_records(&v3, &expected, TIMEOUT);
    daemon.wait_for_log(&["com.docker.compose.oneoff=True", "made for one task"]);
    daemon.wait_for_log(&[
        "record on standby",
        "skydns/local/skydns/ns",
        "another port of this container",
    ]);
    daemon.stop_with("TERM");

    let _daemon = highhock.flag("--discovery-compose-project", "true").start();
    let expected = records(&[
        ("shop/db", &one, "5432/tcp"),
        ("shop/web-80", &two, "80/tcp"),
        ("shop/web-443", &two, "443/tcp"),
        ("shop/ns", &both, "53/tcp"),
    ]);
    wait_for_records(&v3, &expected, TIMEOUT);
}

#[test]
fn compose_service_of_another_project_is_on_standby() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let _shop = run_compose_container(&fixture, "web", false, &["-p", "0:80"]);
    let blog = ["--label", "com.docker.compose.project=blog", "-p", "0:80"];
    let _blog = run_compose_container(&fixture, "web", false, &blog);
    let daemon = with_methods(&fixture, &etcd, "compose").start();
    daemon.wait_for_log(&["record on standby", "skydns/web", "set discovery.composeProject"]);
}

#[test]
fn compose_service_in_a_shared_network_has_the_published_port() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let vpn = run_compose_container(&fixture, "vpn", false, &["-p", "0:8080"]);
    let network = format!("container:{}", vpn.id());
    let guest = |name: &str| run_compose_container(&fixture, name, false, &["--network", &network]);
    let _qb = guest("qb");
    let _daemon = with_methods(&fixture, &etcd, "compose").start();
    let alone = records(&[("vpn", &vpn, "8080/tcp"), ("qb", &vpn, "8080/tcp")]);
    wait_for_records(&etcd.v3(), &alone, TIMEOUT);
    // Two services could serve the port.
    let rival = guest("rival");
    wait_for_records(&etcd.v3(), &records(&[("vpn", &vpn, "8080/tcp")]), TIMEOUT);
    rival.remove();
    wait_for_records(&etcd.v3(), &alone, TIMEOUT);
}

#[test]
fn compose_method_publishes_under_the_project() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let services: [(&str, &[&str]); 3] =
        [("db", &["5432"]), ("web", &["80", "443"]), ("ns", &["53", "53/udp"])];
    let project = Project::up(&services, fixture.label());
    project.run(&["run", "-d", "--service-ports", "db", "sleep", "100000"]);

    let highhock = with_methods(&fixture, &etcd, "compose");
    let daemon = highhock.flag("--discovery-compose-project", "true").start();
    let record_of = |(name, service, port)| {
        let key = format!("{KEY_PREFIX}{}/{name}", project.name());
        (key, record(project.published_port(service, port)))
    };
    let services = [
        ("db", "db", "5432/tcp"),
        ("web-80", "web", "80/tcp"),
        ("web-443", "web", "443/tcp"),
        ("ns", "ns", "53/tcp"),
    ];
    wait_for_records(&etcd.v3(), &services.map(record_of).into(), TIMEOUT);
    daemon.wait_for_log(&["com.docker.compose.oneoff=True", "made for one task"]);
}

#[test]
fn each_protocol_has_its_own_instance() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let both = run_compose_container(&fixture, "ns", false, &["-p", "0:53/udp", "-p", "0:53/tcp"]);
    let highhock = with_methods(&fixture, &etcd, "compose");
    let _daemon =
        highhock.flag("--skydns-layout", "instance").flag("--skydns-hostname", "node1").start();
    let instance = format!("ns/node1-{}-53", &both.id()[..12]);
    let expected =
        records(&[(&instance, &both, "53/tcp"), (&format!("{instance}-udp"), &both, "53/udp")]);
    wait_for_records(&etcd.v3(), &expected, TIMEOUT);
}

/// A container with many declarations, some of them invalid. A service that two methods declare
/// is one service.
fn run_multi_method_container(fixture: &Fixture) -> Container {
    let options = [
        &["-e", "DISCOVER=web:80,api:81,bad", "--label", "highhock.discover=web:80"][..],
        &["-e", "SERVICE_80_NAME=web", "-e", "SERVICE_443_IGNORE=1"],
        &["-e", "SERVICE_80_TCP_NAME=api", "--label", "SERVICE_TAGS=a,b"],
        &["-e", "DISCOVERY=\"quoted:80\"", "--label", "highhock.discovery=web:80"],
        &["--label", "highhock.web.priority=7", "--label", "highhock.weight=heavy"],
        &["-p", "0:80", "-p", "0:443"],
    ];
    fixture.container(&options.concat())
}

const ALL_METHODS: &str = "env,label,registrator,compose";

#[test]
fn first_method_wins_for_a_duplicate_service() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let container = run_multi_method_container(&fixture);
    let _daemon = with_methods(&fixture, &etcd, ALL_METHODS).start();
    let value =
        record(container.published_port("80/tcp")).replace(",\"ttl\"", ",\"priority\":7,\"ttl\"");
    let expected = [(format!("{KEY_PREFIX}web"), value)].into();
    wait_for_records(&etcd.v3(), &expected, TIMEOUT);
}

#[test]
fn records_command_explains_each_container() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let container = run_multi_method_container(&fixture);
    let silent = fixture.container(&[]);
    let paused = fixture.container(&["-e", "DISCOVER=late:80", "-p", "0:80"]);
    paused.docker_command("pause");
    let highhock = with_methods(&fixture, &etcd, ALL_METHODS);

    let output = highhock.output(&["records", "--explain"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let block = |container: &Container| {
        let from = text.find(container.name()).unwrap_or_else(|| panic!("{text}"));
        text[from..].split("\n\n").next().unwrap()
    };
    for (container, parts) in [
        (&container, &["env", "\"DISCOVER=web:80\"", "-> web:80"][..]),
        (&container, &["env", "\"bad\"", "skipped: there is no port"]),
        (&container, &["label", "-> web:80, dropped: env declared it first"]),
        (&container, &["registrator", "SERVICE_80_NAME=web", "dropped: env declared it first"]),
        (&container, &["registrator", "SERVICE_443_IGNORE=1", "excludes ports, as in Registrator"]),
        (&container, &["registrator", "SERVICE_TAGS", "ignored: has no place in a DNS record"]),
        (&container, &["registrator", "SERVICE_80_TCP_NAME", "set SERVICE_80_NAME"]),
        (&container, &["env", "quoted:80", "Docker does not remove quotes in an `--env-file`"]),
        (&container, &["highhock.discovery=web:80", "did you mean `highhock.discover`?"]),
        (&container, &["compose", "nothing: there is no label com.docker.compose.service"]),
        (&container, &["attributes", "highhock.weight=heavy", "not a whole number"]),
        (&container, &["web:80", "skydns/local/skydns/web", "\"priority\":7"]),
        (&container, &["web:80", "priority by \"highhock.web.priority\""]),
        (&container, &["api:81", "skipped: its port 81 is not published"]),
        (&silent, &["env", "nothing: neither DISCOVER nor DISCOVERY is set"]),
        (&silent, &["label", "nothing: there is no label highhock.discover"]),
        (&silent, &["registrator", "nothing: no port is published"]),
        (&paused, &["not published: it is paused"]),
        (&paused, &["env", "\"DISCOVER=late:80\"", "-> late:80"]),
    ] {
        let block = block(container);
        let found = block.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no {parts:?} in:\n{block}");
    }

    let output = highhock.output(&["records", "--explain", "--json"]);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.len(), 3);
    let row_of =
        |container: &Container| rows.iter().find(|row| row["id"] == container.id()).unwrap();
    let row = row_of(&container);
    assert_eq!((&row["state"], &row["reason"]), (&"running".into(), &Value::Null));
    assert_eq!(row["methods"][1]["method"], "label");
    let claim = &row["methods"][1]["named"][0];
    assert_eq!((&claim["service"], &claim["named_before_by"]), (&"web:80".into(), &"env".into()));
    let entries: Vec<_> =
        row["skipped"].as_array().unwrap().iter().map(|one| &one["entry"]).collect();
    assert_eq!(entries, ["highhock.discovery=web:80", "highhock.weight=heavy"]);
    assert_eq!(row["methods"][2]["ignored"][0]["entry"], "SERVICE_80_TCP_NAME");
    let [web, api] = row["services"].as_array().unwrap().as_slice() else { panic!("{row}") };
    assert_eq!((&web["name"], &web["method"]), (&"web".into(), &"env".into()));
    assert_eq!(web["labels"]["priority"], "highhock.web.priority");
    assert_eq!(web["records"][0]["key"], "skydns/local/skydns/web");
    assert_eq!(web["records"][0]["value"]["port"], container.published_port("80/tcp"));
    assert_eq!(web["records"][0]["state"], "pending");
    assert_eq!(api["records"], Value::Array(Vec::new()));
    assert!(api["skipped"][0]["reason"].as_str().unwrap().contains("is not published"), "{api}");
    assert_eq!(row_of(&silent)["services"], Value::Array(Vec::new()));
    assert_eq!(row_of(&paused)["reason"], "is paused; resume it with `docker unpause`");
}
