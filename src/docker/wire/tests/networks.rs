//! The ports and networks of an inspection.

use highhock_actors::{NetworkMode, PortRequest, Protocol};
use serde_json::json;

use super::{inspect, inspect_as, inspection_json, matching_inspection};
use crate::docker::wire::{Ipv4Wildcard, VersionResponse};

/// Podman forwards IPv6 to a container that has an IPv6 address.
#[test]
fn wildcard_binds_both_families_as_the_engine_means_it() {
    let (four, both) = (json!({"IPAddress": "10.88.0.2"}), json!({"GlobalIPv6Address": "fd00::2"}));
    for (wildcard, network, host_ip, expected) in [
        (Ipv4Wildcard::Ipv4, &four, "", &["0.0.0.0"][..]),
        (Ipv4Wildcard::Ipv4, &both, "", &["0.0.0.0", "::"]),
        (Ipv4Wildcard::Ipv4, &both, "0.0.0.0", &["0.0.0.0"]),
        (Ipv4Wildcard::Ipv4, &both, "::", &["::"]),
        (Ipv4Wildcard::BothFamilies, &four, "0.0.0.0", &["0.0.0.0"]),
        (Ipv4Wildcard::BothFamilies, &both, "0.0.0.0", &["0.0.0.0", "::"]),
        (Ipv4Wildcard::BothFamilies, &both, "", &["0.0.0.0", "::"]),
        (Ipv4Wildcard::BothFamilies, &both, "::", &["::"]),
        (Ipv4Wildcard::BothFamilies, &both, "192.0.2.7", &["192.0.2.7"]),
    ] {
        let mut json = inspection_json();
        json["NetworkSettings"] = json!({
            "Networks": {"podman": network},
            "Ports": {"53/udp": [{"HostIp": host_ip, "HostPort": "53"}]},
        });
        let container = inspect_as(wildcard, json).unwrap();
        let addresses: Vec<_> =
            container.bindings.iter().map(|it| it.host_address.to_string()).collect();
        assert_eq!(addresses, expected, "{wildcard:?} {network} {host_ip:?}");
    }
}

#[test]
fn meaning_of_the_wildcard_depends_on_the_podman_version() {
    for (name, version, expected) in [
        ("Engine", "29.8.1", Ipv4Wildcard::Ipv4),
        ("Podman Engine", "4.3.1", Ipv4Wildcard::Ipv4),
        ("Podman Engine", "5.0.0", Ipv4Wildcard::BothFamilies),
        ("Podman Engine", "5.8.0-dev", Ipv4Wildcard::BothFamilies),
        ("Podman Engine", "10.1.0", Ipv4Wildcard::BothFamilies),
        ("Podman Engine", "", Ipv4Wildcard::Ipv4),
    ] {
        let version = json!({"ApiVersion": "1.41", "Components": [
            {"Name": "other", "Version": "9.0"}, {"Name": name, "Version": version}]});
        let response: VersionResponse = serde_json::from_value(version).unwrap();
        assert_eq!(response.ipv4_wildcard(), expected, "{name} {expected:?}");
    }
}

#[test]
fn parses_requested_ports() {
    let request = |port, proto, address: &str| PortRequest {
        port,
        proto,
        host_address: address.parse().ok(),
    };
    let mut json = inspection_json();
    json["Config"]["ExposedPorts"] = json!({"80/tcp": {}});
    json["NetworkSettings"]["Ports"] = json!(null);
    json["HostConfig"]["PortBindings"] = json!({
        "80/tcp": [{"HostIp": "", "HostPort": ""}, {"HostIp": "::", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}],
        "81/tcp": null, "x/tcp": [{}], "82/dccp": [{}]});
    let of_ipv4 = inspect(json.clone()).unwrap();
    let udp = request(53, Protocol::Udp, "0.0.0.0");
    let tcp = [request(80, Protocol::Tcp, ""), request(80, Protocol::Tcp, "::")];
    assert_eq!(of_ipv4.requested, [&[udp][..], &tcp].concat());
    let of_both = inspect_as(Ipv4Wildcard::BothFamilies, json.clone()).unwrap();
    assert_eq!(of_both.requested[0], request(53, Protocol::Udp, ""));

    json["HostConfig"] = json!({"PublishAllPorts": true, "PortBindings": null});
    assert_eq!(inspect(json).unwrap().requested, [request(80, Protocol::Tcp, "")]);
    assert_eq!(inspect(matching_inspection()).unwrap().requested, []);
}

#[test]
fn connected_networks_override_the_network_mode() {
    let own = json!({"IPAddress": "172.18.0.2"});
    let none = json!({"IPAddress": ""});
    for (mode, networks, expected) in [
        ("none", json!({"none": none}), NetworkMode::None),
        ("none", json!({}), NetworkMode::None),
        ("none", json!({"lan": own}), NetworkMode::Own),
        ("none", json!({"none": none, "lan": own}), NetworkMode::Own),
        ("none", json!({"lan": null}), NetworkMode::None),
        ("default", json!({"bridge": own}), NetworkMode::Own),
        ("default", json!({}), NetworkMode::Own),
        ("default", json!({"none": none}), NetworkMode::None),
        ("host", json!({"host": none}), NetworkMode::Host),
        ("container:db", json!({}), NetworkMode::Container("db".into())),
        // Podman shows the networks of the other container.
        ("container:db", json!({"lan": own}), NetworkMode::Container("db".into())),
    ] {
        let mut json = inspection_json();
        json["HostConfig"]["NetworkMode"] = json!(mode);
        json["NetworkSettings"]["Networks"] = networks.clone();
        assert_eq!(inspect(json).unwrap().network, expected, "{mode} {networks}");
    }
}
