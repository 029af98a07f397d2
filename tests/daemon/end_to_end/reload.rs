//! A reload changes the configuration without a restart, and without a missing record.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::fixture::{
    Fixture, KEY_PREFIX, only_lease, records_of, stored_records, wait_for_records,
};
use crate::member_reader::MemberReader;
use crate::poller::{Sampler, assert_never_missing};
use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::systemd::NotifySocket;
use crate::support::{eventually, free_port};
use crate::{
    ROOT, TIMEOUT, key, record, record_with_ttl, run_service, run_service_with, unique_name,
    wait_for_key, wait_for_removal, wait_for_value, warnings,
};

/// Time in which an unwanted change would happen.
const OBSERVATION_TIME: Duration = Duration::from_secs(3);

#[test]
fn intervals_and_methods_apply_without_rewriting_records() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let service_containers = [fixture.service_container(50), fixture.service_container(50)];
    let highhock = fixture.highhock(&etcd.url()).without_flag("--docker-poll");
    let daemon = highhock.without_flag("--docker-poll-container").start();
    wait_for_records(&v3, &records_of(&service_containers, 60), TIMEOUT);
    let (before, revision) = (v3.list(KEY_PREFIX), v3.revision());
    let keys: HashSet<_> = service_containers.iter().flat_map(|services| services.keys()).collect();
    let member_reader = MemberReader::start([&etcd], &keys, Duration::from_millis(2));
    for config in [
        r#"{"docker": {"poll": 3600}}"#,
        r#"{"docker": {"poll": 5, "pollContainer": 3600, "events": false}}"#,
        r#"{"discovery": {"methods": ["label", "env"], "health": false, "drain": false}}"#,
        r#"{"logLevel": "INFO", "logFormat": "json"}"#,
        "{}",
    ] {
        daemon.reload_and_wait(config);
    }
    daemon.wait_for_log(&["configuration reloaded", "logLevel"]);
    thread::sleep(OBSERVATION_TIME);
    member_reader.assert_none_missing();
    assert_eq!(v3.list(KEY_PREFIX), before);
    assert_eq!(v3.revision(), revision, "nothing was written");
    // The new method is active: it finds a container.
    daemon.reload_and_wait(r#"{"discovery": {"methods": ["registrator"]}}"#);
    let name = unique_name("by-registrator");
    let variable = format!("SERVICE_NAME={name}");
    let _by_registrator = fixture.container(&["-e", &variable, "-p", "0:80"]);
    eventually("it is found", TIMEOUT, || v3.get(&format!("{KEY_PREFIX}{name}")));
}

/// A name that several containers claim is written once: neither a reload nor a restart changes its
/// holder, not even for a moment.
#[test]
fn claimed_name_keeps_its_holder_after_reloads_and_restarts() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let name = unique_name("claimed");
    let offer = format!("DISCOVER={name}:80");
    // The holder is inspected last: after the container whose network it uses.
    let owner = fixture.container(&["-p", "0:80"]);
    let network = format!("container:{}", owner.id());
    let _holder = fixture.container(&["-e", &offer, "--network", &network]);
    let _others = [0; 2].map(|_| fixture.container(&["-e", &offer, "-p", "0:80"]));
    fixture.proxy().set_delay(Duration::from_millis(200));
    let path = format!("{KEY_PREFIX}{name}");
    let highhock = fixture.highhock(&etcd.url()).without_flag("--docker-poll");
    for _ in 0..3 {
        let mut daemon = highhock.start();
        eventually("it is published", TIMEOUT, || v3.get(&path));
        // Both other claimants were inspected.
        eventually("both others are on standby", TIMEOUT, || {
            (daemon.lines_with(&["record on standby", &name]).len() == 2).then_some(())
        });
        for config in [
            r#"{"discovery": {"health": false}}"#,
            r#"{"docker": {"poll": 5}}"#,
            r#"{"discovery": {"health": true}, "docker": {"poll": 3600}}"#,
            "{}",
        ] {
            daemon.reload_and_wait(config);
        }
        daemon.stop_with("TERM");
    }
    let found = v3.get(&path).expect("the record stays on its lease");
    assert_eq!(found.value, record(owner.published_port("80/tcp")));
    assert_eq!(found.modified, found.created, "the key was written more than once");
}

