//! The end of the daemon, and the start after it.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::many_containers::ContainerGroup;
use crate::poller::{Sampler, assert_never_missing};
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::{TempDir, docker, eventually};
use crate::{ROOT, TIMEOUT, key, run_service, unique_name, wait_for_key, wait_for_removal};

/// The limit of a clean stop ("Clean stop").
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

#[test]
fn restart_after_kill_adopts_the_records() {
    const TTL: i64 = 15;
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", &TTL.to_string());
    let mut first = highhock.start();
    let mut containers = ContainerGroup::start(20);
    let all = containers.keys();
    let sampler = Sampler::start(etcd.reader(), Duration::from_millis(50));
    eventually("20 records", TIMEOUT, || {
        all.iter().all(|key| etcd.get(key).is_some()).then_some(())
    });
    let complete = Instant::now();

    first.kill();
    let killed = Instant::now();
    let nodes = etcd.list(ROOT);
    let ended = containers.stop(5);
    let _second = highhock.start();
    let least = nodes.iter().filter(|node| ended.contains(&node.key)).filter_map(|node| node.ttl);
    let least = Duration::from_secs(least.min().unwrap().unsigned_abs());
    eventually("five records end", TIMEOUT, || {
        ended.iter().all(|key| etcd.get(key).is_none()).then_some(())
    });
    let gone = killed.elapsed();
    // Long enough that a record without refreshes would have expired.
    thread::sleep(Duration::from_secs(2 + TTL.unsigned_abs()).saturating_sub(gone));

    let samples = sampler.finish();
    let since = samples.iter().position(|sample| sample.sent_at > complete).unwrap();
    assert_never_missing(&samples[since..], &containers.keys());
    println!("the five records expired {gone:?} after the kill; their lowest TTL was {least:?}");
    assert!(gone < Duration::from_secs(5 + TTL.unsigned_abs()), "{gone:?}");
    let too_early = samples[since..].iter().find(|sample| !sample.has_all(&ended)).unwrap();
    assert!(too_early.received_at - killed + Duration::from_secs(1) >= least);
}

#[test]
fn clean_stop_leaves_records_to_their_ttl() {
    let etcd = Etcd::start();
    let name = unique_name("kept");
    let container = run_service(&name);
    for signal in ["TERM", "INT"] {
        let mut daemon = Highhock::new(&etcd.url()).start();
        wait_for_key(&etcd, &key(&name));
        daemon.wait_for_log(&["record", &name]);
        let (code, took) = daemon.stop_with(signal);
        assert_eq!(code, Some(0));
        assert!(took < STOP_TIME_MAX, "{took:?}");
        let node = etcd.get(&key(&name)).expect("the record is left");
        assert!(matches!(node.ttl, Some(40..=60)), "{node:?}");
        assert_eq!(daemon.lines_with(&["NOTICE", "stopped"]).len(), 1);
    }
    drop(container);
}

#[test]
fn clean_stop_withdraws_records_if_configured() {
    let etcd = Etcd::start();
    let mut daemon = Highhock::new(&etcd.url()).flag("--etcd-on-exit", "remove").start();
    let name = unique_name("removed");
    let _container = run_service(&name);
    wait_for_key(&etcd, &key(&name));
    let (code, took) = daemon.stop_with("TERM");
    assert_eq!((code, etcd.get(&key(&name))), (Some(0), None));
    assert!(took < STOP_TIME_MAX, "{took:?}");
}

#[test]
fn stop_during_etcd_outage_ends_in_time() {
    let mut etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url());
    let (mut keeps, mut removes) =
        (highhock.start(), highhock.flag("--etcd-on-exit", "remove").start());
    let name = unique_name("away");
    let _container = run_service(&name);
    for daemon in [&keeps, &removes] {
        daemon.wait_for_log(&["record", &name]);
    }
    etcd.kill();
    let (code, took) = keeps.stop_with("TERM");
    assert_eq!(code, Some(0));
    assert!(took < STOP_TIME_MAX + Duration::from_secs(5), "{took:?}");
    let (code, took) = removes.stop_with("TERM");
    assert_eq!(code, Some(0));
    assert!(took < STOP_TIME_MAX + Duration::from_secs(5), "{took:?}");
    println!("it took {took:?}");
    removes.wait_for_log(&["WARNING", "stopped with unfinished writes"]);
}

#[test]
fn stop_before_the_first_docker_response_is_clean() {
    let dir = TempDir::new();
    let socket = dir.0.join("docker.sock");
    let mut relay = CuttableProxy::unix(&socket, docker::server_address());
    relay.cut();
    let etcd = Etcd::start();
    let url = format!("unix://{}", socket.display());
    let mut daemon = Highhock::new(&etcd.url()).flag("--docker-url", &url).start();
    daemon.wait_for_log(&["docker unreachable"]);
    let (code, took) = daemon.stop_with("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn next_start_adopts_and_withdraws_left_records() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url());
    let name = unique_name("inherited");
    let container = run_service(&name);
    let mut first = highhock.start();
    wait_for_key(&etcd, &key(&name));
    let created = etcd.get(&key(&name)).unwrap().created;
    assert_eq!(first.stop_with("TERM").0, Some(0));

    let second = highhock.start();
    second.wait_for_log(&["adopted", &name]);
    assert_eq!(etcd.get(&key(&name)).unwrap().created, created);
    container.stop();
    wait_for_removal(&etcd, &key(&name));
}
