//! What must hold, at every moment, and the exceptions that SPEC makes.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{Expected, Guard, RecordKey, Upkeep, Write};
use tokio::time::Instant;

use super::container::Due;
use super::docker::LATEST_ANSWER;
use super::etcd::{Life, Node, Owner};
use super::plan::Conditions;
use super::trace::say;

/// What is to be in the store is there so long after nothing is in its way any more (SPEC 5:
/// a restart, an outage of either side, another's deed).
const AT_LAST: Duration = Duration::from_secs(5);

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub invariant: &'static str,
    pub what: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What may be at a key by the rules.
struct Ruled {
    /// One of these; `None`: nothing.
    allowed: Vec<Option<String>>,
    /// Since when nothing happened that bears on it.
    since: Instant,
    /// Whether several want it.
    has_rivals: bool,
}

/// So much passes at the most between a look at a lease and its end.
const JUST_NOW: Duration = Duration::from_secs(1);

/// What the store holds is compared with what should be there at least this often (SPEC 5).
const AUDIT: Duration = Duration::from_secs(60);

/// Watches over a run.
pub struct Judge {
    conditions: Conditions,
    keys: BTreeMap<String, Ruled>,
    /// When somebody else last did something at a key.
    touched: BTreeMap<String, Instant>,
    /// When Docker was last in a bad way, and since when it is well.
    docker_bad: Instant,
    /// The last moment at which the core could know all that was so a while before.
    informed: Option<Instant>,
    /// When Docker's answers were last not the truth.
    lied: Option<Instant>,
    /// When another engine last denied a container that runs.
    denied: Rc<Cell<Option<Instant>>>,
    store_bad: Instant,
    /// Until when the core has an excuse, whatever the key.
    excused: Instant,
    /// Until when what nobody wants may stand all the same.
    leftovers_until: Instant,
    /// When processes of ours ended.
    dead: BTreeMap<u32, Instant>,
    /// Those of them that another outlived.
    outlived: BTreeSet<u32>,
    /// Processes that withdraw all they have put, as they were told.
    withdrawing: BTreeSet<u32>,
    /// Records that were taken away, as it seems without a reason.
    charges: Vec<(String, Node)>,
    /// When the core last could not do its work: it was not there, or asleep.
    absent: Instant,
    /// Since when it can after that, as Docker is well; `None`: not yet.
    begun: Option<Instant>,
    is_asleep: bool,
    is_blind: bool,
    /// When it last woke up: what it had been told before is as old as its sleep is long.
    woken: Instant,
    pub verdict: Option<Verdict>,
}

impl Judge {
    pub fn new(conditions: Conditions, denied: Rc<Cell<Option<Instant>>>) -> Self {
        let now = Instant::now();
        Self {
            conditions,
            keys: BTreeMap::new(),
            touched: BTreeMap::new(),
            docker_bad: now,
            informed: None,
            lied: None,
            denied,
            store_bad: now,
            excused: now,
            leftovers_until: now,
            dead: BTreeMap::new(),
            outlived: BTreeSet::new(),
            withdrawing: BTreeSet::new(),
            charges: Vec::new(),
            absent: now,
            begun: None,
            is_asleep: false,
            is_blind: true,
            woken: now,
            verdict: None,
        }
    }

    /// One poll, and the time for what follows on it. A watcher looks again where an
    /// inspection contradicted its row, once in that time.
    pub fn one_poll(&self) -> Duration {
        self.conditions.poll + AT_LAST
    }

    fn condemn(&mut self, invariant: &'static str, what: fmt::Arguments) {
        if self.verdict.is_none() {
            say!("BROKEN: {invariant}: {what}");
            self.verdict = Some(Verdict { invariant, what: what.to_string() });
        }
    }

    pub fn break_promise(&mut self, invariant: &'static str, what: &str) {
        self.condemn(invariant, format_args!("{what}"));
    }

    // --- what the world tells ----------------------------------------------

    pub fn docker_is_bad(&mut self) {
        self.docker_bad = Instant::now();
    }

    pub fn docker_lies(&mut self) {
        self.docker_is_bad();
        self.lied = Some(Instant::now());
    }

    pub fn store_is_bad(&mut self) {
        self.store_bad = Instant::now();
    }

    /// Somebody else did something at this key.
    pub fn touched(&mut self, key: &str) {
        let seen_at = if self.is_blind { Instant::now() + AUDIT } else { Instant::now() };
        self.touched.insert(key.to_owned(), seen_at);
    }

