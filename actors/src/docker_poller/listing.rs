//! One listing: requests it, compares it with the registry, and reports the differences.
//!
//! A suspect listing is not reported until a second listing confirms it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, MailboxError};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::messages::{
    AffectedRecords, ContainerGone, ContainerSeen, CountAffectedRecords, GetKnownContainers,
    KnownContainer, KnownContainers, ListingReported,
};
use crate::model::container::{
    Container, ContainerId, ContainerState, ContainerSummary, EngineTime,
};
use crate::model::mass_withdrawal::is_mass_withdrawal;
use crate::ports::container_source::{
    ContainerListing, ContainerSource, EngineIdentity, INSPECTIONS_MAX, SourceError, UnreadableRow,
};
use crate::ports::record_store::RecordStore;
use crate::registry::Registry;
use crate::runtime::actor_ref::ActorRef;

/// The results of earlier listings that outlive the poller.
#[derive(Debug, Default)]
pub struct ListingState {
    /// The engine whose listings are accepted. `None` before the first listing.
    engine: Option<EngineIdentity>,
    /// Another engine that replied to the last listing. Its next listing is accepted.
    candidate_engine: Option<EngineIdentity>,
    /// The time of the latest event, by the engine's clock.
    pub(super) last_event_at: Option<EngineTime>,
    /// The containers that were missing in the last listing, if it was suspect.
    suspect_gone: BTreeSet<ContainerId>,
}

/// The result of a listing to which the engine replied.
#[derive(Debug, Default)]
pub(super) struct PollResult {
    /// The number of listed containers.
    pub containers: usize,
    /// The number of containers that were reported as seen.
    pub changed: usize,
    /// The number of containers that were reported as gone.
    pub gone: usize,
    /// The reported containers whose change no event had announced.
    pub unannounced: Unannounced,
    /// The rows that could not be read.
    pub unreadable: Vec<UnreadableRow>,
    /// The reason why a part of the listing must be confirmed by another listing.
    pub suspect: Option<SuspectListing>,
}

/// The containers whose change was reported by a listing before any event.
#[derive(Debug, Default)]
pub(super) struct Unannounced {
    /// The containers with a new row.
    pub seen: Vec<ContainerId>,
    /// The containers that are no longer listed.
    pub gone: Vec<ContainerId>,
}

/// The reason why a listing must be confirmed (ARCHITECTURE.md, "Suspect listings").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SuspectListing {
    /// The reply came from another engine than before.
    OtherEngine(EngineIdentity),
    /// The listing would withdraw a large share of the records.
    MassRemoval { affected: usize, total: usize },
}

/// The differences between a listing and the registry.
struct ListingDiff {
    /// The rows that the registry does not have.
    changed: Vec<ContainerSummary>,
    /// The containers of the registry that are not listed.
    missing: BTreeMap<ContainerId, KnownContainer>,
    /// The number of rows that name no container.
    unnamed: usize,
    /// `true` if the listing may come from another engine: it adds a container, lacks one whose
    /// end no event reported, or is the first for this registry.
    has_news: bool,
}

impl ListingDiff {
    fn new(listing: ContainerListing, known: KnownContainers) -> Self {
        let KnownContainers { containers: mut known, has_listing } = known;
        // An empty listing is news, too, to a registry without a listing.
        let mut has_news = !has_listing;
        let mut changed = Vec::new();
        let unnamed = if mutated!(UnnamedRowIgnored) { 0 } else { listing.unnamed_rows() };
        for summary in listing.containers {
            let before = known.remove(&summary.id).and_then(|known| known.summary);
            // Another engine is recognised by an added container as well as by a missing one. If
            // it were accepted unnoticed now, a later listing that lacks every container would
            // come from a known engine.
            has_news |= before.is_none();
            if before.is_none_or(|before| summary.differs_from(&before)) {
                changed.push(summary);
            }
        }
        has_news |= known.values().any(|known| !known.is_down);
        Self { changed, missing: known, unnamed, has_news }
    }

    /// Removes the missing containers that a row without an id may show. If these rows are as many
    /// as the containers, all rows are known.
    ///
    /// Each missing container is inspected. A container that the engine does not know, or that
    /// does not run, is not listed. A failed inspection proves nothing.
    async fn resolve_unnamed<S: ContainerSource>(&mut self, source: &S) {
        if self.unnamed == 0 {
            return;
        }
        let missing = std::mem::take(&mut self.missing);
        let inspected: Vec<_> = stream::iter(missing)
            .map(|(id, known)| async move { (source.inspect(id.as_str()).await, id, known) })
            .buffered(INSPECTIONS_MAX)
            .collect()
            .await;
        for (found, id, known) in inspected {
            match found {
                Ok(found) if !found.as_ref().is_some_and(is_listed) => {
                    self.missing.insert(id, known);
                }
                // A container without an earlier row may have started after the listing.
                Ok(_) if known.summary.is_some() => self.unnamed = self.unnamed.saturating_sub(1),
                _ => {}
            }
        }
    }
}

