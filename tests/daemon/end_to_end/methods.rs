//! The ways for a container to say what it offers, and how that is explained.

use serde_json::Value;

use crate::fixture::{BELOW, Records, Stage, becomes_exactly};
use crate::support::compose::Project;
use crate::support::daemon::Highhock;
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::{PATIENCE, record};

/// A name, the container that has it, and the container's port behind it.
type Service<'a> = (&'a str, &'a Container, &'a str);

fn records(services: &[Service<'_>]) -> Records {
    let record_of = |&(name, container, port): &Service<'_>| {
        (format!("{BELOW}{name}"), record(container.published(port)))
    };
    services.iter().map(record_of).collect()
}

fn with_methods(stage: &Stage, etcd: &Etcd, methods: &str) -> Highhock {
    stage.highhock(&etcd.url()).flag("--discovery-methods", methods)
}

/// The image of the tests, as Registrator would call a container of it.
fn image_name() -> &'static str {
    docker::image().rsplit('/').next().unwrap().split(':').next().unwrap()
}

#[test]
fn registrators_containers_are_published_as_registrator_has_it() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let by_image = stage.container(&["-p", "0:80"]);
    let by_variable = stage.container(&["-e", "SERVICE_NAME=db", "-p", "0:5432"]);
    let by_label = stage.container(&["--label", "SERVICE_NAME=web", "-p", "0:80", "-p", "0:443"]);
    let by_port = stage.container(
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
    let _ignored = stage.container(&["--label", "SERVICE_IGNORE=true", "-p", "0:80"]);
    let _unpublished = stage.container(&["-e", "SERVICE_NAME=inner", "--expose", "80"]);

    let daemon = with_methods(&stage, &etcd, "registrator").start();
    let expected = records(&[
        (image_name(), &by_image, "80/tcp"),
        ("db", &by_variable, "5432/tcp"),
        ("web-80", &by_label, "80/tcp"),
        ("web-443", &by_label, "443/tcp"),
        ("api-80", &by_port, "80/tcp"),
        ("admin", &by_port, "81/tcp"),
    ]);
    becomes_exactly(&etcd.v3(), &expected, PATIENCE);
    daemon.says(&["SERVICE_82_IGNORE=1", "asks Registrator to ignore it"]);
}

#[test]
fn registrator_has_the_exposed_ports_published_in_the_hosts_network() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let _on_host =
        stage.container(&["--network", "host", "--expose", "8099", "-e", "SERVICE_NAME=on-host"]);
    let _daemon = with_methods(&stage, &etcd, "registrator").start();
    let expected = [(format!("{BELOW}on-host"), record(8099))].into();
    becomes_exactly(&etcd.v3(), &expected, PATIENCE);
}

/// A container as `docker-compose` makes it, as far as its labels go.
fn composed(stage: &Stage, service: &str, one_off: bool, options: &[&str]) -> Container {
    let service = format!("com.docker.compose.service={service}");
    let one_off = format!("com.docker.compose.oneoff={}", if one_off { "True" } else { "False" });
    let project = "com.docker.compose.project=shop";
    let labels = ["--label", &service, "--label", project, "--label", &one_off];
    stage.container(&[&labels, options].concat())
}

#[test]
fn composes_containers_are_published_by_their_services() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let one = composed(&stage, "db", false, &["-p", "0:5432"]);
    let two = composed(&stage, "web", false, &["-p", "0:80", "-p", "0:443"]);
    let both = composed(&stage, "ns", false, &["-p", "0:53/udp", "-p", "0:53/tcp"]);
    let _one_off = composed(&stage, "task", true, &["-p", "0:80"]);
    let _unpublished = composed(&stage, "inner", false, &[]);
    let _by_itself = stage.container(&["-p", "0:80"]);

    let highhock = with_methods(&stage, &etcd, "compose");
    let mut daemon = highhock.clone().flag("--etcd-on-exit", "remove").start();
    let expected = records(&[
        ("db", &one, "5432/tcp"),
        ("web-80", &two, "80/tcp"),
        ("web-443", &two, "443/tcp"),
        ("ns", &both, "53/tcp"),
    ]);
    becomes_exactly(&v3, &expected, PATIENCE);
    daemon.says(&["com.docker.compose.oneoff=True", "made for one task"]);
    daemon.says(&["stands by", "skydns/local/skydns/ns", "another port of this container"]);
    daemon.ends_on("TERM");

    let _daemon = highhock.flag("--discovery-compose-project", "true").start();
    let expected = records(&[
        ("shop/db", &one, "5432/tcp"),
        ("shop/web-80", &two, "80/tcp"),
        ("shop/web-443", &two, "443/tcp"),
        ("shop/ns", &both, "53/tcp"),
    ]);
    becomes_exactly(&v3, &expected, PATIENCE);
}

