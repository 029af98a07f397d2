//! Records on etcd's v3 API, where they hang on one lease.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::PATIENCE;
use crate::fixture::{BELOW, Stage, becomes_exactly, held, only_lease, records_of};
use crate::member_reader::Onlooker;
use crate::support::etcd::Etcd;
use crate::support::eventually;

/// Of records that a test is not to lose by the TTL alone.
const LONG: &str = "600";

#[test]
fn a_record_hangs_on_one_lease_that_outlives_a_restart() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let pack = stage.pack(3);
    let highhock = stage.highhock(&etcd.url());
    let mut leases = Vec::new();
    for signal in ["TERM", "KILL", "TERM"] {
        let mut daemon = highhock.start();
        becomes_exactly(&v3, &pack.records(), PATIENCE);
        leases.push(only_lease(&v3));
        daemon.says(&["records hang on a lease"]);
        daemon.ends_on(signal);
        assert_eq!(held(&v3), pack.records(), "left to the TTL");
    }
    assert_eq!(leases, vec![leases[0]; 3]);
    assert_eq!(v3.leases(), [leases[0]]);
    assert_eq!(v3.lease(leases[0]).unwrap().granted, 60);
    let versions: Vec<_> = v3.list(BELOW).iter().map(|kv| kv.modified - kv.created).collect();
    assert_eq!(versions, [0; 3], "written once");

    let mut removing = highhock.flag("--etcd-on-exit", "remove").start();
    removing.says(&["records hang on a lease"]);
    assert_eq!(removing.ends_on("TERM").0, Some(0));
    assert_eq!(held(&v3).len(), 0);
    assert_eq!(v3.leases(), [leases[0]], "the lease is never deleted by a clean stop");
}

#[test]
fn where_nothing_changes_nothing_is_written_or_said() {
    const WATCHED: Duration = Duration::from_secs(12);
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let packs = [stage.pack(50), stage.pack(50)];
    let daemon = stage.highhock(&etcd.url()).flag("--etcd-ttl", "5").start();
    becomes_exactly(&v3, &records_of(&packs, 5), PATIENCE);
    let log = eventually("the daemon is quiet", PATIENCE, || {
        let log = daemon.log();
        thread::sleep(Duration::from_secs(1));
        (daemon.log() == log).then_some(log)
    });

    let (lease, revision) = (only_lease(&v3), v3.revision());
    let end = Instant::now() + WATCHED;
    let mut least = i64::MAX;
    while Instant::now() < end {
        least = least.min(v3.lease(lease).expect("the lease lives").left);
        thread::sleep(Duration::from_millis(100));
    }
    println!("100 records over {WATCHED:?}: the lease had at least {least} s left");
    assert_eq!(v3.revision(), revision);
    assert_eq!(daemon.log(), log);
    assert!(least >= 2, "kept alive every third of the TTL");
}

#[test]
fn after_a_kill_only_what_ended_meanwhile_is_touched_and_soon_gone() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let mut packs: Vec<_> = (0..4).map(|_| stage.pack(50)).collect();
    let highhock = stage.highhock(&etcd.url()).flag("--etcd-ttl", LONG);
    let mut first = highhock.start();
    becomes_exactly(&v3, &records_of(&packs, 600), PATIENCE);
    let (before, revision) = (v3.list(BELOW), v3.revision());

    first.kill();
    let ended = packs.pop().unwrap();
    let ended_keys = ended.keys();
    ended.container.remove();
    let started = Instant::now();
    let second = highhock.start();
    becomes_exactly(&v3, &records_of(&packs, 600), PATIENCE);
    let took = started.elapsed();
    println!("50 of 200 records were gone {took:?} after the start");
    assert!(took < Duration::from_secs(5), "{took:?}");

    // Time for what would be rewritten after all.
    thread::sleep(Duration::from_secs(5));
    let untouched: Vec<_> = before.into_iter().filter(|kv| !ended_keys.contains(&kv.key)).collect();
    assert_eq!(v3.list(BELOW), untouched);
    println!("{} revisions for 50 deletions", v3.revision() - revision);
    assert_eq!(second.lines_with(&["record put"]).len(), 0);
    assert_eq!(second.lines_with(&["WARNING"]).len(), 0);
}

