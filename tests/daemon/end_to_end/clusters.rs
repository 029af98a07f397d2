//! A cluster of three members that lose their leader, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::PATIENCE;
use crate::fixture::{BELOW, Pack, Records, Stage, becomes_exactly, only_lease, records_of};
use crate::member_reader::Onlooker;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::etcd::{Etcd, Release};
use crate::support::etcd_v3::V3;
use crate::support::eventually;

/// Of the records, in seconds: short, so that a lease that is not kept alive ends.
const TTL: u64 = 15;

/// How many packs are left alone, and how many are not.
const UNDISTURBED: usize = 3;
const DISTURBED: usize = 5;
const SERVICES: usize = 25;

/// After the last trouble all must be right.
const RIGHT_AFTER: Duration = Duration::from_secs(30);

/// Writes go on about 2 s after a leader's death; the rest is for listings of Docker,
/// and for a machine that is busy with other tests.
const GOES_ON: Duration = Duration::from_secs(6);

/// Longer than etcd holds a request that has no leader to go to.
const REQUESTS_END: Duration = Duration::from_secs(8);

/// What comes late is noticed and mended within this time.
const MENDED: Duration = Duration::from_secs(3);

#[test]
fn three_leaders_killed_cost_no_record() {
    leaders_are_killed(Release::V3_4, 3);
}

#[test]
#[ignore = "long: tests/run --long"]
fn ten_leaders_killed_cost_no_record() {
    leaders_are_killed(Release::V3_6, 10);
}

#[test]
fn three_leaders_stopped_cost_no_record_and_bring_none_back() {
    leaders_are_stopped(Release::V3_6, 3, Duration::from_secs(12));
}

#[test]
#[ignore = "long: tests/run --long"]
fn ten_leaders_stopped_cost_no_record_and_bring_none_back() {
    leaders_are_stopped(Release::V3_4, 10, Duration::from_secs(30));
}

fn leaders_are_killed(release: Release, rounds: usize) {
    let Some(mut world) = World::start(release) else { return };
    let onlooker = world.onlooker();
    let churn = Churn::start(std::mem::take(&mut world.disturbed));
    let mut waits = Vec::new();
    for _ in 0..rounds {
        let leader = world.cluster.wait_for_leader();
        world.cluster.members[leader].kill();
        waits.push(world.until_writes_go_on(leader));
        thread::sleep(Duration::from_secs(2));
        world.cluster.members[leader].start_again(false);
        world.cluster.wait_until_healthy();
        thread::sleep(Duration::from_secs(1));
    }
    world.disturbed = churn.finish();
    thread::sleep(RIGHT_AFTER);
    assert_eq!(world.held(), world.wanted());
    onlooker.finds_none_missing();
    tell("killed", &waits, &world.daemon);
    world.ends_well();
}

fn leaders_are_stopped(release: Release, rounds: usize, watched: Duration) {
    let Some(mut world) = World::start(release) else { return };
    let onlooker = world.onlooker();
    let (mut waits, mut late) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // In full swing, so that writes are under way when the leader stops.
        let churn = Churn::start(std::mem::take(&mut world.disturbed));
        thread::sleep(Duration::from_secs(2));
        let leader = world.cluster.wait_for_leader();
        world.cluster.members[leader].pause();
        waits.push(world.until_writes_go_on(leader));
        thread::sleep(Duration::from_secs(2));
        world.disturbed = churn.finish();
        world.cluster.members[leader].resume();
        late.extend(world.deviations(watched));
    }
    assert_eq!(world.held(), world.wanted());
    onlooker.finds_none_missing();
    tell("stopped", &waits, &world.daemon);
    println!("late writes showed {} times, for {late:?}", late.len());
    assert!(late.iter().all(|lasted| *lasted < MENDED), "{late:?}");
    world.ends_well();
}

fn tell(what: &str, waits: &[Duration], daemon: &Daemon) {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    println!(
        "writes went on {:?} (median; worst {:?}) after the leader was {what}, in {} rounds",
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
        sorted.len()
    );
    println!("the daemon told of {} outages", daemon.lines_with(&["etcd answers again"]).len());
    assert!(sorted.iter().all(|wait| *wait < GOES_ON), "{sorted:?}");
}

