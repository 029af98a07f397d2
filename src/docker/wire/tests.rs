use std::time::Duration;

use highhock_actors::model::container::SIGTERM;
use highhock_actors::{
    Container, ContainerState, ContainerSummary, EngineTime, Health, NetworkAttachment, NetworkMode,
};
use serde_json::{Value, json};

use super::Ipv4Wildcard;
use super::inspection::Inspection;
use super::row::ListingRow;
use super::unexpected_field::UnexpectedField;

mod networks;

const ID: &str = "f00dfeed0123456789abcdef0123456789abcdef0123456789abcdef01234567";

fn row_json() -> Value {
    json!({
        "Id": ID, "Names": ["/db/web", "/web"], "Image": "httpd:1", "ImageID": "sha256:1",
        "State": "running", "Status": "Up 5 minutes (healthy)",
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"}],
        "Labels": {"a": "1", "b": "2"},
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {"bridge": {"IPAMConfig": null, "NetworkID": "n",
            "EndpointID": "e1", "IPAddress": "172.17.0.2", "GlobalIPv6Address": "", "MacAddress": "02:42:ac:11:00:02"}}},
        "Mounts": []
    })
}

fn row(value: Value) -> ContainerSummary {
    serde_json::from_value::<ListingRow>(value).unwrap().into()
}

/// Returns the sample row with one value replaced.
fn row_with(pointer: &str, value: Value) -> ContainerSummary {
    let mut json = row_json();
    *json.pointer_mut(pointer).unwrap() = value;
    row(json)
}

#[test]
fn parses_a_row() {
    let row = row(row_json());
    assert_eq!(row.id.as_str(), ID);
    assert_eq!(row.name, "web");
    assert_eq!(row.network, NetworkMode::Own);
    assert_eq!(row.uptime, Some(Duration::from_secs(300)));
}

#[test]
fn parses_a_row_with_only_an_id() {
    for value in [
        json!({"Id": ID}),
        json!({"Id": ID, "Names": null, "State": null, "Status": null, "Ports": null,
               "Labels": null, "HostConfig": null, "NetworkSettings": null}),
        json!({"Id": ID, "NetworkSettings": {"Networks": null}, "HostConfig": {}}),
        json!({"Id": ID, "NetworkSettings": {"Networks": {"bridge": null}}}),
    ] {
        let row = row(value);
        assert_eq!(row.name, "f00dfeed0123");
        assert_eq!((row.network, row.uptime), (NetworkMode::Own, None));
    }
}

#[test]
fn fingerprint_ignores_uptime_order_and_image_tag() {
    let fingerprint = row(row_json()).fingerprint;
    let mut ports = row_json()["Ports"].as_array().unwrap().clone();
    ports.reverse();
    for (pointer, value) in [
        ("/Status", json!("Up 6 minutes (healthy)")),
        ("/Ports", json!(ports)),
        ("/Names", json!(["/web", "/db/web"])),
        ("/Labels", json!({"b": "2", "a": "1"})),
        ("/Image", json!("sha256:0")),
        ("/Mounts", json!([{}])),
        ("/Names", json!(["/web"])),
        ("/Ports/2", json!({"PrivatePort": 444, "Type": "tcp"})),
        ("/Ports/0/IP", json!("")),
        ("/HostConfig", json!(null)),
    ] {
        assert_eq!(row_with(pointer, value).fingerprint, fingerprint, "{pointer}");
    }
}

#[test]
fn fingerprint_changes_with_relevant_fields() {
    let fingerprint = row(row_json()).fingerprint;
    for (pointer, value) in [
        ("/Id", json!("0")),
        ("/Names/1", json!("/web2")),
        ("/State", json!("paused")),
        ("/Status", json!("Up 5 minutes (unhealthy)")),
        ("/Status", json!("Up 5 minutes")),
        ("/Status", json!("Up 5 minutes (Paused)")),
        ("/Ports", json!([])),
        ("/Ports/0/PublicPort", json!(8081)),
        ("/Ports/0/PrivatePort", json!(81)),
        ("/Ports/0/IP", json!("127.0.0.1")),
        ("/Ports/0/Type", json!("udp")),
        ("/Labels/a", json!("3")),
        ("/Labels", json!(null)),
        ("/NetworkSettings/Networks/bridge/EndpointID", json!("e2")),
        ("/NetworkSettings/Networks/bridge/NetworkID", json!("n2")),
        ("/NetworkSettings/Networks/bridge/IPAddress", json!("172.17.0.3")),
        ("/NetworkSettings/Networks/bridge/GlobalIPv6Address", json!("fd00::2")),
        ("/NetworkSettings/Networks/bridge/MacAddress", json!("02:42:ac:11:00:03")),
        ("/NetworkSettings/Networks", json!({})),
    ] {
        let text = format!("{pointer} = {value}");
        assert_ne!(row_with(pointer, value).fingerprint, fingerprint, "{text}");
    }
}

