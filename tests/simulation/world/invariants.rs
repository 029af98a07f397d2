//! [`InvariantChecker`]: the rules that hold at every moment of a run, and their exemptions.
//!
//! The world reports changes and faults to the checker (`mark_…`, `allow_…`). The checker compares
//! the expected records with the store. Each exemption has a reason in ARCHITECTURE.md or
//! config/README.md.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{ExpectedValue, KeepAliveMode, Precondition, RecordKey, Write};
use tokio::time::Instant;

use super::container::ExpectedRecord;
use super::docker::RESPONSE_DELAY_MAX;
use super::etcd::{Node, NodeExpiry, NodeOwner};
use super::plan::Conditions;
use super::promptness::PromptnessChecker;
use super::trace::trace_line;
use super::write_rates::WriteRates;

/// The longest time from the end of a fault (a restart, an outage, a foreign write) until the store
/// is right.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(5);

/// A broken invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// The content that a key may have.
struct KeyRule {
    /// The allowed values. `None`: the key is absent.
    allowed: Vec<Option<String>>,
    /// The time of the last change that affects the key.
    since: Instant,
    /// The time of the last change of `allowed`.
    stable_since: Instant,
    /// The time of the last end or signal of a container that wants the key.
    interrupted_at: Option<Instant>,
    /// `true` if several containers want the key.
    is_contested: bool,
    /// `true` if two of them want it with the same value, so that their records look alike.
    is_ambiguous: bool,
}

impl KeyRule {
    fn new(allowed: Vec<Option<String>>, now: Instant) -> Self {
        Self {
            allowed,
            since: now,
            stable_since: now,
            interrupted_at: None,
            is_contested: false,
            is_ambiguous: false,
        }
    }

    /// Returns the time since which no change could withdraw or replace the value.
    fn uninterrupted_since(&self) -> Instant {
        self.interrupted_at.map_or(self.stable_since, |at| at.max(self.stable_since))
    }
}

/// The longest time between the read of a lease and its revocation.
const LEASE_CHECK_GAP: Duration = Duration::from_secs(1);

/// The longest time between two audits (ARCHITECTURE.md, "Refresh and audit").
const AUDIT_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// The longest time between two reads of a key with an uncertain write.
const UNCERTAIN_READ_GAP_MAX: Duration = Duration::from_secs(16);

/// Checks the invariants of a run.
pub struct InvariantChecker {
    conditions: Conditions,
    keys: BTreeMap<String, KeyRule>,
    /// The time of the last foreign change of each key.
    foreign_changes: BTreeMap<String, Instant>,
    /// The last time at which Docker was faulty.
    docker_faulty_at: Instant,
    /// The last time at which the core knew every change older than [`Self::staleness_max`].
    informed_at: Option<Instant>,
    /// The last time at which a listing was false.
    false_listing_at: Option<Instant>,
    /// The last time at which another engine did not find a running container.
    container_denied_at: Rc<Cell<Option<Instant>>>,
    store_faulty_at: Instant,
    /// Until this time, all keys are exempt.
    exempt_until: Instant,
    /// Until this time, undesired records may be left over.
    leftovers_until: Instant,
    /// The time at which each HighHock process ended.
    ended_processes: BTreeMap<u32, Instant>,
    /// The ended processes that another process with the same identity survived.
    survived_processes: BTreeSet<u32>,
    /// The processes that withdraw all their records during a stop.
    withdrawing: BTreeSet<u32>,
    /// Records that were deleted, apparently without a reason. Checked after the next update.
    suspect_deletions: Vec<(String, Node)>,
    /// The last time at which the core did not run or was suspended.
    core_absent_at: Instant,
    /// The time from which the core works again with a healthy Docker. `None`: not yet.
    core_ready_at: Option<Instant>,
    /// The time at which every crashed actor works again.
    crashed_until: Instant,
    is_suspended: bool,
    /// `true` if no watch of the store is open.
    is_unwatched: bool,
    /// `true` if the watches of the store are open and report nothing.
    is_muted: bool,
    /// The longest interval between two audits of the processes of this run.
    audit_interval: Duration,
    promptness: PromptnessChecker,
    write_rates: WriteRates,
    /// The end of the last suspension. Older information is as old as the suspension is long.
    resumed_at: Instant,
    pub violation: Option<Violation>,
}

