//! One listing: what it says, and how much of it is believed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, MailboxError};
use tokio::time::Instant;

use crate::messages::{ContainerGone, ContainerSeen, KnownContainers, Listed, Weigh, Weight};
use crate::model::container::{ContainerId, ContainerRow, EngineTime};
use crate::ports::container_source::{ContainerSource, EngineIdentity, SourceError};
use crate::ports::record_store::RecordStore;
use crate::reconciler::are_most;
use crate::registry::Registry;
use crate::runtime::actor_ref::Seat;

/// What was made of earlier listings; it outlives the poller that made it.
#[derive(Debug, Default)]
pub struct Beliefs {
    /// Which engine is believed.
    engine: Option<EngineIdentity>,
    /// Which one answered the last time in its place.
    stranger: Option<EngineIdentity>,
    /// When, by the engine's clock, the newest thing happened that an event told of.
    pub(super) told_until: Option<EngineTime>,
    /// What was missing in a listing that was not believed.
    suspects: BTreeSet<ContainerId>,
}

/// What came of a listing that the engine answered.
#[derive(Debug, Default)]
pub(super) struct Polled {
    pub containers: usize,
    pub changed: usize,
    pub gone: usize,
    /// Of which containers it told news before any event did.
    pub surprises: Surprises,
    /// Why part of it has to be confirmed by another.
    pub doubt: Option<Doubt>,
}

/// The containers that a listing told news of before any event did.
#[derive(Debug, Default)]
pub(super) struct Surprises {
    pub seen: Vec<ContainerId>,
    pub gone: Vec<ContainerId>,
}

/// Why a listing is not believed at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Another engine than before answers.
    Stranger(EngineIdentity),
    /// So many of all records would be withdrawn at one stroke.
    MostGone { records: usize, of: usize },
}

/// Lists once, and brings the registry up to date. What the registry knows is asked
/// of it each time: so a registry that was rebuilt, or that did not believe a
/// listing, hears all that it lacks at the next poll.
pub(super) async fn poll<S: ContainerSource, R: RecordStore>(
    source: Rc<S>,
    registry: Seat<Registry<S, R>>,
    beliefs: Rc<RefCell<Beliefs>>,
) -> Result<Polled, SourceError> {
    let asked = Instant::now();
    let rows = match source.list().await {
        Err(_) if planted!(ListErrorReadAsEmpty) => Vec::new(),
        listed => listed?,
    };
    let mut polled = Polled { containers: rows.len(), ..Polled::default() };
    // A registry that falls in the middle of this is told nothing more, and above
    // all not that it now knows all: its successor asks for a poll of its own.
    let Some(registry) = registry.occupant() else { return Ok(polled) };
    let Ok(known) = registry.send(KnownContainers).await else { return Ok(polled) };
    // To a registry that knows nothing, a listing of nothing is news too.
    let mut is_news = !known.has_heard;
    let mut known = known.containers;
    let mut changed = Vec::new();
    for row in rows {
        let before = known.remove(&row.id).and_then(|known| known.row);
        // Another engine shows by what it has as much as by what it lacks: one that was let
        // in unnoticed would be the known one to the next listing that lacks all.
        is_news |= before.is_none();
        if before.is_none_or(|before| row.differs_from(&before)) {
            changed.push(row);
        }
    }
    is_news |= known.values().any(|known| !known.is_down);
    let gone: Vec<ContainerId> = known.into_keys().collect();
    if !is_news && beliefs.borrow().engine.is_some() {
        beliefs.borrow_mut().stranger = None;
    } else if let Some(stranger) = a_stranger(&*source, &beliefs).await? {
        polled.doubt = Some(Doubt::Stranger(stranger));
        return Ok(polled);
    }
    let _ = bring_up_to_date(&registry, asked, changed, gone, &beliefs, &mut polled).await;
    Ok(polled)
}

/// Which engine answers, where it is another than the one that is believed, and was not
/// met the last time.
async fn a_stranger<S: ContainerSource>(
    source: &S,
    beliefs: &RefCell<Beliefs>,
) -> Result<Option<EngineIdentity>, SourceError> {
    let engine = source.identity().await?;
    let mut beliefs = beliefs.borrow_mut();
    let met = beliefs.stranger.take();
    let met = if planted!(StrangerBelieved) { Some(engine.clone()) } else { met };
    if beliefs.engine.as_ref().is_none_or(|known| *known == engine) || met.as_ref() == Some(&engine)
    {
        beliefs.engine = Some(engine);
        return Ok(None);
    }
    beliefs.stranger = Some(engine.clone());
    Ok(Some(engine))
}

async fn bring_up_to_date<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    asked: Instant,
    changed: Vec<ContainerRow>,
    gone: Vec<ContainerId>,
    beliefs: &RefCell<Beliefs>,
    polled: &mut Polled,
) -> Result<(), MailboxError> {
    for row in changed {
        polled.changed += 1;
        let id = row.id.clone();
        if !registry.send(ContainerSeen { row: Arc::new(row) }).await? {
            polled.surprises.seen.push(id);
        }
    }
    let suspects = std::mem::take(&mut beliefs.borrow_mut().suspects);
    let (mut sure, unsure): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|id| suspects.contains(id));
    match weigh(registry, &unsure).await? {
        Some(doubt) => {
            polled.doubt = Some(doubt);
            beliefs.borrow_mut().suspects = unsure.into_iter().collect();
        }
        None => sure.extend(unsure),
    }
    for container in sure {
        polled.gone += 1;
        if !registry.send(ContainerGone { container: container.clone(), asked }).await? {
            polled.surprises.gone.push(container);
        }
    }
    registry.send(Listed { asked }).await
}

/// Whether so much would be withdrawn with these containers that it has to be confirmed.
async fn weigh<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    containers: &[ContainerId],
) -> Result<Option<Doubt>, MailboxError> {
    if containers.is_empty() {
        return Ok(None);
    }
    let Weight { records, of } = registry.send(Weigh { containers: containers.to_vec() }).await?;
    let are_most = are_most(records, of) && !planted!(MostGoneBelieved);
    Ok(are_most.then_some(Doubt::MostGone { records, of }))
}
