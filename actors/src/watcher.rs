//! ContainerWatcher: owns what one container offers.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, Message, MessageResult, ResponseFuture,
    SpawnHandle, WrapFuture,
};
use slog::{Logger, o, warn};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::container::{Container, ContainerId, ContainerRow, NetworkMode};
use crate::courier::Courier;
use crate::endpoint::Reach;
use crate::inserter::{Domain, EtcdInserter};
use crate::meter::Meter;
use crate::metered::{Metered, MeteredContext};
use crate::publish::{Offer, Rules, offer};
use crate::seat::Seat;
use crate::service::{Service, Skipped};
use crate::source::{ContainerSource, SourceError, SourceErrorKind};
use crate::store::RecordStore;

static METER: Meter = Meter::new("ContainerWatcher", 16);

/// After an inspection that failed; capped by the time between two looks.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(60) };
/// A container is inspected after so long (or up to half of it sooner), even though
/// its row never differed.
const LONG_WHILE: Duration = Duration::from_secs(3600);
/// How many of a container's reasons are logged: a container may give thousands, and
/// the log is not its own.
const MOST_REASONS: usize = 50;
/// How many containers may stand between one and the network that it shares.
const LONGEST_CHAIN: usize = 8;

/// What all watchers share.
pub struct WatcherSetup<S: ContainerSource, R: RecordStore> {
    /// Whom to ask.
    pub source: Rc<S>,
    /// Whom to tell.
    pub inserter: Seat<EtcdInserter<R>>,
    /// What is the same for all of this host's records.
    pub rules: Rules,
    /// Time between two looks at the container.
    pub look_every: Duration,
    /// How many inspections may be under way at a time, over all watchers.
    pub inspections: Semaphore,
    /// Where to log.
    pub log: Logger,
}

/// Look at this row: it is the newest.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Look {
    /// The row.
    pub row: Arc<ContainerRow>,
    /// The container whose network this one shares has changed.
    pub target_changed: bool,
}

/// The container was missing in a listing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Departure")]
pub struct Departed {
    /// When that listing was asked for.
    pub asked: Instant,
}

/// What a watcher says to [`Departed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// What the container offered is withdrawn; the inserter knows.
    Withdrawn,
    /// The container was inspected after the listing was asked for, or is being
    /// inspected now: the listing says nothing of it.
    Overtaken,
}

/// Tell the inserter again what the container offers.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Retell;

/// Asks for what the watcher knows.
#[derive(Clone, Debug, Message)]
#[rtype(result = "ContainerReport")]
pub struct Report;

/// What is known of a container, for an operator's eyes.
#[derive(Clone, Debug)]
pub struct ContainerReport {
    /// Which.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it is doing (`unknown` until it was inspected).
    pub state: &'static str,
    /// What it offers.
    pub services: Vec<Service>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
}

/// Watches one container.
pub struct ContainerWatcher<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    /// The newest row.
    row: Arc<ContainerRow>,
    /// The newest row at the time of the last inspection that was answered.
    inspected_row: Option<Arc<ContainerRow>>,
    /// When the last inspection was answered, where it found the container alive.
    seen_running: Option<Instant>,
    inspecting: bool,
    look_again: bool,
    failures: u32,
    next_inspection: Instant,
    known: Option<(Container, Offer)>,
    domain: Option<Domain>,
    /// All that was ever logged: a pause, say, hides a reason for a while only.
    explained: HashSet<Skipped>,
    courier: Courier<Domain>,
    timer: Option<SpawnHandle>,
    log: Logger,
}

impl<S: ContainerSource, R: RecordStore> ContainerWatcher<S, R> {
    /// A watcher for the container of this row.
    pub fn new(setup: Rc<WatcherSetup<S, R>>, row: Arc<ContainerRow>) -> Self {
        let inserter = setup.inserter.clone();
        let courier = Courier::new(EtcdInserter::<R>::meter(), move |domain: Domain| {
            let inserter = inserter.clone();
            async move { inserter.deliver(domain).await }
        });
        let log = setup.log.new(o!("container" => row.id.to_string(), "name" => row.name.clone()));
        Self {
            setup,
            row,
            inspected_row: None,
            seen_running: None,
            inspecting: false,
            look_again: false,
            failures: 0,
            next_inspection: Instant::now(),
            known: None,
            domain: None,
            explained: HashSet::new(),
            courier,
            timer: None,
            log,
        }
    }

    /// Looks at the newest row, and inspects the container where the row tells of a
    /// change, or where it is time.
    fn look(&mut self, context: &mut MeteredContext<Self>) {
        if self.inspecting {
            self.look_again = true;
            return;
        }
        let now = Instant::now();
        let differs = self.inspected_row.as_ref().is_none_or(|old| self.row.differs_from(old));
        let waits = self.failures > 0 && now < self.next_inspection;
        if (differs && !waits) || now >= self.next_inspection {
            self.inspect(context);
        } else {
            let until_due = self.next_inspection.duration_since(now);
            self.look_in(self.setup.look_every.min(until_due), context);
        }
    }

