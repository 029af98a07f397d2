//! Records in etcd's v3 API, attached to one lease.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::TIMEOUT;
use crate::fixture::{
    Fixture, KEY_PREFIX, only_lease, records_of, stored_records, wait_for_records,
};
use crate::member_reader::MemberReader;
use crate::support::etcd::Etcd;
use crate::support::eventually;

/// A TTL that is long enough for records to survive the test.
const LONG_TTL: &str = "600";

#[test]
fn records_share_one_lease_across_a_restart() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let services = fixture.service_container(3);
    let highhock = fixture.highhock(&etcd.url());
    let mut leases = Vec::new();
    for signal in ["TERM", "KILL", "TERM"] {
        let mut daemon = highhock.start();
        wait_for_records(&v3, &services.records(), TIMEOUT);
        leases.push(only_lease(&v3));
        daemon.wait_for_log(&["lease acquired"]);
        daemon.stop_with(signal);
        assert_eq!(stored_records(&v3), services.records(), "left to the TTL");
    }
    assert_eq!(leases, vec![leases[0]; 3]);
    assert_eq!(v3.leases(), [leases[0]]);
    assert_eq!(v3.lease(leases[0]).unwrap().granted, 60);
    let versions: Vec<_> = v3.list(KEY_PREFIX).iter().map(|kv| kv.modified - kv.created).collect();
    assert_eq!(versions, [0; 3], "written once");

    let mut removing = highhock.flag("--etcd-on-exit", "remove").start();
    removing.wait_for_log(&["lease acquired"]);
    assert_eq!(removing.stop_with("TERM").0, Some(0));
    assert_eq!(stored_records(&v3).len(), 0);
    assert_eq!(v3.leases(), [leases[0]], "the lease is never deleted by a clean stop");
}

#[test]
fn idle_daemon_writes_and_logs_nothing() {
    const OBSERVATION_TIME: Duration = Duration::from_secs(12);
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let service_containers = [fixture.service_container(50), fixture.service_container(50)];
    let daemon = fixture.highhock(&etcd.url()).flag("--etcd-ttl", "5").start();
    wait_for_records(&v3, &records_of(&service_containers, 5), TIMEOUT);
    let log = eventually("the daemon is quiet", TIMEOUT, || {
        let log = daemon.log();
        thread::sleep(Duration::from_secs(1));
        (daemon.log() == log).then_some(log)
    });

    let (lease, revision) = (only_lease(&v3), v3.revision());
    let end = Instant::now() + OBSERVATION_TIME;
    let mut least = i64::MAX;
    while Instant::now() < end {
        least = least.min(v3.lease(lease).expect("the lease lives").left);
        thread::sleep(Duration::from_millis(100));
    }
    println!("100 records over {OBSERVATION_TIME:?}: the lease had at least {least} s left");
    assert_eq!(v3.revision(), revision);
    assert_eq!(daemon.log(), log);
    assert!(least >= 2, "kept alive every third of the TTL");
}

#[test]
fn restart_after_kill_withdraws_only_ended_containers() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let mut service_containers: Vec<_> = (0..4).map(|_| fixture.service_container(50)).collect();
    let highhock = fixture.highhock(&etcd.url()).flag("--etcd-ttl", LONG_TTL);
    let mut first = highhock.start();
    wait_for_records(&v3, &records_of(&service_containers, 600), TIMEOUT);
    let (before, revision) = (v3.list(KEY_PREFIX), v3.revision());

    first.kill();
    let ended = service_containers.pop().unwrap();
    let ended_keys = ended.keys();
    ended.container.remove();
    let started = Instant::now();
    let second = highhock.start();
    wait_for_records(&v3, &records_of(&service_containers, 600), TIMEOUT);
    let took = started.elapsed();
    println!("50 of 200 records were gone {took:?} after the start");
    assert!(took < Duration::from_secs(5), "{took:?}");

    // Time in which an unwanted rewrite would happen.
    thread::sleep(Duration::from_secs(5));
    let untouched: Vec<_> = before.into_iter().filter(|kv| !ended_keys.contains(&kv.key)).collect();
    assert_eq!(v3.list(KEY_PREFIX), untouched);
    println!("{} revisions for 50 deletions", v3.revision() - revision);
    assert_eq!(second.lines_with(&["record published"]).len(), 0);
    assert_eq!(second.lines_with(&["WARNING"]).len(), 0);
}

