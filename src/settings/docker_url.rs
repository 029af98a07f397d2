//! The Docker engine's URL and TLS files, from `docker.*` and the variables of Docker's own
//! client.

use std::path::{Path, PathBuf};

use super::error::{Origin, SettingsError};
use super::lookup::{internal_error, ok_or_collect, parsed_if_set};
use super::merged::MergedConfig;
use super::sources::Sources;
use super::value_type::ValueEncoding;
use super::values::{self, DockerUrl, EngineScheme, EngineUrl};
use super::{keys, tls_and_credentials};
use crate::tls::{ClientIdentity, TlsFiles};

const URL: &str = "docker.url";

/// Returns the engine's URL and the files for TLS, which are empty without TLS.
///
/// The URL is `docker.url` if it is set, else the URL that Docker's own client would use, else
/// HighHock's own default.
pub(super) fn engine(
    config: &MergedConfig,
    sources: &Sources,
    earlier_errors: &[SettingsError],
) -> Result<(DockerUrl, TlsFiles), Vec<SettingsError>> {
    let mut errors = Vec::new();
    let url = ok_or_collect(url(config, sources), &mut errors);
    let files = tls_and_credentials::tls_files(config, "docker", earlier_errors);
    let files = ok_or_collect(files, &mut errors);
    let (Some(url), Some(files)) = (url, files) else { return Err(errors) };
    let verify = sources.environment.get("DOCKER_TLS_VERIFY").is_some();
    let (scheme, host, port) = match url {
        EngineUrl::Unix(path) => {
            let reason = "docker.url is a Unix socket, which does not use TLS";
            tls_and_credentials::reject_tls_files(config, "docker", reason)?;
            return Ok((DockerUrl::Unix(path), TlsFiles::default()));
        }
        EngineUrl::Net { scheme, host, port } => (scheme, host, port),
    };
    if scheme == EngineScheme::Http {
        let reason = "docker.url begins with http://, not https://";
        tls_and_credentials::reject_tls_files(config, "docker", reason)?;
    }
    let uses_tls = match scheme {
        EngineScheme::Http => false,
        EngineScheme::Https => true,
        EngineScheme::Tcp => verify || !files.is_empty(),
    };
    if !uses_tls {
        return Ok((DockerUrl::Tcp(authority(&host, port, 2375)), TlsFiles::default()));
    }
    let folder = sources.environment.get("DOCKER_CERT_PATH").filter(|_| verify);
    let files = folder.map_or(files.clone(), |folder| with_folder_files(files, Path::new(&folder)));
    Ok((DockerUrl::Tls(authority(&host, port, 2376)), files))
}

/// Adds the files that Docker's own client would use for those that no setting names.
fn with_folder_files(files: TlsFiles, folder: &Path) -> TlsFiles {
    let default_identity =
        ClientIdentity { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    TlsFiles {
        ca: files.ca.or_else(|| Some(folder.join("ca.pem"))),
        identity: files.identity.or(Some(default_identity)),
    }
}

fn authority(host: &str, port: Option<u16>, default_port: u16) -> String {
    format!("{host}:{}", port.unwrap_or(default_port))
}

fn url(config: &MergedConfig, sources: &Sources) -> Result<EngineUrl, Vec<SettingsError>> {
    if let Some(url) = parsed_if_set(config, URL, values::docker_url)? {
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
            // Docker's own client uses TLS with `http://` too if its variables select TLS.
            Ok(EngineUrl::Net { scheme: EngineScheme::Http, host, port }) => Ok(tcp(&host, port)),
            Ok(url) => Ok(url),
            Err(error) => Err(internal_error(URL, &format!("{error:?}"))),
        },
    }
}

fn tcp(host: &str, port: Option<u16>) -> EngineUrl {
    EngineUrl::Net { scheme: EngineScheme::Tcp, host: host.to_owned(), port }
}
