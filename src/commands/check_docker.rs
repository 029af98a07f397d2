//! Tests the Docker engine: its identity, a listing, and the event stream.

use highhock_actors::{ContainerSource, SourceError, SourceErrorKind};
use slog::Logger;

use super::check_verdict::CheckVerdict;
use crate::docker::{DockerClient, EngineInfo, Refusal};
use crate::host::{NoPublicAddress, PublicAddress};
use crate::resolve::{ResolveError, docker_client, probe_engine};
use crate::settings::Settings;

/// The result of the test of Docker.
pub(super) struct DockerCheck {
    pub verdict: CheckVerdict,
    /// The restrictions with which the daemon works.
    pub warnings: Vec<String>,
    /// An error of the public address that only the engine reveals.
    pub address_error: Option<String>,
}

impl DockerCheck {
    fn new(verdict: CheckVerdict) -> Self {
        Self { verdict, warnings: Vec::new(), address_error: None }
    }
}

/// Sends the requests of the daemon once.
pub(super) async fn check_docker(
    settings: &Settings,
    public_address: &Result<PublicAddress, NoPublicAddress>,
    log: &Logger,
) -> DockerCheck {
    let docker = match docker_client(&settings.docker, log) {
        Ok(docker) => docker,
        Err(error) => return DockerCheck::new(CheckVerdict::Misconfigured(error.to_string())),
    };
    let (identity, address_error) = match identify(&docker, settings, public_address).await {
        Ok(identity) => (identity, None),
        Err(error @ (ResolveError::Docker(_) | ResolveError::ContainerHostname)) => {
            return DockerCheck::new(CheckVerdict::from(&error));
        }
        Err(error) => (docker.endpoint().to_string(), Some(error.to_string())),
    };
    match check_rights(&docker, settings).await {
        Ok(DockerRights { containers, warnings }) => DockerCheck {
            verdict: CheckVerdict::Passed(format!("{identity}, {containers} containers")),
            warnings,
            address_error,
        },
        Err(error) => {
            let verdict = CheckVerdict::Failed(error.to_string());
            DockerCheck { address_error, ..DockerCheck::new(verdict) }
        }
    }
}

async fn identify(
    docker: &DockerClient,
    settings: &Settings,
    public_address: &Result<PublicAddress, NoPublicAddress>,
) -> Result<String, ResolveError> {
    let endpoint = docker.endpoint();
    let engine = match public_address {
        Ok(public_address) => Some(probe_engine(docker, settings, public_address).await?),
        Err(_) => docker.engine().await?,
    };
    Ok(match engine {
        Some(EngineInfo { version, api, name, .. }) => {
            format!("{endpoint}: engine {version}, API {api}, on host {name:?}")
        }
        None => endpoint.to_string(),
    })
}

/// Returns the warning about networks that could not be read.
fn unreadable_networks(docker: &DockerClient) -> Option<String> {
    let count = docker.unreadable_networks();
    let text = format!("{count} unreadable networks; the address is not compared with them");
    (count > 0).then_some(text)
}

/// The running containers, and the restrictions of the engine.
struct DockerRights {
    containers: usize,
    warnings: Vec<String>,
}

/// Lists the containers and opens the event stream.
async fn check_rights(
    docker: &DockerClient,
    settings: &Settings,
) -> Result<DockerRights, SourceError> {
    let listing = docker.list().await?;
    let mut warnings: Vec<_> = docker
        .replaced_version()
        .map(|pinned| format!("docker.version {pinned} is not supported; set it to auto"))
        .into_iter()
        .chain(unreadable_networks(docker))
        .chain(listing.unreadable.iter().map(|row| format!("unreadable row: {}", row.reason)))
        .collect();
    if settings.docker.events
        && let Err(error) = docker.events(None).await.map(drop)
        && error.kind != SourceErrorKind::Refused
    {
        warnings.push(format!("events: {error}"));
    }
    warnings.extend(docker.refusals().into_iter().map(|Refusal { endpoint, error }| {
        format!("{} is refused: {}; {error}", endpoint.path(), endpoint.loss())
    }));
    Ok(DockerRights { containers: listing.containers.len(), warnings })
}
