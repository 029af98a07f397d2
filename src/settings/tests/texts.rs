//! The texts of errors and warnings.

use super::*;

#[test]
fn each_error_has_its_wording() {
    use SettingsErrorKind as Kind;
    let text = str::to_owned;
    for (kind, wording) in [
        (
            invalid_value("4", "a whole number from 5 to 86400 (seconds)"),
            "found 4; expected a whole number from 5 to 86400 (seconds)",
        ),
        (Kind::UnknownKey { nearest: None }, "unknown key"),
        (
            Kind::UnknownKey { nearest: Some("logLevel") },
            "unknown key; the nearest known key is logLevel",
        ),
        (
            Kind::SetTwice { other: text("discovery.host") },
            "also set as discovery.host, to a different value; set only one of the two",
        ),
        (Kind::GivenTwice, "given twice, with different values; keep only one of the two"),
        (
            Kind::MisspeltVariable { variable: text("HIGHHOCK_ETCD__URL") },
            "written with single underscores; rename the variable to HIGHHOCK_ETCD__URL",
        ),
        (
            Kind::MissingKey { missing: text("etcd.username") },
            "set without etcd.username; set both or neither",
        ),
        (
            Kind::MissingOneOf { missing: &["etcd.password", "etcd.passwordFile"] },
            "set without etcd.password or etcd.passwordFile; set one of them",
        ),
        (
            Kind::Exclusive { other: "admin.token" },
            "set together with admin.token; set only one of the two",
        ),
        (
            Kind::UnusedTlsFile { reason: "etcd.url begins with http://, not https://" },
            "set, but etcd.url begins with http://, not https://; remove this key or change the \
                URL",
        ),
        (
            Kind::NeedsInstanceLayout { found: text("\"auto\""), reason: "of a reason" },
            "found \"auto\", but skydns.layout is flat; set skydns.layout to instance, because of a \
             reason",
        ),
        (
            Kind::OverlappingAddresses {
                inside: socket("127.0.0.1:53"),
                outside: socket("0.0.0.0:53"),
            },
            "127.0.0.1:53 is included in 0.0.0.0:53, which is listed too; remove one of the two",
        ),
        (
            Kind::AdminAddressInUse {
                address: socket("0.0.0.0:9465"),
                admin: socket("127.0.0.1:9465"),
            },
            "0.0.0.0:9465 conflicts with admin.listen 127.0.0.1:9465; change the port of one of \
             the two",
        ),
        (
            Kind::ForwardingLoop { address: socket("127.0.0.1:5354") },
            "127.0.0.1:5354 is listed in dns.listen too, so queries would loop; list other DNS \
             servers",
        ),
        (
            Kind::UnprotectedAdmin { address: socket("0.0.0.0:9465") },
            "0.0.0.0:9465 is reachable from other hosts; use a loopback address such as \
             127.0.0.1:9465, or set admin.token, admin.tokenFile or admin.allowRemote",
        ),
        (Kind::MissingFile, "no such file"),
        (
            Kind::MissingFileOfVariable { variable: text("HIGHHOCK_CONFIG") },
            "no such file; correct or unset the environment variable HIGHHOCK_CONFIG",
        ),
        (
            Kind::MissingAttachedFile { written: text("-cleanup"), file: text("leanup") },
            "no such file: -cleanup means -c leanup; name a file by -c FILE, and begin a long flag \
             with two dashes",
        ),
        (Kind::EmptyFile, "empty file; add keys to it, or remove it to use the defaults"),
        (Kind::UnreadableFile(text("a reason")), "cannot be read: a reason"),
        (Kind::UnparsableFile(text("a reason")), "cannot be parsed: a reason"),
        (Kind::Internal(text("a reason")), "internal error: a reason; please report it"),
    ] {
        assert_eq!(kind.to_string(), wording);
    }

    let missing = SettingsErrorKind::MissingFile;
    let file = Origin::File("/etc/highhock.json".into());
    let errors = [
        SettingsError { origin: file, key: String::new(), kind: missing.clone() },
        variable_error("HIGHHOCK_ETCD__TTL", "etcd.ttl", missing.clone()),
        flag_error("etcd.ttl", missing),
    ];
    let lines = [
        "  /etc/highhock.json: no such file",
        "  environment variable HIGHHOCK_ETCD__TTL: etcd.ttl: no such file",
        "  flag --etcd-ttl: etcd.ttl: no such file",
    ];
    let text = SettingsErrors(errors[..1].to_vec()).to_string();
    assert_eq!(text, format!("1 error in the configuration:\n{}", lines[0]));
    let text = SettingsErrors(errors.to_vec()).to_string();
    assert_eq!(text, format!("3 errors in the configuration:\n{}", lines.join("\n")));
}

#[test]
fn each_warning_has_its_wording() {
    let unknown_variable = |nearest: Option<&str>| Warning::UnknownVariable {
        name: "HIGHHOCK_A".into(),
        nearest: nearest.map(str::to_owned),
    };
    let file = Origin::File("/etc/highhock.json".into());
    let unreadable = SettingsError {
        origin: file.clone(),
        key: String::new(),
        kind: SettingsErrorKind::UnreadableFile("a reason".to_owned()),
    };
    for (warning, wording) in [
        (unknown_variable(None), "environment variable HIGHHOCK_A ignored: it names no key"),
        (
            unknown_variable(Some("HIGHHOCK_ETCD__URL")),
            "environment variable HIGHHOCK_A ignored: it names no key; the nearest known variable \
             is HIGHHOCK_ETCD__URL",
        ),
        (
            Warning::SetTwice {
                origin: file.clone(),
                key: "publicHost".into(),
                other: "discovery.host".into(),
            },
            "/etc/highhock.json: publicHost: also set as discovery.host, to the same value; remove \
             one of the two",
        ),
        (
            Warning::GivenTwice { origin: file.clone(), key: "etcd.ttl".into() },
            "/etc/highhock.json: etcd.ttl: given twice, with the same value; remove one of the two",
        ),
        (
            Warning::OnlyComments(file),
            "/etc/highhock.json: sets no key: the file has only comments; uncomment the keys to set",
        ),
        (
            Warning::FileIgnored(unreadable),
            "/etc/highhock.json: cannot be read: a reason; finding the daemon by the defaults, \
             environment variables and flags of admin.*",
        ),
        (
            Warning::SkydnsTtlIgnored { skydns: 5, etcd: 60 },
            "skydns.ttl 5 ignored: it is lower than etcd.ttl, so records contain 60; set \
             skydns.exactTtl to use it",
        ),
        (
            Warning::OpenResolver { listen: socket("0.0.0.0:53") },
            "dns.forward is set, and 0.0.0.0:53 in dns.listen is reachable from other hosts: \
             queries for other domains are forwarded for this host and for all clients with a \
             loopback, private or link-local address, and refused for all others; block unwanted \
             clients with a firewall, or unset dns.forward",
        ),
    ] {
        assert_eq!(warning.to_string(), wording);
    }
}
