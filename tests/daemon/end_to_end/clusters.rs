//! A cluster of three members that loses its leader repeatedly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::TIMEOUT;
use crate::fixture::{
    Fixture, KEY_PREFIX, Records, ServiceContainer, only_lease, records_of, wait_for_records,
};
use crate::member_reader::MemberReader;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::etcd::{Etcd, Release};
use crate::support::etcd_v3::V3Client;
use crate::support::eventually;

/// The TTL of the records in seconds: short, so that a lease without keep-alive expires.
const TTL: u64 = 15;

/// The number of stable service containers, and of those that start and stop.
const STABLE_COUNT: usize = 3;
const CHURNING_COUNT: usize = 5;
const SERVICES: usize = 25;

/// The limit of the recovery after the last fault.
const RECOVERY_TIME: Duration = Duration::from_secs(30);

/// Writes resume about 2 s after a leader's death. The rest is for listings of Docker and a busy
/// machine.
const WRITES_RESUME_MAX: Duration = Duration::from_secs(12);

/// Longer than etcd holds a request without a leader, which is 7 s.
const HELD_REQUEST_MAX: Duration = Duration::from_secs(24);

/// The limit until a late write is noticed and repaired.
const REPAIR_TIME_MAX: Duration = Duration::from_secs(8);

#[test]
fn killing_three_leaders_loses_no_record() {
    assert_survives_killed_leaders(Release::V3_4, 3);
}

#[test]
#[ignore = "long: tests/run --long"]
fn killing_ten_leaders_loses_no_record() {
    assert_survives_killed_leaders(Release::V3_6, 10);
}

#[test]
fn pausing_three_leaders_loses_and_revives_no_record() {
    assert_survives_paused_leaders(Release::V3_6, 3, Duration::from_secs(12));
}

#[test]
#[ignore = "long: tests/run --long"]
fn pausing_ten_leaders_loses_and_revives_no_record() {
    assert_survives_paused_leaders(Release::V3_4, 10, Duration::from_secs(30));
}

fn assert_survives_killed_leaders(release: Release, rounds: usize) {
    let Some(mut cluster_fixture) = ClusterFixture::start(release) else { return };
    let member_reader = cluster_fixture.member_reader();
    let churn = Churn::start(std::mem::take(&mut cluster_fixture.churning));
    let mut waits = Vec::new();
    for _ in 0..rounds {
        let leader = cluster_fixture.cluster.wait_for_leader();
        cluster_fixture.cluster.members[leader].kill();
        waits.push(cluster_fixture.wait_for_writes(leader));
        thread::sleep(Duration::from_secs(2));
        cluster_fixture.cluster.members[leader].restart(false);
        cluster_fixture.cluster.wait_until_healthy();
        thread::sleep(Duration::from_secs(1));
    }
    cluster_fixture.churning = churn.finish();
    thread::sleep(RECOVERY_TIME);
    assert_eq!(cluster_fixture.stored_records(), cluster_fixture.expected_records());
    member_reader.assert_none_missing();
    report("killed", &waits, &cluster_fixture.daemon);
    cluster_fixture.assert_clean_end();
}

fn assert_survives_paused_leaders(release: Release, rounds: usize, watched: Duration) {
    let Some(mut cluster_fixture) = ClusterFixture::start(release) else { return };
    let member_reader = cluster_fixture.member_reader();
    let (mut waits, mut late) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // During churn, so that writes are in flight when the leader stops.
        let churn = Churn::start(std::mem::take(&mut cluster_fixture.churning));
        thread::sleep(Duration::from_secs(2));
        let leader = cluster_fixture.cluster.wait_for_leader();
        cluster_fixture.cluster.members[leader].pause();
        waits.push(cluster_fixture.wait_for_writes(leader));
        thread::sleep(Duration::from_secs(2));
        cluster_fixture.churning = churn.finish();
        cluster_fixture.cluster.members[leader].resume();
        late.extend(cluster_fixture.deviations(watched));
    }
    assert_eq!(cluster_fixture.stored_records(), cluster_fixture.expected_records());
    member_reader.assert_none_missing();
    report("stopped", &waits, &cluster_fixture.daemon);
    println!("late writes showed {} times, for {late:?}", late.len());
    assert!(late.iter().all(|lasted| *lasted < REPAIR_TIME_MAX), "{late:?}");
    cluster_fixture.assert_clean_end();
}

