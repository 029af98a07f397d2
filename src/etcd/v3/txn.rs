//! Writes as transactions with preconditions, and the interpretation of their results.
//!
//! A transaction (`/v3/kv/txn`) has comparisons, operations for the case that all comparisons hold,
//! and operations for the other case. The latter are reads here, which reveal why a write was
//! rejected.

use std::collections::HashSet;

use highhock_actors::{ExpectedValue, LeaseId, Precondition, RecordKey, Write, WriteOutcome};

use super::batching::{BatchItem, Cost};
use super::wire::{
    Compare, DeleteRangeRequest, Int64, PutRequest, RangeRequest, RequestOp, ResponseOp,
    TxnOutcome, TxnRequest,
};

/// A write as a transaction of its own.
pub(super) struct TxnStep {
    /// The index of the write in its batch.
    pub index: usize,
    key: RecordKey,
    action: &'static str,
    txn: TxnRequest,
    cost: Cost,
}

/// The result of a write, derived from the result of its transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TxnVerdict {
    WriteOutcome(WriteOutcome),
    /// The key `ancestor` above the written key has a record.
    BelowRecord {
        ancestor: String,
    },
    /// There are records below the written key, for example `child`.
    AboveRecords {
        child: String,
    },
    /// The result is not one of etcd.
    Unexpected(&'static str),
}

/// Returns the key in etcd v3, which starts with a slash.
pub(super) fn key_path(key: &RecordKey) -> String {
    format!("/{key}")
}

/// Returns the range of all keys below a directory: the first key, and the end of the range, which
/// is excluded.
pub(super) fn range_below(path: &str) -> (String, String) {
    // `0` is the character after `/`.
    (format!("{path}/"), format!("{path}0"))
}

impl TxnStep {
    /// Returns the transaction for a write, or `None` if v3 does not support the write.
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

    /// Derives the result of the write from the result of its transaction.
    pub(super) fn verdict(&self, outcome: &TxnOutcome) -> TxnVerdict {
        if outcome.succeeded {
            return TxnVerdict::WriteOutcome(WriteOutcome::Done);
        }
        let mut found = Vec::new();
        for response in &outcome.responses {
            let ResponseOp::Range(range) = response else {
                return TxnVerdict::Unexpected("a result is not a range");
            };
            found.push(range.kvs.first().map(|kv| kv.key.to_text()));
        }
        if found.len() != self.txn.failure.len() {
            return TxnVerdict::Unexpected("its number of results is not the number of reads");
        }
        // The results are in the order of [`absent_compares`]: the key, the keys below it, the keys
        // above it.
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
            None => TxnVerdict::Unexpected("the write was rejected without a reason"),
        }
    }
}

/// Returns a transaction that is permitted only if the client may read and write all keys below
/// `root`, and that changes nothing.
///
/// etcd checks the permissions of both cases before it compares, and the comparison never holds.
pub(super) fn permission_check(root: &RecordKey) -> TxnRequest {
    let (from, to) = range_below(&key_path(root));
    let put = PutRequest { key: from.as_str().into(), value: "".into(), lease: Int64(0) };
    let range = RangeRequest {
        key: from.as_str().into(),
        range_end: Some(to.as_str().into()),
        limit: Int64(1),
        keys_only: true,
    };
    TxnRequest {
        compare: vec![Compare::mod_revision(&from, u64::MAX)],
        success: vec![RequestOp::Put(put)],
        failure: vec![RequestOp::Range(range)],
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

/// Returns one transaction for several writes. It applies all of them, or none if one precondition
/// fails.
pub(super) fn combined_txn(steps: &[&TxnStep]) -> TxnRequest {
    let compare = steps.iter().flat_map(|step| step.txn.compare.clone()).collect();
    let success = steps.iter().flat_map(|step| step.txn.success.clone()).collect();
    TxnRequest { compare, success, failure: Vec::new() }
}

/// Returns a transaction with a nested transaction for each write, so that each write has its own
/// preconditions and its own result. A single write is not nested.
pub(super) fn nested_txns(steps: &[&TxnStep]) -> TxnRequest {
    match steps {
        [one] => one.txn.clone(),
        many => {
            let success = many.iter().map(|step| RequestOp::Txn(step.txn.clone())).collect();
            TxnRequest { success, ..TxnRequest::default() }
        }
    }
}

/// Returns the result of each write of [`nested_txns`], or `None` if the response has another form.
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

/// Splits steps into groups. Each group can be one transaction, after the group before it was
/// applied.
///
/// etcd checks all comparisons of a transaction before it applies any of its writes. In one
/// transaction, a name and a name below it would both be written, although each write requires that
/// the other does not exist. Such keys are therefore in different groups. A lost lease fails the
/// whole transaction, so each group has writes of one lease only, or of none.
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

/// A set of keys in which no key is above another.
#[derive(Default)]
struct OccupiedKeys {
    keys: HashSet<String>,
    above: HashSet<String>,
}

impl OccupiedKeys {
    /// Adds the key, unless it is equal to, above or below a key of the set. Returns `true` if it
    /// was added.
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

/// Returns the directories of a key, starting with the innermost.
fn ancestors(key: &str) -> impl Iterator<Item = &str> {
    let ends = key.char_indices().rev().filter(|(_, c)| *c == '/');
    ends.map(|(end, _)| &key[..end]).filter(|above| !above.is_empty())
}

/// Returns the preconditions of a put to an absent key, and the reads that reveal which one failed.
///
/// Neither the key, nor a key below it, nor a key above it may exist. Only keys inside the domain's
/// directory `root` are considered.
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

/// Returns the approximate size of a write in a request. The key is in each comparison and read,
/// and each value occurs once.
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
    fn put_requires_absent_key_children_and_ancestors() {
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
    fn reports_the_failed_precondition() {
        let verdict = |write: &Write, response: &str| {
            step(write).verdict(&serde_json::from_str::<TxnOutcome>(response).unwrap())
        };
        let present = r#"{"response_range":{"header":{},"kvs":[{"key":"L3g="}]}}"#;
        let absent = r#"{"response_range":{"header":{}}}"#;
        let response = |parts: &[&str]| format!(r#"{{"responses":[{}]}}"#, parts.join(","));
        let put = put("a/b", 1);
        let outcome = r#"{"succeeded":true,"responses":[{"response_put":{}}]}"#;
        assert_eq!(verdict(&put, outcome), TxnVerdict::WriteOutcome(WriteOutcome::Done));
        let conflict = TxnVerdict::WriteOutcome(WriteOutcome::Conflict);
        assert_eq!(verdict(&put, &response(&[present, absent, absent])), conflict);
        assert_eq!(verdict(&put, &response(&[present, present, present])), conflict);
        let above = TxnVerdict::AboveRecords { child: "/x".into() };
        assert_eq!(verdict(&put, &response(&[absent, present, absent])), above);
        let below = TxnVerdict::BelowRecord { ancestor: "/x".into() };
        assert_eq!(verdict(&put, &response(&[absent, absent, present])), below);
        for odd in [response(&[absent, absent, absent]), response(&[absent]), response(&[])] {
            assert!(matches!(verdict(&put, &odd), TxnVerdict::Unexpected(_)), "{odd}");
        }
        assert_eq!(verdict(&delete("a"), &response(&[present])), conflict);
        let missing = TxnVerdict::WriteOutcome(WriteOutcome::Missing);
        assert_eq!(verdict(&delete("a"), &response(&[absent])), missing);
    }
}
