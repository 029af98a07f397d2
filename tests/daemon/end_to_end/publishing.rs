//! What a container offers is in etcd, as it is to be, as long as it runs.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::{eventually, free_port};
use crate::{ROOT, becomes, goes, key, named, offering, record, record_with_ttl, value_at};

/// What a machine that is busy may take on top of a promised time.
const MARGIN: Duration = Duration::from_secs(3);

#[test]
fn a_record_comes_and_goes_within_a_poll_by_the_default_settings() {
    const POLL: Duration = Duration::from_secs(10);
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).without("--docker-poll");
    let daemon = highhock.without("--docker-poll-container").start();
    daemon.says(&["docker answers"]);
    let (name, port) = (named("httpd"), free_port());
    let offer = format!("DISCOVER={name}:80");

    let container = Container::run(&["-e", &offer, "-p", &format!("{port}:80")], &[]);
    let started = Instant::now();
    assert_eq!(value_at(&etcd, &key(&name)), record(port));
    let appeared = started.elapsed();
    let node = etcd.get(&key(&name)).unwrap();
    assert!(matches!(node.ttl, Some(40..=60)), "{node:?}");

    container.stop();
    let stopped = Instant::now();
    goes(&etcd, &key(&name));
    let went = stopped.elapsed();
    println!("there {appeared:?} after the start, gone {went:?} after the stop");
    assert!(appeared < POLL + MARGIN && went < POLL + MARGIN, "{appeared:?}, {went:?}");
}

#[test]
fn the_last_record_takes_its_empty_directories_along() {
    let etcd = Etcd::start();
    let name = named("a.deep");
    let path = name.split('.').rev().collect::<Vec<_>>().join("/");
    let below = format!("skydns/test/{}", named("empty"));
    let domain = below.split('/').skip(1).collect::<Vec<_>>();
    let domain = domain.into_iter().rev().collect::<Vec<_>>().join(".");
    let _daemon = Highhock::new(&etcd.url()).flag("--skydns-domain", &domain).start();

    let container = offering(&name);
    value_at(&etcd, &format!("{below}/{path}"));
    container.stop();
    let directory = format!("{below}/{}", path.split('/').next().unwrap());
    eventually("the directory is gone", MARGIN * 3, || {
        etcd.get(&directory).is_none().then_some(())
    });
}

#[test]
fn a_record_is_kept_alive() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).flag("--etcd-ttl", "15").start();
    let name = named("fresh");
    let _container = offering(&name);
    value_at(&etcd, &key(&name));

    let mut ttls = Vec::new();
    for _ in 0..70 {
        let node = etcd.get(&key(&name)).expect("the record is there");
        ttls.push(node.ttl.expect("it has a TTL"));
        thread::sleep(Duration::from_secs(1));
    }
    let least = ttls.iter().min().unwrap();
    println!("the TTL, of 15 s, was {least} s at the least");
    assert!(*least >= 8, "{ttls:?}");
}

#[test]
fn every_entry_that_a_container_names_has_its_record() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let (one, two, udp) = (named("serv1"), named("serv2"), named("udp"));
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
    becomes(&etcd, &key(&one), &record(port_one));
    becomes(&etcd, &key(&two), &record(port_two));
    becomes(&etcd, &key(&udp), &record(container.published("53/udp")));

    container.does("pause");
    goes(&etcd, &key(&one));
    container.does("unpause");
    becomes(&etcd, &key(&one), &record(port_one));
}

#[test]
fn a_random_published_port_is_found_and_found_anew_after_a_restart() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let name = named("random");
    let container = offering(&name);
    becomes(&etcd, &key(&name), &record(container.published("80/tcp")));
    container.restart();
    becomes(&etcd, &key(&name), &record(container.published("80/tcp")));
}

#[test]
fn labels_name_services_and_their_attributes() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let (one, two) = (named("labelled"), named("other"));
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
    let (port_one, port_two) = (container.published("80/tcp"), container.published("81/tcp"));
    let value: Value = serde_json::from_str(&value_at(&etcd, &key(&one))).unwrap();
    assert_eq!(
        value,
        json!({"host": ADDRESS, "port": port_one, "priority": 20, "weight": 5,
            "text": "blue, or green", "ttl": 60})
    );
    let value: Value = serde_json::from_str(&value_at(&etcd, &key(&two))).unwrap();
    assert_eq!(value, json!({"host": ADDRESS, "port": port_two, "priority": 20, "ttl": 60}));
}

#[test]
fn a_record_says_the_ttl_that_it_is_told_to() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", "30");
    let _daemon = highhock.flag("--skydns-ttl", "300").start();
    let name = named("ttl");
    let container = offering(&name);
    becomes(&etcd, &key(&name), &record_with_ttl(container.published("80/tcp"), 300));
    assert!(matches!(etcd.get(&key(&name)).unwrap().ttl, Some(1..=30)));
}

#[test]
fn in_the_instance_layout_containers_share_a_name() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-layout", "instance");
    let _daemon = highhock.flag("--skydns-hostname", "Rack1.example").start();
    let name = named("shared");
    let (one, two) = (offering(&name), offering(&name));
    let udp = Container::run(&["-e", &format!("DISCOVER={name}:53/udp"), "-p", "0:53/udp"], &[]);
    for (container, published, end) in
        [(&one, "80/tcp", "80"), (&two, "80/tcp", "80"), (&udp, "53/udp", "53-udp")]
    {
        let instance = format!("{ROOT}/{name}/rack1-{}-{end}", &container.id()[..12]);
        becomes(&etcd, &instance, &record(container.published(published)));
    }
    assert_eq!(etcd.list(&key(&name)).len(), 3);

    one.stop();
    eventually("two are left", MARGIN * 3, || (etcd.list(&key(&name)).len() == 2).then_some(()));
}

#[test]
fn of_two_containers_with_one_name_the_earlier_has_it_until_it_ends() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let name = named("twice");
    let first = offering(&name);
    let second = offering(&name);
    let (of_first, of_second) =
        (record(first.published("80/tcp")), record(second.published("80/tcp")));
    daemon.says(&["stands by", &name, second.name(), first.name()]);
    becomes(&etcd, &key(&name), &of_first);

    first.stop();
    let stopped = Instant::now();
    becomes(&etcd, &key(&name), &of_second);
    let taken = stopped.elapsed();
    println!("taken over {taken:?} after the stop");
    assert!(taken < Duration::from_secs(1) + MARGIN, "{taken:?}");

    first.does("start");
    daemon.says(&["stands by", &name, &format!("name: {}", first.name())]);
    assert_eq!(etcd.get(&key(&name)).unwrap().value, of_second);
}
