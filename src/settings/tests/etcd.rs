//! Tests of the keys `etcd.*`.

use super::*;

#[test]
fn user_requires_a_password_or_a_password_file() {
    let credentials = |variables: &[_]| settings(&with_environment(variables)).etcd.credentials;
    let name = ("HIGHHOCK_ETCD__USERNAME", "root");
    let from_variable = credentials(&[name, ("HIGHHOCK_ETCD__PASSWORD", "hunter2")]).unwrap();
    assert_eq!(from_variable.password, SecretSource::Inline(Secret::new("hunter2")));
    let file = credentials(&[name, ("HIGHHOCK_ETCD__PASSWORDFILE", "/run/secret")]).unwrap();
    assert_eq!(file.password, SecretSource::File("/run/secret".into()));
    assert_eq!((from_variable.username.as_str(), file.username.as_str()), ("root", "root"));
    let kind = SettingsErrorKind::MissingOneOf { missing: &["etcd.password", "etcd.passwordFile"] };
    assert_eq!(
        only_error(&with_environment(&[name])),
        variable_error(name.0, "etcd.username", kind)
    );
}

#[test]
fn accepts_several_etcd_members_with_tls() {
    let mut sources = sources();
    sources.flags = vec![
        flag("etcd.url", "https://a:1,https://b:2"),
        flag("etcd.ca", "/ca"),
        flag("etcd.cert", "/cert"),
        flag("etcd.key", "/key"),
    ];
    let etcd = settings(&sources).etcd;
    assert_eq!(etcd.members(), "https://a:1/,https://b:2/");
    let identity = ClientIdentity { cert: "/cert".into(), key: "/key".into() };
    assert_eq!(etcd.tls, TlsFiles { ca: Some("/ca".into()), identity: Some(identity) });

    sources.flags.remove(0);
    let reason = "etcd.url begins with http://, not https://";
    let error = |key: &str| flag_error(key, SettingsErrorKind::UnusedTlsFile { reason });
    assert_eq!(errors(&sources), ["etcd.ca", "etcd.cert", "etcd.key"].map(error));
}
