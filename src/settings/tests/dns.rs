//! Tests of standalone mode and its keys `dns.*`.

use super::*;

#[test]
fn standalone_reads_listen_and_forward_addresses() {
    let alone = ("store", "standalone");
    let forward = ("dns.forward", "9.9.9.9, [2620:fe::fe]:5353");
    let listen = ("dns.listen", "127.0.0.1:5354,[::1]:5354");
    let loaded = settings(&with_flags(&[alone, listen, forward, ("dns.rateLimit", "0")]));
    assert_eq!(loaded.store, StoreKind::Standalone);
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(loaded.dns.listen, addresses(["127.0.0.1:5354", "[::1]:5354"]));
    assert_eq!(loaded.dns.forward, addresses(["9.9.9.9:53", "[2620:fe::fe]:5353"]));
    assert_eq!(loaded.dns.rate_limit, 0);

    // All errors are reported at once.
    let invalid_flags =
        [alone, ("dns.listen", "5354"), ("dns.forward", "dns.example"), ("store", "etcd")];
    let keys: Vec<_> = errors(&with_flags(&invalid_flags)).into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["dns.listen", "dns.forward", "store"]);
    let looping = [alone, ("dns.forward", "127.0.0.1:5354")];
    let kind = SettingsErrorKind::ForwardingLoop { address: socket("127.0.0.1:5354") };
    assert_eq!(only_error(&with_flags(&looping)), flag_error("dns.forward", kind));
    // Without effect in etcd mode, and no error: one file can serve both modes.
    assert_eq!(load(&with_flags(&looping[1..])).unwrap().settings.store, StoreKind::Etcd);

    let open = [alone, ("dns.listen", "0.0.0.0:53"), forward];
    let no_servers = ("dns.forward", "[]");
    assert_eq!(settings(&with_flags(&[alone, no_servers])).dns.forward, []);
    let warnings = |flags: &[_]| load(&with_flags(flags)).unwrap().warnings;
    let listen = "0.0.0.0:53".parse().unwrap();
    assert_eq!(warnings(&open), [Warning::OpenResolver { listen }]);
    for closed in [&open[1..], &open[..2]] {
        assert_eq!(warnings(closed), []);
    }
}

#[test]
fn rejects_overlapping_listen_addresses() {
    let errors = |listen: &str, more: &[(&str, &str)]| {
        let all = [&[("store", "standalone"), ("dns.listen", listen)], more].concat();
        load(&with_flags(&all)).map_or_else(|errors| errors.0, |_| Vec::new())
    };
    for (listen, inside, outside) in [
        ("0.0.0.0:53,127.0.0.1:53", "127.0.0.1:53", "0.0.0.0:53"),
        ("[::1]:53,[::]:53", "[::1]:53", "[::]:53"),
        ("localhost:53,127.0.0.1:53", "127.0.0.1:53", "127.0.0.1:53"),
    ] {
        let (inside, outside) = (socket(inside), socket(outside));
        let kind = SettingsErrorKind::OverlappingAddresses { inside, outside };
        assert_eq!(errors(listen, &[]), [flag_error("dns.listen", kind)]);
    }
    for listen in ["0.0.0.0:53,127.0.0.1:54", "0.0.0.0:53,[::]:53", "127.0.0.1:53,127.0.0.2:53"] {
        assert_eq!(errors(listen, &[]), []);
    }

    let admin = ("admin.listen", "127.0.0.1:9465");
    for listen in ["127.0.0.1:9465", "0.0.0.0:9465"] {
        let (address, admin_address) = (socket(listen), socket(admin.1));
        let kind = SettingsErrorKind::AdminAddressInUse { address, admin: admin_address };
        assert_eq!(errors(listen, &[admin]), [flag_error("dns.listen", kind)]);
    }
    assert_eq!(errors("127.0.0.1:9465", &[("admin.listen", "")]), []);
    assert_eq!(errors("[::1]:9465", &[admin]), []);
    // An invalid admin address is the only error.
    let invalid = errors("127.0.0.1:9465", &[("admin.listen", "9465")]);
    assert_eq!(invalid.iter().map(|error| &error.key).collect::<Vec<_>>(), ["admin.listen"]);
}

#[test]
fn ignores_etcd_file_errors_in_standalone_mode() {
    let with = |more: &[(&str, &str)]| {
        load(&with_flags(
            &[&[("etcd.ca", "/etc/ca.pem"), ("etcd.username", "root")], more].concat(),
        ))
    };
    assert_eq!(with(&[]).unwrap_err().0.len(), 2);
    assert_eq!(with(&[("store", "standalone")]).unwrap().warnings, []);
}
