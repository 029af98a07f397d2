//! Writes as guarded transactions, and what their answers say.

use std::collections::HashSet;

use highhock_actors::{ExpectedValue, LeaseId, Precondition, RecordKey, Write, WriteOutcome};

use super::batching::{BatchItem, Cost};
use super::wire::{
    Compare, DeleteRangeRequest, Int64, PutRequest, RangeRequest, RequestOp, ResponseOp,
    TxnOutcome, TxnRequest,
};

/// A write as a transaction of its own.
pub(super) struct TxnStep {
    /// Its place among the writes that it is one of.
    pub index: usize,
    key: RecordKey,
    action: &'static str,
    txn: TxnRequest,
    cost: Cost,
}

/// What a transaction's answer says of the write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TxnVerdict {
    WriteOutcome(WriteOutcome),
    /// A record above it.
    BelowRecord {
        ancestor: String,
    },
    /// Records below it, such as this.
    AboveRecords {
        child: String,
    },
    /// What no etcd answers to it.
    Unexpected(&'static str),
}

/// The key as etcd v3 has it.
pub(super) fn key_path(key: &RecordKey) -> String {
    format!("/{key}")
}

/// What is below a directory: from the first to before the second.
pub(super) fn range_below(path: &str) -> (String, String) {
    // `0` is what follows `/`.
    (format!("{path}/"), format!("{path}0"))
}

impl TxnStep {
    /// The transaction for a write. `None` for what v3 can't be asked.
    pub(super) fn new(index: usize, write: &Write, root: &RecordKey) -> Option<Self> {
        let path = key_path(write.key());
        let (action, compare, success, failure) = match write {
            Write::Put { value, lease, precondition, .. } => {
                let (compare, failure) = match precondition {
                    Precondition::Absent => absent_compares(&path, &key_path(root)),
                    Precondition::Equals(expected) => {
                        (value_compares(&path, expected), vec![existence_query(&path)])
                    }
                };
                let lease = Int64(lease.map_or(0, |LeaseId(id)| id));
                let put =
                    PutRequest { key: path.as_str().into(), value: value.as_str().into(), lease };
                ("putting", compare, RequestOp::Put(put), failure)
            }
            Write::Delete { expected, .. } => {
                let delete = DeleteRangeRequest { key: path.as_str().into() };
                (
                    "deleting",
                    value_compares(&path, expected),
                    RequestOp::Delete(delete),
                    vec![existence_query(&path)],
                )
            }
            Write::Refresh { .. } => return None,
        };
        let inner = compare.len().max(failure.len());
        let cost = Cost { operations: compare.len(), inner, bytes: byte_size(write) };
        let txn = TxnRequest { compare, success: vec![success], failure };
        Some(Self { index, key: write.key().clone(), action, txn, cost })
    }

    /// What came of it.
    pub(super) fn verdict(&self, outcome: &TxnOutcome) -> TxnVerdict {
        if outcome.succeeded {
            return TxnVerdict::WriteOutcome(WriteOutcome::Done);
        }
        let mut found = Vec::new();
        for response in &outcome.responses {
            let ResponseOp::Range(range) = response else {
                return TxnVerdict::Unexpected("no range where one was asked for");
            };
            found.push(range.kvs.first().map(|kv| kv.key.to_text()));
        }
        if found.len() != self.txn.failure.len() {
            return TxnVerdict::Unexpected("not as many answers as questions");
        }
        // In the order of `absent_compares`: the key, what is below it, what is above.
        let mut found = found.into_iter();
        if found.next().flatten().is_some() {
            return TxnVerdict::WriteOutcome(WriteOutcome::Conflict);
        }
        let Some(first_below) = found.next() else {
            return TxnVerdict::WriteOutcome(WriteOutcome::Missing);
        };
        if let Some(child) = first_below {
            return TxnVerdict::AboveRecords { child };
        }
        match found.flatten().next() {
            Some(ancestor) => TxnVerdict::BelowRecord { ancestor },
            None => TxnVerdict::Unexpected("nothing is in the way, and yet it was not done"),
        }
    }
}

impl BatchItem for TxnStep {
    fn cost(&self) -> Cost {
        self.cost
    }

    fn describe(&self) -> String {
        format!("{} {}", self.action, self.key)
    }
}