#[test]
fn a_changed_ttl_moves_the_records_to_a_new_lease_without_a_gap() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let pack = stage.pack(100);
    let mut daemon = stage.highhock(&etcd.url()).start();
    becomes_exactly(&v3, &pack.records(), PATIENCE);
    let mut lease = only_lease(&v3);
    let onlooker = Onlooker::start([&etcd], &pack.keys(), Duration::from_millis(5));

    for (ttl, signal) in [(30, "TERM"), (600, "KILL"), (60, "TERM")] {
        daemon.ends_on(signal);
        daemon = stage.highhock(&etcd.url()).flag("--etcd-ttl", &ttl.to_string()).start();
        becomes_exactly(&v3, &pack.records_with_ttl(ttl), PATIENCE);
        let moved_from = std::mem::replace(&mut lease, only_lease(&v3));
        assert_ne!(lease, moved_from);
        assert_eq!(v3.lease(lease).unwrap().granted, i64::try_from(ttl).unwrap());
        eventually("the old lease is gone", PATIENCE, || (v3.leases() == [lease]).then_some(()));
        assert_eq!(held(&v3), pack.records_with_ttl(ttl));
    }
    onlooker.finds_none_missing();
}

#[test]
fn all_records_are_back_after_their_lease_was_revoked() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let packs: Vec<_> = (0..4).map(|_| stage.pack(50)).collect();
    let records = records_of(&packs, 600);
    let daemon = stage.highhock(&etcd.url()).flag("--etcd-ttl", LONG).start();
    becomes_exactly(&v3, &records, PATIENCE);
    for round in 1..=2 {
        let lease = only_lease(&v3);
        v3.revoke(lease);
        let revoked = Instant::now();
        becomes_exactly(&v3, &records, PATIENCE);
        let took = revoked.elapsed();
        println!("200 records were back {took:?} after their lease was revoked");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(v3.lease(only_lease(&v3)).unwrap().keys.len(), 200);
        eventually("the loss is told", PATIENCE, || {
            (daemon.lines_with(&["WARNING", "our lease was lost"]).len() == round).then_some(())
        });
    }
}

#[test]
fn all_records_are_back_as_soon_as_an_emptied_v3_answers() {
    let (mut etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let pack = stage.pack(100);
    let daemon = stage.highhock(&etcd.url()).start();
    becomes_exactly(&v3, &pack.records(), PATIENCE);
    type Ends = fn(&mut Etcd);
    for end in [Etcd::kill as Ends, Etcd::stop as Ends] {
        end(&mut etcd);
        thread::sleep(Duration::from_secs(3));
        etcd.start_again(true);
        let answered = Instant::now();
        becomes_exactly(&v3, &pack.records(), PATIENCE);
        let took = answered.elapsed();
        println!("100 records were back {took:?} after etcd answered");
        assert!(took < Duration::from_millis(1500), "{took:?}");
    }
    // Kept: nothing needs to be mended, and the lease is as it was.
    let revision = v3.revision();
    etcd.kill();
    thread::sleep(Duration::from_secs(2));
    etcd.start_again(false);
    eventually("the third outage is told to be over", PATIENCE, || {
        (daemon.lines_with(&["NOTICE", "etcd answers again"]).len() == 3).then_some(())
    });
    assert_eq!(v3.revision(), revision);
    assert_eq!(daemon.lines_with(&["WARNING", "etcd does not answer"]).len(), 3);
    assert_eq!(daemon.lines_with(&["WARNING", "our lease was lost"]).len(), 2);
    assert_eq!(daemon.lines_with(&["WARNING"]).len(), 5, "{}", daemon.log());
}

#[test]
fn what_others_do_to_a_record_is_mended_or_respected() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let pack = stage.pack(2);
    let daemon = stage.highhock(&etcd.url()).flag("--etcd-ttl", LONG).start();
    let records = pack.records_with_ttl(600);
    becomes_exactly(&v3, &records, PATIENCE);
    let mut keys = records.keys();
    let (deleted, edited) = (keys.next().unwrap(), keys.next().unwrap());

    v3.delete(deleted);
    let asked = Instant::now();
    becomes_exactly(&v3, &records, PATIENCE);
    println!("a deleted record was back after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(1));

    let theirs = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;
    v3.put(edited, theirs, None);
    daemon.says(&["WARNING", "stands by", edited.trim_start_matches('/')]);
    assert_eq!(v3.get(edited).unwrap().value, theirs);
    v3.delete(edited);
    let freed = Instant::now();
    becomes_exactly(&v3, &records, PATIENCE);
    println!("a record was taken back {:?} after the other's went", freed.elapsed());
    assert!(freed.elapsed() < Duration::from_secs(1));
}