impl InvariantChecker {
    pub fn new(conditions: Conditions, container_denied_at: Rc<Cell<Option<Instant>>>) -> Self {
        let now = Instant::now();
        Self {
            conditions,
            keys: BTreeMap::new(),
            foreign_changes: BTreeMap::new(),
            docker_faulty_at: now,
            informed_at: None,
            false_listing_at: None,
            container_denied_at,
            store_faulty_at: now,
            exempt_until: now,
            leftovers_until: now,
            ended_processes: BTreeMap::new(),
            survived_processes: BTreeSet::new(),
            withdrawing: BTreeSet::new(),
            suspect_deletions: Vec::new(),
            core_absent_at: now,
            core_ready_at: None,
            crashed_until: now,
            is_suspended: false,
            is_unwatched: true,
            is_muted: false,
            audit_interval: Duration::ZERO,
            promptness: PromptnessChecker::new(conditions.poll + RECOVERY_TIME_MAX),
            write_rates: WriteRates::default(),
            resumed_at: now,
            violation: None,
        }
    }

    /// Returns the longest time from a change to its effect without events: one poll, and the time
    /// of one repeated inspection that contradicted its row.
    pub fn poll_time_max(&self) -> Duration {
        self.conditions.poll + RECOVERY_TIME_MAX
    }

    fn record_violation(&mut self, invariant: &'static str, detail: fmt::Arguments) {
        if self.violation.is_none() {
            trace_line!("VIOLATION: {invariant}: {detail}");
            self.violation = Some(Violation { invariant, detail: detail.to_string() });
        }
    }

    pub fn report_violation(&mut self, invariant: &'static str, detail: &str) {
        self.record_violation(invariant, format_args!("{detail}"));
    }

    // --- reports of the world ----------------------------------------------

    pub fn mark_docker_faulty(&mut self) {
        self.docker_faulty_at = Instant::now();
    }

    pub fn mark_listing_false(&mut self) {
        self.mark_docker_faulty();
        self.false_listing_at = Some(Instant::now());
    }

    pub fn mark_store_faulty(&mut self) {
        self.store_faulty_at = Instant::now();
    }

    /// Reports a foreign change of a key.
    pub fn mark_foreign_change(&mut self, key: &str) {
        let is_blind = self.is_unwatched || self.is_muted;
        let visible_at =
            Instant::now() + if is_blind { self.audit_interval } else { Duration::ZERO };
        self.foreign_changes.insert(key.to_owned(), visible_at);
    }

    /// Reports that the store lost records or leases.
    pub fn mark_store_loss(&mut self) {
        self.mark_store_faulty();
        if self.is_muted {
            self.extend_exemption(self.audit_interval + RECOVERY_TIME_MAX);
        }
    }

    /// Reports that a write was applied after its sender stopped waiting. Without a watch, the
    /// next read of the key shows the write.
    pub fn mark_late_write(&mut self) {
        self.mark_store_faulty();
        if self.is_muted {
            self.extend_exemption(UNCERTAIN_READ_GAP_MAX + RECOVERY_TIME_MAX);
        }
    }

    /// Reports a write of a key whose precondition failed.
    pub fn mark_rejection(&mut self, key: &str) {
        if self.write_rates.add_rejection(key) {
            self.record_violation(
                "rejected writes are not repeated at once",
                format_args!("the store rejected many writes of {key}"),
            );
        }
    }

    /// Reports if the watches of the store are open and report nothing.
    pub fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    /// Reports the start of a process with this TTL.
    pub fn mark_started(&mut self, ttl: Duration) {
        self.audit_interval = self.audit_interval.max(ttl.min(AUDIT_INTERVAL_MAX));
    }

