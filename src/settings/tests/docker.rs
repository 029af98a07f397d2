//! Tests of the keys `docker.*`.

use super::*;

#[test]
fn finds_the_engine_like_the_docker_client() {
    let mut with_socket = with_environment(&[]);
    with_socket.docker_socket = "/dev/null".into();
    assert_eq!(settings(&with_socket).docker.url, DockerUrl::Unix("/dev/null".into()));
    with_socket.environment = [("DOCKER_HOST", "tcp://10.0.0.1:2375")].into_iter().collect();
    let engine = |url: &str| DockerUrl::Tcp(url.to_owned());
    assert_eq!(settings(&with_socket).docker.url, engine("10.0.0.1:2375"));
    with_socket.flags = vec![flag("docker.url", "tcp://10.0.0.2")];
    assert_eq!(settings(&with_socket).docker.url, engine("10.0.0.2:2375"));
}

#[test]
fn uses_engine_tls_like_the_docker_client() {
    let docker = |url: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]| {
        let mut sources = with_environment(variables);
        sources.flags = flags.iter().map(|(path, value)| flag(path, value)).collect();
        sources.flags.extend(url.map(|url| flag("docker.url", url)));
        let docker = settings(&sources).docker;
        (docker.url.to_string(), docker.tls)
    };
    let verify = ("DOCKER_TLS_VERIFY", "1");
    let folder = ("DOCKER_CERT_PATH", "/certs");
    let none = TlsFiles::default();
    let usual = TlsFiles {
        ca: Some("/certs/ca.pem".into()),
        identity: Some(ClientIdentity {
            cert: "/certs/cert.pem".into(),
            key: "/certs/key.pem".into(),
        }),
    };
    let own = TlsFiles { ca: Some("/ca".into()), ..none.clone() };
    let own_ca = TlsFiles { ca: Some("/ca".into()), ..usual.clone() };
    let (tcp, ca) = (("DOCKER_HOST", "tcp://e"), ("docker.ca", "/ca"));
    for (url, variables, flags, expected) in [
        (None, &[tcp, verify, folder][..], &[][..], ("https://e:2376/", &usual)),
        (None, &[tcp, folder], &[], ("http://e:2375/", &none)),
        (None, &[tcp, ("DOCKER_TLS_VERIFY", "")], &[], ("http://e:2375/", &none)),
        (None, &[verify], &[], ("https://127.0.0.1:2376/", &none)),
        (None, &[("DOCKER_HOST", "http://e:1"), verify], &[], ("https://e:1/", &none)),
        (Some("tcp://e:9"), &[verify, folder], &[], ("https://e:9/", &usual)),
        (Some("tcp://e"), &[], &[ca], ("https://e:2376/", &own)),
        (Some("tcp://e"), &[verify, folder], &[ca], ("https://e:2376/", &own_ca)),
        (Some("https://e"), &[], &[], ("https://e:2376/", &none)),
        (Some("https://e"), &[folder], &[], ("https://e:2376/", &none)),
        (Some("http://e"), &[verify, folder], &[], ("http://e:2375/", &none)),
        (Some("unix:///d.sock"), &[verify, folder], &[], ("unix:///d.sock", &none)),
    ] {
        let (shown, files) = docker(url, variables, flags);
        assert_eq!((shown.as_str(), &files), expected, "{url:?} {variables:?} {flags:?}");
    }
    for (url, reason) in [
        ("http://e", "docker.url begins with http://, not https://"),
        ("unix:///d.sock", "docker.url is a Unix socket, which does not use TLS"),
    ] {
        let kind = SettingsErrorKind::UnusedTlsFile { reason };
        let sources = with_flags(&[("docker.url", url), ("docker.ca", "/ca")]);
        assert_eq!(only_error(&sources), flag_error("docker.ca", kind));
    }
}
