//! One listing: what it says, and how much of it is believed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, MailboxError};
use tokio::time::Instant;

use crate::messages::{
    AffectedRecords, ContainerGone, ContainerSeen, CountAffectedRecords, GetKnownContainers,
    ListingComplete,
};
use crate::model::container::{ContainerId, ContainerSummary, EngineTime};
use crate::model::mass_withdrawal::is_mass_withdrawal;
use crate::ports::container_source::{ContainerSource, EngineIdentity, SourceError};
use crate::ports::record_store::RecordStore;
use crate::registry::Registry;
use crate::runtime::actor_ref::ActorRef;

/// What was made of earlier listings; it outlives the poller that made it.
#[derive(Debug, Default)]
pub struct ListingState {
    /// Which engine is believed.
    engine: Option<EngineIdentity>,
    /// Which one answered the last time in its place.
    candidate_engine: Option<EngineIdentity>,
    /// When, by the engine's clock, the newest thing happened that an event told of.
    pub(super) last_event_at: Option<EngineTime>,
    /// What was missing in a listing that was not believed.
    suspect_gone: BTreeSet<ContainerId>,
}

/// What came of a listing that the engine answered.
#[derive(Debug, Default)]
pub(super) struct PollResult {
    pub containers: usize,
    pub changed: usize,
    pub gone: usize,
    /// Of which containers it told news before any event did.
    pub unannounced: Unannounced,
    /// Why part of it has to be confirmed by another.
    pub suspect: Option<SuspectListing>,
}

/// The containers that a listing told news of before any event did.
#[derive(Debug, Default)]
pub(super) struct Unannounced {
    pub seen: Vec<ContainerId>,
    pub gone: Vec<ContainerId>,
}

/// Why a listing is not believed at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SuspectListing {
    /// Another engine than before answers.
    OtherEngine(EngineIdentity),
    /// So many of all records would be withdrawn at one stroke.
    MassRemoval { affected: usize, total: usize },
}

/// Lists once, and brings the registry up to date. What the registry knows is asked
/// of it each time: so a registry that was rebuilt, or that did not believe a
/// listing, hears all that it lacks at the next poll.
pub(super) async fn poll_once<S: ContainerSource, R: RecordStore>(
    source: Rc<S>,
    registry: ActorRef<Registry<S, R>>,
    listing_state: Rc<RefCell<ListingState>>,
) -> Result<PollResult, SourceError> {
    let requested_at = Instant::now();
    let summaries = match source.list().await {
        Err(_) if planted!(ListErrorReadAsEmpty) => Vec::new(),
        listed => listed?,
    };
    let mut result = PollResult { containers: summaries.len(), ..PollResult::default() };
    // A registry that falls in the middle of this is told nothing more, and above
    // all not that it now knows all: its successor asks for a poll of its own.
    let Some(registry) = registry.current() else { return Ok(result) };
    let Ok(known) = registry.send(GetKnownContainers).await else { return Ok(result) };
    // To a registry that knows nothing, a listing of nothing is news too.
    let mut has_news = !known.has_listing;
    let mut known = known.containers;
    let mut changed = Vec::new();
    for summary in summaries {
        let before = known.remove(&summary.id).and_then(|known| known.summary);
        // Another engine shows by what it has as much as by what it lacks: one that was let
        // in unnoticed would be the known one to the next listing that lacks all.
        has_news |= before.is_none();
        if before.is_none_or(|before| summary.differs_from(&before)) {
            changed.push(summary);
        }
    }
    has_news |= known.values().any(|known| !known.is_down);
    let gone: Vec<ContainerId> = known.into_keys().collect();
    if !has_news && listing_state.borrow().engine.is_some() {
        listing_state.borrow_mut().candidate_engine = None;
    } else if let Some(candidate_engine) = detect_other_engine(&*source, &listing_state).await? {
        result.suspect = Some(SuspectListing::OtherEngine(candidate_engine));
        return Ok(result);
    }
    let _ =
        update_registry(&registry, requested_at, changed, gone, &listing_state, &mut result).await;
    Ok(result)
}

/// Which engine answers, where it is another than the one that is believed, and was not
/// met the last time.
async fn detect_other_engine<S: ContainerSource>(
    source: &S,
    listing_state: &RefCell<ListingState>,
) -> Result<Option<EngineIdentity>, SourceError> {
    let engine = source.identity().await?;
    let mut listing_state = listing_state.borrow_mut();
    let candidate = listing_state.candidate_engine.take();
    let candidate = if planted!(StrangerBelieved) { Some(engine.clone()) } else { candidate };
    if listing_state.engine.as_ref().is_none_or(|known| *known == engine)
        || candidate.as_ref() == Some(&engine)
    {
        listing_state.engine = Some(engine);
        return Ok(None);
    }
    listing_state.candidate_engine = Some(engine.clone());
    Ok(Some(engine))
}

async fn update_registry<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    requested_at: Instant,
    changed: Vec<ContainerSummary>,
    gone: Vec<ContainerId>,
    listing_state: &RefCell<ListingState>,
    result: &mut PollResult,
) -> Result<(), MailboxError> {
    for summary in changed {
        result.changed += 1;
        let id = summary.id.clone();
        if !registry.send(ContainerSeen { summary: Arc::new(summary) }).await? {
            result.unannounced.seen.push(id);
        }
    }
    let suspect_gone = std::mem::take(&mut listing_state.borrow_mut().suspect_gone);
    let (mut confirmed, unconfirmed): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|id| suspect_gone.contains(id));
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
    registry.send(ListingComplete { requested_at }).await
}

/// Whether so much would be withdrawn with these containers that it has to be confirmed.
async fn check_mass_removal<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    containers: &[ContainerId],
) -> Result<Option<SuspectListing>, MailboxError> {
    if containers.is_empty() {
        return Ok(None);
    }
    let AffectedRecords { affected, total } =
        registry.send(CountAffectedRecords { containers: containers.to_vec() }).await?;
    let is_mass = is_mass_withdrawal(affected, total) && !planted!(MostGoneBelieved);
    Ok(is_mass.then_some(SuspectListing::MassRemoval { affected, total }))
}
