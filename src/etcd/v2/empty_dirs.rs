//! Empty directories: etcd v2 keeps one when its last key was deleted or has
//! expired. DNS servers then answer NODATA where there should be NXDOMAIN, and no
//! record can be put where it stands.

use std::collections::{BTreeMap, BTreeSet};

use highhock_actors::StoreError;
use slog::Logger;

use super::REQUESTS_IN_FLIGHT_MAX;
use super::keys::{KeyRequest, KeysApi};
use super::wire::KeyResponse;
use crate::etcd::batch;

/// What stands at a key after an empty directory there was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirOutcome {
    /// Nothing.
    Absent,
    /// A value.
    Value,
    /// A directory with something in it.
    NotEmpty,
}

/// Removes the directory at `key` where it is an empty one.
///
/// etcd removes an empty directory in one step: a key that another creates in it
/// at that moment either keeps it or makes it anew, and is never lost. But asked
/// to remove a directory, etcd removes a *value* too, and can't be told not to.
/// So it is asked first what is there. This leaves one gap: between the answer
/// and the removal another must have removed the directory and put a value with
/// its very name.
pub(super) async fn remove_if_empty(keys: &KeysApi, key: &str) -> Result<DirOutcome, StoreError> {
    // Asking for a key in it tells a directory from a value, and costs the same
    // for one with ten thousand keys, which a listing doesn't.
    let inside = format!("{key}/_");
    let lookup = KeyRequest { action: "looking at what is above", key: &inside };
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

/// Removes the directories that these keys were in, and those above them, as far
/// as they are empty and below `prefix`. What fails stays: it does no great harm,
/// and the next key deleted there has it tried again.
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
    // The deepest first: those above them can only be empty afterwards.
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
                    debug!(log, "an empty directory may be left"; "error" => %error);
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

/// The directory that the key is in, where that lies below `prefix`.
fn parent_below<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    let (parent, _) = key.rsplit_once('/')?;
    parent.strip_prefix(prefix)?.starts_with('/').then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbs_to_the_prefix_and_stops_below_it() {
        let parent = |key| parent_below("skydns", key);
        assert_eq!(parent("skydns/local/a/b"), Some("skydns/local/a"));
        assert_eq!(parent("skydns/local/a"), Some("skydns/local"));
        assert_eq!(parent("skydns/local"), None);
        assert_eq!(parent("skydns"), None);
        assert_eq!(parent("skydnsx/local/a"), None);
        assert_eq!(parent("other/skydns/local/a"), None);
    }
}