#[test]
fn what_docker_compose_makes_is_published_under_its_project() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let services: [(&str, &[&str]); 3] =
        [("db", &["5432"]), ("web", &["80", "443"]), ("ns", &["53", "53/udp"])];
    let project = Project::up(&services, stage.label());
    project.does(&["run", "-d", "--service-ports", "db", "sleep", "100000"]);

    let highhock = with_methods(&stage, &etcd, "compose");
    let daemon = highhock.flag("--discovery-compose-project", "true").start();
    let record_of = |(name, service, port)| {
        let key = format!("{BELOW}{}/{name}", project.name());
        (key, record(project.published(service, port)))
    };
    let services = [
        ("db", "db", "5432/tcp"),
        ("web-80", "web", "80/tcp"),
        ("web-443", "web", "443/tcp"),
        ("ns", "ns", "53/tcp"),
    ];
    becomes_exactly(&etcd.v3(), &services.map(record_of).into(), PATIENCE);
    daemon.says(&["com.docker.compose.oneoff=True", "made for one task"]);
}

#[test]
fn each_protocol_of_a_port_has_an_instance_of_its_own() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let both = composed(&stage, "ns", false, &["-p", "0:53/udp", "-p", "0:53/tcp"]);
    let highhock = with_methods(&stage, &etcd, "compose");
    let _daemon =
        highhock.flag("--skydns-layout", "instance").flag("--skydns-hostname", "node1").start();
    let instance = format!("ns/node1-{}-53", &both.id()[..12]);
    let expected =
        records(&[(&instance, &both, "53/tcp"), (&format!("{instance}-udp"), &both, "53/udp")]);
    becomes_exactly(&etcd.v3(), &expected, PATIENCE);
}

/// One that says much, of which not all can be; what is said in two ways is one service.
fn talkative(stage: &Stage) -> Container {
    let options = [
        &["-e", "DISCOVER=web:80,api:81,bad", "--label", "highhock.discover=web:80"][..],
        &["-e", "SERVICE_80_NAME=web", "-e", "SERVICE_443_IGNORE=1"],
        &["--label", "highhock.web.priority=7", "--label", "highhock.weight=heavy"],
        &["-p", "0:80", "-p", "0:443"],
    ];
    stage.container(&options.concat())
}

const ALL: &str = "env,label,registrator,compose";

#[test]
fn a_service_named_in_two_ways_is_that_of_the_first() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let talkative = talkative(&stage);
    let _daemon = with_methods(&stage, &etcd, ALL).start();
    let value =
        record(talkative.published("80/tcp")).replace(",\"ttl\"", ",\"priority\":7,\"ttl\"");
    let expected = [(format!("{BELOW}web"), value)].into();
    becomes_exactly(&etcd.v3(), &expected, PATIENCE);
}

#[test]
fn records_explains_each_container() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let talkative = talkative(&stage);
    let silent = stage.container(&[]);
    let paused = stage.container(&["-e", "DISCOVER=late:80", "-p", "0:80"]);
    paused.does("pause");
    let highhock = with_methods(&stage, &etcd, ALL);

    let output = highhock.output(&["records", "--explain"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let block = |container: &Container| {
        let from = text.find(container.name()).unwrap_or_else(|| panic!("{text}"));
        text[from..].split("\n\n").next().unwrap()
    };
    for (container, parts) in [
        (&talkative, &["env", "\"DISCOVER=web:80\"", "-> web:80"][..]),
        (&talkative, &["env", "\"bad\"", "left out: there is no port"]),
        (&talkative, &["label", "-> web:80, dropped: env named it before"]),
        (&talkative, &["registrator", "SERVICE_80_NAME=web", "dropped: env named it before"]),
        (&talkative, &["registrator", "SERVICE_443_IGNORE=1", "asks Registrator to ignore it"]),
        (&talkative, &["compose", "nothing: there is no label com.docker.compose.service"]),
        (&talkative, &["attributes", "highhock.weight=heavy", "not a whole number"]),
        (&talkative, &["web:80", "skydns/local/skydns/web", "\"priority\":7"]),
        (&talkative, &["web:80", "priority by \"highhock.web.priority\""]),
        (&talkative, &["api:81", "left out: its port 81 is not published"]),
        (&silent, &["env", "nothing: neither DISCOVER nor DISCOVERY is set"]),
        (&silent, &["label", "nothing: there is no label highhock.discover"]),
        (&silent, &["registrator", "nothing: no port is published"]),
        (&paused, &["nothing of it is published: it is paused"]),
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
    let row = row_of(&talkative);
    assert_eq!((&row["state"], &row["reason"]), (&"running".into(), &Value::Null));
    assert_eq!(row["methods"][1]["method"], "label");
    let named = &row["methods"][1]["named"][0];
    assert_eq!((&named["service"], &named["named_before_by"]), (&"web:80".into(), &"env".into()));
    assert_eq!(row["skipped"][0]["entry"], "highhock.weight=heavy");
    let [web, api] = row["services"].as_array().unwrap().as_slice() else { panic!("{row}") };
    assert_eq!((&web["name"], &web["method"]), (&"web".into(), &"env".into()));
    assert_eq!(web["labels"]["priority"], "highhock.web.priority");
    assert_eq!(web["records"][0]["key"], "skydns/local/skydns/web");
    assert_eq!(web["records"][0]["value"]["port"], talkative.published("80/tcp"));
    assert_eq!(web["records"][0]["state"], "pending");
    assert_eq!(api["records"], Value::Array(Vec::new()));
    assert!(api["skipped"][0]["reason"].as_str().unwrap().contains("is not published"), "{api}");
    assert_eq!(row_of(&silent)["services"], Value::Array(Vec::new()));
    assert_eq!(row_of(&paused)["reason"], "is paused");
}
