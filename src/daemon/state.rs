//! What there is to know of a running daemon.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use highhock_actors::Core;
use highhock_actors::status::Standing;
use slog::{Logger, o};
use tokio::sync::{Notify, watch};

use super::standalone::Standalone;
use super::status_line::{status, waiting};
use super::systemd::Supervisor;
use crate::admin::{Daemon, DnsSide, InForce, Observe, Told};
use crate::dns::DnsError;
use crate::docker::Docker;
use crate::host::Published;
use crate::logging::Dial;
use crate::metrics::instrumented::{Observed, Requests};
use crate::metrics::{Reading, Reloads};
use crate::record_store::Store;
use crate::settings::{Changes, EffectiveKey, Faults, Loaded, Settings};

/// The core, between the real Docker and the store, whose requests are counted.
pub type DaemonCore = Core<Observed<Docker>, Observed<Store>>;

/// Reads the configuration, which may take as long as the file takes to be read.
pub type Reader = dyn Fn() -> Result<Loaded, Faults> + Send + Sync;

/// What a daemon's life begins with.
pub struct Beginning {
    /// What the operator wants.
    pub settings: Settings,
    /// The same for the operator's eyes.
    pub effective: Vec<EffectiveKey>,
    /// The address to publish, for the whole life.
    pub published: Published,
    /// Where to log.
    pub log: Logger,
    /// Changes how is logged.
    pub dial: Dial,
    /// Who is told how it goes.
    pub supervisor: Supervisor,
    /// Reads the configuration again.
    pub reread: Arc<Reader>,
}

/// A daemon's life: what is in force in it and what runs, for those who look at it from
/// outside while [`super::run`] lives it.
pub struct Life {
    pub(super) published: Published,
    pub(super) log: Logger,
    pub(super) dial: Dial,
    pub(super) supervisor: Supervisor,
    pub(super) reread: Arc<Reader>,
    settings: RefCell<Rc<Settings>>,
    /// What the settings that were read last would be for the operator's eyes, were they
    /// in force.
    read_last: RefCell<Vec<EffectiveKey>>,
    in_force: watch::Sender<InForce>,
    /// What Docker and etcd are asked, over all cores.
    pub(super) asked_docker: Arc<Requests>,
    pub(super) asked_etcd: Arc<Requests>,
    /// What answers DNS; nothing where the records are in etcd.
    standalone: OnceCell<Standalone>,
    core: RefCell<Option<Rc<DaemonCore>>>,
    /// Who does not answer the daemon's first questions, and why.
    unanswered: RefCell<BTreeMap<&'static str, String>>,
    changed: Notify,
    reloads: Cell<Reloads>,
}

impl Life {
    /// A life that is to be lived.
    pub fn new(beginning: Beginning) -> Self {
        let Beginning { settings, effective, published, log, dial, supervisor, reread } = beginning;
        let admin = settings.admin.clone();
        let (in_force, _) = watch::channel(InForce::new(admin, effective.clone()));
        Self {
            published,
            log,
            dial,
            supervisor,
            reread,
            settings: RefCell::new(Rc::new(settings)),
            read_last: RefCell::new(effective),
            in_force,
            asked_docker: Arc::new(Requests::of_docker()),
            asked_etcd: Arc::new(Requests::of_etcd()),
            standalone: OnceCell::new(),
            core: RefCell::default(),
            unanswered: RefCell::default(),
            changed: Notify::new(),
            reloads: Cell::default(),
        }
    }

    /// The core that runs now; `None` as long as Docker or etcd has not answered yet. Another
    /// one follows on a reload: to be asked for each time.
    pub fn core(&self) -> Option<Rc<DaemonCore>> {
        self.core.borrow().clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Who does not answer the daemon's first questions, so that no core runs, or that the
    /// settings read last are not in force yet: `docker` or `etcd`, each with the reason.
    pub fn unanswered(&self) -> BTreeMap<&'static str, String> {
        self.unanswered.borrow().clone()
    }

    /// What came of reloads so far.
    pub fn reloads(&self) -> Reloads {
        self.reloads.get()
    }

    /// How it goes, after a round trip through the core's actors; at once where no core
    /// runs. Never, where an actor answers nothing any more.
    pub async fn status(&self) -> String {
        let standing = self.standing().await;
        status(&self.unanswered.borrow(), standing.as_ref(), self.settings().store)
    }

    /// What answers DNS in this process; `None`: the records are in etcd.
    pub(super) fn standalone(&self) -> Option<&Standalone> {
        self.standalone.get()
    }

