//! From settings to all that a core takes: what only Docker and etcd can tell is asked of
//! them, for as long as it takes.

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::backoff::Backoff;
use highhock_actors::publish::Rules;
use highhock_actors::{CoreSettings, RecordStore};
use slog::{o, warn};

use super::{Ended, Life};
use crate::docker::{Docker, Engine};
use crate::etcd::EtcdStore;
use crate::settings::Settings;
use crate::settle::{
    NotSettled, SettledEtcd, ask_engine, ask_etcd, docker, lease_family, rules, store,
};

/// Between two questions to a Docker or an etcd that is away.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(250), factor: 2, cap: Duration::from_secs(1) };

/// What Docker and etcd have told, and need not tell again.
#[derive(Clone)]
pub(super) struct Told {
    pub engine: Engine,
    pub etcd: SettledEtcd,
}

/// All that a core takes.
pub(super) struct Settled {
    pub settings: Rc<Settings>,
    pub told: Told,
    pub rules: Rules,
    pub docker: Docker,
    pub store: EtcdStore,
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
    let (engine, etcd) = tokio::try_join!(
        at_last("docker", life, async || ask_engine(&docker, &life.published).await),
        at_last("etcd", life, async || ask_etcd(&settings, &etcd_log).await),
    )?;
    let told = Told { engine, etcd };
    let settled = complete(life, settings, told, docker)?;
    let (engine, etcd) = (&settled.told.engine, &settled.told.etcd);
    notice!(log, "docker answers"; "engine" => &engine.version,
        "api" => engine.api.to_string(), "hostname" => &settled.rules.hostname);
    tell_of_etcd(life, etcd);
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
    let etcd = at_last("etcd", life, async || {
        let etcd = ask_etcd(&settings, &etcd_log).await?;
        let probed = store(&settings, &etcd, &etcd_log)?.probe().await;
        probed.map(|()| etcd).map_err(NotSettled::Etcd)
    });
    let told = Told { etcd: etcd.await?, ..told };
    let settled = complete(life, settings, told, docker)?;
    tell_of_etcd(life, &settled.told.etcd);
    Ok(settled)
}

fn complete(
    life: &Life,
    settings: Rc<Settings>,
    told: Told,
    docker: Docker,
) -> Result<Settled, Ended> {
    let rules = rules(&settings, &life.published, &told.engine, &told.etcd)?;
    let store = store(&settings, &told.etcd, &life.log.new(o!("edge" => "etcd")))
        .map_err(NotSettled::from)?;
    Ok(Settled { settings, told, rules, docker, store })
}

fn tell_of_etcd(life: &Life, etcd: &SettledEtcd) {
    notice!(life.log, "etcd is spoken to"; "api" => etcd.detected.api.as_str(),
        "because" => &etcd.detected.why, "domain" => etcd.domain.to_string(),
        "domain_from" => etcd.domain_from);
    if etcd.detected.both {
        notice!(life.log, "etcd answers both of its APIs, and CoreDNS reads v3 only; \
            set etcd.api to choose"; "chosen" => etcd.detected.api.as_str());
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
