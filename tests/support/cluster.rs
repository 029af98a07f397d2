//! A real etcd cluster with three members on loopback.

use std::time::Duration;

use super::etcd::{Etcd, Release};
use super::eventually;

const MEMBERS: usize = 3;

/// The limit for the election of a leader.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The limit for the status of a healthy member.
const STATUS_TIMEOUT: Duration = Duration::from_millis(300);

/// Three members with etcd's default election time-outs. Dropping the cluster ends the members
/// and removes their data.
///
/// A member can be killed, paused, resumed and queried like any [`Etcd`]. A restarted member must
/// keep its data, otherwise the others reject it.
pub struct Cluster {
    pub members: Vec<Etcd>,
    /// The ids of the members, in the order of `members`.
    ids: Vec<u64>,
}

impl Cluster {
    /// Starts a cluster and waits until all members respond. Returns `None` if this machine has
    /// no such etcd; the test must then return.
    pub fn start(release: Release) -> Option<Self> {
        Self::start_with(release, &[])
    }

    /// Starts a cluster with additional flags for each member.
    pub fn start_with(release: Release, flags: &[&str]) -> Option<Self> {
        let program = release.program()?;
        // Another process may take a free port before etcd does, so several attempts are made.
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

    /// The client URLs of the members, separated by commas.
    pub fn urls(&self) -> String {
        self.members.iter().map(Etcd::url).collect::<Vec<_>>().join(",")
    }

    /// The leader according to most members. A member that was stopped a moment ago may still be
    /// named.
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

    /// Like [`leader`](Self::leader), but waits for a leader that runs.
    #[track_caller]
    pub fn wait_for_leader(&self) -> usize {
        eventually("most members name one running leader", TIMEOUT, || {
            self.leader().filter(|leader| self.members[*leader].is_running())
        })
    }

    /// Waits for a leader other than this member.
    #[track_caller]
    pub fn wait_for_another_leader(&self, previous: usize) -> usize {
        eventually("most members name another leader", TIMEOUT, || {
            self.leader().filter(|leader| *leader != previous)
        })
    }

    /// Waits until every member runs, knows the leader, and has the latest revision.
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
