//! What a configuration that is read again changes: without a restart, and without a record
//! that is missing meanwhile.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::fixture::{BELOW, Stage, becomes_exactly, held, only_lease, records_of};
use crate::member_reader::Onlooker;
use crate::poller::{Sampler, assert_never_missing};
use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::systemd::Supervisor;
use crate::support::{eventually, free_port};
use crate::{
    PATIENCE, ROOT, becomes, goes, key, named, offering, offering_with, record, record_with_ttl,
    value_at,
};

/// Time for what would be done after all.
const A_WHILE: Duration = Duration::from_secs(3);

#[test]
fn intervals_and_methods_are_applied_and_no_record_is_touched_on_v3() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let packs = [stage.pack(50), stage.pack(50)];
    let highhock = stage.highhock(&etcd.url()).without("--docker-poll");
    let daemon = highhock.without("--docker-poll-container").start();
    becomes_exactly(&v3, &records_of(&packs, 60), PATIENCE);
    let (before, revision) = (v3.list(BELOW), v3.revision());
    let keys: HashSet<_> = packs.iter().flat_map(|pack| pack.keys()).collect();
    let onlooker = Onlooker::start([&etcd], &keys, Duration::from_millis(2));
    for config in [
        r#"{"docker": {"poll": 3600}}"#,
        r#"{"docker": {"poll": 5, "pollContainer": 3600, "events": false}}"#,
        r#"{"discovery": {"methods": ["label", "env"], "health": false, "drain": false}}"#,
        r#"{"logLevel": "INFO", "logFormat": "json"}"#,
        "{}",
    ] {
        daemon.reloads(config);
    }
    daemon.says(&["the configuration was read again and is applied", "logLevel"]);
    thread::sleep(A_WHILE);
    onlooker.finds_none_missing();
    assert_eq!(v3.list(BELOW), before);
    assert_eq!(v3.revision(), revision, "nothing was written");
    // The new method is in force, by a container that it finds.
    daemon.reloads(r#"{"discovery": {"methods": ["registrator"]}}"#);
    let name = named("by-registrator");
    let variable = format!("SERVICE_NAME={name}");
    let _by_registrator = stage.container(&["-e", &variable, "-p", "0:80"]);
    eventually("it is found", PATIENCE, || v3.get(&format!("{BELOW}{name}")));
}

