//! The checks of a run: after every step, during a quiet period and after a clean stop.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{STOP_GRACE, World};
use crate::world::container::{NetworkSetup, SimContainer};
use crate::world::panics;
use crate::world::trace::trace_line;

/// The length of the quiet period at the end of a run.
const QUIET_PERIOD: Duration = Duration::from_secs(60);
const QUIET_INVARIANT: &str = "a quiet period causes no writes and few reads";

/// The requests of all HighHock processes since the start of a run.
struct RequestCounts {
    /// Applied puts and deletes.
    changes: u64,
    refreshes: u64,
    reads: u64,
    listings: u64,
    inspections: u64,
}

impl World {
    pub(super) fn check(&mut self) {
        let now = Instant::now();
        self.etcd.borrow_mut().model.advance_to_now();
        self.check_panics();
        self.check_stop();
        self.report_faults(now);
        let due = {
            let state = self.engine.0.borrow();
            let drain = self.conditions.drain.filter(|_| self.conditions.events);
            let all = state.containers.values();
            all.flat_map(|container| {
                container.expected_records(&state.containers, self.conditions.layout, drain)
            })
            .collect()
        };
        let mut checker = self.checker.borrow_mut();
        checker.update_rules(due);
        checker.check_keys(&self.etcd.borrow().model.nodes, self.core.is_some());
        drop(checker);
        self.check_leases();
    }

    fn report_faults(&mut self, now: Instant) {
        let mut checker = self.checker.borrow_mut();
        let engine = self.engine.0.borrow();
        let faults = &engine.faults;
        let is_active = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if is_active(faults.away)
            || is_active(faults.slow.map(|it| it.0))
            || is_active(faults.slow_listings.map(|it| it.0))
            || is_active(faults.unnamed_rows.map(|it| it.0))
            || is_active(faults.failing.map(|it| it.0))
        {
            checker.mark_docker_faulty();
        }
        if let Some((until, left)) = faults.other_engine
            && now < until
        {
            // The core may believe a second false listing. If two processes list, each may receive
            // only the second one. A new process believes the first engine that answers.
            if left > 1 || self.duplicate.is_some() || checker.core_just_started() {
                checker.mark_listing_false()
            } else {
                checker.mark_docker_faulty()
            }
        }
        let etcd = self.etcd.borrow();
        let faults = &etcd.faults;
        if is_active(faults.requests.map(|it| it.until))
            || is_active(faults.slow.map(|it| it.0))
            || is_active(etcd.model.muted_until) && self.duplicate.is_some()
        {
            checker.mark_store_faulty();
        }
        checker.set_muted(is_active(etcd.model.muted_until));
        if !engine.delivers_events() || self.duplicate.is_some() {
            checker.mark_undelivered();
        }
        if let Some(duplicate) = &self.duplicate {
            checker.allow_leftovers(self.duplicate_leftover_time(duplicate.ttl));
        }
    }

    fn check_panics(&mut self) {
        if panics::take_unexpected_panic() {
            self.checker
                .borrow_mut()
                .report_violation("no actor crashes by itself", "an actor panicked");
        }
        let panic_count = panics::take_panic_count();
        if panic_count > 0 {
            self.watcher_panics += panic_count;
            // A watcher restarts after 4 s, 16 s or a minute, other actors within two seconds.
            let respawn = 4 * 4_u64.pow(self.watcher_panics.min(3) - 1);
            let mut checker = self.checker.borrow_mut();
            let exemption = checker.poll_time_max() + Duration::from_secs(respawn);
            checker.mark_crashed(exemption);
        }
        let Some(running) = &self.core else { return };
        if let Some(actor) = running.core.restarts_exhausted().now_or_never() {
            trace_line!("! {actor} has no restarts left");
            if self.watcher_panics < 5 {
                let mut checker = self.checker.borrow_mut();
                checker.report_violation("no actor crashes by itself", actor);
            }
            self.kill(Duration::from_secs(1));
        }
    }

    pub(super) fn check_bounds(&mut self) {
        let Some(running) = &self.core else { return };
        let cores = 1 + usize::from(self.duplicate.is_some());
        let (containers, inspecting, in_flight, inspections_max) = {
            let state = self.engine.0.borrow();
            // Eight of the watchers, and eight of the poller (ARCHITECTURE.md, "Rows without an id").
            let inspections_max = if state.listed_unnamed { 16 } else { 8 };
            (state.containers.len(), state.inspecting, state.in_flight, inspections_max)
        };
        let mut checker = self.checker.borrow_mut();
        for meter in running.core.mailbox_snapshots() {
            // One message of each sender, and the rest of a message flood.
            let bound = (64 + 4 * containers * cores) as u64;
            if meter.depth > bound {
                checker.report_violation(
                    "mailboxes stay bounded",
                    &format!("{} has {} messages", meter.actor, meter.depth),
                );
            }
        }
        if inspecting > inspections_max * cores || in_flight > (inspections_max + 3) * cores {
            let detail = format!("{inspecting} inspections, {in_flight} requests in total");
            checker.report_violation("docker requests stay bounded", &detail);
        }
    }

