//! How the daemon ends, and what a next life finds.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::many_containers::Fleet;
use crate::poller::{Sampler, assert_never_missing};
use crate::support::cuttable_proxy::Relay;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::{TempDir, docker, eventually};
use crate::{PATIENCE, ROOT, goes, key, named, offering, value_at};

/// What a clean stop may take (SPEC 7).
const GRACE: Duration = Duration::from_secs(5);

#[test]
fn a_killed_daemon_leaves_its_records_and_its_heir_takes_them_on() {
    const TTL: i64 = 15;
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", &TTL.to_string());
    let mut first = highhock.start();
    let mut fleet = Fleet::start(20);
    let all = fleet.keys();
    let sampler = Sampler::start(etcd.reader(), Duration::from_millis(50));
    eventually("20 records", PATIENCE, || {
        all.iter().all(|key| etcd.get(key).is_some()).then_some(())
    });
    let complete = Instant::now();

    first.kill();
    let killed = Instant::now();
    let nodes = etcd.list(ROOT);
    let ended = fleet.stop(5);
    let _second = highhock.start();
    let least = nodes.iter().filter(|node| ended.contains(&node.key)).filter_map(|node| node.ttl);
    let least = Duration::from_secs(least.min().unwrap().unsigned_abs());
    eventually("five records end", PATIENCE, || {
        ended.iter().all(|key| etcd.get(key).is_none()).then_some(())
    });
    let gone = killed.elapsed();
    // Long enough that a record that nobody had refreshed would have ended, too.
    thread::sleep(Duration::from_secs(2 + TTL.unsigned_abs()).saturating_sub(gone));

    let samples = sampler.finish();
    let since = samples.iter().position(|sample| sample.asked > complete).unwrap();
    assert_never_missing(&samples[since..], &fleet.keys());
    println!("the five were gone {gone:?} after the kill; the least of their TTLs was {least:?}");
    assert!(gone < Duration::from_secs(2 + TTL.unsigned_abs()), "{gone:?}");
    let too_early = samples[since..].iter().find(|sample| !sample.has_all(&ended)).unwrap();
    assert!(too_early.answered - killed + Duration::from_secs(1) >= least);
}

#[test]
fn a_clean_stop_leaves_the_records_to_their_ttl() {
    let etcd = Etcd::start();
    let name = named("kept");
    let container = offering(&name);
    for signal in ["TERM", "INT"] {
        let mut daemon = Highhock::new(&etcd.url()).start();
        value_at(&etcd, &key(&name));
        daemon.says(&["record", &name]);
        let (code, took) = daemon.ends_on(signal);
        assert_eq!(code, Some(0));
        assert!(took < GRACE, "{took:?}");
        let node = etcd.get(&key(&name)).expect("the record is left");
        assert!(matches!(node.ttl, Some(40..=60)), "{node:?}");
        assert_eq!(daemon.lines_with(&["NOTICE", "stopped"]).len(), 1);
    }
    drop(container);
}

#[test]
fn a_clean_stop_withdraws_the_records_where_it_is_told_to() {
    let etcd = Etcd::start();
    let mut daemon = Highhock::new(&etcd.url()).flag("--etcd-on-exit", "remove").start();
    let name = named("removed");
    let _container = offering(&name);
    value_at(&etcd, &key(&name));
    let (code, took) = daemon.ends_on("TERM");
    assert_eq!((code, etcd.get(&key(&name))), (Some(0), None));
    assert!(took < GRACE, "{took:?}");
}

#[test]
fn a_stop_while_etcd_is_away_ends_in_time_all_the_same() {
    let mut etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url());
    let (mut keeps, mut removes) =
        (highhock.start(), highhock.flag("--etcd-on-exit", "remove").start());
    let name = named("away");
    let _container = offering(&name);
    for daemon in [&keeps, &removes] {
        daemon.says(&["record", &name]);
    }
    etcd.kill();
    let (code, took) = keeps.ends_on("TERM");
    assert_eq!(code, Some(0));
    assert!(took < GRACE + Duration::from_secs(1), "{took:?}");
    let (code, took) = removes.ends_on("TERM");
    assert_eq!(code, Some(0));
    assert!(took < GRACE + Duration::from_secs(1), "{took:?}");
    println!("it took {took:?}");
    removes.says(&["WARNING", "stopped before all was written"]);
}

#[test]
fn a_stop_before_docker_ever_answered_is_a_clean_one() {
    let dir = TempDir::new();
    let socket = dir.0.join("docker.sock");
    let mut relay = Relay::unix(&socket, docker::place());
    relay.cut();
    let etcd = Etcd::start();
    let url = format!("unix://{}", socket.display());
    let mut daemon = Highhock::new(&etcd.url()).flag("--docker-url", &url).start();
    daemon.says(&["docker does not answer"]);
    let (code, took) = daemon.ends_on("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn what_a_stop_left_is_withdrawn_by_the_next_life_when_its_container_ends() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url());
    let name = named("inherited");
    let container = offering(&name);
    let mut first = highhock.start();
    value_at(&etcd, &key(&name));
    let created = etcd.get(&key(&name)).unwrap().created;
    assert_eq!(first.ends_on("TERM").0, Some(0));

    let second = highhock.start();
    second.says(&["adopted", &name]);
    assert_eq!(etcd.get(&key(&name)).unwrap().created, created);
    container.stop();
    goes(&etcd, &key(&name));
}
