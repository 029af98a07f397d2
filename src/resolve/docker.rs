//! The Docker client, and the facts that only the engine knows: its name and its networks.

use slog::Logger;

use super::ResolveError;
use crate::docker::{ApiVersion, DockerClient, DockerOptions, Endpoint, EngineInfo, VersionChoice};
use crate::host::container::Isolation;
use crate::host::{self, BridgeSubnet, PublicAddress, name};
use crate::settings::{self, DockerUrl, DockerVersion, Settings};
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
    let options = DockerOptions { endpoint, version, tls, timeout: settings.timeout };
    DockerClient::new(options, log.clone())
}

/// Requests the identity of the engine once.
///
/// An engine that refuses its identity is identified by this machine's host name and the URL of
/// the engine. If the public address was detected on an interface, it must lie outside the
/// engine's own networks.
///
/// # Errors
/// Returns an error if the engine does not answer, if this host has no usable name, or if other
/// hosts cannot reach the address.
pub async fn probe_engine(
    docker: &DockerClient,
    settings: &Settings,
    public_address: &PublicAddress,
) -> Result<EngineInfo, ResolveError> {
    let engine = match docker.engine().await? {
        Some(engine) => engine,
        None => EngineInfo::unidentified(docker.endpoint(), docker.api_version().await?),
    };
    let isolation = Isolation::detect();
    let name = match &settings.skydns.hostname {
        None if engine.name.is_empty() => machine_name(isolation)?,
        _ => engine.name.clone(),
    };
    if public_address.detected().next().is_some() {
        check_address(docker, public_address, isolation).await?;
    }
    Ok(EngineInfo { name, ..engine })
}

/// Returns the name of this machine.
fn machine_name(isolation: Isolation) -> Result<String, ResolveError> {
    if isolation.own_hostname {
        return Err(ResolveError::ContainerHostname);
    }
    Ok(name::machine_name()?)
}

/// Checks that a detected address is the host's own.
async fn check_address(
    docker: &DockerClient,
    public_address: &PublicAddress,
    isolation: Isolation,
) -> Result<(), ResolveError> {
    let Some(networks) = docker.networks().await? else {
        let own = public_address.detected().next().filter(|_| isolation.own_network);
        return own.map_or(Ok(()), |detected| {
            Err(ResolveError::ContainerAddress {
                address: detected.address,
                interface: detected.interface.to_owned(),
                setting: detected.setting,
            })
        });
    };
    let subnets = networks.iter().flat_map(|network| {
        network.subnets.iter().filter_map(|subnet| {
            let gateway = subnet.gateway.as_deref();
            BridgeSubnet::parse(&network.name, &network.driver, &subnet.subnet, gateway)
        })
    });
    let subnets: Vec<_> = subnets.collect();
    Ok(host::check_outside_engine_networks(public_address, &subnets)?)
}
