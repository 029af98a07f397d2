//! A real etcd of three members on loopback.

use std::time::Duration;

use super::etcd::{Etcd, Release};
use super::eventually;

const MEMBERS: usize = 3;

/// How long the members may take until they agree on a leader.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a member that is well takes at most to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(300);

/// Three members, with the time-outs of elections that etcd has by default. All
/// end, and their data goes, when this is dropped.
///
/// A member is killed, paused, resumed and asked as any [`Etcd`] is; one that is
/// started again must keep its data, or the others refuse it.
pub struct Cluster {
    pub members: Vec<Etcd>,
    /// The members' ids, in their order.
    ids: Vec<u64>,
}

impl Cluster {
    /// Starts a cluster and waits until all members answer. `None` where this
    /// machine has no such etcd: the test is to return then.
    pub fn start(release: Release) -> Option<Self> {
        Self::start_with(release, &[])
    }

    /// Starts a cluster with these flags for each member besides the usual.
    pub fn start_with(release: Release, flags: &[&str]) -> Option<Self> {
        let program = release.program()?;
        // Another process may take a free port before etcd does: try some more.
        let members = (0..5).find_map(|_| {
            let mut members = Etcd::prepare_members(release, &program, MEMBERS);
            for member in &mut members {
                member.add_flags(flags);
                member.spawn();
            }
            members.iter_mut().all(Etcd::wait_until_ready).then_some(members)
        });
        let members = members.expect("three members did not start on any of five sets of ports");
        let ids = members.iter().map(|member| member.v3().try_status().unwrap().member).collect();
        let cluster = Self { members, ids };
        cluster.wait_for_leader();
        Some(cluster)
    }

    /// The members' client URLs, separated by commas.
    pub fn urls(&self) -> String {
        self.members.iter().map(Etcd::url).collect::<Vec<_>>().join(",")
    }

    /// Which member leads, as most members say; one that was stopped a moment
    /// ago may still be named.
    pub fn leader(&self) -> Option<usize> {
        let running = self.members.iter().filter(|member| member.is_running());
        let leaders = running
            .filter_map(|member| member.v3().with_timeout(STATUS_TIMEOUT).try_status()?.leader);
        let mut votes = [0; MEMBERS];
        for id in leaders {
            votes[self.ids.iter().position(|known| *known == id)?] += 1;
        }
        votes.iter().position(|votes| *votes * 2 > MEMBERS)
    }

    /// As [`leader`](Self::leader), as soon as there is one.
    #[track_caller]
    pub fn wait_for_leader(&self) -> usize {
        eventually("most members name one leader", TIMEOUT, || self.leader())
    }

    /// Waits for a leader other than this member.
    #[track_caller]
    pub fn wait_for_another_leader(&self, previous: usize) -> usize {
        eventually("most members name another leader", TIMEOUT, || {
            self.leader().filter(|leader| *leader != previous)
        })
    }

    /// Waits until every member runs, knows the leader, and has all that was written.
    #[track_caller]
    pub fn wait_until_healthy(&self) {
        eventually("every member is well", TIMEOUT, || {
            let leader = Some(self.ids[self.leader()?]);
            let well = |member: &Etcd| {
                member.is_running()
                    && member
                        .v3()
                        .with_timeout(STATUS_TIMEOUT)
                        .try_status()
                        .is_some_and(|s| s.leader == leader)
                    && member.is_healthy(STATUS_TIMEOUT)
            };
            self.members.iter().all(well).then_some(())
        });
    }
}