/// Several writes in one transaction that does all of them or, where one's guard
/// doesn't hold, none.
pub(super) fn combined_txn(steps: &[&TxnStep]) -> TxnRequest {
    let compare = steps.iter().flat_map(|step| step.txn.compare.clone()).collect();
    let success = steps.iter().flat_map(|step| step.txn.success.clone()).collect();
    TxnRequest { compare, success, failure: Vec::new() }
}

/// Several writes in one transaction, each with its own guard and its own answer:
/// one transaction that holds theirs. For one write, that itself.
pub(super) fn nested_txns(steps: &[&TxnStep]) -> TxnRequest {
    match steps {
        [one] => one.txn.clone(),
        many => {
            let success = many.iter().map(|step| RequestOp::Txn(step.txn.clone())).collect();
            TxnRequest { success, ..TxnRequest::default() }
        }
    }
}

/// The answers to [`nested_txns`], one a write; `None`: these are none.
pub(super) fn split_response(outcome: TxnOutcome, count: usize) -> Option<Vec<TxnOutcome>> {
    if count == 1 {
        return Some(vec![outcome]);
    }
    let inner = outcome.responses.into_iter().map(|response| match response {
        ResponseOp::Txn(outcome) => Some(outcome),
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
pub(super) fn independent_groups(steps: Vec<TxnStep>) -> Vec<Vec<TxnStep>> {
    let mut rest = steps;
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let mut occupied = OccupiedKeys::default();
        let (wave, later): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|step| occupied.claim(&step.key));
        let mut by_lease = Vec::<(Int64, Vec<TxnStep>)>::new();
        for step in wave {
            let lease = step.lease();
            match by_lease.iter_mut().find(|(id, _)| *id == lease) {
                Some((_, group)) => group.push(step),
                None => by_lease.push((lease, vec![step])),
            }
        }
        groups.extend(by_lease.into_iter().map(|(_, group)| group));
        rest = later;
    }
    groups
}

impl TxnStep {
    fn lease(&self) -> Int64 {
        match self.txn.success.first() {
            Some(RequestOp::Put(put)) => put.lease,
            _ => Int64(0),
        }
    }
}

/// Keys of which none is, or is above or below, another.
#[derive(Default)]
struct OccupiedKeys {
    keys: HashSet<String>,
    above: HashSet<String>,
}

impl OccupiedKeys {
    /// Takes the key, unless it is in another's way.
    fn claim(&mut self, key: &RecordKey) -> bool {
        let key = key.as_str();
        let overlaps = self.keys.contains(key)
            || self.above.contains(key)
            || ancestors(key).any(|above| self.keys.contains(above));
        if overlaps {
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
fn absent_compares(path: &str, root: &str) -> (Vec<Compare>, Vec<RequestOp>) {
    let (from, to) = range_below(path);
    let mut compare = vec![Compare::absent(path), Compare::empty(&from, &to)];
    let first_below = RangeRequest {
        key: from.as_str().into(),
        range_end: Some(to.as_str().into()),
        limit: Int64(1),
        keys_only: true,
    };
    let mut failure = vec![existence_query(path), RequestOp::Range(first_below)];
    let (inside, _) = range_below(root);
    for above in ancestors(path).take_while(|above| above.starts_with(&inside)) {
        compare.push(Compare::absent(above));
        failure.push(existence_query(above));
    }
    (compare, failure)
}

fn value_compares(path: &str, expected: &ExpectedValue) -> Vec<Compare> {
    let ExpectedValue { value, lease, version } = expected;
    let mut compare = vec![Compare::value(path, value)];
    compare.extend(lease.map(|LeaseId(id)| Compare::lease(path, id)));
    compare.extend(version.map(|version| Compare::mod_revision(path, version)));
    compare
}

fn existence_query(path: &str) -> RequestOp {
    RequestOp::Range(RangeRequest { key: path.into(), keys_only: true, ..RangeRequest::default() })
}

/// About what a write takes up in a request: its key is in every comparison and
/// question, its values in one each.
fn byte_size(write: &Write) -> usize {
    let values = match write {
        Write::Put { value, precondition: Precondition::Absent, .. } => value.len(),
        Write::Put { value, precondition: Precondition::Equals(expected), .. } => {
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
            precondition: Precondition::Absent,
        }
    }

    fn delete(name: &str) -> Write {
        let expected =
            ExpectedValue { value: "v".into(), lease: Some(LeaseId(7)), version: Some(9) };
        Write::Delete { key: key(name), expected }
    }

    fn step(write: &Write) -> TxnStep {
        TxnStep::new(0, write, &RecordKey::from_path(ROOT)).unwrap()
    }

    fn group_indices(writes: &[Write]) -> Vec<Vec<usize>> {
        let root = RecordKey::from_path(ROOT);
        let steps = writes
            .iter()
            .enumerate()
            .map(|(index, write)| TxnStep::new(index, write, &root).unwrap());
        let groups = independent_groups(steps.collect());
        groups.iter().map(|group| group.iter().map(|step| step.index).collect()).collect()
    }

    #[test]
    fn put_compares_the_key_its_children_and_ancestors() {
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
        assert_eq!(step.cost.inner, 4);
    }

    #[test]
    fn keys_outside_the_root_have_no_ancestors() {
        let write = |path: &str| match put("x", 1) {
            Write::Put { value, ttl, lease, precondition, .. } => {
                let key = RecordKey::from_path(path);
                Write::Put { key, value, ttl, lease, precondition }
            }
            other => other,
        };
        for path in ["skydns/old/domain/a", ROOT, "skydns/local/skydnsx/a"] {
            assert_eq!(step(&write(path)).txn.compare.len(), 2, "{path}");
        }
    }

    #[test]
    fn delete_compares_value_lease_and_version() {
        let path = format!("/{ROOT}/a");
        assert_eq!(
            step(&delete("a")).txn.compare,
            [Compare::value(&path, "v"), Compare::lease(&path, 7), Compare::mod_revision(&path, 9)]
        );
    }

    #[test]
    fn overlapping_names_are_in_separate_transactions() {
        let writes = ["a", "b", "a/x", "a/y", "a/x/z", "c", "a"].map(|name| put(name, 1));
        assert_eq!(group_indices(&writes), [vec![0, 1, 5], vec![2, 3], vec![4], vec![6]]);
        assert_eq!(group_indices(&[delete("a"), put("a/x", 1)]), [[0], [1]]);
    }

    #[test]
    fn groups_writes_by_lease() {
        let writes = [put("a", 1), delete("b"), put("c", 2), put("d", 1), delete("e")];
        assert_eq!(group_indices(&writes), [vec![0, 3], vec![1, 4], vec![2]]);
    }

    #[test]
    fn explains_why_a_precondition_failed() {
        let verdict = |write: &Write, response: &str| {
            step(write).verdict(&serde_json::from_str::<TxnOutcome>(response).unwrap())
        };
        let there = r#"{"response_range":{"header":{},"kvs":[{"key":"L3g="}]}}"#;
        let not = r#"{"response_range":{"header":{}}}"#;
        let response = |parts: &[&str]| format!(r#"{{"responses":[{}]}}"#, parts.join(","));
        let put = put("a/b", 1);
        let outcome = r#"{"succeeded":true,"responses":[{"response_put":{}}]}"#;
        assert_eq!(verdict(&put, outcome), TxnVerdict::WriteOutcome(WriteOutcome::Done));
        let conflict = TxnVerdict::WriteOutcome(WriteOutcome::Conflict);
        assert_eq!(verdict(&put, &response(&[there, not, not])), conflict);
        assert_eq!(verdict(&put, &response(&[there, there, there])), conflict);
        let above = TxnVerdict::AboveRecords { child: "/x".into() };
        assert_eq!(verdict(&put, &response(&[not, there, not])), above);
        let below = TxnVerdict::BelowRecord { ancestor: "/x".into() };
        assert_eq!(verdict(&put, &response(&[not, not, there])), below);
        for odd in [response(&[not, not, not]), response(&[not]), response(&[])] {
            assert!(matches!(verdict(&put, &odd), TxnVerdict::Unexpected(_)), "{odd}");
        }
        assert_eq!(verdict(&delete("a"), &response(&[there])), conflict);
        let missing = TxnVerdict::WriteOutcome(WriteOutcome::Missing);
        assert_eq!(verdict(&delete("a"), &response(&[not])), missing);
    }
}
