//! The declared services of a container are in etcd, exactly and as long as the container runs.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::{eventually, free_port};
use crate::{
    ROOT, TIMEOUT, key, record, record_with_ttl, run_service, unique_name, wait_for_key,
    wait_for_removal, wait_for_value,
};

/// The margin of a busy machine on top of a promised time.
const LATENCY_MARGIN: Duration = Duration::from_secs(3);

#[test]
fn publishes_and_withdraws_within_one_poll_by_default() {
    const POLL_INTERVAL: Duration = Duration::from_secs(10);
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).without_flag("--docker-poll");
    let daemon = highhock.without_flag("--docker-poll-container").start();
    daemon.wait_for_log(&["docker connected"]);
    let (name, port) = (unique_name("httpd"), free_port());
    let offer = format!("DISCOVER={name}:80");

    let container = Container::run(&["-e", &offer, "-p", &format!("{port}:80")], &[]);
    let started = Instant::now();
    assert_eq!(wait_for_key(&etcd, &key(&name)), record(port));
    let appeared = started.elapsed();
    let node = etcd.get(&key(&name)).unwrap();
    assert!(matches!(node.ttl, Some(40..=60)), "{node:?}");

    container.stop();
    let stopped = Instant::now();
    wait_for_removal(&etcd, &key(&name));
    let went = stopped.elapsed();
    println!("published {appeared:?} after the start, withdrawn {went:?} after the stop");
    assert!(
        appeared < POLL_INTERVAL + LATENCY_MARGIN && went < POLL_INTERVAL + LATENCY_MARGIN,
        "{appeared:?}, {went:?}"
    );
}

/// Keys in etcd are case-sensitive, and so is the path in the configuration of a DNS server.
#[test]
fn prefix_keeps_its_case_with_both_apis() {
    let (etcd, name) = (Etcd::start(), unique_name("cased"));
    let service = run_service(&name);
    let value = record(service.published_port("80/tcp"));
    let v3 = etcd.v3();
    v3.put("/CoreDNS/config", r#"{"domain": "cased.local"}"#, None);
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-prefix", "CoreDNS");
    // v3 holds a key under the prefix, so the API is v3, and the key names the domain.
    let daemon = highhock.clone().start();
    let key = format!("/CoreDNS/local/cased/{name}");
    eventually(&key, TIMEOUT, || (v3.get(&key)?.value == value).then_some(()));
    drop(daemon);
    let daemon = highhock.flag("--etcd-api", "v2").flag("--skydns-domain", "cased.local").start();
    assert_eq!(wait_for_key(&etcd, &format!("CoreDNS/local/cased/{name}")), value);
    drop(daemon);
}

#[test]
fn withdrawing_the_last_record_prunes_directories() {
    let etcd = Etcd::start();
    let name = unique_name("a.deep");
    let path = name.split('.').rev().collect::<Vec<_>>().join("/");
    let below = format!("skydns/test/{}", unique_name("empty"));
    let domain = below.split('/').skip(1).collect::<Vec<_>>();
    let domain = domain.into_iter().rev().collect::<Vec<_>>().join(".");
    let _daemon = Highhock::new(&etcd.url()).flag("--skydns-domain", &domain).start();

    let container = run_service(&name);
    wait_for_key(&etcd, &format!("{below}/{path}"));
    container.stop();
    let directory = format!("{below}/{}", path.split('/').next().unwrap());
    eventually("the directory is gone", LATENCY_MARGIN * 3, || {
        etcd.get(&directory).is_none().then_some(())
    });
}

#[test]
fn record_is_kept_alive() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).flag("--etcd-ttl", "15").start();
    let name = unique_name("fresh");
    let _container = run_service(&name);
    wait_for_key(&etcd, &key(&name));

    let mut ttls = Vec::new();
    for _ in 0..70 {
        let node = etcd.get(&key(&name)).expect("the record is published");
        ttls.push(node.ttl.expect("it has a TTL"));
        thread::sleep(Duration::from_secs(1));
    }
    let least = ttls.iter().min().unwrap();
    println!("the TTL, of 15 s, was {least} s at the least");
    assert!(*least >= 8, "{ttls:?}");
}

