//! Test doubles of Docker and etcd for suites that run the core in simulated time.
//!
//! [`Engine`] and [`Store`] do what a test scripts. The semantics of etcd are in `etcd_model`,
//! which the simulation in `tests/simulation` shares.
#![allow(
    dead_code,
    unused_imports,
    reason = "each suite is a separate crate and uses a part of the doubles"
)]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod engine;
mod etcd_model;
mod store;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{
    AddressOwner, DiscoveryMethod, KeyLayout, PublishConfig,
};
use highhock_actors::{Core, CoreSettings, Host, KeepAliveMode, LeaseNamespace, RecordState};
use slog::{Discard, Drain, KV, Logger, Never, OwnedKVList, Record, Serializer, o};
use tokio::time::Instant;

pub use engine::{Engine, container, id};
pub use store::{Outage, Store};

pub const TTL: Duration = Duration::from_secs(15);
pub const POLL: Duration = Duration::from_secs(10);

/// A running core with its engine and its store.
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
    /// Starts a core with default settings. Time must be paused.
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

    /// Starts a core with `count` published containers `web-0`, `web-1` and so on. Each offers one
    /// service of its name.
    pub async fn with_containers(keep_alive_mode: KeepAliveMode, count: usize) -> Self {
        let engine = Engine::default();
        for n in 0..count {
            engine.run(container(&format!("web-{n}"), n));
        }
        let world = Self::start(engine, Store::new(keep_alive_mode));
        world.until("all records are published", |world| world.store.len() == count).await;
        world
    }

    /// Lets time pass until the condition holds, and returns the time that passed.
    ///
    /// Panics after five minutes.
    #[track_caller]
    pub fn until(
        &self,
        condition_name: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> impl Future<Output = Duration> {
        let caller = std::panic::Location::caller();
        async move {
            let started = Instant::now();
            while !condition(self) {
                assert!(
                    started.elapsed() < Duration::from_secs(300),
                    "timeout: {condition_name} ({caller}); keys in the store: {:?}",
                    self.store.keys()
                );
                pass(Duration::from_millis(10)).await;
            }
            started.elapsed()
        }
    }

    /// Lets time pass, and panics if one of the keys is missing at any moment.
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

/// Declares two tests for each function: one with a TTL for each record (v2), one with a lease
/// (v3).
#[allow(unused_macros, reason = "some suites use one kind of store")]
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

/// Returns the key of a service in the flat layout.
pub fn key(name: &str) -> String {
    format!("skydns/local/skydns/{name}")
}

/// Returns the keys of the containers `web-N` for each number of the range.
pub fn keys(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| key(&format!("web-{n}"))).collect()
}

/// Records log messages. Clones share the messages.
#[derive(Clone, Default)]
pub struct LogMessages(Arc<Mutex<Vec<LogRecord>>>);

/// The message of a log record, and its values.
struct LogRecord {
    message: String,
    values: LogValues,
}

/// The values of a log record, by their keys.
#[derive(Default)]
struct LogValues(Vec<(slog::Key, String)>);

impl Serializer for LogValues {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push((key, value.to_string()));
        Ok(())
    }
}

impl LogMessages {
    pub fn logger(&self) -> Logger {
        Logger::root(self.clone().fuse(), o!())
    }

    /// Returns the number of log records with this message.
    pub fn count(&self, message: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|record| record.message == message).count()
    }

    /// Returns the values with this key in the log records with this message.
    pub fn values(&self, message: &str, key: &str) -> Vec<String> {
        let records = self.0.lock().unwrap();
        let with_message = records.iter().filter(|record| record.message == message);
        let values = with_message.flat_map(|record| &record.values.0);
        values.filter(|(other, _)| *other == key).map(|(_, value)| value.clone()).collect()
    }
}

impl Drain for LogMessages {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let mut values = LogValues::default();
        record.kv().serialize(record, &mut values).unwrap();
        self.0.lock().unwrap().push(LogRecord { message: record.msg().to_string(), values });
        Ok(())
    }
}
