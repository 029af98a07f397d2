//! A scripted engine and a model of etcd's v2 keys, for the core in simulated time.
#![allow(
    dead_code,
    unused_imports,
    reason = "each suite is a crate of its own and uses a part of this"
)]
#![allow(clippy::unwrap_used, reason = "a test that can't be set up may panic")]

mod engine;
mod etcd_model;
mod store;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{
    AddressOwner, DiscoveryMethod, KeyLayout, PublishConfig,
};
use highhock_actors::{Core, CoreSettings, Host, KeepAliveMode, LeaseNamespace, RecordState};
use slog::{Discard, Drain, Logger, Never, OwnedKVList, Record, o};
use tokio::time::Instant;

pub use engine::{Engine, container, id};
pub use store::{Outage, Store};

pub const TTL: Duration = Duration::from_secs(15);
pub const POLL: Duration = Duration::from_secs(10);

/// A core between a scripted engine and a model store.
pub struct World {
    pub engine: Engine,
    pub store: Store,
    pub core: Core<Engine, Store>,
}

pub fn settings() -> CoreSettings {
    CoreSettings {
        publish_config: PublishConfig {
            prefix: "skydns".into(),
            domain: DomainName::parse("skydns.local").unwrap(),
            layout: KeyLayout::Flat,
            hostname: "node1".into(),
            address: AddressOwner::Host,
            host: Host::parse("10.77.66.0").unwrap(),
            host6: None,
            ttl: NonZeroU32::new(60).unwrap(),
            methods: vec![DiscoveryMethod::Env, DiscoveryMethod::Label],
            compose_project: false,
            health: true,
            text_beside_name: true,
        },
        ttl: TTL,
        lease_namespace: LeaseNamespace::from_hash(7),
        poll_interval: POLL,
        recheck_interval: POLL,
        events: false,
        drain: Some(Duration::from_secs(300)),
    }
}

impl World {
    /// Time must be paused already.
    pub fn start(engine: Engine, store: Store) -> Self {
        Self::start_with(settings(), engine, store)
    }

    pub fn start_with(settings: CoreSettings, engine: Engine, store: Store) -> Self {
        Self::start_logged(settings, engine, store, Logger::root(Discard, o!()))
    }

    pub fn start_logged(settings: CoreSettings, engine: Engine, store: Store, log: Logger) -> Self {
        let core = Core::start(settings, engine.clone(), store.clone(), &log);
        Self { engine, store, core }
    }

    /// With so many containers, named web-0 and on, each with one service of its name.
    pub async fn with_containers(keep_alive_mode: KeepAliveMode, count: usize) -> Self {
        let engine = Engine::default();
        for n in 0..count {
            engine.run(container(&format!("web-{n}"), n));
        }
        let world = Self::start(engine, Store::new(keep_alive_mode));
        world.until("all are published", |world| world.store.len() == count).await;
        world
    }

    /// Lets time pass until the condition holds; panics where it takes over five minutes.
    #[track_caller]
    pub fn until(
        &self,
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> impl Future<Output = Duration> {
        let caller = std::panic::Location::caller();
        async move {
            let started = Instant::now();
            while !condition(self) {
                assert!(
                    started.elapsed() < Duration::from_secs(300),
                    "never: {what} ({caller}); the store holds {:?}",
                    self.store.keys()
                );
                pass(Duration::from_millis(10)).await;
            }
            started.elapsed()
        }
    }

    /// Lets time pass, and panics where meanwhile the store is missing one of the keys.
    #[track_caller]
    pub fn assert_present_for(&self, time: Duration, keys: &[String]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + time;
            while Instant::now() < end {
                for key in keys {
                    assert!(self.store.get(key).is_some(), "{key} is missing ({caller})");
                }
                pass(Duration::from_millis(50)).await;
            }
        }
    }

    pub async fn state_of(&self, key: &str) -> Option<(RecordState, Option<String>)> {
        let reports = self.core.records().await?;
        let report = reports.into_iter().find(|report| report.key.as_str() == key)?;
        Some((report.state, report.reason))
    }
}

/// Makes a test of each of these functions for either sort of store.
#[allow(unused_macros, reason = "not every suite runs on both")]
macro_rules! on_both_stores {
    ($($test:ident)*) => {
        mod records_with_ttls {
            $(#[actix::test]
            async fn $test() {
                tokio::time::pause();
                super::$test(highhock_actors::KeepAliveMode::PerRecord).await;
            })*
        }
        mod records_on_a_lease {
            $(#[actix::test]
            async fn $test() {
                tokio::time::pause();
                super::$test(highhock_actors::KeepAliveMode::Lease).await;
            })*
        }
    };
}

/// Lets simulated time pass.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The key of a service of this name.
pub fn key(name: &str) -> String {
    format!("skydns/local/skydns/{name}")
}

/// The keys of web-0 up to, but not with, web-`count`.
pub fn keys(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| key(&format!("web-{n}"))).collect()
}

/// Keeps the messages that are logged; clones share them.
#[derive(Clone, Default)]
pub struct LogMessages(Arc<Mutex<Vec<String>>>);

impl LogMessages {
    pub fn logger(&self) -> Logger {
        Logger::root(self.clone().fuse(), o!())
    }

    /// How many lines had this message.
    pub fn count(&self, message: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| *line == message).count()
    }
}

impl Drain for LogMessages {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        self.0.lock().unwrap().push(record.msg().to_string());
        Ok(())
    }
}
