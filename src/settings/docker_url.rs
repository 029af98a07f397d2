//! Where the Docker engine is and whether TLS is spoken to it: worked out of
//! `docker.*`, and of the variables of Docker's own client.

use std::path::{Path, PathBuf};

use super::error::{Fault, Origin, Problem};
use super::merged::Inputs;
use super::sources::Sources;
use super::value_type::Form;
use super::values::{self, DockerUrl, EngineScheme, EngineUrl};
use super::{keys, tls_and_credentials};
use crate::tls::{Identity, TlsFiles};

const URL: &str = "docker.url";

/// `docker.url`, where it is set; else as Docker's own client would find its
/// engine; else as HighHock always did. With the files that TLS takes, none
/// where it is not spoken.
pub(super) fn engine(
    inputs: &Inputs,
    sources: &Sources,
    others: &[Fault],
) -> Result<(DockerUrl, TlsFiles), Vec<Fault>> {
    let url = url(inputs, sources);
    let own = tls_and_credentials::tls_files(inputs, "docker", others);
    let (url, own) = match (url, own) {
        (Ok(url), Ok(own)) => (url, own),
        (url, own) => return Err(super::lookup::all_faults(url.err(), own.err())),
    };
    let verify = sources.environment.get("DOCKER_TLS_VERIFY").is_some();
    let (scheme, host, port) = match url {
        EngineUrl::Unix(path) => {
            tls_and_credentials::refuse_files(inputs, "docker", "a Unix socket speaks no TLS")?;
            return Ok((DockerUrl::Unix(path), TlsFiles::default()));
        }
        EngineUrl::Net { scheme, host, port } => (scheme, host, port),
    };
    if scheme == EngineScheme::Http {
        tls_and_credentials::refuse_files(
            inputs,
            "docker",
            "docker.url begins with http://, not https://",
        )?;
    }
    let is_tls = match scheme {
        EngineScheme::Http => false,
        EngineScheme::Https => true,
        EngineScheme::Tcp => verify || !own.is_empty(),
    };
    if !is_tls {
        return Ok((DockerUrl::Tcp(authority(&host, port, 2375)), TlsFiles::default()));
    }
    let folder = sources.environment.get("DOCKER_CERT_PATH").filter(|_| verify);
    let files = folder.map_or(own.clone(), |folder| completed(own, Path::new(&folder)));
    Ok((DockerUrl::Tls(authority(&host, port, 2376)), files))
}

/// With Docker's own client's files for what no setting names.
fn completed(own: TlsFiles, folder: &Path) -> TlsFiles {
    let usual = Identity { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    TlsFiles {
        ca: own.ca.or_else(|| Some(folder.join("ca.pem"))),
        identity: own.identity.or(Some(usual)),
    }
}

fn authority(host: &str, port: Option<u16>, usual: u16) -> String {
    format!("{host}:{}", port.unwrap_or(usual))
}

fn url(inputs: &Inputs, sources: &Sources) -> Result<EngineUrl, Vec<Fault>> {
    if let Some(url) = super::lookup::parsed_if_set(inputs, URL, values::docker_url)? {
        return Ok(url);
    }
    let Some(host) = sources.environment.get("DOCKER_HOST") else {
        return Ok(match sources.docker_socket.exists() {
            true => EngineUrl::Unix(PathBuf::from(&sources.docker_socket)),
            false => tcp("127.0.0.1", None),
        });
    };
    match keys::find(URL).map(|key| key.read(&host.as_str().into(), Form::Text)) {
        Some(Err(problem)) => {
            let origin = Origin::Variable("DOCKER_HOST".to_owned());
            Err(vec![Fault { origin, key: URL.to_owned(), problem }])
        }
        _ => match values::docker_url(&host) {
            // Docker's own client speaks TLS to it where its variables say so.
            Ok(EngineUrl::Net { scheme: EngineScheme::Http, host, port }) => Ok(tcp(&host, port)),
            Ok(url) => Ok(url),
            Err(rejection) => {
                Err(super::lookup::slip(URL, &Problem::File(format!("{rejection:?}"))))
            }
        },
    }
}

fn tcp(host: &str, port: Option<u16>) -> EngineUrl {
    EngineUrl::Net { scheme: EngineScheme::Tcp, host: host.to_owned(), port }
}