    /// Reports that an event of this moment may not reach the core at once.
    pub fn mark_undelivered(&mut self) {
        self.promptness.mark_undelivered();
    }

    /// Reports if a watch of the store is open. Without a watch, only an audit shows changes.
    pub fn set_store_watched(&mut self, is_watched: bool) {
        self.is_unwatched = !is_watched;
    }

    /// Reports that a key is gone, which may free names above and below it. The core retries a
    /// rejected key after half a minute.
    pub fn mark_conflict_gone(&mut self, key: &str) {
        let freed = RecordKey::from_path(key);
        let is_freed = |key: &&String| RecordKey::from_path(key).overlaps(&freed);
        let later = Instant::now() + Duration::from_secs(31);
        for key in self.keys.keys().filter(is_freed).cloned().collect::<Vec<_>>() {
            self.foreign_changes.insert(key, later);
        }
    }

    /// Exempts all keys for this time.
    pub fn extend_exemption(&mut self, time: Duration) {
        self.exempt_until = self.exempt_until.max(Instant::now() + time);
    }

    /// Allows undesired records for this time, because another HighHock process may have put them.
    pub fn allow_leftovers(&mut self, time: Duration) {
        self.leftovers_until = self.leftovers_until.max(Instant::now() + time);
    }

    /// Reports the end of a HighHock process. Its requests may still be applied.
    pub fn mark_ended(&mut self, process: u32) {
        self.ended_processes.insert(process, Instant::now());
        self.mark_core_absent();
    }

    /// Reports the end of one of two processes with the same identity.
    pub fn mark_survivor(&mut self, process: u32, survives: bool) {
        if survives {
            self.survived_processes.insert(process);
        }
    }

    /// Reports a process that withdraws all its records during a stop.
    pub fn mark_withdrawing(&mut self, process: u32) {
        self.withdrawing.insert(process);
    }

    /// Reports that the machine is suspended or resumed. Records may expire during a suspension.
    pub fn set_suspended(&mut self, is_suspended: bool) {
        self.is_suspended = is_suspended;
        self.resumed_at = Instant::now();
        self.mark_core_absent();
    }

    /// Reports that the core does not run now.
    pub fn mark_core_absent(&mut self) {
        self.core_absent_at = Instant::now();
        self.core_ready_at = None;
    }

    /// Reports a crash of an actor that needs this time to work again.
    pub fn mark_crashed(&mut self, time: Duration) {
        self.crashed_until = self.crashed_until.max(Instant::now() + time);
        self.extend_exemption(time);
        self.mark_core_absent();
    }

    /// Returns the time at which the last exemption ends.
    pub fn quiet_from(&self) -> Instant {
        self.deadline().max(self.leftovers_until)
    }

    /// Returns `true` if no write can be uncertain any more.
    pub fn is_store_settled(&self) -> bool {
        self.store_faulty_at.elapsed() > super::store::WRITE_DELAY_MAX + RECOVERY_TIME_MAX
    }

    fn deadline(&self) -> Instant {
        let docker =
            self.docker_faulty_at.max(self.false_listing_at.unwrap_or(self.docker_faulty_at))
                + self.poll_time_max();
        docker.max(self.store_faulty_at + RECOVERY_TIME_MAX).max(self.exempt_until)
    }

