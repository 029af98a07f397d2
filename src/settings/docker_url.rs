//! Where the Docker engine is and whether TLS is spoken to it: worked out of
//! `docker.*`, and of the variables of Docker's own client.

use std::path::{Path, PathBuf};

use super::error::{Origin, SettingsError, SettingsErrorKind};
use super::merged::MergedConfig;
use super::sources::Sources;
use super::value_type::ValueEncoding;
use super::values::{self, DockerUrl, EngineScheme, EngineUrl};
use super::{keys, tls_and_credentials};
use crate::tls::{ClientIdentity, TlsFiles};

const URL: &str = "docker.url";

/// `docker.url`, where it is set; else as Docker's own client would find its
/// engine; else as HighHock always did. With the files that TLS takes, none
/// where it is not spoken.
pub(super) fn engine(
    config: &MergedConfig,
    sources: &Sources,
    earlier_errors: &[SettingsError],
) -> Result<(DockerUrl, TlsFiles), Vec<SettingsError>> {
    let url = url(config, sources);
    let own = tls_and_credentials::tls_files(config, "docker", earlier_errors);
    let (url, own) = match (url, own) {
        (Ok(url), Ok(own)) => (url, own),
        (url, own) => return Err(super::lookup::join_errors(url.err(), own.err())),
    };
    let verify = sources.environment.get("DOCKER_TLS_VERIFY").is_some();
    let (scheme, host, port) = match url {
        EngineUrl::Unix(path) => {
            tls_and_credentials::refuse_files(config, "docker", "a Unix socket speaks no TLS")?;
            return Ok((DockerUrl::Unix(path), TlsFiles::default()));
        }
        EngineUrl::Net { scheme, host, port } => (scheme, host, port),
    };
    if scheme == EngineScheme::Http {
        tls_and_credentials::refuse_files(
            config,
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
    let files = folder.map_or(own.clone(), |folder| with_folder_files(own, Path::new(&folder)));
    Ok((DockerUrl::Tls(authority(&host, port, 2376)), files))
}

/// With Docker's own client's files for what no setting names.
fn with_folder_files(own: TlsFiles, folder: &Path) -> TlsFiles {
    let default_identity =
        ClientIdentity { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    TlsFiles {
        ca: own.ca.or_else(|| Some(folder.join("ca.pem"))),
        identity: own.identity.or(Some(default_identity)),
    }
}

fn authority(host: &str, port: Option<u16>, default_port: u16) -> String {
    format!("{host}:{}", port.unwrap_or(default_port))
}

fn url(config: &MergedConfig, sources: &Sources) -> Result<EngineUrl, Vec<SettingsError>> {
    if let Some(url) = super::lookup::parsed_if_set(config, URL, values::docker_url)? {
        return Ok(url);
    }
    let Some(host) = sources.environment.get("DOCKER_HOST") else {
        return Ok(if sources.docker_socket.exists() {
            EngineUrl::Unix(PathBuf::from(&sources.docker_socket))
        } else {
            tcp("127.0.0.1", None)
        });
    };
    match keys::find(URL).map(|key| key.read(&host.as_str().into(), ValueEncoding::Text)) {
        Some(Err(kind)) => {
            let origin = Origin::Variable("DOCKER_HOST".to_owned());
            Err(vec![SettingsError { origin, key: URL.to_owned(), kind }])
        }
        _ => match values::docker_url(&host) {
            // Docker's own client speaks TLS to it where its variables say so.
            Ok(EngineUrl::Net { scheme: EngineScheme::Http, host, port }) => Ok(tcp(&host, port)),
            Ok(url) => Ok(url),
            Err(error) => Err(super::lookup::internal_error(
                URL,
                &SettingsErrorKind::File(format!("{error:?}")),
            )),
        },
    }
}

fn tcp(host: &str, port: Option<u16>) -> EngineUrl {
    EngineUrl::Net { scheme: EngineScheme::Tcp, host: host.to_owned(), port }
}