/// Returns the inspection of the container in the sample row.
fn matching_inspection() -> Value {
    let row = row_json();
    json!({
        "Id": ID, "Name": "/web", "HostConfig": row["HostConfig"],
        "State": {"Status": "running", "StartedAt": "2026-11-23T01:47:00Z", "Health": {"Status": "healthy"}},
        "Config": {"Labels": row["Labels"], "ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "7/udp": {}}},
        "NetworkSettings": {
            "Ports": {"443/tcp": null, "80/tcp": [
                {"HostIp": "::", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": "8080"}]},
            "Networks": row["NetworkSettings"]["Networks"]}
    })
}

#[test]
fn row_and_inspection_have_equal_fingerprints() {
    let inspected = |changes: &[(&str, Value)]| {
        let mut json = matching_inspection();
        for (pointer, value) in changes {
            *json.pointer_mut(pointer).unwrap() = value.clone();
        }
        inspect(json).unwrap().fingerprint
    };
    assert_eq!(inspected(&[]), row(row_json()).fingerprint);
    let (state, status) = ("/State/Status", "/State/Health/Status");
    for (row_state, row_status, changes) in [
        ("running", "Up 1 second (health: starting)", vec![(status, json!("starting"))]),
        ("running", "Up 1 second (unhealthy)", vec![(status, json!("unhealthy"))]),
        ("running", "Up 1 second", vec![("/State/Health", json!(null))]),
        ("paused", "Up 1 second (Paused)", vec![(state, json!("paused"))]),
        ("restarting", "Restarting (3) 1 second ago", vec![(state, json!("restarting"))]),
    ] {
        let mut row_json = row_json();
        (row_json["State"], row_json["Status"]) = (json!(row_state), json!(row_status));
        assert_eq!(inspected(&changes), row(row_json).fingerprint, "{row_status}");
    }
    for (pointer, value) in [
        ("/Name", json!("/web2")),
        (state, json!("exited")),
        ("/Config/Labels", json!({"a": "1"})),
        ("/NetworkSettings/Ports/443~1tcp", json!([{"HostIp": "", "HostPort": "443"}])),
        ("/NetworkSettings/Networks/bridge/EndpointID", json!("e2")),
    ] {
        assert_ne!(inspected(&[(pointer, value)]), inspected(&[]), "{pointer}");
    }
}

fn inspection_json() -> Value {
    json!({
        "Id": ID, "Name": "/web", "Created": "2026-11-23T01:46:59.88Z",
        "State": {"Status": "running", "Running": true, "StartedAt": "2026-11-23T01:47:00.123456789Z",
                  "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "healthy", "Log": []}},
        "Config": {"Env": ["DISCOVER=httpd:80", "UNSET", "A=b=c", "A=", "PATH=/bin"],
                   "Labels": {"highhock.discover": "x:1"}, "Image": "httpd:1",
                   "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "90-91/tcp": {}, "x/tcp": {}, "9/dccp": {}},
                   "StopSignal": "SIGRTMIN+3"},
        "HostConfig": {"NetworkMode": "container:db"},
        "NetworkSettings": {"Ports": {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "53/udp": [{"HostIp": "", "HostPort": "5353"}],
            "81/tcp": null, "82/tcp": [], "83/tcp": [{"HostIp": "", "HostPort": ""}],
            "84/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}],
            "85/sctp": [{"HostIp": "10.0.0.1", "HostPort": "85"}],
            "86/dccp": [{"HostIp": "10.0.0.1", "HostPort": "86"}]},
            "Networks": {
                "bridge": {"IPAMConfig": null, "NetworkID": "n", "EndpointID": "e1",
                           "IPAddress": "172.17.0.2", "GlobalIPv6Address": ""},
                "six": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"},
                "both": {"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd01::2"},
                "stopped": {"IPAddress": "", "GlobalIPv6Address": null},
                "leaving": null}}
    })
}

fn inspect(value: Value) -> Result<Container, UnexpectedField> {
    inspect_as(Ipv4Wildcard::Ipv4, value)
}

fn inspect_as(wildcard: Ipv4Wildcard, value: Value) -> Result<Container, UnexpectedField> {
    serde_json::from_value::<Inspection>(value).unwrap().into_container(wildcard)
}

fn inspect_with(pointer: &str, value: Value) -> Result<Container, UnexpectedField> {
    let mut json = inspection_json();
    *json.pointer_mut(pointer).unwrap() = value;
    inspect(json)
}

#[test]
fn parses_an_inspection() {
    let container = inspect(inspection_json()).unwrap();
    assert_eq!(container.id.as_str(), ID);
    assert_eq!(container.name, "web");
    assert_eq!((container.state, container.health), (ContainerState::Running, Health::Healthy));
    assert_eq!(container.started, EngineTime(1_795_398_420_123_456_789));
    let env: Vec<_> = container.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(env, ["A=", "DISCOVER=httpd:80", "PATH=/bin"]);
    assert_eq!(container.labels["highhock.discover"], "x:1");
    assert_eq!(container.network, NetworkMode::Container("db".into()));
    let bindings: Vec<_> = container
        .bindings
        .iter()
        .map(|it| format!("{}:{} -> {}/{}", it.host_address, it.host_port, it.port, it.proto))
        .collect();
    let expected = [
        "0.0.0.0:5353 -> 53/udp",
        ":::5353 -> 53/udp",
        "0.0.0.0:8080 -> 80/tcp",
        ":::8080 -> 80/tcp",
        "10.0.0.1:85 -> 85/sctp",
    ];
    assert_eq!(bindings, expected);
    let exposed: Vec<_> =
        container.exposed.iter().map(|(port, proto)| format!("{port}/{proto}")).collect();
    assert_eq!(
        exposed,
        ["53/udp", "80/tcp", "81/tcp", "82/tcp", "83/tcp", "84/tcp", "85/sctp", "443/tcp"]
    );
    let attachment = |address4: &str, address6: &str| NetworkAttachment {
        address4: address4.parse().ok(),
        address6: address6.parse().ok(),
    };
    let networks = [
        ("both", attachment("10.0.0.2", "fd01::2")),
        ("bridge", attachment("172.17.0.2", "")),
        ("six", attachment("", "fd00::2")),
        ("stopped", NetworkAttachment::default()),
    ];
    assert_eq!(
        container.networks,
        networks.map(|(name, attachment)| (name.into(), attachment)).into()
    );
    assert_eq!((container.image.as_str(), container.stop_signal), ("httpd:1", 37));
}

#[test]
fn parses_the_stop_signal_or_defaults_to_sigterm() {
    for (value, expected) in [
        (json!("SIGQUIT"), 3),
        (json!("3"), 3),
        (json!(3), 3),
        (json!(""), 15),
        (json!(null), 15),
        (json!(0), 15),
        (json!(-3), 15),
        (json!("SIGWHATEVER"), 15),
    ] {
        let container = inspect_with("/Config/StopSignal", value.clone()).unwrap();
        assert_eq!(container.stop_signal, expected, "{value}");
    }
}

#[test]
fn parses_restarts_and_exit_code() {
    let mut json = inspection_json();
    json["RestartCount"] = json!(7);
    json["State"]["ExitCode"] = json!(137);
    let container = inspect(json).unwrap();
    assert_eq!((container.restarts, container.exit_code), (7, 137));
}

#[test]
fn missing_fields_have_defaults() {
    let container = inspect(json!({
        "Id": ID, "Name": "/x", "HostConfig": null, "NetworkSettings": {"Ports": null},
        "State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"},
        "Config": {"Env": null, "Labels": null}
    }))
    .unwrap();
    assert_eq!((container.state, container.health), (ContainerState::Created, Health::Unchecked));
    assert!(container.started < EngineTime(0));
    assert!(container.env.is_empty() && container.labels.is_empty());
    assert!(container.bindings.is_empty() && container.exposed.is_empty());
    assert!(container.networks.is_empty() && container.image.is_empty());
    assert_eq!(container.stop_signal, SIGTERM);
    assert_eq!((container.restarts, container.exit_code), (0, 0));
}

#[test]
fn parses_health() {
    for (text, expected) in [
        ("none", Health::Unchecked),
        ("", Health::Unchecked),
        ("starting", Health::Starting),
        ("unhealthy", Health::Unhealthy),
    ] {
        let container = inspect_with("/State/Health/Status", json!(text)).unwrap();
        assert_eq!(container.health, expected, "{text:?}");
    }
    assert_eq!(inspect_with("/State/Health", json!(null)).unwrap().health, Health::Unchecked);
}

#[test]
fn error_names_the_unexpected_field() {
    for (pointer, json, field, value) in [
        ("/State/Status", json!("undead"), "State.Status", "undead"),
        ("/State/StartedAt", json!("yesterday"), "State.StartedAt", "yesterday"),
        ("/State/Health/Status", json!("poorly"), "State.Health.Status", "poorly"),
        ("/NetworkSettings/Ports", json!({"x/tcp": []}), "a key of NetworkSettings.Ports", "x/tcp"),
        (
            "/NetworkSettings/Ports",
            json!({"1/tcp": [{"HostIp": "here", "HostPort": "1"}]}),
            "HostIp",
            "here",
        ),
        (
            "/NetworkSettings/Ports",
            json!({"1/tcp": [{"HostIp": "", "HostPort": "70000"}]}),
            "HostPort",
            "70000",
        ),
        (
            "/NetworkSettings/Networks",
            json!({"bridge": {"IPAddress": "fd00::2"}}),
            "IPAddress",
            "fd00::2",
        ),
    ] {
        let error = inspect_with(pointer, json).unwrap_err();
        assert_eq!((error.field, &*error.value), (field, value));
    }
}