    /// Whether nobody is told of changes in the store: they are seen with the next audit then.
    pub fn store_is_watched(&mut self, is_watched: bool) {
        self.is_blind = !is_watched;
    }

    /// A name that was in the way of these is gone. Who was refused for it tries again after
    /// half a minute.
    pub fn freed(&mut self, key: &str) {
        let freed = RecordKey::from_path(key);
        let hidden = |key: &&String| RecordKey::from_path(key).hides_or_is_hidden_by(&freed);
        let later = Instant::now() + Duration::from_secs(31);
        for key in self.keys.keys().filter(hidden).cloned().collect::<Vec<_>>() {
            self.touched.insert(key, later);
        }
    }

    /// The core has an excuse for so long.
    pub fn excuse(&mut self, time: Duration) {
        self.excused = self.excused.max(Instant::now() + time);
    }

    /// What nobody wants may stand for so long: another daemon of ours put it there, or may
    /// have.
    pub fn forgive_leftovers(&mut self, time: Duration) {
        self.leftovers_until = self.leftovers_until.max(Instant::now() + time);
    }

    /// A process of ours has ended. What it sent may still be carried out.
    pub fn died(&mut self, process: u32) {
        self.dead.insert(process, Instant::now());
        self.core_is_absent();
    }

    /// Of two processes one has ended.
    pub fn leaves_survivor(&mut self, process: u32, survives: bool) {
        if survives {
            self.outlived.insert(process);
        }
    }

    /// A process is told to withdraw all as it stops.
    pub fn withdraws(&mut self, process: u32) {
        self.withdrawing.insert(process);
    }

    /// The machine sleeps, or wakes up. Whatever ends meanwhile, nobody could help it.
    pub fn core_sleeps(&mut self, sleeps: bool) {
        self.is_asleep = sleeps;
        self.woken = Instant::now();
        self.core_is_absent();
    }

    /// The core can't do its work now.
    pub fn core_is_absent(&mut self) {
        self.absent = Instant::now();
        self.begun = None;
    }

    /// Until when the core has an excuse of some sort.
    pub fn calm_from(&self) -> Instant {
        self.due().max(self.leftovers_until)
    }

    /// Whether no write can be in doubt any more.
    pub fn is_store_sure(&self) -> bool {
        self.store_bad.elapsed() > super::store::LATEST_WRITE + AT_LAST
    }

    fn due(&self) -> Instant {
        let docker = self.docker_bad.max(self.lied.unwrap_or(self.docker_bad)) + self.one_poll();
        docker.max(self.store_bad + AT_LAST).max(self.excused)
    }

    /// Takes what the rules ask for now.
    pub fn learn(&mut self, mut due: Vec<Due>) {
        let now = Instant::now();
        due.sort_by(|one, other| one.rank.cmp(&other.rank));
        let mut by_key: BTreeMap<String, (Vec<Option<String>>, Instant)> = BTreeMap::new();
        let (mut held, mut contested) = (BTreeSet::new(), BTreeSet::new());
        for one in due {
            let (allowed, touched) =
                by_key.entry(one.key.clone()).or_insert((Vec::new(), one.touched));
            *touched = (*touched).max(one.touched);
            if !allowed.is_empty() {
                contested.insert(one.key.clone());
            }
            // Behind one that surely holds the key all others stand by; behind one that only
            // may, the next may hold it.
            if !held.contains(&one.key) {
                allowed.push(Some(one.value));
                if one.is_sure {
                    held.insert(one.key);
                }
            }
        }
        for (key, (allowed, _)) in &mut by_key {
            if !held.contains(key) {
                allowed.push(None);
            }
        }
        for (key, ruled) in &mut self.keys {
            if !by_key.contains_key(key) && ruled.allowed != [None] {
                *ruled = Ruled { allowed: vec![None], since: now, has_rivals: false };
            }
        }
        for (key, (allowed, touched)) in by_key {
            let ruled_key = key.clone();
            let ruled = self.keys.entry(key).or_insert_with(|| Ruled {
                allowed: Vec::new(),
                since: now,
                has_rivals: false,
            });
            if ruled.allowed != allowed {
                *ruled = Ruled { allowed, since: now, has_rivals: false };
            }
            ruled.since = ruled.since.max(touched);
            ruled.has_rivals = contested.contains(&ruled_key);
        }
        self.hear_charges();
    }

    pub fn wanted(&self) -> usize {
        self.keys.values().filter(|ruled| ruled.allowed != [None]).count()
    }

    // --- what the core does ------------------------------------------------