    /// Replaces the expected records.
    pub fn update_rules(&mut self, mut expected: Vec<ExpectedRecord>) {
        let now = Instant::now();
        expected.sort_by(|record, other| record.rank.cmp(&other.rank));
        self.promptness.update(&expected);
        let mut interrupted: BTreeMap<String, Option<Instant>> = BTreeMap::new();
        for record in &expected {
            let last = interrupted.entry(record.key.clone()).or_default();
            *last = (*last).max(record.last_interrupted);
        }
        let mut by_key: BTreeMap<String, (Vec<Option<String>>, Instant)> = BTreeMap::new();
        let (mut held, mut contested) = (BTreeSet::new(), BTreeSet::new());
        let (mut values, mut ambiguous) = (BTreeSet::new(), BTreeSet::new());
        for record in expected {
            if !values.insert((record.key.clone(), record.value.clone())) {
                ambiguous.insert(record.key.clone());
            }
            let (allowed, last_changed) =
                by_key.entry(record.key.clone()).or_insert((Vec::new(), record.last_changed));
            *last_changed = (*last_changed).max(record.last_changed);
            if !allowed.is_empty() {
                contested.insert(record.key.clone());
            }
            // Behind a certain holder of the key, all others are on standby. Behind an uncertain
            // holder, the next one may hold the key.
            if !held.contains(&record.key) {
                allowed.push(Some(record.value));
                if record.is_certain {
                    held.insert(record.key);
                }
            }
        }
        for (key, (allowed, _)) in &mut by_key {
            if !held.contains(key) {
                allowed.push(None);
            }
        }
        for (key, rule) in &mut self.keys {
            if !by_key.contains_key(key) && rule.allowed != [None] {
                *rule = KeyRule::new(vec![None], now);
            }
        }
        for (key, (allowed, last_changed)) in by_key {
            let rule_key = key.clone();
            let rule = self.keys.entry(key).or_insert_with(|| KeyRule::new(Vec::new(), now));
            if rule.allowed != allowed {
                *rule = KeyRule::new(allowed, now);
            }
            rule.since = rule.since.max(last_changed);
            rule.interrupted_at =
                rule.interrupted_at.max(interrupted.get(&rule_key).copied().flatten());
            rule.is_contested = contested.contains(&rule_key);
            rule.is_ambiguous = ambiguous.contains(&rule_key);
        }
        self.check_suspect_deletions();
    }

    pub fn wanted_keys(&self) -> usize {
        self.keys.values().filter(|rule| rule.allowed != [None]).count()
    }

    // --- actions of the core -----------------------------------------------

    /// Checks a change of a record: foreign records are never changed.
    ///
    /// The owner is the author of the record, whatever its value. There is no exemption. With v2, a
    /// core adopts records that name the address of this host (config/README.md, "Ownership of
    /// records"), and no foreign record of the simulation names this address.
    pub fn check_change(&mut self, process: u32, write: &Write, node: &Node) {
        if node.owner == NodeOwner::Foreign {
            self.record_violation(
                "foreign records are never changed",
                format_args!("process {process} applied {write:?} to {node:?}"),
            );
        }
        if matches!(write, Write::Delete { .. }) {
            self.check_own_deletion(process, write.key().as_str(), node);
        }
    }

    /// Checks a deletion by the author of a record.
    ///
    /// A process that put the right record after the last change of the container has inspected the
    /// container since. A listing requested earlier must not withdraw the record. A change of the
    /// container at this moment shows only at the next update, so the deletion is checked then.
    ///
    /// Exemptions: those of [`Self::check_issued_write`], and late writes of a faulty store.
    fn check_own_deletion(&mut self, process: u32, key: &str, node: &Node) {
        if node.owner == NodeOwner::Own(process)
            && self.is_current_record(key, node)
            && !self.withdrawing.contains(&process)
            && self.is_store_settled()
        {
            self.suspect_deletions.push((key.to_owned(), node.clone()));
        }
    }

    /// Returns `true` if a record is right, and was put after the last change that affects it.
    fn is_current_record(&self, key: &str, node: &Node) -> bool {
        let Some(rule) = self.keys.get(key) else { return false };
        let false_listing_at = self.false_listing_at.max(self.container_denied_at.get());
        let disturbed_at = self.resumed_at.max(self.core_absent_at);
        let disturbed_at = Some(disturbed_at).max(false_listing_at).max(rule.interrupted_at);
        rule.allowed == [Some(node.value.clone())]
            && !rule.is_contested
            && node.written > rule.stable_since
            && disturbed_at.is_none_or(|at| node.written > at + LEASE_CHECK_GAP)
    }

