//! Tests of the keys `admin.*`, for the daemon and for its clients.

use super::*;

#[test]
fn admin_access_ignores_errors_of_other_keys() {
    let mut sources = with_file("tests/fixtures/several-faults.json");
    sources.environment = [
        ("HIGHHOCK_ETCD__TTL", "1m"),
        ("HIGHHOCK_ETCD_URL", "http://etcd/"),
        ("HIGHHOCK_ADMIN__LISTEN", "10.0.0.1:9000"),
    ]
    .into_iter()
    .collect();
    sources.flags = vec![flag("logFormat", "xml"), flag("logLevel", "DEBUG")];
    let AdminAccess { admin, log, warnings } = load_admin(&sources).unwrap();
    // The daemon would reject this address without a token. A client needs no token.
    assert_eq!(admin.listen, Some(socket("10.0.0.1:9000")));
    assert_eq!((log.level, log.format), (LogLevel::Debug, LogFormat::Terminal));
    assert_eq!(warnings, []);
    for (variable, key) in [
        ("HIGHHOCK_ADMIN__LISTEN", "admin.listen"),
        ("HIGHHOCK_ADMIN_LISTEN", "admin.listen"),
        ("HIGHHOCK_ADMIN__ALLOWREMOTE", "admin.allowRemote"),
    ] {
        sources.environment = [(variable, "x")].into_iter().collect();
        let keys: Vec<_> = load_admin(&sources).unwrap_err().0.into_iter().map(|e| e.key).collect();
        assert_eq!(keys, [key]);
    }
}

#[test]
fn admin_access_ignores_an_unusable_file_with_a_warning() {
    for (name, is_ignored) in [
        ("tests/fixtures/broken.json", true),
        ("tests/fixtures/empty.json", true),
        ("src", true),
        ("nonexistent.json", false),
    ] {
        let sources = Sources { flags: vec![flag("admin.listen", "[::1]:1")], ..with_file(name) };
        match load_admin(&sources) {
            Ok(AdminAccess { admin, warnings, .. }) => {
                assert!(is_ignored, "{name}");
                assert_eq!(admin.listen, Some(socket("[::1]:1")));
                assert!(matches!(&warnings[..], [Warning::FileIgnored(_)]), "{warnings:?}");
            }
            Err(errors) => assert!(!is_ignored, "{errors}"),
        }
    }
}

#[test]
fn remote_listen_needs_a_token_or_allow_remote() {
    let listening = |variables: &[_]| settings(&with_environment(variables)).admin;
    const LISTEN: &str = "HIGHHOCK_ADMIN__LISTEN";
    for (text, address) in [
        ("127.0.0.1:9465", "127.0.0.1:9465"),
        ("127.9.9.9:80", "127.9.9.9:80"),
        ("[::1]:9465", "[::1]:9465"),
        ("localhost:9465", "127.0.0.1:9465"),
    ] {
        assert_eq!(listening(&[(LISTEN, text)]).listen, Some(address.parse().unwrap()));
    }
    assert_eq!(settings(&with_flags(&[("admin.listen", "")])).admin.listen, None);
    for text in
        ["0.0.0.0:9465", "10.0.0.1:9465", "[::]:9465", "[fe80::1]:80", "[::ffff:1.2.3.4]:80"]
    {
        let kind = SettingsErrorKind::UnprotectedAdmin { address: socket(text) };
        assert_eq!(
            only_error(&with_environment(&[(LISTEN, text)])),
            variable_error(LISTEN, "admin.listen", kind)
        );
        assert!(listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__ALLOWREMOTE", "true")]).allow_remote);
        let admin = listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__TOKEN", "hunter2")]);
        assert_eq!(admin.token, Some(SecretSource::Inline(Secret::new("hunter2"))));
        let admin = listening(&[(LISTEN, text), ("HIGHHOCK_ADMIN__TOKENFILE", "/run/token")]);
        assert_eq!(admin.token, Some(SecretSource::File("/run/token".into())));
    }
    for (text, found) in [
        ("9465", "\"9465\""),
        (":9465", "\":9465\" (the address is missing)"),
        ("host:9465", "\"host:9465\""),
        ("127.0.0.1", "\"127.0.0.1\""),
        ("127.0.0.1:0", "\"127.0.0.1:0\" (port 0 is not allowed)"),
        ("127.0.0.1:99999", "\"127.0.0.1:99999\""),
    ] {
        let kind = invalid_value(
            found,
            "an address with a port, such as 127.0.0.1:9465 or [::1]:9465, or an empty value",
        );
        assert_eq!(
            only_error(&with_environment(&[(LISTEN, text)])),
            variable_error(LISTEN, "admin.listen", kind)
        );
    }
}

#[test]
fn validates_the_token_and_its_single_source() {
    const TOKEN: &str = "HIGHHOCK_ADMIN__TOKEN";
    for token in ["two words", "t\u{f6}ken", "line\n"] {
        let kind = invalid_value("a value (not shown)", "a token of visible ASCII characters");
        assert_eq!(
            only_error(&with_environment(&[(TOKEN, token)])),
            variable_error(TOKEN, "admin.token", kind)
        );
    }
    let file = ("HIGHHOCK_ADMIN__TOKENFILE", "/run/token");
    let kind = SettingsErrorKind::Exclusive { other: "admin.token" };
    assert_eq!(
        only_error(&with_environment(&[(TOKEN, "hunter2"), file])),
        variable_error(file.0, "admin.tokenFile", kind)
    );
    // An invalid token is not also reported as missing.
    let invalid = [(TOKEN, "two words"), ("HIGHHOCK_ADMIN__LISTEN", "0.0.0.0:9465")];
    assert_eq!(only_error(&with_environment(&invalid)).key, "admin.token");
}
