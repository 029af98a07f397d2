//! The real engine behind a TLS proxy.

use std::time::Duration;

use highhock::docker::{DockerClient, DockerOptions, Endpoint, VersionChoice};
use highhock::tls::TlsFiles;
use highhock_actors::{ContainerSource, SourceError, SourceErrorKind};

use crate::quiet;
use crate::support::certs::{CertificateAuthority, CertificateOptions};
use crate::support::tls_proxy::TlsProxy;
use crate::support::{TempDir, docker};

fn client(front: &TlsProxy, tls: TlsFiles) -> DockerClient {
    let endpoint = Endpoint::parse(&format!("https://{}", front.authority())).unwrap();
    let timeout = Duration::from_secs(10);
    let options = DockerOptions { endpoint, version: VersionChoice::Auto, tls, timeout };
    DockerClient::new(options, quiet()).unwrap()
}

#[track_caller]
fn error_line<T: std::fmt::Debug>(outcome: Result<T, SourceError>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(!error.message.chars().any(char::is_control), "{error}");
    println!("{error}");
    error.message
}

#[actix_rt::test]
async fn connects_to_an_engine_with_tls() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let server = ca.issue(&folder.0, "server", CertificateOptions::default());
    let files = ca.client(&folder.0, Some(CertificateOptions::default()));
    let front = TlsProxy::start(&server, files.ca.as_deref(), docker::server_address());
    let docker = client(&front, files);
    assert!(!docker.engine().await.unwrap().unwrap().version.is_empty());
    docker.list().await.unwrap();
}

#[actix_rt::test]
async fn certificate_error_names_the_setting_until_replaced() {
    let (folder, ca, other) = (
        TempDir::new(),
        CertificateAuthority::new("private"),
        CertificateAuthority::new("another"),
    );
    let server = ca.issue(&folder.0, "server", CertificateOptions::default());
    let client_ca = ca.write(&folder.0.join("client-ca.pem"));
    let front = TlsProxy::start(&server, Some(&client_ca), docker::server_address());
    let files = other.client(&folder.0, Some(CertificateOptions::default()));
    let docker = client(&front, files.clone());
    let text = error_line(docker.engine().await);
    assert!(text.contains("by a CA that is not in docker.ca ("), "{text}");

    ca.write(files.ca.as_ref().unwrap());
    let text = error_line(docker.engine().await);
    assert!(text.contains("refuses the client certificate in "), "{text}");
    let without = TlsFiles { identity: None, ..files };
    let text = error_line(client(&front, without).engine().await);
    assert!(text.contains("set docker.cert and docker.key"), "{text}");

    ca.issue(&folder.0, "client", CertificateOptions::default());
    docker.engine().await.unwrap();
}

#[actix_rt::test]
async fn reports_tls_to_a_plain_port() {
    let plain = crate::support::cuttable_proxy::CuttableProxy::tcp(docker::server_address());
    let endpoint = Endpoint::parse(&format!("https://{}", plain.authority())).unwrap();
    let (version, tls) = (VersionChoice::Auto, TlsFiles::default());
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let tls = TlsFiles { ca: Some(ca.write(&folder.0.join("ca.pem"))), ..tls };
    let options = DockerOptions { endpoint, version, tls, timeout: Duration::from_secs(10) };
    let text = error_line(DockerClient::new(options, quiet()).unwrap().engine().await);
    assert!(text.contains("should docker.url be http://?"), "{text}");
}