    fn check_suspect_deletions(&mut self) {
        for (key, node) in std::mem::take(&mut self.suspect_deletions) {
            if self.is_current_record(&key, &node) {
                self.record_violation(
                    "unknown is not empty",
                    format_args!(
                        "{key} was deleted by its author, although nothing changed since: {node:?}"
                    ),
                );
            }
        }
    }

    /// Checks the revocation of a lease to which this record is attached.
    ///
    /// A revocation has no precondition, and may be applied long after `sent_at`. Exempt is
    /// therefore a record that another process attached to the lease after the lease was last read.
    pub fn check_revoke(&mut self, process: u32, sent_at: Instant, key: &str, node: &Node) {
        let allows_value = |rule: &KeyRule| rule.allowed.contains(&Some(node.value.clone()));
        let is_new =
            node.written + LEASE_CHECK_GAP > sent_at && node.owner != NodeOwner::Own(process);
        if self.keys.get(key).is_some_and(allows_value) && !is_new {
            self.record_violation(
                "leases of desired records are never revoked",
                format_args!("process {process} revokes the lease of the desired record {key}"),
            );
        }
    }

    /// Checks a write when it is requested.
    pub fn check_issued_write(&mut self, process: u32, write: &Write) {
        self.check_replacement(process, write);
        self.check_holder(process, write);
    }

    /// Checks a put: a key never takes the value of another container while its holder runs
    /// unchanged, also after a start or a reload (ARCHITECTURE.md, "First view").
    ///
    /// Exemptions: those of [`Self::check_replacement`], and a key without an own record if the
    /// holder may be unknown for more than two seconds: with a faulty Docker or a crashed watcher.
    fn check_holder(&mut self, process: u32, write: &Write) {
        let Write::Put { value, precondition, .. } = write else { return };
        let Some(rule) = self.keys.get(write.key().as_str()) else { return };
        let [Some(right)] = rule.allowed.as_slice() else { return };
        let is_unknown_holder = self.docker_faulty_at > self.core_absent_at
            || Instant::now() < self.crashed_until
            || self.docker_faulty_at.elapsed() < self.staleness_max();
        if right == value
            || !rule.is_contested
            || rule.is_ambiguous
            || *precondition == Precondition::Absent && is_unknown_holder
        {
            return;
        }
        if let Some(known_for) = self.known_for(rule.since) {
            let detail = format!(
                "process {process} requests {write:?}, although {right} was right and known for \
                {known_for:?}"
            );
            self.report_violation("a key leads to its holder", &detail);
        }
    }

    /// Returns the time for which the core has known that a key's content is right since
    /// `right_since`, or `None` if the core may not know it.
    fn known_for(&self, right_since: Instant) -> Option<Duration> {
        let informed_at = self.informed_at?;
        let horizon = informed_at.checked_sub(self.staleness_max())?;
        let false_listing_at = self.false_listing_at.max(self.container_denied_at.get());
        let since = false_listing_at.unwrap_or(right_since).max(right_since).max(self.resumed_at);
        (since < horizon).then(|| informed_at.duration_since(since))
    }

    /// Checks that a record is replaced for a reason: a record that has been right for longer than
    /// the age of the core's information is never withdrawn or changed.
    ///
    /// Exemptions: a recent change or late event of a container that wants the key, several allowed
    /// states (a stop signal), false responses of Docker, a stop with withdrawal, and two containers
    /// with the same endpoint (ARCHITECTURE.md, "First view").
    fn check_replacement(&mut self, process: u32, write: &Write) {
        let expected = match write {
            Write::Delete { expected, .. } => expected,
            Write::Put { value, precondition: Precondition::Equals(expected), .. }
                if *value != expected.value =>
            {
                expected
            }
            _ => return,
        };
        let ExpectedValue { value, .. } = expected;
        let Some(rule) = self.keys.get(write.key().as_str()) else { return };
        let is_right = rule.allowed == [Some(value.clone())] && !rule.is_ambiguous;
        if !is_right || self.withdrawing.contains(&process) {
            return;
        }
        if let Some(known_for) = self.known_for(rule.uninterrupted_since()) {
            self.record_violation(
                "unknown is not empty",
                format_args!(
                    "process {process} requests {write:?}, although the record was right and \
                    known for {known_for:?}"
                ),
            );
        }
    }

