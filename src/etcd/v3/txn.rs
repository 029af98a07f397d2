//! Writes as guarded transactions, and what their answers say.

use std::collections::HashSet;

use highhock_actors::{Expected, Guard, LeaseId, RecordKey, Write, Written};

use super::batching::{Item, Weight};
use super::wire::{Compare, DeleteRange, Int, Op, OpDone, Put, Range, Txn, TxnDone};

/// A write as a transaction of its own.
pub(super) struct Step {
    /// Its place among the writes that it is one of.
    pub place: usize,
    key: RecordKey,
    doing: &'static str,
    txn: Txn,
    weight: Weight,
}

/// What a transaction's answer says of the write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Written(Written),
    /// A record above it.
    BelowRecord {
        at: String,
    },
    /// Records below it, such as this.
    AboveRecords {
        with: String,
    },
    /// What no etcd answers to it.
    Nonsense(&'static str),
}

/// The key as etcd v3 has it.
pub(super) fn path_of(key: &RecordKey) -> String {
    format!("/{key}")
}

/// What is below a directory: from the first to before the second.
pub(super) fn below(path: &str) -> (String, String) {
    // `0` is what follows `/`.
    (format!("{path}/"), format!("{path}0"))
}

impl Step {
    /// The transaction for a write. `None` for what v3 can't be asked.
    pub(super) fn new(place: usize, write: &Write, root: &RecordKey) -> Option<Self> {
        let path = path_of(write.key());
        let (doing, compare, success, failure) = match write {
            Write::Put { value, lease, guard, .. } => {
                let (compare, failure) = match guard {
                    Guard::Absent => absent(&path, &path_of(root)),
                    Guard::Holds(expected) => (holds(&path, expected), vec![is_there(&path)]),
                };
                let lease = Int(lease.map_or(0, |LeaseId(id)| id));
                let put = Put { key: path.as_str().into(), value: value.as_str().into(), lease };
                ("putting", compare, Op::Put(put), failure)
            }
            Write::Delete { expected, .. } => {
                let delete = DeleteRange { key: path.as_str().into() };
                ("deleting", holds(&path, expected), Op::Delete(delete), vec![is_there(&path)])
            }
            Write::Refresh { .. } => return None,
        };
        let inner = compare.len().max(failure.len());
        let weight = Weight { operations: compare.len(), inner, bytes: bytes(write) };
        let txn = Txn { compare, success: vec![success], failure };
        Some(Self { place, key: write.key().clone(), doing, txn, weight })
    }

    /// What came of it.
    pub(super) fn verdict(&self, done: &TxnDone) -> Verdict {
        if done.succeeded {
            return Verdict::Written(Written::Done);
        }
        let mut found = Vec::new();
        for response in &done.responses {
            let OpDone::Range(range) = response else {
                return Verdict::Nonsense("no range where one was asked for");
            };
            found.push(range.kvs.first().map(|kv| kv.key.to_text()));
        }
        if found.len() != self.txn.failure.len() {
            return Verdict::Nonsense("not as many answers as questions");
        }
        // In the order of `absent`: the key, what is below it, what is above.
        let mut found = found.into_iter();
        if found.next().flatten().is_some() {
            return Verdict::Written(Written::Conflict);
        }
        let Some(first_below) = found.next() else {
            return Verdict::Written(Written::Missing);
        };
        if let Some(with) = first_below {
            return Verdict::AboveRecords { with };
        }
        match found.flatten().next() {
            Some(at) => Verdict::BelowRecord { at },
            None => Verdict::Nonsense("nothing is in the way, and yet it was not done"),
        }
    }
}

impl Item for Step {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn describe(&self) -> String {
        format!("{} {}", self.doing, self.key)
    }
}

/// Several writes in one transaction that does all of them or, where one's guard
/// doesn't hold, none.
pub(super) fn all_or_none(steps: &[&Step]) -> Txn {
    let compare = steps.iter().flat_map(|step| step.txn.compare.clone()).collect();
    let success = steps.iter().flat_map(|step| step.txn.success.clone()).collect();
    Txn { compare, success, failure: Vec::new() }
}

/// Several writes in one transaction, each with its own guard and its own answer:
/// one transaction that holds theirs. For one write, that itself.
pub(super) fn each_by_itself(steps: &[&Step]) -> Txn {
    match steps {
        [one] => one.txn.clone(),
        many => {
            let success = many.iter().map(|step| Op::Txn(step.txn.clone())).collect();
            Txn { success, ..Txn::default() }
        }
    }
}