fn report(what: &str, waits: &[Duration], daemon: &Daemon) {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    println!(
        "writes went on {:?} (median; worst {:?}) after the leader was {what}, in {} rounds",
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
        sorted.len()
    );
    println!("the daemon logged {} outages", daemon.lines_with(&["etcd connected"]).len());
    assert!(sorted.iter().all(|wait| *wait < WRITES_RESUME_MAX), "{sorted:?}");
}

#[test]
fn member_down_from_the_start_is_tolerated() {
    let Some(mut cluster) = Cluster::start(Release::V3_6) else { return };
    let fixture = Fixture::new();
    let services = fixture.service_container(SERVICES);
    // The member that is used first.
    cluster.members[0].kill();
    cluster.wait_for_another_leader(0);
    let v3 = cluster.members[1].v3();
    let highhock = fixture.highhock(&cluster.urls()).flag("--etcd-ttl", "5");
    assert_eq!(highhock.output(&["check"]).status.code(), Some(0));
    let daemon = highhock.start();
    wait_for_records(&v3, &services.records_with_ttl(5), TIMEOUT);
    let log = eventually("the daemon is quiet", TIMEOUT, || {
        let log = daemon.log();
        thread::sleep(Duration::from_secs(1));
        (daemon.log() == log).then_some(log)
    });
    let (lease, revision) = (only_lease(&v3), v3.revision());
    thread::sleep(Duration::from_secs(10));
    assert_eq!(daemon.log(), log);
    assert_eq!((only_lease(&v3), v3.revision()), (lease, revision));
    assert_eq!(daemon.lines_with(&["WARNING", "etcd"]), Vec::<String>::new());
}

struct ClusterFixture {
    cluster: Cluster,
    _fixture: Fixture,
    stable: Vec<ServiceContainer>,
    churning: Vec<ChurningContainer>,
    daemon: Daemon,
}

impl ClusterFixture {
    fn start(release: Release) -> Option<Self> {
        let (cluster, fixture) = (Cluster::start(release)?, Fixture::new());
        let service_containers =
            |count| (0..count).map(|_| fixture.service_container(SERVICES)).collect::<Vec<_>>();
        let (stable, churning) =
            (service_containers(STABLE_COUNT), service_containers(CHURNING_COUNT));
        let churning = churning
            .into_iter()
            .map(|services| ChurningContainer { services, phase: ContainerPhase::Up });
        let daemon = fixture.highhock(&cluster.urls()).flag("--etcd-ttl", &TTL.to_string()).start();
        let cluster_fixture =
            Self { stable, churning: churning.collect(), daemon, cluster, _fixture: fixture };
        wait_for_records(
            &cluster_fixture.cluster.members[0].v3(),
            &cluster_fixture.expected_records(),
            TIMEOUT,
        );
        Some(cluster_fixture)
    }

    /// The expected records in etcd.
    fn expected_records(&self) -> Records {
        let up = self.churning.iter().filter(|churning| churning.phase == ContainerPhase::Up);
        records_of(self.stable.iter().chain(up.map(|churning| &churning.services)), TTL)
    }

    /// The records in etcd. Returns `None` while etcd does not respond.
    fn try_stored_records(&self) -> Option<Records> {
        let list = |member: &Etcd| member.v3().with_timeout(STATUS_TIMEOUT).try_list(KEY_PREFIX);
        let kvs = self.cluster.members.iter().find_map(list)?;
        Some(kvs.into_iter().map(|kv| (kv.key, kv.value)).collect())
    }