#[test]
fn changed_ttl_moves_records_to_a_new_lease_without_gap() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let services = fixture.service_container(100);
    let mut daemon = fixture.highhock(&etcd.url()).start();
    wait_for_records(&v3, &services.records(), TIMEOUT);
    let mut lease = only_lease(&v3);
    let member_reader = MemberReader::start([&etcd], &services.keys(), Duration::from_millis(5));

    for (ttl, signal) in [(30, "TERM"), (600, "KILL"), (60, "TERM")] {
        daemon.stop_with(signal);
        daemon = fixture.highhock(&etcd.url()).flag("--etcd-ttl", &ttl.to_string()).start();
        wait_for_records(&v3, &services.records_with_ttl(ttl), TIMEOUT);
        let moved_from = std::mem::replace(&mut lease, only_lease(&v3));
        assert_ne!(lease, moved_from);
        assert_eq!(v3.lease(lease).unwrap().granted, i64::try_from(ttl).unwrap());
        eventually("the old lease is gone", TIMEOUT, || (v3.leases() == [lease]).then_some(()));
        assert_eq!(stored_records(&v3), services.records_with_ttl(ttl));
    }
    member_reader.assert_none_missing();
}

#[test]
fn republishes_after_the_lease_is_revoked() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let service_containers: Vec<_> = (0..4).map(|_| fixture.service_container(50)).collect();
    let records = records_of(&service_containers, 600);
    let daemon = fixture.highhock(&etcd.url()).flag("--etcd-ttl", LONG_TTL).start();
    wait_for_records(&v3, &records, TIMEOUT);
    for round in 1..=2 {
        let lease = only_lease(&v3);
        v3.revoke(lease);
        let revoked = Instant::now();
        wait_for_records(&v3, &records, TIMEOUT);
        let took = revoked.elapsed();
        println!("200 records were back {took:?} after their lease was revoked");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(v3.lease(only_lease(&v3)).unwrap().keys.len(), 200);
        eventually("the lost lease is logged", TIMEOUT, || {
            (daemon.lines_with(&["WARNING", "lease lost"]).len() == round).then_some(())
        });
    }
}

#[test]
fn republishes_when_an_emptied_v3_etcd_returns() {
    let (mut etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let services = fixture.service_container(100);
    let daemon = fixture.highhock(&etcd.url()).start();
    wait_for_records(&v3, &services.records(), TIMEOUT);
    type OutageMethod = fn(&mut Etcd);
    for end in [Etcd::kill as OutageMethod, Etcd::stop as OutageMethod] {
        end(&mut etcd);
        thread::sleep(Duration::from_secs(3));
        etcd.restart(true);
        let answered = Instant::now();
        wait_for_records(&v3, &services.records(), TIMEOUT);
        let took = answered.elapsed();
        println!("100 records were back {took:?} after etcd answered");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    // The daemon keeps its lease and repairs nothing.
    let revision = v3.revision();
    etcd.kill();
    thread::sleep(Duration::from_secs(2));
    etcd.restart(false);
    eventually("the end of the third outage is logged", TIMEOUT, || {
        (daemon.lines_with(&["NOTICE", "etcd connected"]).len() == 3).then_some(())
    });
    assert_eq!(v3.revision(), revision);
    assert_eq!(daemon.lines_with(&["WARNING", "etcd unreachable"]).len(), 3);
    assert_eq!(daemon.lines_with(&["WARNING", "lease lost"]).len(), 2);
    // An outage may begin before the daemon has read the revision of its own writes.
    let went_back = daemon.lines_with(&["WARNING", "etcd went back in time"]).len();
    assert!(went_back <= 2, "{}", daemon.log());
    assert_eq!(daemon.lines_with(&["WARNING"]).len(), 5 + went_back, "{}", daemon.log());
}

#[test]
fn foreign_changes_are_repaired_or_respected() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let services = fixture.service_container(2);
    let daemon = fixture.highhock(&etcd.url()).flag("--etcd-ttl", LONG_TTL).start();
    let records = services.records_with_ttl(600);
    wait_for_records(&v3, &records, TIMEOUT);
    let mut keys = records.keys();
    let (deleted, edited) = (keys.next().unwrap(), keys.next().unwrap());

    v3.delete(deleted);
    let deleted_at = Instant::now();
    wait_for_records(&v3, &records, TIMEOUT);
    println!("a deleted record was back after {:?}", deleted_at.elapsed());
    assert!(deleted_at.elapsed() < Duration::from_secs(5));

    let theirs = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;
    v3.put(edited, theirs, None);
    daemon.wait_for_log(&["WARNING", "record on standby", edited.trim_start_matches('/')]);
    assert_eq!(v3.get(edited).unwrap().value, theirs);
    v3.delete(edited);
    let freed = Instant::now();
    wait_for_records(&v3, &records, TIMEOUT);
    println!("a record was taken back {:?} after the other's went", freed.elapsed());
    assert!(freed.elapsed() < Duration::from_secs(5));
}
