//! Two daemons that want the same keys.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::PATIENCE;
use crate::fixture::{BELOW, Pack, Records, Stage, becomes_exactly, held, only_lease, records_of};
use crate::member_reader::Onlooker;
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::etcd_v3::V3;
use crate::support::eventually;

/// In which one takes over when the other's record is gone (SPEC 4, on v3).
const TAKES_OVER: Duration = Duration::from_secs(1);

const HOLDER: &str = "10.0.0.1";
const SECOND: &str = "10.0.0.2";
const SERVICES: usize = 20;

#[test]
fn the_second_address_of_a_flat_name_takes_over() {
    the_second_takes_over("flat");
}

#[test]
fn the_second_address_of_an_instance_takes_over() {
    the_second_takes_over("instance");
}

/// One host name and two addresses: a key that both want has one holder, and the other
/// gets it when it is given up, or when the holder's lease ends.
fn the_second_takes_over(layout: &str) {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let _pack = stage.pack(SERVICES);
    let highhock = stage
        .highhock(&etcd.url())
        .flag("--skydns-hostname", "twin")
        .flag("--skydns-layout", layout)
        .flag("--etcd-ttl", "600");
    let first = highhock.clone().flag("--discovery-host", HOLDER);
    let second = highhock.flag("--discovery-host", SECOND);
    let mut holder = first.flag("--etcd-on-exit", "remove").start();
    published_by(&v3, HOLDER);
    let mut follower = second.start();
    stands_by(&follower, HOLDER);
    let before = v3.list(BELOW);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(v3.list(BELOW), before, "the holder's records are left alone");

    let watch = thread::spawn(changes_of_hands(v3.clone()));
    assert_eq!(holder.ends_on("TERM").0, Some(0));
    let took = watch.join().unwrap();
    println!("{layout}: taken over within {took:?} of being given up");
    assert!(took < TAKES_OVER, "{took:?}");

    let holder = stage.highhock(&etcd.url());
    let holder = holder.flag("--skydns-hostname", "twin").flag("--skydns-layout", layout);
    let holder = holder.flag("--discovery-host", HOLDER).start();
    stands_by(&holder, SECOND);
    let lease = only_lease(&v3);
    follower.kill();
    let revoked = Instant::now();
    v3.revoke(lease);
    published_by(&v3, HOLDER);
    println!("{layout}: taken over {:?} after the lease ended", revoked.elapsed());
    assert!(revoked.elapsed() < TAKES_OVER);
    assert_eq!(holder.lines_with(&["our lease was lost"]).len(), 0);
}

/// Waits for records that go from the one to the other; how long the slowest had none.
fn changes_of_hands(v3: V3) -> impl FnOnce() -> Duration {
    move || {
        let first_gone = eventually("a record is given up", PATIENCE, || {
            let still = held(&v3).values().filter(|value| value.contains(HOLDER)).count();
            (still < SERVICES).then(Instant::now)
        });
        published_by(&v3, SECOND);
        first_gone.elapsed()
    }
}

/// Waits until all records are there, with this address.
#[track_caller]
fn published_by(etcd: &V3, address: &str) {
    let by = format!(r#""host":"{address}""#);
    eventually(&format!("all records are of {address}"), PATIENCE, || {
        let held = held(etcd);
        (held.len() == SERVICES && held.values().all(|value| value.contains(&by))).then_some(())
    });
}

#[track_caller]
fn stands_by(daemon: &Daemon, holder: &str) {
    eventually("it stands by for each record", PATIENCE, || {
        (daemon.lines_with(&["WARNING", "stands by", holder]).len() == SERVICES).then_some(())
    });
}

/// A twin's time for what it has yet to notice: a listing, and an audit of the shortest
/// TTL that there is.
const ONE_AUDIT: Duration = Duration::from_secs(8);
const SHORTEST_TTL: u64 = 5;

#[test]
fn of_two_daemons_with_everything_equal_either_may_end() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let v3 = etcd.v3();
    let mut packs: Vec<_> = (0..4).map(|_| stage.pack(25)).collect();
    let kept: Vec<_> = packs.drain(..2).collect();
    let highhock = stage.highhock(&etcd.url()).flag("--etcd-ttl", &SHORTEST_TTL.to_string());
    let mut twins = [highhock.start(), highhock.start()];
    becomes_exactly(&v3, &wanted(kept.iter().chain(&packs)), PATIENCE);
    let lease = only_lease(&v3);
    let never_missing = wanted(&kept).into_keys().collect();
    let onlooker = Onlooker::start([&etcd], &never_missing, Duration::from_millis(10));

    for (ends, signal) in [(0, "TERM"), (1, "KILL")] {
        // One container goes and one comes while one of the two ends, and again when it
        // is back.
        for goes_on in [false, true] {
            packs.remove(0).container.remove();
            packs.push(stage.pack(25));
            match goes_on {
                false => drop(twins[ends].ends_on(signal)),
                true => twins[ends] = highhock.start(),
            }
            thread::sleep(ONE_AUDIT);
            assert_eq!(held(&v3), wanted(kept.iter().chain(&packs)));
            assert_eq!(only_lease(&v3), lease);
        }
    }
    onlooker.finds_none_missing();
    for twin in &twins {
        let graver = twin.lines_with(&["WARNING"]);
        assert_eq!(graver, Vec::<String>::new());
    }
}

#[track_caller]
fn wanted<'a>(packs: impl IntoIterator<Item = &'a Pack>) -> Records {
    records_of(packs, SHORTEST_TTL)
}