    #[track_caller]
    fn stored_records(&self) -> Records {
        eventually("the cluster answers", TIMEOUT, || self.try_stored_records())
    }

    fn member_reader(&self) -> MemberReader {
        let keys = self.stable.iter().flat_map(ServiceContainer::keys).collect();
        MemberReader::start(&self.cluster.members, &keys, Duration::from_millis(50))
    }

    /// Waits until a member other than this one has a new revision. Returns the duration.
    #[track_caller]
    fn wait_for_writes(&self, excluded: usize) -> Duration {
        let stopped_at = Instant::now();
        let members = self.cluster.members.iter().enumerate().filter(|(at, _)| *at != excluded);
        let members: Vec<V3Client> =
            members.map(|(_, it)| it.v3().with_timeout(STATUS_TIMEOUT)).collect();
        let newest = || members.iter().filter_map(|it| Some(it.try_status()?.revision)).max();
        let before = eventually("a member answers", TIMEOUT, newest);
        eventually("writes go on", TIMEOUT, || {
            newest().filter(|revision| *revision > before).map(drop)
        });
        stopped_at.elapsed()
    }

    /// Waits until everything is correct, and observes it for this time. Returns the duration of
    /// each deviation.
    #[track_caller]
    fn deviations(&self, watched: Duration) -> Vec<Duration> {
        let expected_records = self.expected_records();
        let end = Instant::now() + watched;
        eventually("all is right for the first time", HELD_REQUEST_MAX, || {
            (self.try_stored_records()? == expected_records).then_some(())
        });
        let (mut deviation_started, mut deviations) = (None, Vec::new());
        while Instant::now() < end {
            match self.try_stored_records() {
                Some(stored_records) if stored_records == expected_records => {
                    deviations
                        .extend(deviation_started.take().map(|since: Instant| since.elapsed()));
                }
                Some(_) => drop(deviation_started.get_or_insert_with(Instant::now)),
                None => {}
            }
            thread::sleep(Duration::from_millis(20));
        }
        deviations.extend(deviation_started.map(|since| since.elapsed()));
        deviations
    }

    /// Every member has the expected records on one lease, and the log reports only outages.
    #[track_caller]
    fn assert_clean_end(mut self) {
        let expected_records = self.expected_records();
        for member in &self.cluster.members {
            wait_for_records(&member.v3(), &expected_records, TIMEOUT);
        }
        only_lease(&self.cluster.members[0].v3());
        assert!(self.daemon.is_alive());
        let lines = self.daemon.lines_with(&["WARNING"]);
        let others = lines.iter().filter(|line| !line.contains("etcd unreachable"));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

/// The limit for a healthy member.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContainerPhase {
    Up,
    Paused,
    Down,
}

/// A service container that starts and stops.
struct ChurningContainer {
    services: ServiceContainer,
    phase: ContainerPhase,
}

impl ChurningContainer {
    fn change_phase(&mut self) {
        let (verb, phase) = match (self.phase, fastrand::bool()) {
            (ContainerPhase::Up, true) => ("kill", ContainerPhase::Down),
            (ContainerPhase::Up, false) => ("pause", ContainerPhase::Paused),
            (ContainerPhase::Paused, _) => ("unpause", ContainerPhase::Up),
            (ContainerPhase::Down, _) => ("start", ContainerPhase::Up),
        };
        self.services.container.docker_command(verb);
        self.phase = phase;
    }
}

/// A thread that starts and stops service containers until it is stopped.
struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<ChurningContainer>>,
}

impl Churn {
    fn start(mut service_containers: Vec<ChurningContainer>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_handle = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stop_handle.load(Ordering::SeqCst) {
                let chosen = fastrand::usize(..service_containers.len());
                service_containers[chosen].change_phase();
                thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
            }
            service_containers
        });
        Self { stop, thread }
    }

    /// Stops the thread. Returns the final service containers.
    fn finish(self) -> Vec<ChurningContainer> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