    fn look_in(&mut self, wait: Duration, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, Self::look));
    }

    fn inspect(&mut self, context: &mut MeteredContext<Self>) {
        self.inspecting = true;
        let row = Arc::clone(&self.row);
        let (setup, id) = (Rc::clone(&self.setup), row.id.clone());
        let inspection = async move {
            // Never closed; if it were, one inspection more would do no harm.
            let _permit = setup.inspections.acquire().await;
            inspect(&*setup.source, &id).await
        };
        context.spawn(inspection.into_actor(self).map(move |inspected, watcher, context| {
            watcher.inspecting = false;
            match inspected {
                Ok(inspected) => watcher.inspected(row, inspected),
                Err(error) => watcher.not_inspected(&error),
            }
            if std::mem::take(&mut watcher.look_again) {
                watcher.look(context);
            } else {
                let until_due = watcher.next_inspection.duration_since(Instant::now());
                watcher.look_in(watcher.setup.look_every.min(until_due), context);
            }
        }));
    }

    fn inspected(&mut self, row: Arc<ContainerRow>, inspected: Option<(Container, Reach)>) {
        let now = Instant::now();
        self.failures = 0;
        let condition = inspected.as_ref().and_then(|(container, _)| container.condition());
        self.seen_running = condition.map(|_| now);
        // The two overtake each other. Where they contradict, the container may be back in
        // what the row says by the next listing, whose row then looks no different: so
        // this may be the wrong one of the two, and is looked into again.
        let agrees = match (condition, row.condition) {
            (None, _) => false,
            (Some(_), None) => true,
            (found, told) => found == told,
        };
        let wait = match agrees {
            true => LONG_WHILE.mul_f64(0.5 + fastrand::f64() / 2.0),
            false => self.setup.look_every,
        };
        self.next_inspection = now + wait;
        self.inspected_row = Some(row);
        let Some((container, reach)) = inspected else {
            self.known = None;
            self.tell(Domain::nothing(self.row.id.clone()));
            return;
        };
        let offer = offer(&container, &reach, &self.setup.rules);
        self.explain(&offer);
        self.tell(Domain {
            container: container.id.clone(),
            name: Arc::from(container.name.as_str()),
            started: container.started,
            wanted: Arc::from(offer.wanted.as_slice()),
        });
        self.known = Some((container, offer));
    }

    fn not_inspected(&mut self, error: &SourceError) {
        self.failures = self.failures.saturating_add(1);
        let wait = RETRY.wait(self.failures, fastrand::f64()).min(self.setup.look_every);
        self.next_inspection = Instant::now() + wait;
        // That nobody answers is the poller's to report, once for all containers.
        if self.failures == 1 && error.kind != SourceErrorKind::Unreachable {
            warn!(self.log, "a container can't be inspected; what was last known of it is kept up";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "a container can't be inspected"; "error" => %error);
        }
    }

    /// Logs what is left out, once.
    fn explain(&mut self, offer: &Offer) {
        for skipped in &offer.skipped {
            if self.explained.len() > MOST_REASONS || self.explained.contains(skipped) {
                continue;
            }
            self.explained.insert(skipped.clone());
            if self.explained.len() > MOST_REASONS {
                notice!(self.log, "more is left out"; "reasons_given" => MOST_REASONS);
            } else {
                notice!(self.log, "left out";
                    "entry" => &skipped.entry, "reason" => &skipped.reason);
            }
        }
        if let Some(reason) = &offer.withheld {
            info!(self.log, "withheld"; "reason" => reason);
        }
    }

    fn tell(&mut self, domain: Domain) {
        if self.domain.as_ref() != Some(&domain) {
            self.domain = Some(domain.clone());
            self.courier.bring(domain);
        }
    }
}

/// Inspects a container, and where it shares another's network that other too.
pub(crate) async fn inspect<S: ContainerSource>(
    source: &S,
    id: &ContainerId,
) -> Result<Option<(Container, Reach)>, SourceError> {
    let Some(container) = source.inspect(id.as_str()).await? else { return Ok(None) };
    let mut reach = Reach::of(&container);
    let mut network = container.network.clone();
    for _ in 0..LONGEST_CHAIN {
        let NetworkMode::Container(target) = &network else { break };
        let Some(target) = source.inspect(target).await? else { break };
        reach = Reach::of(&target);
        network = target.network;
    }
    Ok(Some((container, reach)))
}

impl<S: ContainerSource, R: RecordStore> Actor for ContainerWatcher<S, R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.look(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Metered for ContainerWatcher<S, R> {
    fn meter() -> &'static Meter {
        &METER
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Look> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, message: Look, context: &mut Self::Context) {
        self.row = message.row;
        if message.target_changed {
            self.inspected_row = None;
        }
        self.look(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Departed> for ContainerWatcher<S, R> {
    type Result = ResponseFuture<Departure>;

    fn handle(&mut self, message: Departed, _: &mut Self::Context) -> Self::Result {
        // An inspection under way is newer than the listing, and its answer decides.
        if self.inspecting || self.seen_running.is_some_and(|seen| seen > message.asked) {
            return Box::pin(async { Departure::Overtaken });
        }
        self.seen_running = None;
        self.inspected_row = None;
        self.known = None;
        self.tell(Domain::nothing(self.row.id.clone()));
        let emptied = self.courier.emptied();
        Box::pin(async move {
            emptied.await;
            Departure::Withdrawn
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Retell> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, _: Retell, _: &mut Self::Context) {
        if let Some(domain) = &self.domain {
            self.courier.bring(domain.clone());
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Report> for ContainerWatcher<S, R> {
    type Result = MessageResult<Report>;

    fn handle(&mut self, _: Report, _: &mut Self::Context) -> Self::Result {
        let (state, services, skipped) = match &self.known {
            Some((container, offer)) => {
                (container.life.as_str(), offer.services.clone(), offer.skipped.clone())
            }
            None => ("unknown", Vec::new(), Vec::new()),
        };
        MessageResult(ContainerReport {
            id: self.row.id.clone(),
            name: self.row.name.clone(),
            state,
            services,
            skipped,
        })
    }
}