/// The answers to [`each_by_itself`], one a write; `None`: these are none.
pub(super) fn apart(done: TxnDone, count: usize) -> Option<Vec<TxnDone>> {
    if count == 1 {
        return Some(vec![done]);
    }
    let inner = done.responses.into_iter().map(|response| match response {
        OpDone::Txn(done) => Some(done),
        _ => None,
    });
    let inner = inner.collect::<Option<Vec<_>>>()?;
    (inner.len() == count).then_some(inner)
}

/// Sorts steps into groups that can be one transaction, each group after the other
/// was done.
///
/// etcd checks all guards of a transaction before it does any of its writes. So a
/// name and one below it, each put where nothing is, would both be written: they
/// must not meet in one. And a lost lease fails all of a transaction, so those of
/// one lease, and those of none, are among themselves.
pub(super) fn groups(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut rest = steps;
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let mut taken = Taken::default();
        let (wave, later): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|step| taken.take(&step.key));
        let mut by_lease = Vec::<(Int, Vec<Step>)>::new();
        for step in wave {
            let lease = step.lease();
            match by_lease.iter_mut().find(|(of, _)| *of == lease) {
                Some((_, group)) => group.push(step),
                None => by_lease.push((lease, vec![step])),
            }
        }
        groups.extend(by_lease.into_iter().map(|(_, group)| group));
        rest = later;
    }
    groups
}

impl Step {
    fn lease(&self) -> Int {
        match self.txn.success.first() {
            Some(Op::Put(put)) => put.lease,
            _ => Int(0),
        }
    }
}

/// Keys of which none is, or is above or below, another.
#[derive(Default)]
struct Taken {
    keys: HashSet<String>,
    above: HashSet<String>,
}

impl Taken {
    /// Takes the key, unless it is in another's way.
    fn take(&mut self, key: &RecordKey) -> bool {
        let key = key.as_str();
        let is_in_the_way = self.keys.contains(key)
            || self.above.contains(key)
            || ancestors(key).any(|above| self.keys.contains(above));
        if is_in_the_way {
            return false;
        }
        self.above.extend(ancestors(key).map(ToOwned::to_owned));
        self.keys.insert(key.to_owned());
        true
    }
}

/// The directories that a key is in, from the innermost on.
fn ancestors(key: &str) -> impl Iterator<Item = &str> {
    let ends = key.char_indices().rev().filter(|(_, c)| *c == '/');
    ends.map(|(end, _)| &key[..end]).filter(|above| !above.is_empty())
}

/// That neither the key is there nor one below nor one above it, short of the
/// domain's directory; and the questions that tell which is.
fn absent(path: &str, root: &str) -> (Vec<Compare>, Vec<Op>) {
    let (from, to) = below(path);
    let mut compare = vec![Compare::absent(path), Compare::empty(&from, &to)];
    let first_below = Range {
        key: from.as_str().into(),
        range_end: Some(to.as_str().into()),
        limit: Int(1),
        keys_only: true,
    };
    let mut failure = vec![is_there(path), Op::Range(first_below)];
    let (inside, _) = below(root);
    for above in ancestors(path).take_while(|above| above.starts_with(&inside)) {
        compare.push(Compare::absent(above));
        failure.push(is_there(above));
    }
    (compare, failure)
}

fn holds(path: &str, expected: &Expected) -> Vec<Compare> {
    let Expected { value, lease, version } = expected;
    let mut compare = vec![Compare::value(path, value)];
    compare.extend(lease.map(|LeaseId(id)| Compare::lease(path, id)));
    compare.extend(version.map(|version| Compare::mod_revision(path, version)));
    compare
}

fn is_there(path: &str) -> Op {
    Op::Range(Range { key: path.into(), keys_only: true, ..Range::default() })
}

