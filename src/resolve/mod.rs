//! What only Docker and etcd can tell, settled when they first answer; and what follows
//! from it.

mod docker;
mod store;

use std::io;

use highhock_actors::model::publish_config::Rules;
use highhock_actors::{LeaseFamily, SourceError, StoreError};

use crate::docker::Engine;
use crate::etcd::{Api, NotDetected, UnusableCluster};
use crate::host::{ContainersAddress, Published, name};
use crate::settings::Settings;

pub use docker::{ask_engine, docker};
pub use store::{SettledStore, ask_store, assume_etcd, check_files, cluster, dns, etcd_store};

/// Why it is not settled how to publish.
#[derive(Debug, thiserror::Error)]
pub enum NotSettled {
    /// The engine did not answer; to be tried again.
    #[error(transparent)]
    Docker(#[from] SourceError),
    /// etcd did not answer; to be tried again.
    #[error(transparent)]
    Etcd(StoreError),
    /// The settings name an etcd that can't be spoken to as they say; to be given up.
    #[error(transparent)]
    Cluster(#[from] UnusableCluster),
    /// The address is of no use to anybody else; to be given up.
    #[error(transparent)]
    Address(#[from] ContainersAddress),
    /// Nobody knows what this host is called; to be given up.
    #[error(
        "finding this host's name: the engine has none for it, and the system's can't be read: \
         {0}; set skydns.hostname"
    )]
    Hostname(#[from] io::Error),
}

impl NotSettled {
    /// Whether it may go better later.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Docker(_) | Self::Etcd(_))
    }
}

impl From<NotDetected> for NotSettled {
    fn from(error: NotDetected) -> Self {
        match error {
            NotDetected::Store(error) => Self::Etcd(error),
            NotDetected::Cluster(error) => Self::Cluster(error),
        }
    }
}

/// What is the same for all of this host's records.
///
/// # Errors
/// Where nobody knows what this host is called.
pub fn rules(
    settings: &Settings,
    published: &Published,
    engine: &Engine,
    store: &SettledStore,
) -> Result<Rules, NotSettled> {
    let hostname = match &settings.skydns.hostname {
        Some(hostname) => hostname.clone(),
        None if engine.name.is_empty() => name::machine_name()?,
        None => engine.name.clone(),
    };
    Ok(Rules {
        prefix: settings.skydns.prefix.clone(),
        domain: store.domain.clone(),
        layout: settings.skydns.layout,
        hostname: name::instance_label(&hostname),
        address: settings.discovery.address,
        host: published.host.clone(),
        host6: published.host6.as_ref().map(|published6| published6.address),
        ttl: settings.skydns.ttl,
        methods: settings.discovery.methods.clone(),
        compose_project: settings.discovery.compose_project,
        health: settings.discovery.health,
        // SkyDNS, which reads v2, answers both.
        text_beside_name: store.api() == Some(Api::V2),
    })
}

/// Whose leases are this publisher's, where records hang on leases (SPEC 5).
pub fn lease_family(rules: &Rules, engine: &Engine) -> LeaseFamily {
    LeaseFamily::of(&[
        &rules.hostname,
        rules.domain.as_str(),
        &rules.prefix,
        &rules.host.to_string(),
        &engine.id,
        &engine.root_dir,
    ])
}
