//! Two daemons that want the same keys.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::TIMEOUT;
use crate::fixture::{
    Fixture, KEY_PREFIX, Records, ServiceContainer, only_lease, records_of, stored_records,
    wait_for_records,
};
use crate::member_reader::MemberReader;
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::etcd_v3::V3Client;
use crate::support::eventually;

/// The limit for a takeover after the other's record is gone (v3; "Ownership of records").
const TAKEOVER_TIME_MAX: Duration = Duration::from_secs(5);

const HOLDER: &str = "10.0.0.1";
const STANDBY: &str = "10.0.0.2";
const SERVICES: usize = 20;

#[test]
fn standby_of_a_flat_name_takes_over() {
    assert_standby_takes_over("flat");
}

#[test]
fn standby_of_an_instance_takes_over() {
    assert_standby_takes_over("instance");
}

/// One host name and two addresses: a shared key has one holder. The other daemon takes over when
/// the holder withdraws, or when its lease expires.
fn assert_standby_takes_over(layout: &str) {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let _services = fixture.service_container(SERVICES);
    let highhock = fixture
        .highhock(&etcd.url())
        .flag("--skydns-hostname", "twin")
        .flag("--skydns-layout", layout)
        .flag("--etcd-ttl", "600");
    let first = highhock.clone().flag("--discovery-host", HOLDER);
    let second = highhock.flag("--discovery-host", STANDBY);
    let mut holder = first.flag("--etcd-on-exit", "remove").start();
    wait_until_published_by(&v3, HOLDER);
    let mut follower = second.start();
    wait_until_standby(&follower, HOLDER);
    let before = v3.list(KEY_PREFIX);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(v3.list(KEY_PREFIX), before, "the holder's records are left alone");

    let watch = thread::spawn(takeover_watcher(v3.clone()));
    assert_eq!(holder.stop_with("TERM").0, Some(0));
    let takeover_time = watch.join().unwrap();
    println!("{layout}: taken over within {takeover_time:?} of being given up");
    assert!(takeover_time < TAKEOVER_TIME_MAX, "{takeover_time:?}");

    let holder = fixture.highhock(&etcd.url());
    let holder = holder.flag("--skydns-hostname", "twin").flag("--skydns-layout", layout);
    let holder = holder.flag("--discovery-host", HOLDER).start();
    wait_until_standby(&holder, STANDBY);
    let lease = only_lease(&v3);
    follower.kill();
    let revoked = Instant::now();
    v3.revoke(lease);
    wait_until_published_by(&v3, HOLDER);
    println!("{layout}: taken over {:?} after the lease ended", revoked.elapsed());
    assert!(revoked.elapsed() < TAKEOVER_TIME_MAX);
    assert_eq!(holder.lines_with(&["lease lost"]).len(), 0);
}

/// Waits for records that move from one daemon to the other. Returns the longest gap.
fn takeover_watcher(v3: V3Client) -> impl FnOnce() -> Duration {
    move || {
        let first_gone = eventually("a record is given up", TIMEOUT, || {
            let still = stored_records(&v3).values().filter(|value| value.contains(HOLDER)).count();
            (still < SERVICES).then(Instant::now)
        });
        wait_until_published_by(&v3, STANDBY);
        first_gone.elapsed()
    }
}

/// Waits until all records exist with this address.
#[track_caller]
fn wait_until_published_by(etcd: &V3Client, address: &str) {
    let by = format!(r#""host":"{address}""#);
    eventually(&format!("all records are of {address}"), TIMEOUT, || {
        let held = stored_records(etcd);
        (held.len() == SERVICES && held.values().all(|value| value.contains(&by))).then_some(())
    });
}

#[track_caller]
fn wait_until_standby(daemon: &Daemon, holder: &str) {
    eventually("every record is on standby", TIMEOUT, || {
        (daemon.lines_with(&["WARNING", "record on standby", holder]).len() == SERVICES)
            .then_some(())
    });
}

/// Time for a duplicate to notice a change: one listing, and one audit at the shortest TTL.
const AUDIT_TIME: Duration = Duration::from_secs(8);
const SHORTEST_TTL: u64 = 5;

#[test]
fn identical_daemons_survive_the_end_of_either() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let mut service_containers: Vec<_> = (0..4).map(|_| fixture.service_container(25)).collect();
    let kept: Vec<_> = service_containers.drain(..2).collect();
    let highhock = fixture.highhock(&etcd.url()).flag("--etcd-ttl", &SHORTEST_TTL.to_string());
    let mut daemons = [highhock.start(), highhock.start()];
    wait_for_records(&v3, &expected_records(kept.iter().chain(&service_containers)), TIMEOUT);
    let lease = only_lease(&v3);
    let never_missing = expected_records(&kept).into_keys().collect();
    let member_reader = MemberReader::start([&etcd], &never_missing, Duration::from_millis(10));

    for (ends, signal) in [(0, "TERM"), (1, "KILL")] {
        // One container is removed and one is created while one of the daemons ends, and again
        // when it is back.
        for is_second_half in [false, true] {
            service_containers.remove(0).container.remove();
            service_containers.push(fixture.service_container(25));
            if is_second_half {
                daemons[ends] = highhock.start();
            } else {
                daemons[ends].stop_with(signal);
            }
            thread::sleep(AUDIT_TIME);
            assert_eq!(
                stored_records(&v3),
                expected_records(kept.iter().chain(&service_containers))
            );
            assert_eq!(only_lease(&v3), lease);
        }
    }
    member_reader.assert_none_missing();
    for daemon in &daemons {
        let warnings = daemon.lines_with(&["WARNING"]);
        assert_eq!(warnings, Vec::<String>::new());
    }
}

#[track_caller]
fn expected_records<'a>(
    service_containers: impl IntoIterator<Item = &'a ServiceContainer>,
) -> Records {
    records_of(service_containers, SHORTEST_TTL)
}