    /// A core changes or takes away what stands at a key. Whose it is goes by who wrote it,
    /// not by what it looks like. No exceptions: the one that SPEC 4 makes, that v2 adopts
    /// what names this host's address, is for records of an earlier life, which count as
    /// ours here; nobody else names this address.
    pub fn changes(&mut self, process: u32, write: &Write, node: &Node) {
        if node.owner == Owner::Other {
            self.condemn(
                "another's record is never touched",
                format_args!("process {process} did {write:?} to {node:?}"),
            );
        }
        if matches!(write, Write::Delete { .. }) {
            self.withdraws_what_it_put(process, write.key().as_str(), node);
        }
    }

    /// Who has put what is right since the last change of its container has inspected it since:
    /// nothing older may count against that (SPEC 4: a listing says nothing of what was
    /// inspected after it was asked for). What happened to the container at this very moment is
    /// learnt of with the next look only.
    ///
    /// Exceptions: those of [`Self::issued`]; and what a store in a bad way carries out late.
    fn withdraws_what_it_put(&mut self, process: u32, key: &str, node: &Node) {
        if node.owner == Owner::Us(process)
            && self.is_newer_than_all(key, node)
            && !self.withdrawing.contains(&process)
            && self.is_store_sure()
        {
            self.charges.push((key.to_owned(), node.clone()));
        }
    }

    /// Whether a record is right, and was put after all that bears on it.
    fn is_newer_than_all(&self, key: &str, node: &Node) -> bool {
        let Some(ruled) = self.keys.get(key) else { return false };
        let lied = self.lied.max(self.denied.get()).unwrap_or(ruled.since);
        let since = ruled.since.max(lied).max(self.woken).max(self.absent) + JUST_NOW;
        ruled.allowed == [Some(node.value.clone())] && !ruled.has_rivals && node.written > since
    }

    fn hear_charges(&mut self) {
        for (key, node) in std::mem::take(&mut self.charges) {
            if self.is_newer_than_all(&key, &node) {
                self.condemn(
                    "not knowing is not nothing",
                    format_args!("{key} was taken away by who had put it since: {node:?}"),
                );
            }
        }
    }

    /// A core ends a lease on which this hangs. etcd compares nothing there: what another
    /// of ours hung on it a moment ago, after it was last read, goes with it.
    pub fn revokes(&mut self, process: u32, key: &str, node: &Node) {
        let allows = |ruled: &Ruled| ruled.allowed.contains(&Some(node.value.clone()));
        let is_new = node.written.elapsed() < JUST_NOW && node.owner != Owner::Us(process);
        if self.keys.get(key).is_some_and(allows) && !is_new {
            self.condemn(
                "another's record is never touched",
                format_args!("process {process} revokes the lease of {key}, which is wanted"),
            );
        }
    }