#[test]
fn a_member_that_is_away_from_the_start_is_no_trouble() {
    let Some(mut cluster) = Cluster::start(Release::V3_6) else { return };
    let stage = Stage::new();
    let pack = stage.pack(SERVICES);
    // The one that is asked first.
    cluster.members[0].kill();
    cluster.wait_for_another_leader(0);
    let v3 = cluster.members[1].v3();
    let highhock = stage.highhock(&cluster.urls()).flag("--etcd-ttl", "5");
    assert_eq!(highhock.output(&["check"]).status.code(), Some(0));
    let daemon = highhock.start();
    becomes_exactly(&v3, &pack.records_with_ttl(5), PATIENCE);
    let log = eventually("the daemon is quiet", PATIENCE, || {
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

struct World {
    cluster: Cluster,
    _stage: Stage,
    undisturbed: Vec<Pack>,
    disturbed: Vec<Restless>,
    daemon: Daemon,
}

impl World {
    fn start(release: Release) -> Option<Self> {
        let (cluster, stage) = (Cluster::start(release)?, Stage::new());
        let packs = |count| (0..count).map(|_| stage.pack(SERVICES)).collect::<Vec<_>>();
        let (undisturbed, disturbed) = (packs(UNDISTURBED), packs(DISTURBED));
        let disturbed = disturbed.into_iter().map(|pack| Restless { pack, life: Life::Up });
        let daemon = stage.highhock(&cluster.urls()).flag("--etcd-ttl", &TTL.to_string()).start();
        let world =
            Self { undisturbed, disturbed: disturbed.collect(), daemon, cluster, _stage: stage };
        becomes_exactly(&world.cluster.members[0].v3(), &world.wanted(), PATIENCE);
        Some(world)
    }

    /// What should be in etcd.
    fn wanted(&self) -> Records {
        let up = self.disturbed.iter().filter(|restless| restless.life == Life::Up);
        records_of(self.undisturbed.iter().chain(up.map(|restless| &restless.pack)), TTL)
    }

    /// What is in it; `None` while it does not answer.
    fn try_held(&self) -> Option<Records> {
        let list = |member: &Etcd| member.v3().within(GLANCE).try_list(BELOW);
        let kvs = self.cluster.members.iter().find_map(list)?;
        Some(kvs.into_iter().map(|kv| (kv.key, kv.value)).collect())
    }

    #[track_caller]
    fn held(&self) -> Records {
        eventually("the cluster answers", PATIENCE, || self.try_held())
    }

    fn onlooker(&self) -> Onlooker {
        let keys = self.undisturbed.iter().flat_map(Pack::keys).collect();
        Onlooker::start(&self.cluster.members, &keys, Duration::from_millis(50))
    }

    /// Waits until a member other than this one has something new; how long that took.
    #[track_caller]
    fn until_writes_go_on(&self, without: usize) -> Duration {
        let fallen = Instant::now();
        let members = self.cluster.members.iter().enumerate().filter(|(at, _)| *at != without);
        let members: Vec<V3> = members.map(|(_, it)| it.v3().within(GLANCE)).collect();
        let newest = || members.iter().filter_map(|it| Some(it.try_status()?.revision)).max();
        let before = eventually("a member answers", PATIENCE, newest);
        eventually("writes go on", PATIENCE, || {
            newest().filter(|revision| *revision > before).map(drop)
        });
        fallen.elapsed()
    }

    /// Waits until all is as it should be, and looks for this long in all whether it
    /// stays so; how long it did not, each time.
    #[track_caller]
    fn deviations(&self, watched: Duration) -> Vec<Duration> {
        let wanted = self.wanted();
        let end = Instant::now() + watched;
        eventually("all is right for the first time", REQUESTS_END, || {
            (self.try_held()? == wanted).then_some(())
        });
        let (mut wrong_since, mut deviations) = (None, Vec::new());
        while Instant::now() < end {
            match self.try_held() {
                Some(held) if held == wanted => {
                    deviations.extend(wrong_since.take().map(|since: Instant| since.elapsed()));
                }
                Some(_) => drop(wrong_since.get_or_insert_with(Instant::now)),
                None => {}
            }
            thread::sleep(Duration::from_millis(20));
        }
        deviations.extend(wrong_since.map(|since| since.elapsed()));
        deviations
    }

    /// Every member has what should be there, on one lease; nothing but outages was told of.
    #[track_caller]
    fn ends_well(mut self) {
        let wanted = self.wanted();
        for member in &self.cluster.members {
            becomes_exactly(&member.v3(), &wanted, Duration::from_secs(1));
        }
        only_lease(&self.cluster.members[0].v3());
        assert!(self.daemon.is_alive());
        let lines = self.daemon.lines_with(&["WARNING"]);
        let others = lines.iter().filter(|line| !line.contains("etcd does not answer"));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

/// How long a member that is well takes at most.
const GLANCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Up,
    Paused,
    Down,
}

/// A pack that is not left alone.
struct Restless {
    pack: Pack,
    life: Life,
}

impl Restless {
    fn moves_on(&mut self) {
        let (verb, life) = match (self.life, fastrand::bool()) {
            (Life::Up, true) => ("kill", Life::Down),
            (Life::Up, false) => ("pause", Life::Paused),
            (Life::Paused, _) => ("unpause", Life::Up),
            (Life::Down, _) => ("start", Life::Up),
        };
        self.pack.container.does(verb);
        self.life = life;
    }
}

/// A thread in which packs come and go, until it is told to finish.
struct Churn {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Restless>>,
}

impl Churn {
    fn start(mut packs: Vec<Restless>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen_over = Arc::clone(&over);
        let thread = thread::spawn(move || {
            while !seen_over.load(Ordering::SeqCst) {
                let chosen = fastrand::usize(..packs.len());
                packs[chosen].moves_on();
                thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
            }
            packs
        });
        Self { over, thread }
    }

    /// Ends it; the packs as they are then.
    fn finish(self) -> Vec<Restless> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