    /// Returns `true` if the core has just started.
    pub fn core_just_started(&self) -> bool {
        self.core_ready_at.is_none_or(|core_ready_at| core_ready_at.elapsed() < RECOVERY_TIME_MAX)
    }

    /// Returns the greatest age of the core's information while Docker is healthy.
    fn staleness_max(&self) -> Duration {
        self.conditions.poll + RESPONSE_DELAY_MAX
    }

    fn is_late_write(&self, node: &Node) -> bool {
        let NodeOwner::Own(process) = node.owner else { return false };
        self.ended_processes.get(&process).is_some_and(|died| node.written >= *died)
    }

    /// Returns `true` for a record that a duplicate process put on the common lease. The surviving
    /// process reports such a record and keeps it until the next start (ARCHITECTURE.md, "Orphaned
    /// records").
    fn is_duplicates_record(&self, node: &Node) -> bool {
        let NodeOwner::Own(process) = node.owner else { return false };
        matches!(node.expiry, NodeExpiry::Lease(_)) && self.survived_processes.contains(&process)
    }

    /// Checks the expiry of a record: a desired record never expires while the core runs and the
    /// store has been healthy for a TTL.
    pub fn check_expiry(&mut self, key: &str, node: &Node, ttl: Duration) {
        // With v2, a record that a duplicate process put is foreign, and is taken over when it
        // expires.
        let by_ended_process = match node.owner {
            NodeOwner::Own(process) => self.ended_processes.contains_key(&process),
            NodeOwner::Foreign => false,
        };
        if by_ended_process {
            self.mark_foreign_change(key);
        }
        let well_since = self.store_faulty_at.max(self.core_absent_at);
        let is_right = self.keys.get(key).is_some_and(|rule| {
            rule.allowed == [Some(node.value.clone())] && rule.since <= well_since
        });
        if is_right
            && !self.is_suspended
            && node.owner != NodeOwner::Foreign
            && !by_ended_process
            && well_since.elapsed() > ttl + RECOVERY_TIME_MAX
        {
            self.record_violation(
                "desired records are kept alive",
                format_args!("{key} expired: {node:?}"),
            );
        }
    }

    /// Checks a record on a lease whose TTL is not that of the running process: a desired record is
    /// moved to the current lease.
    ///
    /// Exemptions: writes of an ended process that were applied late, and records of a duplicate
    /// process.
    pub fn check_other_lease(&mut self, key: &str, node: &Node) {
        let now = Instant::now();
        let is_settled = |rule: &KeyRule| {
            rule.allowed == [Some(node.value.clone())] && now > rule.since + self.poll_time_max()
        };
        let is_exempt = self.is_late_write(node)
            || self.is_duplicates_record(node)
            || self.is_disturbed(key, now);
        if now > self.deadline() && !is_exempt && self.keys.get(key).is_some_and(is_settled) {
            self.record_violation(
                "records are attached to the current lease",
                format_args!("{key} is on a lease with another TTL: {node:?}"),
            );
        }
    }

    // --- content of the store ----------------------------------------------