#[test]
fn publishes_every_declared_entry() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let (one, two, udp) = (unique_name("serv1"), unique_name("serv2"), unique_name("udp"));
    let (port_one, port_two) = (free_port(), free_port());
    let container = Container::run(
        &[
            "-e",
            &format!("DISCOVERY={one}:1000, {two}:302"),
            "-e",
            &format!("DISCOVER={udp}:53/udp"),
            "-p",
            &format!("{port_one}:1000"),
            "-p",
            &format!("{port_two}:302"),
            "-p",
            "0:53/udp",
        ],
        &[],
    );
    wait_for_value(&etcd, &key(&one), &record(port_one));
    wait_for_value(&etcd, &key(&two), &record(port_two));
    wait_for_value(&etcd, &key(&udp), &record(container.published_port("53/udp")));

    container.docker_command("pause");
    wait_for_removal(&etcd, &key(&one));
    container.docker_command("unpause");
    wait_for_value(&etcd, &key(&one), &record(port_one));
}

#[test]
fn finds_a_random_port_again_after_a_restart() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let name = unique_name("random");
    let container = run_service(&name);
    wait_for_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
    container.restart();
    wait_for_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
}

#[test]
fn publishes_services_and_attributes_from_labels() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let (one, two) = (unique_name("labelled"), unique_name("other"));
    let container = Container::run(
        &[
            "--label",
            &format!("highhock.discover={one}:80,{two}:81"),
            "--label",
            "highhock.priority=20",
            "--label",
            &format!("highhock.{one}.weight=5"),
            "--label",
            &format!("highhock.{one}.text=blue, or green"),
            "-p",
            "0:80",
            "-p",
            "0:81",
        ],
        &[],
    );
    let (port_one, port_two) =
        (container.published_port("80/tcp"), container.published_port("81/tcp"));
    let value: Value = serde_json::from_str(&wait_for_key(&etcd, &key(&one))).unwrap();
    assert_eq!(
        value,
        json!({"host": ADDRESS, "port": port_one, "priority": 20, "weight": 5,
            "text": "blue, or green", "ttl": 60})
    );
    let value: Value = serde_json::from_str(&wait_for_key(&etcd, &key(&two))).unwrap();
    assert_eq!(value, json!({"host": ADDRESS, "port": port_two, "priority": 20, "ttl": 60}));
}

#[test]
fn record_has_the_configured_ttl() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", "30");
    let _daemon = highhock.flag("--skydns-ttl", "300").start();
    let name = unique_name("ttl");
    let container = run_service(&name);
    wait_for_value(&etcd, &key(&name), &record_with_ttl(container.published_port("80/tcp"), 300));
    assert!(matches!(etcd.get(&key(&name)).unwrap().ttl, Some(1..=30)));
}

#[test]
fn instance_layout_shares_a_name() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-layout", "instance");
    let _daemon = highhock.flag("--skydns-hostname", "Rack1.example").start();
    let name = unique_name("shared");
    let (one, two) = (run_service(&name), run_service(&name));
    let udp = Container::run(&["-e", &format!("DISCOVER={name}:53/udp"), "-p", "0:53/udp"], &[]);
    for (container, published, end) in
        [(&one, "80/tcp", "80"), (&two, "80/tcp", "80"), (&udp, "53/udp", "53-udp")]
    {
        let instance = format!("{ROOT}/{name}/rack1-{}-{end}", &container.id()[..12]);
        wait_for_value(&etcd, &instance, &record(container.published_port(published)));
    }
    assert_eq!(etcd.list(&key(&name)).len(), 3);

    one.stop();
    eventually("two are left", LATENCY_MARGIN * 3, || {
        (etcd.list(&key(&name)).len() == 2).then_some(())
    });
}

#[test]
fn first_container_holds_a_shared_name_until_it_ends() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let name = unique_name("twice");
    let first = run_service(&name);
    let second = run_service(&name);
    let (of_first, of_second) =
        (record(first.published_port("80/tcp")), record(second.published_port("80/tcp")));
    daemon.wait_for_log(&["record on standby", &name, second.name(), first.name()]);
    wait_for_value(&etcd, &key(&name), &of_first);

    first.stop();
    let stopped = Instant::now();
    wait_for_value(&etcd, &key(&name), &of_second);
    let taken = stopped.elapsed();
    println!("taken over {taken:?} after the stop");
    assert!(taken < Duration::from_secs(1) + LATENCY_MARGIN, "{taken:?}");

    first.docker_command("start");
    daemon.wait_for_log(&["record on standby", &name, &format!("name: {}", first.name())]);
    assert_eq!(etcd.get(&key(&name)).unwrap().value, of_second);
}
