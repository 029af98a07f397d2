//! What must hold, at every moment, and the exceptions that SPEC makes.

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
use super::trace::trace_line;

/// What is to be in the store is there so long after nothing is in its way any more (SPEC 5:
/// a restart, an outage of either side, another's deed).
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(5);

/// A promise that was broken.
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

/// What may be at a key by the rules.
struct KeyRule {
    /// One of these; `None`: nothing.
    allowed: Vec<Option<String>>,
    /// Since when nothing happened that bears on it.
    since: Instant,
    /// Whether several want it.
    is_contested: bool,
}

/// So much passes at the most between a look at a lease and its end.
const LEASE_CHECK_GAP: Duration = Duration::from_secs(1);

/// What the store holds is compared with what should be there at least this often (SPEC 5).
const AUDIT_INTERVAL: Duration = Duration::from_secs(60);

/// Watches over a run.
pub struct InvariantChecker {
    conditions: Conditions,
    keys: BTreeMap<String, KeyRule>,
    /// When somebody else last did something at a key.
    foreign_changes: BTreeMap<String, Instant>,
    /// When Docker was last in a bad way, and since when it is well.
    docker_faulty_at: Instant,
    /// The last moment at which the core could know all that was so a while before.
    informed_at: Option<Instant>,
    /// When Docker's answers were last not the truth.
    false_listing_at: Option<Instant>,
    /// When another engine last denied a container that runs.
    container_denied_at: Rc<Cell<Option<Instant>>>,
    store_faulty_at: Instant,
    /// Until when the core has an excuse, whatever the key.
    excused_until: Instant,
    /// Until when what nobody wants may stand all the same.
    leftovers_until: Instant,
    /// When processes of ours ended.
    ended_processes: BTreeMap<u32, Instant>,
    /// Those of them that another outlived.
    survived_processes: BTreeSet<u32>,
    /// Processes that withdraw all they have put, as they were told.
    withdrawing: BTreeSet<u32>,
    /// Records that were taken away, as it seems without a reason.
    suspect_deletions: Vec<(String, Node)>,
    /// When the core last could not do its work: it was not there, or asleep.
    core_absent_at: Instant,
    /// Since when it can after that, as Docker is well; `None`: not yet.
    core_ready_at: Option<Instant>,
    is_suspended: bool,
    is_unwatched: bool,
    /// When it last woke up: what it had been told before is as old as its sleep is long.
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
            excused_until: now,
            leftovers_until: now,
            ended_processes: BTreeMap::new(),
            survived_processes: BTreeSet::new(),
            withdrawing: BTreeSet::new(),
            suspect_deletions: Vec::new(),
            core_absent_at: now,
            core_ready_at: None,
            is_suspended: false,
            is_unwatched: true,
            resumed_at: now,
            violation: None,
        }
    }

    /// One poll, and the time for what follows on it. A watcher looks again where an
    /// inspection contradicted its row, once in that time.
    pub fn poll_time_max(&self) -> Duration {
        self.conditions.poll + RECOVERY_TIME_MAX
    }

    fn record_violation(&mut self, invariant: &'static str, detail: fmt::Arguments) {
        if self.violation.is_none() {
            trace_line!("BROKEN: {invariant}: {detail}");
            self.violation = Some(Violation { invariant, detail: detail.to_string() });
        }
    }

    pub fn report_violation(&mut self, invariant: &'static str, detail: &str) {
        self.record_violation(invariant, format_args!("{detail}"));
    }

    // --- what the world tells ----------------------------------------------

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

    /// Somebody else did something at this key.
    pub fn mark_foreign_change(&mut self, key: &str) {
        let visible_at =
            if self.is_unwatched { Instant::now() + AUDIT_INTERVAL } else { Instant::now() };
        self.foreign_changes.insert(key.to_owned(), visible_at);
    }

    /// Whether nobody is told of changes in the store: they are seen with the next audit then.
    pub fn set_store_watched(&mut self, is_watched: bool) {
        self.is_unwatched = !is_watched;
    }

    /// A name that was in the way of these is gone. Who was refused for it tries again after
    /// half a minute.
    pub fn mark_conflict_gone(&mut self, key: &str) {
        let freed = RecordKey::from_path(key);
        let hidden = |key: &&String| RecordKey::from_path(key).overlaps(&freed);
        let later = Instant::now() + Duration::from_secs(31);
        for key in self.keys.keys().filter(hidden).cloned().collect::<Vec<_>>() {
            self.foreign_changes.insert(key, later);
        }
    }

    /// The core has an excuse for so long.
    pub fn extend_excuse(&mut self, time: Duration) {
        self.excused_until = self.excused_until.max(Instant::now() + time);
    }

    /// What nobody wants may stand for so long: another daemon of ours put it there, or may
    /// have.
    pub fn allow_leftovers(&mut self, time: Duration) {
        self.leftovers_until = self.leftovers_until.max(Instant::now() + time);
    }

    /// A process of ours has ended. What it sent may still be carried out.
    pub fn mark_ended(&mut self, process: u32) {
        self.ended_processes.insert(process, Instant::now());
        self.mark_core_absent();
    }

    /// Of two processes one has ended.
    pub fn mark_survivor(&mut self, process: u32, survives: bool) {
        if survives {
            self.survived_processes.insert(process);
        }
    }

    /// A process is told to withdraw all as it stops.
    pub fn mark_withdrawing(&mut self, process: u32) {
        self.withdrawing.insert(process);
    }

    /// The machine sleeps, or wakes up. Whatever ends meanwhile, nobody could help it.
    pub fn set_suspended(&mut self, is_suspended: bool) {
        self.is_suspended = is_suspended;
        self.resumed_at = Instant::now();
        self.mark_core_absent();
    }

    /// The core can't do its work now.
    pub fn mark_core_absent(&mut self) {
        self.core_absent_at = Instant::now();
        self.core_ready_at = None;
    }

    /// Until when the core has an excuse of some sort.
    pub fn quiet_from(&self) -> Instant {
        self.deadline().max(self.leftovers_until)
    }

    /// Whether no write can be in doubt any more.
    pub fn is_store_settled(&self) -> bool {
        self.store_faulty_at.elapsed() > super::store::WRITE_DELAY_MAX + RECOVERY_TIME_MAX
    }

    fn deadline(&self) -> Instant {
        let docker =
            self.docker_faulty_at.max(self.false_listing_at.unwrap_or(self.docker_faulty_at))
                + self.poll_time_max();
        docker.max(self.store_faulty_at + RECOVERY_TIME_MAX).max(self.excused_until)
    }

    /// Takes what the rules ask for now.
    pub fn update_rules(&mut self, mut expected: Vec<ExpectedRecord>) {
        let now = Instant::now();
        expected.sort_by(|record, other| record.rank.cmp(&other.rank));
        let mut by_key: BTreeMap<String, (Vec<Option<String>>, Instant)> = BTreeMap::new();
        let (mut held, mut contested) = (BTreeSet::new(), BTreeSet::new());
        for record in expected {
            let (allowed, last_changed) =
                by_key.entry(record.key.clone()).or_insert((Vec::new(), record.last_changed));
            *last_changed = (*last_changed).max(record.last_changed);
            if !allowed.is_empty() {
                contested.insert(record.key.clone());
            }
            // Behind one that surely holds the key all others stand by; behind one that only
            // may, the next may hold it.
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
                *rule = KeyRule { allowed: vec![None], since: now, is_contested: false };
            }
        }
        for (key, (allowed, last_changed)) in by_key {
            let rule_key = key.clone();
            let rule = self.keys.entry(key).or_insert_with(|| KeyRule {
                allowed: Vec::new(),
                since: now,
                is_contested: false,
            });
            if rule.allowed != allowed {
                *rule = KeyRule { allowed, since: now, is_contested: false };
            }
            rule.since = rule.since.max(last_changed);
            rule.is_contested = contested.contains(&rule_key);
        }
        self.check_suspect_deletions();
    }

    pub fn wanted_keys(&self) -> usize {
        self.keys.values().filter(|rule| rule.allowed != [None]).count()
    }

    // --- what the core does ------------------------------------------------

    /// A core changes or takes away what stands at a key. Whose it is goes by who wrote it,
    /// not by what it looks like. No exceptions: the one that SPEC 4 makes, that v2 adopts
    /// what names this host's address, is for records of an earlier life, which count as
    /// ours here; nobody else names this address.
    pub fn check_change(&mut self, process: u32, write: &Write, node: &Node) {
        if node.owner == NodeOwner::Foreign {
            self.record_violation(
                "another's record is never touched",
                format_args!("process {process} did {write:?} to {node:?}"),
            );
        }
        if matches!(write, Write::Delete { .. }) {
            self.check_own_deletion(process, write.key().as_str(), node);
        }
    }

    /// Who has put what is right since the last change of its container has inspected it since:
    /// nothing older may count against that (SPEC 4: a listing says nothing of what was
    /// inspected after it was asked for). What happened to the container at this very moment is
    /// learnt of with the next look only.
    ///
    /// Exceptions: those of [`Self::check_issued_write`]; and what a store in a bad way carries out late.
    fn check_own_deletion(&mut self, process: u32, key: &str, node: &Node) {
        if node.owner == NodeOwner::Own(process)
            && self.is_current_record(key, node)
            && !self.withdrawing.contains(&process)
            && self.is_store_settled()
        {
            self.suspect_deletions.push((key.to_owned(), node.clone()));
        }
    }

    /// Whether a record is right, and was put after all that bears on it.
    fn is_current_record(&self, key: &str, node: &Node) -> bool {
        let Some(rule) = self.keys.get(key) else { return false };
        let false_listing_at =
            self.false_listing_at.max(self.container_denied_at.get()).unwrap_or(rule.since);
        let since = rule.since.max(false_listing_at).max(self.resumed_at).max(self.core_absent_at)
            + LEASE_CHECK_GAP;
        rule.allowed == [Some(node.value.clone())] && !rule.is_contested && node.written > since
    }

    fn check_suspect_deletions(&mut self) {
        for (key, node) in std::mem::take(&mut self.suspect_deletions) {
            if self.is_current_record(&key, &node) {
                self.record_violation(
                    "not knowing is not nothing",
                    format_args!("{key} was taken away by who had put it since: {node:?}"),
                );
            }
        }
    }

    /// A core ends a lease on which this hangs. etcd compares nothing there: what another
    /// of ours hung on it a moment ago, after it was last read, goes with it.
    pub fn check_revoke(&mut self, process: u32, key: &str, node: &Node) {
        let allows_value = |rule: &KeyRule| rule.allowed.contains(&Some(node.value.clone()));
        let is_new =
            node.written.elapsed() < LEASE_CHECK_GAP && node.owner != NodeOwner::Own(process);
        if self.keys.get(key).is_some_and(allows_value) && !is_new {
            self.record_violation(
                "another's record is never touched",
                format_args!("process {process} revokes the lease of {key}, which is wanted"),
            );
        }
    }

    /// A core asks for a write. What has been right for longer than anything that the core
    /// may still have to go by is never taken away: not knowing is not nothing.
    ///
    /// Exceptions, each by way of `since` or `false_listing_at`: something happened to a container that
    /// wants the key, or was told of it late (an event may withdraw early); more than one
    /// state is allowed (a stop signal); Docker's answers were not the truth. And a core that
    /// stops may be told to withdraw all.
    pub fn check_issued_write(&mut self, process: u32, write: &Write) {
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
        if rule.allowed != [Some(value.clone())] || self.withdrawing.contains(&process) {
            return;
        }
        if self.core_just_started() && rule.is_contested && matches!(write, Write::Put { .. }) {
            return;
        }
        let Some(informed_at) = self.informed_at else { return };
        let horizon = informed_at.checked_sub(self.staleness_max());
        let false_listing_at = self.false_listing_at.max(self.container_denied_at.get());
        let since = false_listing_at
            .map_or(rule.since, |false_listing_at| false_listing_at.max(rule.since))
            .max(self.resumed_at);
        if horizon.is_some_and(|horizon| since < horizon) {
            let known_for = informed_at.duration_since(since);
            self.record_violation(
                "not knowing is not nothing",
                format_args!(
                    "process {process} asks for {write:?}, although what stands there \
                    was right and known for {known_for:?}"
                ),
            );
        }
    }

    /// Whether a core has only just begun its work. Of several that want one key, the first
    /// that it inspects holds it until the others are inspected, too.
    fn core_just_started(&self) -> bool {
        self.core_ready_at.is_none_or(|core_ready_at| core_ready_at.elapsed() < RECOVERY_TIME_MAX)
    }

    /// What the core goes by is at most so old while Docker is well.
    fn staleness_max(&self) -> Duration {
        self.conditions.poll + RESPONSE_DELAY_MAX
    }

    fn is_late_write(&self, node: &Node) -> bool {
        let NodeOwner::Own(process) = node.owner else { return false };
        self.ended_processes.get(&process).is_some_and(|died| node.written >= *died)
    }

    /// What a twin put for a container that the survivor never met hangs on a lease that
    /// lives on; it is reported and left alone until the next start (SPEC 5).
    fn is_duplicates_record(&self, node: &Node) -> bool {
        let NodeOwner::Own(process) = node.owner else { return false };
        matches!(node.expiry, NodeExpiry::Lease(_)) && self.survived_processes.contains(&process)
    }

    /// A record of ours has ended by itself. One that is wanted must not, while the core
    /// lives and the store is well for a TTL (SPEC 5).
    pub fn check_expiry(&mut self, key: &str, node: &Node, ttl: Duration) {
        // What a twin put and the core met before counts as another's on v2 (SPEC 4): it is taken
        // over when it ends.
        let by_ended_process = matches!(node.owner, NodeOwner::Own(process) if self.ended_processes.contains_key(&process));
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
                "what runs is kept alive",
                format_args!("{key} {node:?} has expired"),
            );
        }
    }

    // --- what is -----------------------------------------------------------

    /// Looks at all keys.
    pub fn check_keys(&mut self, nodes: &BTreeMap<String, Node>, has_core: bool) {
        let now = Instant::now();
        if now.duration_since(self.docker_faulty_at) >= self.staleness_max() {
            self.informed_at = Some(now);
        }
        // Without a core nobody keeps anything up.
        if !has_core {
            self.mark_core_absent();
            return;
        }
        if self.docker_faulty_at < now {
            self.core_ready_at.get_or_insert(now);
        }
        let deadline = self.deadline();
        if now < deadline || self.violation.is_some() {
            return;
        }
        let nothing = KeyRule { allowed: vec![None], since: deadline, is_contested: false };
        let mut broken = None;
        for key in self.keys.keys().chain(nodes.keys().filter(|key| !self.keys.contains_key(*key)))
        {
            let rule = self.keys.get(key).unwrap_or(&nothing);
            let is_disturbed =
                self.foreign_changes.get(key).is_some_and(|at| now < *at + RECOVERY_TIME_MAX);
            if is_disturbed || now < rule.since + self.poll_time_max() {
                continue;
            }
            let node = nodes.get(key);
            if node.is_some_and(|node| node.owner == NodeOwner::Foreign) {
                continue;
            }
            if rule.is_contested && self.core_just_started() {
                continue;
            }
            let found = node.map(|node| node.value.clone());
            if rule.allowed.contains(&found) || self.is_exempt(key, rule, node, nodes, now) {
                continue;
            }
            let allowed = &rule.allowed;
            let invariant =
                if found.is_none() { "what runs is published" } else { "what ended is gone" };
            let since = now - rule.since;
            broken = Some((
                invariant,
                format!(
                    "{key}: {found:?} instead of {allowed:?}, as it \
                should have been for {since:?}"
                ),
            ));
            break;
        }
        if let Some((invariant, detail)) = broken {
            self.record_violation(invariant, format_args!("{detail}"));
        }
    }

    /// The exceptions that hang on the key.
    fn is_exempt(
        &self,
        key: &str,
        rule: &KeyRule,
        node: Option<&Node>,
        nodes: &BTreeMap<String, Node>,
        now: Instant,
    ) -> bool {
        let own = RecordKey::from_path(key);
        let hides = |other: &String| RecordKey::from_path(other).overlaps(&own);
        let has_conflict = || {
            let wanted = self.keys.iter().filter(|(_, rule)| rule.allowed != [None]);
            nodes.keys().any(hides) || wanted.map(|(key, _)| key).any(hides)
        };
        match node {
            // Of two names, one above the other, one can't be (SPEC 4); which, is chance. One
            // that the store refused is tried again after half a minute.
            None => has_conflict(),
            // What a process asked for that was killed came only after its end. On v3 it is
            // reported and left alone (SPEC 5).
            Some(node) if self.is_late_write(node) => true,
            Some(node) if self.is_duplicates_record(node) && rule.allowed == [None] => true,
            Some(_) if now < self.leftovers_until && rule.allowed == [None] => true,
            // v2: after kill -9 stale keys end with their TTL (SPEC 5), as only a key that is
            // wanted is looked at.
            Some(Node { expiry: NodeExpiry::At(_), .. }) => {
                self.conditions.keep_alive_mode == KeepAliveMode::PerRecord
                    && now < self.leftovers_until
            }
            Some(_) => false,
        }
    }
}
