//! Tests of the environment variables that set keys.

use super::*;

#[test]
fn warns_of_unknown_variables() {
    let sources = with_environment(&[
        ("HIGHHOCK_PORT_4001_TCP", "tcp://10.0.0.1:4001"),
        ("HIGHHOCK_SERVICE_HOST", "10.0.0.1"),
        ("HIGHHOCK_TEST_RUN", "7"),
        ("HIGHHOCK_COLOUR", "red"),
        ("HIGHHOCK_ETCD__URLL", "http://etcd:2379/"),
        ("HIGHHOCK_LOG_LEVEL", "DEBUG"),
    ]);
    let warning = |name: &str, nearest: Option<&str>| Warning::UnknownVariable {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    assert_eq!(
        load(&sources).unwrap().warnings,
        [
            warning("HIGHHOCK_COLOUR", None),
            warning("HIGHHOCK_ETCD__URLL", Some("HIGHHOCK_ETCD__URL")),
            warning("HIGHHOCK_LOG_LEVEL", Some("HIGHHOCK_LOGLEVEL")),
        ]
    );
}

#[test]
fn rejects_variables_with_single_underscores() {
    let kind = SettingsErrorKind::MisspeltVariable { variable: "HIGHHOCK_ETCD__URL".to_owned() };
    let single = [("HIGHHOCK_ETCD_URL", "http://etcd:2379/")];
    let expected = variable_error("HIGHHOCK_ETCD_URL", "etcd.url", kind);
    assert_eq!(only_error(&with_environment(&single)), expected);
    assert_eq!(load(&with_environment(&[("HIGHHOCK_ETCD_URL", "")])).unwrap().warnings, []);
}

#[test]
fn rejects_conflicting_variables_that_differ_in_case() {
    let sources = with_environment(&[("HIGHHOCK_ETCD__TTL", "10"), ("highhock_etcd__ttl", "11")]);
    let other = "environment variable HIGHHOCK_ETCD__TTL".to_owned();
    let kind = SettingsErrorKind::SetTwice { other };
    assert_eq!(only_error(&sources), variable_error("highhock_etcd__ttl", "etcd.ttl", kind));
    let same = with_environment(&[("HIGHHOCK_ETCD__TTL", "10"), ("highhock_etcd__ttl", "10")]);
    let Loaded { settings, warnings, .. } = load(&same).unwrap();
    assert_eq!(settings.etcd.ttl.as_secs(), 10);
    let origin = Origin::Variable("highhock_etcd__ttl".to_owned());
    let other = "environment variable HIGHHOCK_ETCD__TTL".to_owned();
    assert_eq!(warnings, [Warning::SetTwice { origin, key: "etcd.ttl".to_owned(), other }]);
}