/// About what a write takes up in a request: its key is in every comparison and
/// question, its values in one each.
fn bytes(write: &Write) -> usize {
    let values = match write {
        Write::Put { value, guard: Guard::Absent, .. } => value.len(),
        Write::Put { value, guard: Guard::Holds(expected), .. } => {
            value.len() + expected.value.len()
        }
        Write::Delete { expected, .. } => expected.value.len(),
        Write::Refresh { .. } => 0,
    };
    values + 8 * (write.key().as_str().len() + 16)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROOT: &str = "skydns/local/skydns";

    fn key(name: &str) -> RecordKey {
        RecordKey::from_path(&format!("{ROOT}/{name}"))
    }

    fn put(name: &str, lease: i64) -> Write {
        Write::Put {
            key: key(name),
            value: "v".into(),
            ttl: Duration::ZERO,
            lease: Some(LeaseId(lease)),
            guard: Guard::Absent,
        }
    }

    fn delete(name: &str) -> Write {
        let expected = Expected { value: "v".into(), lease: Some(LeaseId(7)), version: Some(9) };
        Write::Delete { key: key(name), expected }
    }

    fn step(write: &Write) -> Step {
        Step::new(0, write, &RecordKey::from_path(ROOT)).unwrap()
    }

    fn grouped(writes: &[Write]) -> Vec<Vec<usize>> {
        let root = RecordKey::from_path(ROOT);
        let steps =
            writes.iter().enumerate().map(|(place, write)| Step::new(place, write, &root).unwrap());
        let groups = groups(steps.collect());
        groups.iter().map(|group| group.iter().map(|step| step.place).collect()).collect()
    }

    #[test]
    fn a_put_compares_with_the_key_what_is_below_and_what_is_above() {
        let step = step(&put("httpd/a/b", 1));
        let path = format!("/{ROOT}/httpd/a/b");
        assert_eq!(
            step.txn.compare,
            [
                Compare::absent(&path),
                Compare::empty(&format!("{path}/"), &format!("{path}0")),
                Compare::absent(&format!("/{ROOT}/httpd/a")),
                Compare::absent(&format!("/{ROOT}/httpd")),
            ]
        );
        assert_eq!(step.txn.failure.len(), 4);
        assert_eq!(step.weight.inner, 4);
    }

    #[test]
    fn a_key_elsewhere_has_no_domain_above_it() {
        let write = |path: &str| match put("x", 1) {
            Write::Put { value, ttl, lease, guard, .. } => {
                let key = RecordKey::from_path(path);
                Write::Put { key, value, ttl, lease, guard }
            }
            other => other,
        };
        for path in ["skydns/old/domain/a", ROOT, "skydns/local/skydnsx/a"] {
            assert_eq!(step(&write(path)).txn.compare.len(), 2, "{path}");
        }
    }

    #[test]
    fn a_delete_compares_all_that_is_expected() {
        let path = format!("/{ROOT}/a");
        assert_eq!(
            step(&delete("a")).txn.compare,
            [Compare::value(&path, "v"), Compare::lease(&path, 7), Compare::mod_revision(&path, 9)]
        );
    }

    #[test]
    fn names_in_each_others_way_never_meet_in_a_transaction() {
        let writes = ["a", "b", "a/x", "a/y", "a/x/z", "c", "a"].map(|name| put(name, 1));
        assert_eq!(grouped(&writes), [vec![0, 1, 5], vec![2, 3], vec![4], vec![6]]);
        assert_eq!(grouped(&[delete("a"), put("a/x", 1)]), [[0], [1]]);
    }

    #[test]
    fn those_of_a_lease_are_among_themselves() {
        let writes = [put("a", 1), delete("b"), put("c", 2), put("d", 1), delete("e")];
        assert_eq!(grouped(&writes), [vec![0, 3], vec![1, 4], vec![2]]);
    }

    #[test]
    fn reads_why_a_guard_did_not_hold() {
        let verdict = |write: &Write, answer: &str| {
            step(write).verdict(&serde_json::from_str::<TxnDone>(answer).unwrap())
        };
        let there = r#"{"response_range":{"header":{},"kvs":[{"key":"L3g="}]}}"#;
        let not = r#"{"response_range":{"header":{}}}"#;
        let answer = |parts: &[&str]| format!(r#"{{"responses":[{}]}}"#, parts.join(","));
        let put = put("a/b", 1);
        let done = r#"{"succeeded":true,"responses":[{"response_put":{}}]}"#;
        assert_eq!(verdict(&put, done), Verdict::Written(Written::Done));
        let conflict = Verdict::Written(Written::Conflict);
        assert_eq!(verdict(&put, &answer(&[there, not, not])), conflict);
        assert_eq!(verdict(&put, &answer(&[there, there, there])), conflict);
        let above = Verdict::AboveRecords { with: "/x".into() };
        assert_eq!(verdict(&put, &answer(&[not, there, not])), above);
        let below = Verdict::BelowRecord { at: "/x".into() };
        assert_eq!(verdict(&put, &answer(&[not, not, there])), below);
        for odd in [answer(&[not, not, not]), answer(&[not]), answer(&[])] {
            assert!(matches!(verdict(&put, &odd), Verdict::Nonsense(_)), "{odd}");
        }
        assert_eq!(verdict(&delete("a"), &answer(&[there])), conflict);
        let missing = Verdict::Written(Written::Missing);
        assert_eq!(verdict(&delete("a"), &answer(&[not])), missing);
    }
}
