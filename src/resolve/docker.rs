//! The Docker client, and the facts that only the engine knows: its name and its networks.

use slog::Logger;

use super::ResolveError;
use crate::docker::{
    ApiVersion, DEFAULT_TIMEOUT, DockerClient, DockerOptions, Endpoint, EngineInfo, VersionChoice,
};
use crate::host::{self, BridgeSubnet, PublicAddress};
use crate::settings::{self, DockerUrl, DockerVersion};
use crate::tls::TlsFileError;

/// Creates a client for the engine in the settings, without sending a request.
///
/// # Errors
/// Returns an error if a TLS file is unusable.
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

/// Requests the identity of the engine once.
///
/// If the public address was detected on an interface, it must lie outside the engine's own
/// networks.
///
/// # Errors
/// Returns an error if the engine does not answer, or if other hosts cannot reach the address.
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