    /// A core asks for a write. What has been right for longer than anything that the core
    /// may still have to go by is never taken away: not knowing is not nothing.
    ///
    /// Exceptions, each by way of `since` or `lied`: something happened to a container that
    /// wants the key, or was told of it late (an event may withdraw early); more than one
    /// state is allowed (a stop signal); Docker's answers were not the truth. And a core that
    /// stops may be told to withdraw all.
    pub fn issued(&mut self, process: u32, write: &Write) {
        let taken = match write {
            Write::Delete { expected, .. } => expected,
            Write::Put { value, guard: Guard::Holds(expected), .. } if *value != expected.value => {
                expected
            }
            _ => return,
        };
        let Expected { value, .. } = taken;
        let Some(ruled) = self.keys.get(write.key().as_str()) else { return };
        if ruled.allowed != [Some(value.clone())] || self.withdrawing.contains(&process) {
            return;
        }
        if self.begins() && ruled.has_rivals && matches!(write, Write::Put { .. }) {
            return;
        }
        let Some(informed) = self.informed else { return };
        let horizon = informed.checked_sub(self.staleness());
        let lied = self.lied.max(self.denied.get());
        let since = lied.map_or(ruled.since, |lied| lied.max(ruled.since)).max(self.woken);
        if horizon.is_some_and(|horizon| since < horizon) {
            let known_for = informed.duration_since(since);
            self.condemn(
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
    fn begins(&self) -> bool {
        self.begun.is_none_or(|begun| begun.elapsed() < AT_LAST)
    }

    /// What the core goes by is at most so old while Docker is well.
    fn staleness(&self) -> Duration {
        self.conditions.poll + LATEST_ANSWER
    }

    fn is_from_beyond(&self, node: &Node) -> bool {
        let Owner::Us(process) = node.owner else { return false };
        self.dead.get(&process).is_some_and(|died| node.written >= *died)
    }

    /// What a twin put for a container that the survivor never met hangs on a lease that
    /// lives on; it is reported and left alone until the next start (SPEC 5).
    fn is_a_twins(&self, node: &Node) -> bool {
        let Owner::Us(process) = node.owner else { return false };
        matches!(node.life, Life::Lease(_)) && self.outlived.contains(&process)
    }

    /// A record of ours has ended by itself. One that is wanted must not, while the core
    /// lives and the store is well for a TTL (SPEC 5).
    pub fn expired(&mut self, key: &str, node: &Node, ttl: Duration) {
        // What a twin put and the core met before counts as another's on v2 (SPEC 4): it is taken
        // over when it ends.
        let by_dead = matches!(node.owner, Owner::Us(process) if self.dead.contains_key(&process));
        if by_dead {
            self.touched(key);
        }
        let well_since = self.store_bad.max(self.absent);
        let is_right = self.keys.get(key).is_some_and(|ruled| {
            ruled.allowed == [Some(node.value.clone())] && ruled.since <= well_since
        });
        if is_right
            && !self.is_asleep
            && node.owner != Owner::Other
            && !by_dead
            && well_since.elapsed() > ttl + AT_LAST
        {
            self.condemn("what runs is kept alive", format_args!("{key} {node:?} has expired"));
        }
    }

    // --- what is -----------------------------------------------------------

    /// Looks at all keys.
    pub fn look(&mut self, nodes: &BTreeMap<String, Node>, has_core: bool) {
        let now = Instant::now();
        if now.duration_since(self.docker_bad) >= self.staleness() {
            self.informed = Some(now);
        }
        // Without a core nobody keeps anything up.
        if !has_core {
            self.core_is_absent();
            return;
        }
        if self.docker_bad < now {
            self.begun.get_or_insert(now);
        }
        let due = self.due();
        if now < due || self.verdict.is_some() {
            return;
        }
        let nothing = Ruled { allowed: vec![None], since: due, has_rivals: false };
        let mut broken = None;
        for key in self.keys.keys().chain(nodes.keys().filter(|key| !self.keys.contains_key(*key)))
        {
            let ruled = self.keys.get(key).unwrap_or(&nothing);
            let touched = self.touched.get(key).is_some_and(|at| now < *at + AT_LAST);
            if touched || now < ruled.since + self.one_poll() {
                continue;
            }
            let node = nodes.get(key);
            if node.is_some_and(|node| node.owner == Owner::Other) {
                continue;
            }
            if ruled.has_rivals && self.begins() {
                continue;
            }
            let found = node.map(|node| node.value.clone());
            if ruled.allowed.contains(&found) || self.is_excepted(key, ruled, node, nodes, now) {
                continue;
            }
            let allowed = &ruled.allowed;
            let invariant =
                if found.is_none() { "what runs is published" } else { "what ended is gone" };
            let since = now - ruled.since;
            broken = Some((
                invariant,
                format!(
                    "{key}: {found:?} instead of {allowed:?}, as it \
                should have been for {since:?}"
                ),
            ));
            break;
        }
        if let Some((invariant, what)) = broken {
            self.condemn(invariant, format_args!("{what}"));
        }
    }

    /// The exceptions that hang on the key.
    fn is_excepted(
        &self,
        key: &str,
        ruled: &Ruled,
        node: Option<&Node>,
        nodes: &BTreeMap<String, Node>,
        now: Instant,
    ) -> bool {
        let own = RecordKey::from_path(key);
        let hides = |other: &String| RecordKey::from_path(other).hides_or_is_hidden_by(&own);
        let in_the_way = || {
            let wanted = self.keys.iter().filter(|(_, ruled)| ruled.allowed != [None]);
            nodes.keys().any(hides) || wanted.map(|(key, _)| key).any(hides)
        };
        match node {
            // Of two names, one above the other, one can't be (SPEC 4); which, is chance. One
            // that the store refused is tried again after half a minute.
            None => in_the_way(),
            // What a process asked for that was killed came only after its end. On v3 it is
            // reported and left alone (SPEC 5).
            Some(node) if self.is_from_beyond(node) => true,
            Some(node) if self.is_a_twins(node) && ruled.allowed == [None] => true,
            Some(_) if now < self.leftovers_until && ruled.allowed == [None] => true,
            // v2: after kill -9 stale keys end with their TTL (SPEC 5), as only a key that is
            // wanted is looked at.
            Some(Node { life: Life::Until(_), .. }) => {
                self.conditions.upkeep == Upkeep::Each && now < self.leftovers_until
            }
            Some(_) => false,
        }
    }
}
