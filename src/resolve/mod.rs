//! Turns settings into the clients and parameters of a core.
//!
//! Some values, such as the host name or the API of etcd, are known only after Docker and etcd have
//! answered.

mod docker;
mod store;

use std::io;
use std::net::IpAddr;

use highhock_actors::model::publish_config::PublishConfig;
use highhock_actors::{LeaseNamespace, SourceError, StoreError};

use crate::docker::EngineInfo;
use crate::etcd::{Api, ClusterError, DetectError};
use crate::host::{EngineNetworkAddress, PublicAddress, name};
use crate::settings::{Settings, StoreKind};

pub use docker::{docker_client, probe_engine};
pub use store::{
    ResolvedStore, assume_etcd, check_files, dns_settings, etcd_cluster, etcd_store, resolve_store,
    url_suggestion, with_url_suggestion,
};

/// An error while settings are resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The engine did not answer. Transient.
    #[error(transparent)]
    Docker(#[from] SourceError),
    /// etcd did not answer. Transient.
    #[error(transparent)]
    Etcd(StoreError),
    /// etcd cannot be used with these settings. Permanent.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Other hosts cannot reach the public address. Permanent.
    #[error(transparent)]
    Address(#[from] EngineNetworkAddress),
    /// The only name of this host is that of HighHock's own container. Permanent.
    #[error(
        "the engine does not report its host's name, and HighHock runs in a container with a host \
         name of its own; set skydns.hostname to the name of this host"
    )]
    ContainerHostname,
    /// The detected address is that of HighHock's own container. Permanent.
    #[error(
        "address {address} of interface {interface} belongs to a container: HighHock runs in a \
         container with a network of its own, and other hosts cannot reach the address; run it \
         with --network host, or set {setting} to the host's own address"
    )]
    ContainerAddress {
        /// The address.
        address: IpAddr,
        /// The interface that has the address.
        interface: String,
        /// The setting that can name another address.
        setting: &'static str,
    },
    /// The name of this host is unknown. Permanent.
    #[error(
        "cannot find this host's name: the engine has none, and the system's is unreadable: \
         {0}; set skydns.hostname"
    )]
    Hostname(#[from] io::Error),
}

impl ResolveError {
    /// Returns `true` if another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Docker(_) | Self::Etcd(_))
    }

    /// Returns `true` if the settings are unusable, so that the program exits with EX_CONFIG.
    pub fn is_misconfiguration(&self) -> bool {
        matches!(self, Self::Cluster(_) | Self::ContainerHostname)
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

/// Returns the parameters that all records of this host share.
///
/// # Errors
/// Returns an error if the name of this host is unknown.
pub fn publish_config(
    settings: &Settings,
    public_address: &PublicAddress,
    engine: &EngineInfo,
    store: &ResolvedStore,
) -> Result<PublishConfig, ResolveError> {
    let hostname = match &settings.skydns.hostname {
        Some(hostname) => hostname.clone(),
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
        // SkyDNS, which reads v2, returns both records.
        text_beside_name: store.api() == Some(Api::V2),
    })
}

/// Returns the namespace of this publisher's lease ids (ARCHITECTURE.md, "Leases").
///
/// The store of standalone mode has only one publisher. Its address may change, and the records must
/// then stay its own.
pub fn lease_namespace(
    config: &PublishConfig,
    engine: &EngineInfo,
    store: StoreKind,
) -> LeaseNamespace {
    let host = match store {
        StoreKind::Etcd => config.host.to_string(),
        StoreKind::Standalone => String::new(),
    };
    LeaseNamespace::from_parts(&[
        &config.hostname,
        config.domain.as_str(),
        &config.prefix,
        &host,
        &engine.id,
        &engine.root_dir,
    ])
}
