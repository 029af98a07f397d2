//! The real engine, behind TLS.

use std::time::Duration;

use highhock::docker::{Docker, DockerOptions, Endpoint, VersionChoice};
use highhock::tls::TlsFiles;
use highhock_actors::{ContainerSource, SourceError, SourceErrorKind};

use crate::quiet;
use crate::support::certs::{Authority, Like};
use crate::support::tls_proxy::TlsFront;
use crate::support::{TempDir, docker};

fn client(front: &TlsFront, tls: TlsFiles) -> Docker {
    let endpoint = Endpoint::parse(&format!("https://{}", front.authority())).unwrap();
    let timeout = Duration::from_secs(10);
    let options = DockerOptions { endpoint, version: VersionChoice::Auto, tls, timeout };
    Docker::new(options, quiet()).unwrap()
}

#[track_caller]
fn line<T: std::fmt::Debug>(outcome: Result<T, SourceError>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(!error.message.chars().any(char::is_control), "{error}");
    println!("{error}");
    error.message
}

#[actix_rt::test]
async fn an_engine_behind_tls_is_asked_as_any_other() {
    let (folder, ca) = (TempDir::new(), Authority::new("private"));
    let server = ca.issue(&folder.0, "server", Like::default());
    let files = ca.client(&folder.0, Some(Like::default()));
    let front = TlsFront::start(&server, files.ca.as_deref(), docker::place());
    let docker = client(&front, files);
    assert!(!docker.engine().await.unwrap().version.is_empty());
    docker.list().await.unwrap();
}

#[actix_rt::test]
async fn each_fault_of_a_certificate_is_told_by_its_setting_and_mends_when_replaced() {
    let (folder, ca, other) =
        (TempDir::new(), Authority::new("private"), Authority::new("another"));
    let server = ca.issue(&folder.0, "server", Like::default());
    let client_ca = ca.write(&folder.0.join("client-ca.pem"));
    let front = TlsFront::start(&server, Some(&client_ca), docker::place());
    let files = other.client(&folder.0, Some(Like::default()));
    let docker = client(&front, files.clone());
    let said = line(docker.engine().await);
    assert!(said.contains("by a CA that docker.ca ("), "{said}");

    ca.write(files.ca.as_ref().unwrap());
    let said = line(docker.engine().await);
    assert!(said.contains("refuses the client certificate in "), "{said}");
    let without = TlsFiles { identity: None, ..files };
    let said = line(client(&front, without).engine().await);
    assert!(said.contains("set docker.cert and docker.key"), "{said}");

    ca.issue(&folder.0, "client", Like::default());
    docker.engine().await.unwrap();
}

#[actix_rt::test]
async fn tls_where_none_is_spoken_is_told() {
    let plain = crate::support::cuttable_proxy::Relay::tcp(docker::place());
    let endpoint = Endpoint::parse(&format!("https://{}", plain.authority())).unwrap();
    let (version, tls) = (VersionChoice::Auto, TlsFiles::default());
    let (folder, ca) = (TempDir::new(), Authority::new("private"));
    let tls = TlsFiles { ca: Some(ca.write(&folder.0.join("ca.pem"))), ..tls };
    let options = DockerOptions { endpoint, version, tls, timeout: Duration::from_secs(10) };
    let said = line(Docker::new(options, quiet()).unwrap().engine().await);
    assert!(said.contains("is docker.url to be http://?"), "{said}");
}