    /// Checks the content of all keys.
    pub fn check_keys(&mut self, nodes: &BTreeMap<String, Node>, has_core: bool) {
        let now = Instant::now();
        if now.duration_since(self.docker_faulty_at) >= self.staleness_max() {
            self.informed_at = Some(now);
        }
        // Without a core, no record is maintained.
        if !has_core {
            self.mark_core_absent();
            return;
        }
        if self.docker_faulty_at < now {
            self.core_ready_at.get_or_insert(now);
        }
        let deadline = self.deadline();
        if now < deadline || self.core_just_started() {
            self.promptness.mark_undelivered();
        }
        if now < deadline || self.violation.is_some() {
            return;
        }
        self.check_promptness(nodes, now);
        let absent = KeyRule::new(vec![None], deadline);
        let mut broken = None;
        for key in self.keys.keys().chain(nodes.keys().filter(|key| !self.keys.contains_key(*key)))
        {
            let rule = self.keys.get(key).unwrap_or(&absent);
            if self.is_disturbed(key, now) || now < rule.since + self.poll_time_max() {
                continue;
            }
            let node = nodes.get(key);
            if node.is_some_and(|node| node.owner == NodeOwner::Foreign) {
                continue;
            }
            let found = node.map(|node| node.value.clone());
            let is_undesired = rule.allowed == [None];
            if rule.allowed.contains(&found) || self.is_exempt(key, is_undesired, node, nodes, now)
            {
                continue;
            }
            let allowed = &rule.allowed;
            let invariant = if found.is_none() {
                "desired records are published"
            } else {
                "undesired records are withdrawn"
            };
            let since = now - rule.since;
            broken = Some((
                invariant,
                format!("{key}: found {found:?}, expected one of {allowed:?} since {since:?}"),
            ));
            break;
        }
        if let Some((invariant, detail)) = broken {
            self.record_violation(invariant, format_args!("{detail}"));
        }
    }

    /// Checks the keys whose last change was announced by an event that was delivered.
    fn check_promptness(&mut self, nodes: &BTreeMap<String, Node>, now: Instant) {
        let is_broken = |key: &&String| {
            let Some(allowed) = self.promptness.due_content(key) else { return false };
            let node = nodes.get(*key);
            let is_undesired = allowed == [None];
            !allowed.contains(&node.map(|node| node.value.clone()))
                && !self.is_disturbed(key, now)
                && !node.is_some_and(|node| node.owner == NodeOwner::Foreign)
                && !self.is_exempt(key, is_undesired, node, nodes, now)
        };
        let Some(key) = self.promptness.keys().find(is_broken).cloned() else { return };
        let found = nodes.get(&key).map(|node| node.value.clone());
        let allowed = self.promptness.due_content(&key).map(<[_]>::to_vec);
        self.record_violation(
            "delivered events take effect promptly",
            format_args!("{key}: found {found:?}, expected one of {allowed:?}"),
        );
    }

    /// Returns `true` shortly after another client changed a key.
    fn is_disturbed(&self, key: &str, now: Instant) -> bool {
        self.foreign_changes.get(key).is_some_and(|at| now < *at + RECOVERY_TIME_MAX)
    }

    /// Returns `true` if the content of a key is exempt.
    fn is_exempt(
        &self,
        key: &str,
        is_undesired: bool,
        node: Option<&Node>,
        nodes: &BTreeMap<String, Node>,
        now: Instant,
    ) -> bool {
        let own = RecordKey::from_path(key);
        let overlaps = |other: &String| RecordKey::from_path(other).overlaps(&own);
        let has_conflict = || {
            let wanted = self.keys.iter().filter(|(_, rule)| rule.allowed != [None]);
            nodes.keys().any(overlaps) || wanted.map(|(key, _)| key).any(overlaps)
        };
        match node {
            // Of two names, one above the other, only one can exist (config/README.md, "Nested
            // names"). A rejected name is retried after half a minute.
            None => has_conflict(),
            // The write of a killed process was applied after its end. With v3, the record is
            // reported and kept (ARCHITECTURE.md, "Orphaned records").
            Some(node) if self.is_late_write(node) => true,
            Some(node) if self.is_duplicates_record(node) && is_undesired => true,
            Some(_) if now < self.leftovers_until && is_undesired => true,
            // With v2, only desired keys are read, so records of a killed process expire with
            // their TTL.
            Some(Node { expiry: NodeExpiry::At(_), .. }) => {
                self.conditions.keep_alive_mode == KeepAliveMode::PerRecord
                    && now < self.leftovers_until
            }
            Some(_) => false,
        }
    }
}
