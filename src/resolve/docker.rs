//! What only the Docker engine can tell: what it is called, and which networks are its own.

use slog::Logger;

use super::ResolveError;
use crate::docker::{
    ApiVersion, DEFAULT_TIMEOUT, DockerClient, DockerOptions, Endpoint, EngineInfo, VersionChoice,
};
use crate::host::{self, BridgeSubnet, PublicAddress};
use crate::settings::{self, DockerUrl, DockerVersion};
use crate::tls::TlsFileError;

/// A client for the engine that the settings name. Nothing is asked yet.
///
/// # Errors
/// Where a file for TLS can't be used.
pub fn docker_client(
    settings: &settings::Docker,
    log: &Logger,
) -> Result<DockerClient, TlsFileError> {
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
    DockerClient::new(options, log.clone())
}

/// Asks the engine, once, who it is; and where an address to publish was found on an
/// interface, whether that is in one of its own networks.
///
/// # Errors
/// Where it does not answer, or where nobody else could reach that address.
pub async fn probe_engine(
    docker: &DockerClient,
    public_address: &PublicAddress,
) -> Result<EngineInfo, ResolveError> {
    let engine = docker.engine().await?;
    if public_address.detected().next().is_some() {
        let networks = docker.networks().await?;
        let subnets = networks.iter().flat_map(|network| {
            network.subnets.iter().filter_map(|subnet| {
                let gateway = subnet.gateway.as_deref();
                BridgeSubnet::parse(&network.name, &network.driver, &subnet.subnet, gateway)
            })
        });
        let subnets: Vec<_> = subnets.collect();
        host::check_outside_engine_networks(public_address, &subnets)?;
    }
    Ok(engine)
}