#[test]
fn a_changed_ttl_is_applied_without_a_gap_on_v3() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let pack = stage.pack(100);
    let daemon = stage.highhock(&etcd.url()).start();
    becomes_exactly(&v3, &pack.records(), PATIENCE);
    let onlooker = Onlooker::start([&etcd], &pack.keys(), Duration::from_millis(2));
    let mut lease = only_lease(&v3);
    for ttl in [30, 600] {
        daemon.reloads(&format!(r#"{{"etcd": {{"ttl": {ttl}}}}}"#));
        becomes_exactly(&v3, &pack.records_with_ttl(ttl), PATIENCE);
        let moved_from = std::mem::replace(&mut lease, only_lease(&v3));
        assert_ne!(lease, moved_from);
        assert_eq!(v3.lease(lease).unwrap().granted, i64::try_from(ttl).unwrap());
        eventually("the old lease is gone", PATIENCE, || (v3.leases() == [lease]).then_some(()));
    }
    onlooker.finds_none_missing();
}

#[test]
fn records_stay_ours_and_no_gap_is_seen_on_v2() {
    let etcd = Etcd::start();
    let (plain, apart) = (named("plain"), named("apart"));
    let one = offering(&plain);
    // One that isn't known again by its value, as it names a host of its own.
    let other = offering_with(&apart, &["--label", "highhock.host=10.9.9.9"]);
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v2");
    let daemon = highhock.start();
    let (plain, apart) = (key(&plain), key(&apart));
    value_at(&etcd, &plain);
    let foreign = value_at(&etcd, &apart);
    let keys = HashSet::from([plain.clone(), apart.clone()]);
    let sampler = Sampler::start(etcd.reader(), Duration::from_millis(2));
    daemon.reloads(r#"{"discovery": {"methods": ["label", "env"]}}"#);
    daemon.reloads(r#"{"etcd": {"ttl": 20}}"#);
    let port = one.published("80/tcp");
    becomes(&etcd, &plain, &record_with_ttl(port, 20));
    becomes(&etcd, &apart, &foreign.replace("60", "20"));
    daemon.reloads("{}");
    becomes(&etcd, &plain, &record(port));
    becomes(&etcd, &apart, &foreign);
    assert_never_missing(&sampler.finish(), &keys);
    assert_eq!(daemon.lines_with(&["WARNING"]).len(), 0);
    other.stop();
    goes(&etcd, &apart);
}

#[test]
fn of_a_changed_domain_the_new_records_come_before_the_old_go() {
    for api in ["v2", "v3"] {
        let (etcd, stage) = (Etcd::start(), Stage::new());
        let name = named("moving");
        let offer = format!("DISCOVER={name}:80");
        let container = stage.container(&["-e", &offer, "-p", "0:80"]);
        let daemon = stage.highhock(&etcd.url()).flag("--etcd-api", api).start();
        let at = |domain: &str| -> Option<String> {
            let path = format!("skydns/local/{domain}/{name}");
            if api == "v2" {
                etcd.get(&path).map(|node| node.value)
            } else {
                etcd.v3().get(&format!("/{path}")).map(|kv| kv.value)
            }
        };
        let is_at = |domain: &str| {
            eventually(&format!("a record in {domain}"), PATIENCE, || at(domain));
        };
        is_at("skydns");
        for (from, to) in [("skydns", "one"), ("one", "two"), ("two", "skydns")] {
            daemon.reload(&format!(r#"{{"skydns": {{"domain": "{to}.local"}}}}"#));
            // The old one is read first, so that one of both is there at any time.
            eventually("the old one goes", PATIENCE, || {
                let (old, new) = (at(from), at(to));
                assert!(old.is_some() || new.is_some(), "neither is there");
                old.is_none().then_some(())
            });
            assert_eq!(at(to), Some(record(container.published("80/tcp"))), "{api} {to}");
            daemon.says(&["the old records are withdrawn", &format!("skydns/local/{from}")]);
        }
        container.stop();
        eventually("it is withdrawn", PATIENCE, || at("skydns").is_none().then_some(()));
    }
}

#[test]
fn another_etcd_must_answer_before_the_old_one_is_left() {
    let (first, second, stage) = (Etcd::start(), Etcd::start(), Stage::new());
    let pack = stage.pack(10);
    let supervisor = Supervisor::start();
    let highhock = stage.highhock("").without("--etcd-url").without("--etcd-api");
    let config = |url: &str| format!(r#"{{"etcd": {{"url": "{url}", "api": "v3", "ttl": 5}}}}"#);
    let highhock = highhock.config(&config(&first.url()));
    let admin = Admin::on_loopback();
    let highhock = highhock.without("--admin-listen").flag("--admin-listen", &admin.listen());
    let daemon = highhock.env("NOTIFY_SOCKET", &supervisor.socket).start();
    becomes_exactly(&first.v3(), &pack.records_with_ttl(5), PATIENCE);
    supervisor.sees("10 records live");
    let onlooker = Onlooker::start([&first], &pack.keys(), Duration::from_millis(5));
    let nobody = format!("http://127.0.0.1:{}", free_port());
    daemon.reload(&config(&nobody));
    daemon.says(&["WARNING", "etcd does not answer; waiting for it"]);
    supervisor.sees("the settings read last wait for etcd");
    let waits = || admin.json("/status")["reload_waits"].as_str().map(str::to_owned);
    assert!(waits().unwrap().starts_with("etcd: "), "{:?}", waits());
    assert_eq!(supervisor.hears("READY", 2).value("READY"), Some("1"), "it goes on");
    // Longer than the TTL.
    thread::sleep(Duration::from_secs(7));
    onlooker.finds_none_missing();
    daemon.reload(&config(&second.url()));
    becomes_exactly(&second.v3(), &pack.records_with_ttl(5), PATIENCE);
    supervisor.sees("10 records live");
    assert_eq!(waits(), None);
    eventually("the first one's end with their TTL", PATIENCE, || {
        held(&first.v3()).is_empty().then_some(())
    });
}

#[test]
fn new_credentials_are_used_and_wrong_ones_cost_no_record() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    etcd.enable_v2_auth("first");
    let name = named("guarded");
    let offer = format!("DISCOVER={name}:80");
    let container = stage.container(&["-e", &offer, "-p", "0:80"]);
    let highhock = stage.highhock(&etcd.url()).flag("--etcd-api", "v2").flag("--etcd-ttl", "5");
    let config =
        |word: &str| format!(r#"{{"etcd": {{"username": "root", "password": "{word}"}}}}"#);
    let daemon = highhock.config(&config("first")).start();
    daemon.says(&["record put", &name]);
    daemon.reload(&config("wrong"));
    daemon.says(&["WARNING", "etcd does not answer; waiting for it"]);
    etcd.change_v2_password("first", "second");
    daemon.reload(&config("second"));
    daemon.says(&["the configuration was read again and is applied", "etcd.username"]);
    let withdrawn = daemon.lines_with(&["withdrawn"]);
    assert!(withdrawn.is_empty(), "{withdrawn:?}");
    container.stop();
    daemon.says(&["record withdrawn", &name]);
}

#[test]
fn a_bad_configuration_is_told_in_full_and_the_old_one_stays() {
    let etcd = Etcd::start();
    let name = named("steadfast");
    let _container = offering(&name);
    let daemon = Highhock::new(&etcd.url()).start();
    value_at(&etcd, &key(&name));
    let revision = etcd.get(&key(&name));
    for (config, parts) in [
        (r#"{"etcd": {"ttl": 1}, "skydnss": 5}"#, vec!["etcd.ttl", "skydnss"]),
        ("{oops", vec!["line 1"]),
        (
            r#"{"etcd": {"username": "one", "passwordFile": "/nonexistent/password"}}"#,
            vec!["etcd.passwordFile", "/nonexistent/password"],
        ),
    ] {
        daemon.reload(config);
        for part in parts {
            daemon.says(&["ERROR", "the configuration has a fault", part]);
        }
    }
    eventually("three are refused", PATIENCE, || {
        let refused = daemon.lines_with(&["ERROR", "the old one stays in force"]);
        (refused.len() == 3).then_some(())
    });
    assert_eq!(etcd.get(&key(&name)).map(|node| node.value), revision.map(|node| node.value));
    daemon.reloads("{}");
    daemon.says(&["NOTICE", "there is nothing to apply"]);
}

/// As on a mount that hangs.
#[test]
fn a_file_that_keeps_its_reader_waiting_costs_no_record_and_no_time_at_the_end() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let pack = stage.pack(3);
    let mut daemon = stage.highhock(&etcd.url()).start();
    becomes_exactly(&etcd.v3(), &pack.records(), PATIENCE);
    daemon.reload_from_pipe();
    // Seen although the file is still being read: a change is written.
    let name = named("meanwhile");
    let offer = format!("DISCOVER={name}:80");
    let _container = stage.container(&["-e", &offer, "-p", "0:80"]);
    eventually("it is published", PATIENCE, || etcd.v3().get(&format!("{BELOW}{name}")));
    daemon.says(&["ERROR", "the configuration has a fault", "takes longer than 2s"]);
    daemon.signal("HUP");
    let (code, took) = daemon.ends_on("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn what_takes_a_restart_is_named_once_and_the_rest_is_applied() {
    let etcd = Etcd::start();
    let name = named("pinned");
    let container = offering(&name);
    let daemon = Highhock::new(&etcd.url()).without("--discovery-host");
    let daemon = daemon.config(r#"{"publicHost": "10.77.66.0"}"#).start();
    let value = value_at(&etcd, &key(&name));
    daemon.reloads(
        r#"{"publicHost": "10.1.1.1", "skydns": {"layout": "instance", "hostname": "other"},
            "etcd": {"ttl": 30}}"#,
    );
    let port = container.published("80/tcp");
    assert_eq!(value, record(port));
    becomes(&etcd, &key(&name), &record_with_ttl(port, 30));
    let warnings = daemon.lines_with(&["WARNING"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["take a restart", "skydns.layout", "skydns.hostname", "discovery.host"] {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
    assert!(etcd.list(ROOT).iter().all(|node| !node.value.contains("10.1.1.1")));
}

#[test]
fn a_drained_container_stays_withdrawn_over_a_reload() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let name = named("draining");
    let offer = format!("DISCOVER={name}:80");
    let stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
    let container = crate::support::docker::Container::run(
        &["--label", stage.label(), "-e", &offer, "-p", "0:80"],
        &stubborn,
    );
    let daemon = stage.highhock(&etcd.url()).start();
    let path = format!("{BELOW}{name}");
    eventually("it is published", PATIENCE, || v3.get(&path));
    container.signal("TERM");
    eventually("it is withdrawn", PATIENCE, || v3.get(&path).is_none().then_some(()));
    daemon.reloads(r#"{"docker": {"events": true}, "etcd": {"ttl": 30}}"#);
    thread::sleep(A_WHILE);
    assert!(v3.get(&path).is_none());
}

#[test]
fn an_operator_sees_by_the_status_what_is_missing() {
    let (mut etcd, stage) = (Etcd::start(), Stage::new());
    let _pack = stage.pack(3);
    let supervisor = Supervisor::start();
    let highhock = stage.highhock(&etcd.url()).env("NOTIFY_SOCKET", &supervisor.socket);
    let mut daemon = highhock.env("WATCHDOG_USEC", "2000000").start();
    supervisor.hears("READY", 1);
    supervisor.sees("3 records live");
    etcd.stop();
    supervisor.sees("etcd does not answer (");
    etcd.start_again(false);
    eventually("it is well again", PATIENCE, || {
        (supervisor.values("STATUS").last()? == "3 records live").then_some(())
    });
    stage.engine().plays(crate::support::proxy::Play::Html);
    supervisor.sees("docker does not answer (");
    let pings = supervisor.values("WATCHDOG").len();
    supervisor.hears("WATCHDOG", pings + 2);
    let (code, took) = daemon.ends_on("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    supervisor.hears("STOPPING", 1);
}
