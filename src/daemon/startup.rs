//! From settings to all that a core takes: what only Docker and etcd can tell is asked of
//! them, for as long as it takes.

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::model::publish_config::Rules;
use highhock_actors::runtime::backoff::Backoff;
use highhock_actors::{CoreSettings, RecordStore};
use slog::{Logger, o, warn};

use super::{Ended, Life};
use crate::docker::{Docker, Engine};
use crate::etcd::{Api, Detected};
use crate::record_store::Store;
use crate::resolve::{
    NotSettled, SettledStore, ask_engine, ask_store, docker, etcd_store, lease_family, rules,
};
use crate::settings::Settings;

/// Between two questions to a Docker or an etcd that is away.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(250), factor: 2, cap: Duration::from_secs(1) };

/// What Docker and etcd have told, and need not tell again.
#[derive(Clone)]
pub(super) struct Told {
    pub engine: Engine,
    pub store: SettledStore,
}

/// All that a core takes.
pub(super) struct Settled {
    pub settings: Rc<Settings>,
    pub told: Told,
    pub rules: Rules,
    pub docker: Docker,
    pub store: Store,
}

impl Settled {
    pub fn core_settings(&self) -> CoreSettings {
        let settings = &self.settings;
        CoreSettings {
            family: lease_family(&self.rules, &self.told.engine),
            rules: self.rules.clone(),
            ttl: settings.etcd.ttl,
            poll: settings.docker.poll,
            look: settings.docker.poll_container,
            events: settings.docker.events,
            drain: settings.discovery.drain,
        }
    }
}

/// Asks Docker and etcd for all that the settings leave open.
pub(super) async fn settle(life: &Life, settings: Rc<Settings>) -> Result<Settled, Ended> {
    let log = &life.log;
    life.waits_for_nobody();
    let docker = docker(&settings.docker, &log.new(o!("edge" => "docker")))?;
    let etcd_log = log.new(o!("edge" => "etcd"));
    let (engine, store) = tokio::try_join!(
        at_last("docker", life, async || ask_engine(&docker, &life.published).await),
        at_last("etcd", life, async || ask_store(&settings, &etcd_log).await),
    )?;
    let told = Told { engine, store };
    let settled = complete(life, settings, told, docker)?;
    let engine = &settled.told.engine;
    notice!(log, "docker answers"; "engine" => &engine.version,
        "api" => engine.api.to_string(), "hostname" => &settled.rules.hostname);
    tell_of_etcd(life, &settled.told.store);
    Ok(settled)
}

/// As [`settle`], where a core runs already: the engine is known. Where etcd is reached
/// in another way than before, the new way must work first, so that a slip in the settings
/// costs no record.
pub(super) async fn settle_again(
    life: &Life,
    settings: Rc<Settings>,
    told: Told,
    etcd_is_new: bool,
) -> Result<Settled, Ended> {
    let log = &life.log;
    life.waits_for_nobody();
    let docker = docker(&settings.docker, &log.new(o!("edge" => "docker")))?;
    if !etcd_is_new {
        return complete(life, settings, told, docker);
    }
    let etcd_log = log.new(o!("edge" => "etcd"));
    let store = at_last("etcd", life, async || {
        let store = ask_store(&settings, &etcd_log).await?;
        let probed = open(life, &settings, &store, &etcd_log)?.probe().await;
        probed.map(|()| store).map_err(NotSettled::Etcd)
    });
    let told = Told { store: store.await?, ..told };
    let settled = complete(life, settings, told, docker)?;
    tell_of_etcd(life, &settled.told.store);
    Ok(settled)
}

fn complete(
    life: &Life,
    settings: Rc<Settings>,
    told: Told,
    docker: Docker,
) -> Result<Settled, Ended> {
    let rules = rules(&settings, &life.published, &told.engine, &told.store)?;
    let store = open(life, &settings, &told.store, &life.log.new(o!("edge" => "etcd")))?;
    Ok(Settled { settings, told, rules, docker, store })
}

/// The store for what was settled: the one of the whole life, where the records stay in this
/// process.
fn open(
    life: &Life,
    settings: &Settings,
    settled: &SettledStore,
    log: &Logger,
) -> Result<Store, NotSettled> {
    match (life.standalone(), settled.api()) {
        (Some(standalone), _) => Ok(Store::Memory(standalone.store())),
        (None, api) => {
            // Without a server of this process's own, etcd was asked.
            let api = api.unwrap_or(Api::V3);
            Ok(etcd_store(settings, api, &settled.domain, log)?)
        }
    }
}

/// That DNS is answered here is told by who begins it.
fn tell_of_etcd(life: &Life, store: &SettledStore) {
    let SettledStore { etcd: Some(Detected { api, why, both }), domain, domain_from } = store
    else {
        return;
    };
    notice!(life.log, "etcd is spoken to"; "api" => api.as_str(), "because" => why,
        "domain" => domain.to_string(), "domain_from" => domain_from);
    if *both {
        notice!(life.log, "etcd answers both of its APIs, and CoreDNS reads v3 only; \
            set etcd.api to choose"; "chosen" => api.as_str());
    }
}

/// Asks until there is an answer, or a reason to give up.
async fn at_last<T>(
    whom: &'static str,
    life: &Life,
    ask: impl AsyncFn() -> Result<T, NotSettled>,
) -> Result<T, NotSettled> {
    let mut failures = 0;
    loop {
        let error = match ask().await {
            Err(error) if error.passes() => error,
            settled => {
                life.answers(whom);
                return settled;
            }
        };
        failures += 1;
        if failures == 1 {
            warn!(life.log, "{} does not answer; waiting for it", whom; "error" => %error);
        } else {
            info!(life.log, "{} still does not answer", whom;
                "error" => %error, "tries" => failures);
        }
        life.does_not_answer(whom, error.to_string());
        tokio::time::sleep(RETRY.wait(failures, fastrand::f64())).await;
    }
}