    /// Waits until no exemption is left: for requests in flight, for TTLs of foreign records and
    /// for drains.
    pub(super) async fn wait_until_quiet(&mut self) {
        self.advance(Duration::from_secs(75)).await;
        while !self.is_over() {
            let (quiet_from, delayed_requests) =
                (self.checker.borrow().quiet_from(), self.etcd.borrow().delayed_requests);
            let now = Instant::now();
            if now >= quiet_from && delayed_requests == 0 && self.agenda.is_empty() {
                return;
            }
            self.advance(Duration::from_secs(1)).await;
        }
    }

    /// Checks that a quiet period causes no write and few reads (ARCHITECTURE.md, "Invariants", 4).
    pub(super) async fn check_quiet_period(&mut self) {
        trace_line!("> quiet");
        let before = self.request_counts();
        self.advance(QUIET_PERIOD).await;
        let after = self.request_counts();
        let listings = after.listings - before.listings;
        let inspections = after.inspections - before.inspections;
        let polls = QUIET_PERIOD.as_secs() / self.conditions.poll.as_secs();
        let refresh_interval = (self.ttl / 3).min(Duration::from_secs(20)).as_secs_f64();
        let keys = self.checker.borrow().wanted_keys() as u64
            + self.etcd.borrow().model.nodes.len() as u64;
        let rounds = (QUIET_PERIOD.as_secs_f64() / refresh_interval * 1.3) as u64 + 2;
        let mut checker = self.checker.borrow_mut();
        if after.changes > before.changes {
            checker.report_violation(QUIET_INVARIANT, "a record was written");
        }
        if after.refreshes - before.refreshes > keys * rounds
            || after.reads - before.reads > (keys + 1) * rounds * 2
        {
            checker.report_violation(QUIET_INVARIANT, "too many requests to etcd");
        }
        // A container that uses the network of an unlisted container is inspected at each listing,
        // together with all containers between the two.
        let expected_inspections = listings * self.unlisted_hops() as u64;
        if listings > polls * 11 / 10 + 2 || inspections > expected_inspections {
            let detail = format!("{listings} listings, {inspections} inspections");
            checker.report_violation(QUIET_INVARIANT, &detail);
        }
    }

    fn request_counts(&self) -> RequestCounts {
        let (etcd, engine) = (self.etcd.borrow(), self.engine.0.borrow());
        let writes = &etcd.model.observer;
        RequestCounts {
            changes: writes.puts + writes.deletes,
            refreshes: writes.refreshes,
            reads: etcd.reads,
            listings: engine.lists,
            inspections: engine.inspections,
        }
    }

    /// Returns the number of inspections that each listing causes, because guests use a network
    /// through an unlisted container.
    fn unlisted_hops(&self) -> usize {
        let state = self.engine.0.borrow();
        let hops = |container: &SimContainer| {
            let (mut hops, mut network_owner, mut is_unlisted) = (1, Some(container), false);
            while let Some(NetworkSetup::SharedWith { number, .. }) =
                network_owner.map(|container| &container.net)
            {
                network_owner = state.containers.get(number);
                is_unlisted |= network_owner.is_none_or(|container| !container.is_listed());
                hops += 1;
            }
            if is_unlisted { hops } else { 0 }
        };
        state.containers.values().filter(|container| container.is_listed()).map(hops).sum()
    }

    /// Stops the core with withdrawal, and checks that no request is left.
    pub(super) async fn stop_and_check(&mut self) {
        self.stop(true);
        self.advance(STOP_GRACE + Duration::from_millis(100)).await;
        if self.is_stopping && !self.is_over() {
            self.checker
                .borrow_mut()
                .report_violation("a withdrawing stop leaves no record", "the stop did not end");
        }
        let (etcd_requests, docker_requests) =
            (self.etcd.borrow().in_flight, self.engine.0.borrow().in_flight);
        if etcd_requests + docker_requests > 0 && !self.is_over() {
            let detail = format!("{etcd_requests} requests to etcd, {docker_requests} to docker");
            self.checker.borrow_mut().report_violation("a stopped core sends no requests", &detail);
        }
    }
}