#[test]
fn changed_ttl_is_applied_without_gap_on_v3() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let services = fixture.service_container(100);
    let daemon = fixture.highhock(&etcd.url()).start();
    wait_for_records(&v3, &services.records(), TIMEOUT);
    let member_reader = MemberReader::start([&etcd], &services.keys(), Duration::from_millis(2));
    let mut lease = only_lease(&v3);
    for ttl in [30, 600] {
        daemon.reload_and_wait(&format!(r#"{{"etcd": {{"ttl": {ttl}}}}}"#));
        wait_for_records(&v3, &services.records_with_ttl(ttl), TIMEOUT);
        let moved_from = std::mem::replace(&mut lease, only_lease(&v3));
        assert_ne!(lease, moved_from);
        assert_eq!(v3.lease(lease).unwrap().granted, i64::try_from(ttl).unwrap());
        eventually("the old lease is gone", TIMEOUT, || (v3.leases() == [lease]).then_some(()));
    }
    member_reader.assert_none_missing();
}

#[test]
fn records_stay_owned_without_gap_on_v2() {
    let etcd = Etcd::start();
    let (plain, apart) = (unique_name("plain"), unique_name("apart"));
    let one = run_service(&plain);
    // A record that is not recognised by its value, because it names its own host.
    let other = run_service_with(&apart, &["--label", "highhock.host=10.9.9.9"]);
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v2");
    let daemon = highhock.start();
    let (plain, apart) = (key(&plain), key(&apart));
    wait_for_key(&etcd, &plain);
    let foreign = wait_for_key(&etcd, &apart);
    let keys = HashSet::from([plain.clone(), apart.clone()]);
    let sampler = Sampler::start(etcd.reader(), Duration::from_millis(2));
    daemon.reload_and_wait(r#"{"discovery": {"methods": ["label", "env"]}}"#);
    daemon.reload_and_wait(r#"{"etcd": {"ttl": 20}}"#);
    let port = one.published_port("80/tcp");
    wait_for_value(&etcd, &plain, &record_with_ttl(port, 20));
    wait_for_value(&etcd, &apart, &foreign.replace("60", "20"));
    daemon.reload_and_wait("{}");
    wait_for_value(&etcd, &plain, &record(port));
    wait_for_value(&etcd, &apart, &foreign);
    assert_never_missing(&sampler.finish(), &keys);
    assert_eq!(warnings(&daemon, &[&plain, &apart]), [""; 0]);
    other.stop();
    wait_for_removal(&etcd, &apart);
}

#[test]
fn changed_domain_publishes_before_withdrawing() {
    for api in ["v2", "v3"] {
        let (etcd, fixture) = (Etcd::start(), Fixture::new());
        let name = unique_name("moving");
        let offer = format!("DISCOVER={name}:80");
        let container = fixture.container(&["-e", &offer, "-p", "0:80"]);
        let daemon = fixture.highhock(&etcd.url()).flag("--etcd-api", api).start();
        let at = |domain: &str| -> Option<String> {
            let path = format!("skydns/local/{domain}/{name}");
            if api == "v2" {
                etcd.get(&path).map(|node| node.value)
            } else {
                etcd.v3().get(&format!("/{path}")).map(|kv| kv.value)
            }
        };
        let is_at = |domain: &str| {
            eventually(&format!("a record in {domain}"), TIMEOUT, || at(domain));
        };
        is_at("skydns");
        for (from, to) in [("skydns", "one"), ("one", "two"), ("two", "skydns")] {
            daemon.reload(&format!(r#"{{"skydns": {{"domain": "{to}.local"}}}}"#));
            // The old key is read first, so that one of the two exists at any time.
            eventually("the old record is withdrawn", TIMEOUT, || {
                let (old, new) = (at(from), at(to));
                assert!(old.is_some() || new.is_some(), "both keys are missing");
                old.is_none().then_some(())
            });
            assert_eq!(at(to), Some(record(container.published_port("80/tcp"))), "{api} {to}");
            daemon.wait_for_log(&["old records withdrawn", &format!("skydns/local/{from}")]);
        }
        container.stop();
        eventually("it is withdrawn", TIMEOUT, || at("skydns").is_none().then_some(()));
    }
}

#[test]
fn new_etcd_must_respond_before_the_switch() {
    let (first, second, fixture) = (Etcd::start(), Etcd::start(), Fixture::new());
    let services = fixture.service_container(10);
    let supervisor = NotifySocket::start();
    let highhock = fixture.highhock("").without_flag("--etcd-url").without_flag("--etcd-api");
    let config = |url: &str| format!(r#"{{"etcd": {{"url": "{url}", "api": "v3", "ttl": 5}}}}"#);
    let highhock = highhock.config(&config(&first.url()));
    let admin = Admin::on_loopback();
    let highhock = highhock.without_flag("--admin-listen").flag("--admin-listen", &admin.listen());
    let daemon = highhock.env("NOTIFY_SOCKET", &supervisor.socket).start();
    wait_for_records(&first.v3(), &services.records_with_ttl(5), TIMEOUT);
    supervisor.wait_for_status("10 records live");
    let member_reader = MemberReader::start([&first], &services.keys(), Duration::from_millis(5));
    let unreachable = format!("http://127.0.0.1:{}", free_port());
    daemon.reload(&config(&unreachable));
    daemon.wait_for_log(&["WARNING", "etcd unreachable; waiting for it"]);
    supervisor.wait_for_status("new configuration is waiting for etcd");
    let waits = || admin.json("/status")["reload_waits"].as_str().map(str::to_owned);
    assert!(waits().unwrap().starts_with("etcd: "), "{:?}", waits());
    assert_eq!(supervisor.wait_for("READY", 2).value("READY"), Some("1"), "the daemon continues");
    // Longer than the TTL.
    thread::sleep(Duration::from_secs(7));
    member_reader.assert_none_missing();
    daemon.reload(&config(&second.url()));
    wait_for_records(&second.v3(), &services.records_with_ttl(5), TIMEOUT);
    supervisor.wait_for_status("10 records live");
    assert_eq!(waits(), None);
    eventually("the first one's end with their TTL", TIMEOUT, || {
        stored_records(&first.v3()).is_empty().then_some(())
    });
}

#[test]
fn new_credentials_apply_and_wrong_ones_lose_no_record() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    etcd.enable_v2_auth("first");
    let name = unique_name("guarded");
    let offer = format!("DISCOVER={name}:80");
    let container = fixture.container(&["-e", &offer, "-p", "0:80"]);
    let highhock = fixture.highhock(&etcd.url()).flag("--etcd-api", "v2").flag("--etcd-ttl", "5");
    let config =
        |word: &str| format!(r#"{{"etcd": {{"username": "root", "password": "{word}"}}}}"#);
    let daemon = highhock.config(&config("first")).start();
    daemon.wait_for_log(&["record published", &name]);
    daemon.reload(&config("wrong"));
    daemon.wait_for_log(&["WARNING", "etcd unreachable; waiting for it"]);
    etcd.change_v2_password("first", "second");
    daemon.reload(&config("second"));
    daemon.wait_for_log(&["configuration reloaded", "etcd.username"]);
    let withdrawn = daemon.lines_with(&["withdrawn"]);
    assert!(withdrawn.is_empty(), "{withdrawn:?}");
    container.stop();
    daemon.wait_for_log(&["record withdrawn", &name]);
}

#[test]
fn invalid_configuration_is_reported_and_the_old_kept() {
    let etcd = Etcd::start();
    let name = unique_name("steadfast");
    let _container = run_service(&name);
    let daemon = Highhock::new(&etcd.url()).start();
    wait_for_key(&etcd, &key(&name));
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
            daemon.wait_for_log(&["ERROR", "configuration error", part]);
        }
    }
    eventually("three are refused", TIMEOUT, || {
        let refused = daemon.lines_with(&["ERROR", "the old one stays active"]);
        (refused.len() == 3).then_some(())
    });
    assert_eq!(etcd.get(&key(&name)).map(|node| node.value), revision.map(|node| node.value));
    daemon.reload_and_wait("{}");
    daemon.wait_for_log(&["NOTICE", "nothing to apply"]);
}

/// Like a mount that hangs.
#[test]
fn blocking_config_file_does_not_delay_records_or_exit() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let services = fixture.service_container(3);
    let mut daemon = fixture.highhock(&etcd.url()).start();
    wait_for_records(&etcd.v3(), &services.records(), TIMEOUT);
    daemon.reload_from_pipe();
    // Written while the configuration file is still being read.
    let name = unique_name("meanwhile");
    let offer = format!("DISCOVER={name}:80");
    let _container = fixture.container(&["-e", &offer, "-p", "0:80"]);
    eventually("it is published", TIMEOUT, || etcd.v3().get(&format!("{KEY_PREFIX}{name}")));
    daemon.wait_for_log(&["ERROR", "configuration error", "takes longer than 2s"]);
    daemon.signal("HUP");
    let (code, took) = daemon.stop_with("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn keys_that_need_a_restart_are_reported_once() {
    let etcd = Etcd::start();
    let name = unique_name("pinned");
    let container = run_service(&name);
    let daemon = Highhock::new(&etcd.url()).without_flag("--discovery-host");
    let daemon = daemon.config(r#"{"publicHost": "10.77.66.0"}"#).start();
    let value = wait_for_key(&etcd, &key(&name));
    daemon.reload_and_wait(
        r#"{"publicHost": "10.1.1.1", "skydns": {"layout": "instance", "hostname": "other"},
            "etcd": {"ttl": 30}}"#,
    );
    let port = container.published_port("80/tcp");
    assert_eq!(value, record(port));
    wait_for_value(&etcd, &key(&name), &record_with_ttl(port, 30));
    let warnings = warnings(&daemon, &[&name]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["need a restart", "skydns.layout", "skydns.hostname", "discovery.host"] {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
    assert!(etcd.list(ROOT).iter().all(|node| !node.value.contains("10.1.1.1")));
}

#[test]
fn drained_container_stays_withdrawn_after_reload() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let name = unique_name("draining");
    let offer = format!("DISCOVER={name}:80");
    let stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
    let container = crate::support::docker::Container::run(
        &["--label", fixture.label(), "-e", &offer, "-p", "0:80"],
        &stubborn,
    );
    let daemon = fixture.highhock(&etcd.url()).start();
    let path = format!("{KEY_PREFIX}{name}");
    eventually("it is published", TIMEOUT, || v3.get(&path));
    container.signal("TERM");
    eventually("it is withdrawn", TIMEOUT, || v3.get(&path).is_none().then_some(()));
    daemon.reload_and_wait(r#"{"docker": {"events": true}, "etcd": {"ttl": 30}}"#);
    thread::sleep(OBSERVATION_TIME);
    assert!(v3.get(&path).is_none());
}

#[test]
fn systemd_status_shows_missing_parts() {
    let (mut etcd, fixture) = (Etcd::start(), Fixture::new());
    let _services = fixture.service_container(3);
    let supervisor = NotifySocket::start();
    let highhock = fixture.highhock(&etcd.url()).env("NOTIFY_SOCKET", &supervisor.socket);
    let mut daemon = highhock.env("WATCHDOG_USEC", "2000000").start();
    supervisor.wait_for("READY", 1);
    supervisor.wait_for_status("3 records live");
    etcd.stop();
    supervisor.wait_for_status("etcd does not answer (");
    etcd.restart(false);
    eventually("it is well again", TIMEOUT, || {
        (supervisor.values("STATUS").last()? == "3 records live").then_some(())
    });
    fixture.proxy().set_mode(crate::support::proxy::ProxyMode::HtmlResponses);
    supervisor.wait_for_status("docker does not answer (");
    let pings = supervisor.values("WATCHDOG").len();
    supervisor.wait_for("WATCHDOG", pings + 2);
    let (code, took) = daemon.stop_with("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    supervisor.wait_for("STOPPING", 1);
}