/// Returns `true` if a listing contains a container in this state.
fn is_listed(container: &Container) -> bool {
    container.condition().is_some() || container.state == ContainerState::Restarting
}

/// Requests one listing, and reports its differences to the registry.
///
/// The known containers are requested from the registry each time. A registry that was restarted,
/// or that received only a part of a listing, therefore gets everything at the next poll.
///
/// # Errors
/// Returns an error if a request to the engine failed.
pub(super) async fn poll_once<S: ContainerSource, R: RecordStore>(
    source: Rc<S>,
    registry: ActorRef<Registry<S, R>>,
    listing_state: Rc<RefCell<ListingState>>,
) -> Result<PollResult, SourceError> {
    let requested_at = Instant::now();
    let listing = list(&*source).await?;
    let mut result = PollResult {
        containers: listing.containers.len(),
        unreadable: listing.unreadable.clone(),
        ..PollResult::default()
    };
    // If the registry crashes in between, the rest is not sent to its successor. Above all, the
    // successor must not receive `ListingReported`. The supervisor requests a poll for it.
    let Some(registry) = registry.current() else { return Ok(result) };
    let Ok(known) = registry.send(GetKnownContainers).await else { return Ok(result) };
    let mut diff = ListingDiff::new(listing, known);
    if !diff.has_news && listing_state.borrow().engine.is_some() {
        listing_state.borrow_mut().candidate_engine = None;
    } else if let Some(candidate_engine) = detect_other_engine(&*source, &listing_state).await? {
        result.suspect = Some(SuspectListing::OtherEngine(candidate_engine));
        return Ok(result);
    }
    diff.resolve_unnamed(&*source).await;
    let _ = update_registry(&registry, requested_at, diff, &listing_state, &mut result).await;
    Ok(result)
}

async fn list<S: ContainerSource>(source: &S) -> Result<ContainerListing, SourceError> {
    let listed = source.list().await;
    if mutated!(FailedListingReadAsEmpty) {
        return Ok(listed.unwrap_or_default());
    }
    listed
}

/// Returns the engine that replies, if it is not the accepted engine and did not reply to the
/// last listing either. Otherwise the engine is accepted.
async fn detect_other_engine<S: ContainerSource>(
    source: &S,
    listing_state: &RefCell<ListingState>,
) -> Result<Option<EngineIdentity>, SourceError> {
    let engine = source.identity().await?;
    let mut listing_state = listing_state.borrow_mut();
    let candidate = listing_state.candidate_engine.take();
    if mutated!(OtherEngineUnconfirmed)
        || listing_state.engine.as_ref().is_none_or(|known| *known == engine)
        || candidate.as_ref() == Some(&engine)
    {
        listing_state.engine = Some(engine);
        return Ok(None);
    }
    listing_state.candidate_engine = Some(engine.clone());
    Ok(Some(engine))
}

/// Reports the differences of a listing to the registry, without a suspect withdrawal.
///
/// # Errors
/// Returns an error if the registry crashed.
async fn update_registry<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    requested_at: Instant,
    diff: ListingDiff,
    listing_state: &RefCell<ListingState>,
    result: &mut PollResult,
) -> Result<(), MailboxError> {
    for summary in diff.changed {
        result.changed += 1;
        let id = summary.id.clone();
        if !registry.send(ContainerSeen { summary: Arc::new(summary) }).await? {
            result.unannounced.seen.push(id);
        }
    }
    let suspect_gone = std::mem::take(&mut listing_state.borrow_mut().suspect_gone);
    let (mut confirmed, unconfirmed): (Vec<_>, Vec<_>) =
        diff.missing.into_keys().partition(|id| suspect_gone.contains(id));
    match check_mass_removal(registry, &unconfirmed).await? {
        Some(suspect) => {
            result.suspect = Some(suspect);
            listing_state.borrow_mut().suspect_gone = unconfirmed.into_iter().collect();
        }
        None => confirmed.extend(unconfirmed),
    }
    for container in confirmed {
        result.gone += 1;
        if !registry.send(ContainerGone { container: container.clone(), requested_at }).await? {
            result.unannounced.gone.push(container);
        }
    }
    // A listing that must be confirmed may lack containers that the registry does not know, either.
    let is_complete = diff.unnamed == 0 && result.suspect.is_none();
    registry.send(ListingReported { requested_at, is_complete }).await
}

/// Returns the suspicion if the removal of these containers would withdraw so many records that
/// it must be confirmed.
async fn check_mass_removal<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    containers: &[ContainerId],
) -> Result<Option<SuspectListing>, MailboxError> {
    if containers.is_empty() || mutated!(MassWithdrawalUnconfirmed) {
        return Ok(None);
    }
    let AffectedRecords { affected, total } =
        registry.send(CountAffectedRecords { containers: containers.to_vec() }).await?;
    Ok(is_mass_withdrawal(affected, total)
        .then_some(SuspectListing::MassRemoval { affected, total }))
}
