//! What only the Docker engine can tell, settled when it first answers.

use std::io;

use highhock_actors::SourceError;
use highhock_actors::publish::Rules;

use crate::docker::{ApiVersion, DEFAULT_TIMEOUT};
use crate::docker::{Docker, DockerOptions, Endpoint, Engine, VersionChoice};
use crate::host::{self, BridgeSubnet, ContainersAddress, HostSource, Published};
use crate::hostname;
use crate::settings::{self, DockerUrl, DockerVersion, Settings};
use crate::tls::UnusableFile;

/// What the engine told, and what follows from it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Which engine answered.
    pub engine: Engine,
    /// What is the same for all of this host's records.
    pub rules: Rules,
}

/// Why it is not settled how to publish.
#[derive(Debug, thiserror::Error)]
pub enum NotSettled {
    /// The engine did not answer; to be tried again.
    #[error(transparent)]
    Docker(#[from] SourceError),
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

/// A client for the engine that the settings name. Nothing is asked yet.
///
/// # Errors
/// Where a file for TLS can't be used.
pub fn docker(settings: &settings::Docker, log: &slog::Logger) -> Result<Docker, UnusableFile> {
    let endpoint = match &settings.url {
        DockerUrl::Unix(path) => Endpoint::Unix(path.clone()),
        DockerUrl::Tcp(authority) => Endpoint::Tcp(authority.clone()),
        DockerUrl::Tls(authority) => Endpoint::Tls(authority.clone()),
    };
    let version = match settings.version {
        DockerVersion::Auto => VersionChoice::Auto,
        DockerVersion::Exactly { major, minor } => {
            VersionChoice::Exactly(ApiVersion { major, minor })
        }
    };
    let tls = settings.tls.clone();
    let options = DockerOptions { endpoint, version, tls, timeout: DEFAULT_TIMEOUT };
    Docker::new(options, log.clone())
}

/// Asks the engine, once, what it is called and which networks are its own.
///
/// # Errors
/// Where it does not answer, or where its answers show that nothing useful can be
/// published.
pub async fn settle(
    docker: &Docker,
    settings: &Settings,
    published: &Published,
) -> Result<Settled, NotSettled> {
    let engine = docker.engine().await?;
    if let HostSource::Interface(_) = published.source {
        let networks = docker.networks().await?;
        let subnets = networks.iter().flat_map(|network| {
            network.subnets.iter().filter_map(|subnet| {
                let gateway = subnet.gateway.as_deref();
                BridgeSubnet::parse(&network.name, &network.driver, &subnet.subnet, gateway)
            })
        });
        let subnets: Vec<_> = subnets.collect();
        host::check_outside_engine_networks(published, &subnets)?;
    }
    let hostname = match &settings.skydns.hostname {
        Some(hostname) => hostname.clone(),
        None if engine.name.is_empty() => hostname::machine_name()?,
        None => engine.name.clone(),
    };
    let rules = Rules {
        prefix: settings.skydns.prefix.clone(),
        domain: settings.skydns.domain.clone(),
        layout: settings.skydns.layout,
        hostname: hostname::instance_label(&hostname),
        host: published.host.clone(),
        ttl: settings.skydns.ttl,
        methods: settings.discovery.methods.clone(),
        health: settings.discovery.health,
    };
    Ok(Settled { engine, rules })
}
