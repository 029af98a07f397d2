//! Removes empty directories. etcd v2 keeps a directory after its last key was deleted or has
//! expired.
//!
//! An empty directory has two effects. DNS servers respond with NODATA in place of NXDOMAIN. And no
//! record can be written at the key of the directory.

use std::collections::{BTreeMap, BTreeSet};

use highhock_actors::StoreError;
use slog::Logger;

use super::REQUESTS_IN_FLIGHT_MAX;
use super::keys::{KeyRequest, KeysApi};
use super::wire::KeyResponse;
use crate::etcd::batch;

/// The content of a key after the removal of an empty directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirOutcome {
    /// The key does not exist.
    Absent,
    /// The key holds a value.
    Value,
    /// The key is a directory with content.
    NotEmpty,
}

/// Removes the directory at `key` if it is empty.
///
/// etcd removes an empty directory atomically. If another client creates a key inside at that
/// moment, the directory either stays or is created again, and the key is never lost. However, a
/// request to remove a directory also removes a *value*, and no option prevents that. Therefore the
/// key is read first. One gap remains: between the read and the removal, another client may remove
/// the directory and write a value at its key.
pub(super) async fn remove_if_empty(keys: &KeysApi, key: &str) -> Result<DirOutcome, StoreError> {
    // A read of a key inside distinguishes a directory from a value. Unlike a listing, it costs the
    // same for a directory with ten thousand keys.
    let inside = format!("{key}/_");
    let lookup = KeyRequest { action: "looking up the directory of", key: &inside };
    match keys.get(lookup).await? {
        KeyResponse::Missing { first_missing }
            if first_missing.trim_start_matches('/') == inside => {}
        KeyResponse::Missing { .. } => return Ok(DirOutcome::Absent),
        KeyResponse::BelowValue { .. } => return Ok(DirOutcome::Value),
        KeyResponse::Done(_) => return Ok(DirOutcome::NotEmpty),
        other => return Err(keys.unexpected_response(lookup, &other)),
    }
    let removal = KeyRequest { action: "removing the empty directory", key };
    match keys.remove_directory(removal).await? {
        KeyResponse::Done(_) | KeyResponse::Missing { .. } => Ok(DirOutcome::Absent),
        KeyResponse::NotEmpty => Ok(DirOutcome::NotEmpty),
        KeyResponse::BelowValue { .. } => Ok(DirOutcome::Value),
        other => Err(keys.unexpected_response(removal, &other)),
    }
}

/// Removes the parent directories of the `deleted` keys, and the directories above them, if they
/// are empty and below `prefix`.
///
/// A failure is only logged. The directory does little harm, and is checked again when the next key
/// inside is deleted.
pub(super) async fn prune(
    keys: &KeysApi,
    prefix: &str,
    deleted: impl IntoIterator<Item = &str>,
    log: &Logger,
) {
    let mut by_depth = BTreeMap::<usize, BTreeSet<String>>::new();
    let note_parent = |by_depth: &mut BTreeMap<_, BTreeSet<_>>, key: &str| {
        if let Some(parent) = parent_below(prefix, key) {
            by_depth.entry(depth(parent)).or_default().insert(parent.to_owned());
        }
    };
    for key in deleted {
        note_parent(&mut by_depth, key);
    }
    // The deepest directories are first, because the directories above them can only be empty
    // afterwards.
    while let Some((_, deepest)) = by_depth.pop_last() {
        let deepest = Vec::from_iter(deepest);
        let describe = |key: &String| format!("removing the empty directory {key}");
        let outcomes = batch::run(&deepest, REQUESTS_IN_FLIGHT_MAX, describe, async |key| {
            remove_if_empty(keys, key).await
        });
        for (key, outcome) in deepest.iter().zip(outcomes.await) {
            match outcome {
                Ok(DirOutcome::Absent) => note_parent(&mut by_depth, key),
                Ok(DirOutcome::Value | DirOutcome::NotEmpty) => {}
                Err(error) => {
                    debug!(log, "cannot remove an empty directory"; "error" => %error);
                    if error.kind.is_outage() {
                        return;
                    }
                }
            }
        }
    }
}

fn depth(key: &str) -> usize {
    key.bytes().filter(|byte| *byte == b'/').count()
}

/// Returns the directory of a key, if it is below `prefix`.
fn parent_below<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    let (parent, _) = key.rsplit_once('/')?;
    parent.strip_prefix(prefix)?.starts_with('/').then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_end_below_the_prefix() {
        let parent = |key| parent_below("skydns", key);
        assert_eq!(parent("skydns/local/a/b"), Some("skydns/local/a"));
        assert_eq!(parent("skydns/local/a"), Some("skydns/local"));
        assert_eq!(parent("skydns/local"), None);
        assert_eq!(parent("skydns"), None);
        assert_eq!(parent("skydnsx/local/a"), None);
        assert_eq!(parent("other/skydns/local/a"), None);
    }
}
