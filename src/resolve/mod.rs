//! What only Docker and etcd can tell, settled when they first answer; and what follows
//! from it.

mod docker;
mod store;

use std::io;

use highhock_actors::model::publish_config::PublishConfig;
use highhock_actors::{LeaseNamespace, SourceError, StoreError};

use crate::docker::EngineInfo;
use crate::etcd::{Api, ClusterError, DetectError};
use crate::host::{EngineNetworkAddress, PublicAddress, name};
use crate::settings::Settings;

pub use docker::{docker_client, probe_engine};
pub use store::{
    ResolvedStore, assume_etcd, check_files, dns_settings, etcd_cluster, etcd_store, resolve_store,
};

/// Why it is not settled how to publish.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The engine did not answer; to be tried again.
    #[error(transparent)]
    Docker(#[from] SourceError),
    /// etcd did not answer; to be tried again.
    #[error(transparent)]
    Etcd(StoreError),
    /// The settings name an etcd that can't be spoken to as they say; to be given up.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The address is of no use to anybody else; to be given up.
    #[error(transparent)]
    Address(#[from] EngineNetworkAddress),
    /// Nobody knows what this host is called; to be given up.
    #[error(
        "finding this host's name: the engine has none for it, and the system's can't be read: \
         {0}; set skydns.hostname"
    )]
    Hostname(#[from] io::Error),
}

impl ResolveError {
    /// Whether it may go better later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Docker(_) | Self::Etcd(_))
    }
}

impl From<DetectError> for ResolveError {
    fn from(error: DetectError) -> Self {
        match error {
            DetectError::Store(error) => Self::Etcd(error),
            DetectError::Cluster(error) => Self::Cluster(error),
        }
    }
}

/// What is the same for all of this host's records.
///
/// # Errors
/// Where nobody knows what this host is called.
pub fn publish_config(
    settings: &Settings,
    public_address: &PublicAddress,
    engine: &EngineInfo,
    store: &ResolvedStore,
) -> Result<PublishConfig, ResolveError> {
    let hostname = match &settings.skydns.hostname {
        Some(hostname) => hostname.clone(),
        None if engine.name.is_empty() => name::machine_name()?,
        None => engine.name.clone(),
    };
    Ok(PublishConfig {
        prefix: settings.skydns.prefix.clone(),
        domain: store.domain.clone(),
        layout: settings.skydns.layout,
        hostname: name::instance_label(&hostname),
        address: settings.discovery.address,
        host: public_address.host.clone(),
        host6: public_address.host6.as_ref().map(|public_ipv6| public_ipv6.address),
        ttl: settings.skydns.ttl,
        methods: settings.discovery.methods.clone(),
        compose_project: settings.discovery.compose_project,
        health: settings.discovery.health,
        // SkyDNS, which reads v2, answers both.
        text_beside_name: store.api() == Some(Api::V2),
    })
}

/// Whose leases are this publisher's, where records hang on leases (SPEC 5).
pub fn lease_namespace(rules: &PublishConfig, engine: &EngineInfo) -> LeaseNamespace {
    LeaseNamespace::from_parts(&[
        &rules.hostname,
        rules.domain.as_str(),
        &rules.prefix,
        &rules.host.to_string(),
        &engine.id,
        &engine.root_dir,
    ])
}