    /// Answers DNS from now on, where the records are to stay in this process.
    pub(super) fn answer_dns(&self) -> Result<(), DnsError> {
        let settings = self.settings();
        let log = self.log.new(o!("edge" => "dns"));
        let Some(standalone) = Standalone::start(&settings, &log)? else { return Ok(()) };
        let addresses = standalone.addresses();
        notice!(self.log, "answers dns"; "addresses" => addresses.join(", "),
            "domain" => settings.skydns.domain.to_string());
        let domain = settings.skydns.domain.to_string();
        self.in_force.send_modify(|now| now.dns = Some(DnsSide { domain, addresses }));
        // There is none yet: a life begins once.
        let _ = self.standalone.set(standalone);
        Ok(())
    }

    async fn standing(&self) -> Option<Standing> {
        loop {
            // Made before the look at the core, so that no change is missed: a core that was
            // replaced never answers.
            let changed = self.changed.notified();
            let core = self.core()?;
            tokio::select! {
                () = core.pulse() => return Some(core.observer().standing().await),
                () = changed => {}
            }
        }
    }

    /// Waits until a core runs.
    pub(super) async fn runs_at_last(&self) {
        let changed = self.changed.notified();
        if self.core().is_none() {
            changed.await;
        }
    }

    /// What others than the core need to know of the settings in force, now and later.
    pub fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Takes note of the settings that were read, and are to be in force if all goes well.
    pub(super) fn has_read(&self, changes: &Changes, effective: Vec<EffectiveKey>) {
        let old = self.in_force.borrow().effective.clone();
        self.read_last.replace(changes.in_force(&old, effective));
    }

    pub(super) fn put_in_force(&self, settings: Rc<Settings>) {
        self.dial.set(settings.log);
        let effective = self.read_last.borrow().clone();
        self.in_force.send_modify(|now| {
            (now.admin, now.effective) = (settings.admin.clone(), effective);
        });
        self.settings.replace(settings);
    }

    pub(super) fn take_core(&self, core: &Rc<DaemonCore>) {
        self.core.replace(Some(Rc::clone(core)));
        self.changed.notify_waiters();
    }

    pub(super) fn does_not_answer(&self, whom: &'static str, why: String) {
        self.unanswered.borrow_mut().insert(whom, why);
        self.tell_of_waits();
    }

    pub(super) fn answers(&self, whom: &'static str) {
        self.unanswered.borrow_mut().remove(whom);
        self.tell_of_waits();
    }

    pub(super) fn waits_for_nobody(&self) {
        self.unanswered.borrow_mut().clear();
        self.tell_of_waits();
    }

    /// As long as no core runs, all that is shown tells of it.
    fn tell_of_waits(&self) {
        let unanswered = self.unanswered.borrow();
        let all: Vec<_> = unanswered.iter().map(|(whom, why)| format!("{whom}: {why}")).collect();
        let waits = Some(all.join("; ")).filter(|_| !all.is_empty() && self.core().is_some());
        self.in_force.send_if_modified(|now| {
            let is_new = now.waits != waits;
            now.waits = waits;
            is_new
        });
    }

    /// What was read last is in force.
    pub(super) fn reload_applied(&self) {
        let mut reloads = self.reloads.get();
        reloads.ok += 1;
        reloads.last_success = Some(SystemTime::now());
        self.reloads.set(reloads);
        self.in_force.send_modify(|now| now.refused.clear());
    }

    /// What was read last is not in force, for these faults.
    pub(super) fn reload_refused(&self, faults: Vec<String>) {
        let mut reloads = self.reloads.get();
        reloads.refused += 1;
        self.reloads.set(reloads);
        self.in_force.send_modify(|now| now.refused = faults);
    }
}

impl Daemon for Life {
    fn core(&self) -> Result<Rc<dyn Observe>, String> {
        match self.core() {
            Some(core) => Ok(Rc::new(core)),
            None => {
                let store = self.settings().store;
                Err(waiting(&self.unanswered.borrow(), store, str::to_owned))
            }
        }
    }

    fn reading(&self) -> Told<Reading> {
        let core = self.core().map(|core| core.observer());
        let dns = self.standalone().map(Standalone::counts);
        let etcd = dns.is_none().then(|| Arc::clone(&self.asked_etcd));
        let docker = Arc::clone(&self.asked_docker);
        let reloads = self.reloads();
        Box::pin(async move {
            let etcd = etcd.as_deref();
            Reading { dns, ..Reading::take(core.as_ref(), &docker, etcd, reloads).await }
        })
    }
}
