//! The published address and port of a container, case by case, on a real engine.

use std::net::{IpAddr, TcpListener};

use serde_json::Value;

use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker::{Container, Network, default_network, docker, endpoint, is_podman};
use crate::support::etcd::Etcd;
use crate::support::{eventually, free_port, unique};
use crate::{
    ROOT, TIMEOUT, key, record, run_service_with, unique_name, wait_for_key, wait_for_removal,
    wait_for_value,
};

/// The published IPv6 address of the host, from the documentation range.
pub const ADDRESS6: &str = "2001:db8::77";

/// `records` with an etcd URL that it never contacts.
pub fn record_preview() -> Highhock {
    let highhock = Highhock::new("http://127.0.0.1:1").flag("--etcd-api", "v3");
    highhock.flag("--skydns-domain", "skydns.local").flag("--skydns-layout", "instance")
}

/// The same with container addresses.
fn container_address_preview() -> Highhock {
    record_preview().flag("--discovery-address", "container")
}

/// The records of a container: for each record the part of its key after the container id, the
/// host and the port.
#[track_caller]
pub fn preview_records(highhock: &Highhock, container: &Container) -> Vec<String> {
    let output = highhock.output(&["records", "--json"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of_container = rows.iter().filter(|row| row["container"] == container.id());
    let shown = of_container.map(|row| {
        let (_, end) = row["key"].as_str().unwrap().split_once(&container.id()[..12]).unwrap();
        let (host, port) = (row["value"]["host"].as_str().unwrap(), &row["value"]["port"]);
        format!("{end} {host} {port}")
    });
    shown.collect()
}

/// The reason why the services of a container are skipped.
#[track_caller]
pub fn skip_reason(highhock: &Highhock, container: &Container) -> String {
    let output = highhock.output(&["records"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let start = format!("skipped: {}: ", container.name());
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no service of {} is skipped:\n{text}", container.name())).into()
}

/// Starts a container that declares these ports, with these options.
#[track_caller]
pub fn run_service(ports: &[&str], options: &[&str]) -> Container {
    let entries: Vec<_> =
        ports.iter().map(|port| format!("{}:{port}", unique_name("at"))).collect();
    let offer = format!("DISCOVER={}", entries.join(","));
    Container::run(&[&["-e", &offer], options].concat(), &[])
}

/// The host bindings of a container port: addresses and ports.
fn bindings(container: &Container, port: &str) -> Vec<(String, u16)> {
    let shown = docker(&["port", container.id(), port]);
    let read = |line: &str| {
        let (address, port) = line.rsplit_once(':').unwrap();
        (address.trim_matches(['[', ']']).to_owned(), port.parse().unwrap())
    };
    shown.lines().map(read).collect()
}

/// The host port that is bound on all IPv6 addresses. Podman reports no address for a binding on
/// all addresses. It binds IPv6 if the container has an IPv6 address.
#[track_caller]
fn ipv6_host_port(container: &Container, port: &str) -> u16 {
    let all = if is_podman() { ["::", ""] } else { ["::"; 2] };
    let found = bindings(container, port).into_iter().find(|(host, _)| all.contains(&&**host));
    found.expect("this engine binds IPv6 addresses").1
}

/// A field of the container's network in `docker inspect`.
fn network_field(container: &Container, network: &str, field: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).{field}}}}}");
    docker(&["inspect", "--format", &format, container.id()])
}

fn address_in(container: &Container, network: &str) -> String {
    network_field(container, network, "IPAddress")
}

/// The host's address in a test network.
fn gateway(network: &Network) -> String {
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    docker(&["network", "inspect", "--format", format, network.name()])
}

/// A prefix of IPv6 addresses that no other network has.
pub fn unique_prefix() -> String {
    // Not 0, which would be written as `::`.
    let (process, number) = (std::process::id(), 1 + unique());
    format!("fd{:02x}:{:x}:{number:x}", process >> 16 & 0xff, process & 0xffff)
}

/// A network with IPv6, and the prefix of its addresses.
fn network_with_ipv6() -> (Network, String) {
    let prefix = unique_prefix();
    let subnet = format!("{prefix}::/64");
    (Network::create(&["--ipv6", "--subnet", &subnet]), prefix)
}

/// A container that makes the host assign its addresses in the network. Podman, and IPv6, need
/// one first.
#[track_caller]
fn run_with_address(network: &Network, address: IpAddr) -> Container {
    let neighbour = Container::run(&["--network", network.name()], &[]);
    let usable = || TcpListener::bind((address, 0)).ok();
    drop(eventually(&format!("{address} can be bound"), TIMEOUT, usable));
    neighbour
}

/// Prints that the rest of a test does not apply to Podman.
fn skips_on_podman(why: &str) -> bool {
    if is_podman() {
        println!("SKIPPED on Podman: {why}");
    }
    is_podman()
}

#[test]
fn port_on_all_addresses_uses_the_host_address() {
    let container = run_service(&["80"], &["-p", "0:80"]);
    let all: Vec<_> = bindings(&container, "80/tcp").into_iter().map(|(host, _)| host).collect();
    // Podman's notation for all addresses.
    assert_eq!(all, if is_podman() { &[""][..] } else { &["0.0.0.0", "::"] });
    let port = container.published_port("80/tcp");
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {ADDRESS} {port}")]);
}

/// The preview on a host with this published address or name.
fn preview_on(host: &str) -> Highhock {
    record_preview().flag("--discovery-host", host)
}

#[test]
fn port_is_published_in_the_family_of_its_binding() {
    let four = run_service(&["80"], &["-p", "0.0.0.0:0:80"]);
    let six = run_service(&["80"], &["-p", "[::]:0:80"]);
    let port4 = four.published_port("80/tcp");
    let port6 = six.published_port_ipv6("80/tcp");

    assert_eq!(preview_records(&preview_on(ADDRESS), &four), [format!("-80 {ADDRESS} {port4}")]);
    assert_eq!(preview_records(&preview_on(ADDRESS), &six), [""; 0]);
    let reason = skip_reason(&preview_on(ADDRESS), &six);
    assert!(reason.contains(&format!("published for IPv6 only ([::]:{port6})")), "{reason}");

    assert_eq!(preview_records(&preview_on(ADDRESS6), &six), [format!("-80 {ADDRESS6} {port6}")]);
    assert_eq!(preview_records(&preview_on(ADDRESS6), &four), [""; 0]);
    let reason = skip_reason(&preview_on(ADDRESS6), &four);
    assert!(reason.contains(&format!("published for IPv4 only (0.0.0.0:{port4})")), "{reason}");

    let both = record_preview().flag("--discovery-host6", ADDRESS6);
    assert_eq!(preview_records(&both, &four), [format!("-80 {ADDRESS} {port4}")]);
    assert_eq!(preview_records(&both, &six), [format!("-80-6 {ADDRESS6} {port6}")]);

    let name = "node1.example.com";
    for (container, port) in [(&four, port4), (&six, port6)] {
        let found = preview_records(&preview_on(name), container);
        assert_eq!(found, [format!("-80 {name} {port}")]);
    }
}

#[test]
fn prefers_one_ipv4_address_to_all_ipv6_addresses() {
    let lan = Network::create(&[]);
    let address = gateway(&lan);
    let _neighbour = run_with_address(&lan, address.parse().unwrap());
    let container = run_service(&["80"], &["-p", &format!("{address}::80"), "-p", "[::]:0:80"]);
    let port = container.published_port("80/tcp");
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {address} {port}")]);
}

#[test]
fn network_that_publishes_no_ports_is_the_reason() {
    if skips_on_podman("its inspection shows the ports as published") {
        return;
    }
    // Both are removed after the container.
    let (network, reachable) = (Network::create(&["--internal"]), Network::create(&[]));
    let container = run_service(&["80", "81"], &["--network", network.name(), "-p", "0:80"]);
    assert_eq!(preview_records(&record_preview(), &container), [""; 0]);
    let reason = skip_reason(&record_preview(), &container);
    let cause = format!("is in {:?}, where the engine publishes no ports", network.name());
    assert!(reason.contains(&cause) && !reason.contains("`-p"), "{reason}");
    // A step that the reason names helps.
    reachable.connect(&container);
    let port = container.published_port("80/tcp");
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {ADDRESS} {port}")]);
}

#[test]
fn port_on_one_address_uses_that_address() {
    // A host address other than loopback.
    let lan = Network::create(&[]);
    let address = gateway(&lan);
    let _neighbour = run_with_address(&lan, address.parse().unwrap());
    let four = run_service(&["80"], &["-p", &format!("{address}::80")]);
    let port = four.published_port("80/tcp");
    assert_eq!(preview_records(&record_preview(), &four), [format!("-80 {address} {port}")]);

    let (network, prefix) = network_with_ipv6();
    let address: IpAddr = format!("{prefix}::1").parse().unwrap();
    let _neighbour = run_with_address(&network, address);
    let six = run_service(&["80"], &["-p", &format!("[{address}]::80")]);
    let port = six.published_port_ipv6("80/tcp");
    let highhock = preview_on(ADDRESS6);
    assert_eq!(preview_records(&highhock, &six), [format!("-80 {address} {port}")]);
    // Beside an IPv4 address it is the second one.
    let highhock = record_preview().flag("--discovery-host6", ADDRESS6);
    assert_eq!(preview_records(&highhock, &six), [format!("-80-6 {address} {port}")]);
}

#[test]
fn loopback_port_is_skipped() {
    for address in ["127.0.0.1", "[::1]"] {
        let container = run_service(&["80"], &["-p", &format!("{address}::80")]);
        assert_eq!(preview_records(&record_preview(), &container), [""; 0]);
        let reason = skip_reason(&record_preview(), &container);
        assert!(reason.contains("only, a loopback address"), "{reason}");
    }
}

#[test]
fn unpublished_port_is_skipped() {
    let container = run_service(&["80"], &["-p", "0:81"]);
    assert_eq!(preview_records(&record_preview(), &container), [""; 0]);
    let reason = skip_reason(&record_preview(), &container);
    assert!(reason.contains("port 80 is not published; start the container with `-p 80`"));
}

#[test]
fn prefers_wildcard_binding_and_lowest_port() {
    let lan = Network::create(&[]);
    let address = gateway(&lan);
    let _neighbour = run_with_address(&lan, address.parse().unwrap());
    let (one, other) = (free_port(), free_port());
    let publish =
        ["127.0.0.1::80".to_owned(), format!("{address}::80"), format!("0.0.0.0:{one}:80")];
    let mut options: Vec<&str> = publish.iter().flat_map(|binding| ["-p", binding]).collect();
    let container = run_service(&["80"], &options);
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {ADDRESS} {one}")]);
    drop(container);

    let second = format!("0.0.0.0:{other}:80");
    options.extend(["-p", &second]);
    let container = run_service(&["80"], &options);
    let lowest = one.min(other);
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {ADDRESS} {lowest}")]);
    drop(container);

    // A loopback binding does not count beside another binding.
    let container = run_service(&["80"], &options[..4]);
    let bindings = bindings(&container, "80/tcp");
    let (_, port) = bindings.iter().find(|(host, _)| *host == address).unwrap();
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {address} {port}")]);
}

#[test]
fn prefers_tcp_if_no_protocol_is_given() {
    let options = ["-p", "0:53", "-p", "0:53/udp", "-p", "0:54/udp"];
    let container = run_service(&["53", "54", "53/udp"], &options);
    let port = |port| container.published_port(port);
    let mut expected = [
        format!("-53 {ADDRESS} {}", port("53/tcp")),
        format!("-54-udp {ADDRESS} {}", port("54/udp")),
        format!("-53-udp {ADDRESS} {}", port("53/udp")),
    ];
    let mut found = preview_records(&record_preview(), &container);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn host_network_keeps_the_container_port() {
    let container = run_service(&["4711"], &["--network", "host"]);
    for highhock in [record_preview(), container_address_preview()] {
        assert_eq!(preview_records(&highhock, &container), [format!("-4711 {ADDRESS} 4711")]);
        let both = preview_records(&highhock.flag("--discovery-host6", ADDRESS6), &container);
        let six = format!("-4711-6 {ADDRESS6} 4711");
        assert_eq!(both, [format!("-4711 {ADDRESS} 4711"), six]);
    }
}

#[test]
fn container_without_network_publishes_nothing() {
    let container = run_service(&["80"], &["--network", "none"]);
    for highhock in [record_preview(), container_address_preview()] {
        assert_eq!(preview_records(&highhock, &container), [""; 0]);
        assert!(skip_reason(&highhock, &container).contains("`--network none`"));
    }
}

#[test]
fn container_without_network_is_published_once_connected() {
    if skips_on_podman("it connects no container that was created without a network") {
        return;
    }
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let name = unique_name("late-network");
    let container = run_service_with(&name, &["--network", "none"]);
    daemon.wait_for_log(&["skipped", container.name(), "`--network none`"]);

    let network = Network::create(&[]);
    docker(&["network", "disconnect", "none", container.id()]);
    network.connect(&container);
    wait_for_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
    let address = address_in(&container, network.name());
    let found = preview_records(&container_address_preview(), &container);
    assert_eq!(found, [format!("-80 {address} 80")]);

    network.disconnect(&container);
    wait_for_removal(&etcd, &key(&name));
    let reason = skip_reason(&record_preview(), &container);
    assert!(reason.contains("has no network"), "{reason}");
}

#[test]
fn user_defined_network_publishes_ports() {
    let network = Network::create(&[]);
    let container = run_service(&["80"], &["--network", network.name(), "-p", "0:80"]);
    let port = container.published_port("80/tcp");
    assert_eq!(preview_records(&record_preview(), &container), [format!("-80 {ADDRESS} {port}")]);
}

#[test]
fn container_address_needs_no_published_port() {
    let default = run_service(&["80"], &["-p", "127.0.0.1::80"]);
    let address = address_in(&default, default_network());
    assert_eq!(
        preview_records(&container_address_preview(), &default),
        [format!("-80 {address} 80")]
    );

    let network = Network::create(&[]);
    let own = run_service(&["80", "53/udp"], &["--network", network.name()]);
    let address = address_in(&own, network.name());
    let mut found = preview_records(&container_address_preview(), &own);
    found.sort();
    assert_eq!(found, [format!("-53-udp {address} 53"), format!("-80 {address} 80")]);
}

#[test]
fn container_port_has_the_exposed_protocol() {
    let container = run_service(&["53", "54"], &["--expose", "53/udp"]);
    let address = address_in(&container, default_network());
    let mut found = preview_records(&container_address_preview(), &container);
    found.sort();
    assert_eq!(found, [format!("-53-udp {address} 53"), format!("-54 {address} 54")]);
}

#[test]
fn network_is_chosen_by_label_or_fixed_order() {
    let mut networks = [Network::create(&[]), Network::create(&[])];
    networks.sort_by(|one, other| one.name().cmp(other.name()));
    let [first, last] = &networks;
    let in_all = |label: &str| {
        let label = format!("highhock.network={label}");
        let container = run_service(&["80"], &["--label", &label]);
        for network in [last, first] {
            docker(&["network", "connect", network.name(), container.id()]);
        }
        container
    };
    let default = default_network();
    for (label, expected) in [("", first.name()), (last.name(), last.name()), (default, default)] {
        let container = in_all(label);
        let address = address_in(&container, expected);
        let found = preview_records(&container_address_preview(), &container);
        assert_eq!(found, [format!("-80 {address} 80")], "{label}");
    }
    let astray = in_all("astray");
    assert_eq!(preview_records(&container_address_preview(), &astray), [""; 0]);
    let reason = skip_reason(&container_address_preview(), &astray);
    for part in ["\"astray\"", &format!("{default:?}"), first.name(), last.name()] {
        assert!(reason.contains(part), "no {part} in: {reason}");
    }
}

#[test]
fn host_ipv6_is_published_beside_ipv4() {
    let highhock = record_preview().flag("--discovery-host6", ADDRESS6);
    let (four, six) = (free_port(), free_port());
    let publish = [format!("0.0.0.0:{four}:80"), format!("[::]:{six}:80")];
    let (network, _) = network_with_ipv6();
    let mut options = vec!["--network", network.name()];
    for publish in [&publish[0], &publish[1], "0:53/udp", "0.0.0.0:0:81"] {
        options.extend(["-p", publish]);
    }
    let container = run_service(&["80", "53", "81"], &options);
    let mut expected = [
        format!("-80 {ADDRESS} {four}"),
        format!("-80-6 {ADDRESS6} {six}"),
        format!("-53-udp {ADDRESS} {}", container.published_port("53/udp")),
        format!("-53-udp-6 {ADDRESS6} {}", ipv6_host_port(&container, "53/udp")),
        // Not bound on IPv6.
        format!("-81 {ADDRESS} {}", container.published_port("81/tcp")),
    ];
    let mut found = preview_records(&highhock, &container);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn container_ipv6_is_published_beside_ipv4() {
    let (network, prefix) = network_with_ipv6();
    let container = run_service(&["80"], &["--network", network.name()]);
    let (four, six) = (
        address_in(&container, network.name()),
        network_field(&container, network.name(), "GlobalIPv6Address"),
    );
    assert!(six.starts_with(&prefix), "{six}");
    assert_eq!(
        preview_records(&container_address_preview(), &container),
        [format!("-80 {four} 80")]
    );
    let both = preview_records(
        &container_address_preview().flag("--discovery-host6", ADDRESS6),
        &container,
    );
    assert_eq!(both, [format!("-80 {four} 80"), format!("-80-6 {six} 80")]);
}

#[test]
fn ipv6_record_is_kept_and_withdrawn_with_ipv4() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-layout", "instance");
    let highhock = highhock.flag("--discovery-host6", ADDRESS6).flag("--skydns-hostname", "rack1");
    let mut daemon = highhock.start();
    let name = unique_name("dual");
    let (network, _) = network_with_ipv6();
    let container = run_service_with(&name, &["--network", network.name()]);
    let first = format!("{ROOT}/{name}/rack1-{}-80", &container.id()[..12]);
    let second = format!("{first}-6");
    let port = ipv6_host_port(&container, "80/tcp");
    let record6 = format!(r#"{{"host":"{ADDRESS6}","port":{port},"ttl":60}}"#);
    wait_for_value(&etcd, &first, &record(container.published_port("80/tcp")));
    wait_for_value(&etcd, &second, &record6);

    // A restarted daemon recognises both records.
    daemon.kill();
    let daemon = highhock.start();
    for key in [&first, &second] {
        daemon.wait_for_log(&["record of an earlier run adopted", &format!("key: {key},")]);
    }
    container.restart();
    let port = ipv6_host_port(&container, "80/tcp");
    let record6 = format!(r#"{{"host":"{ADDRESS6}","port":{port},"ttl":60}}"#);
    wait_for_value(&etcd, &second, &record6);
    wait_for_value(&etcd, &first, &record(container.published_port("80/tcp")));
    assert_eq!(daemon.lines_with(&["record on standby", &name]), Vec::<String>::new());

    container.stop();
    wait_for_removal(&etcd, &first);
    wait_for_removal(&etcd, &second);
}

/// A container in the network of another container.
#[track_caller]
fn in_network_of(other: &Container, name: &str) -> Container {
    let (offer, network) = (format!("DISCOVER={name}:80"), format!("container:{}", other.id()));
    Container::run(&["-e", &offer, "--network", &network], &[])
}

#[test]
fn shared_network_uses_bindings_of_its_owner() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let target = Container::run(&["-p", "0:80"], &[]);
    let (name, far) = (unique_name("guest"), unique_name("far-guest"));
    let guest = in_network_of(&target, &name);
    let far_guest = in_network_of(&guest, &far);
    for name in [&name, &far] {
        wait_for_value(&etcd, &key(name), &record(target.published_port("80/tcp")));
    }
    let address = address_in(&target, default_network());
    for container in [&guest, &far_guest] {
        assert_eq!(
            preview_records(&container_address_preview(), container),
            [format!("-80 {address} 80")]
        );
    }
}

#[test]
fn shared_network_follows_its_owner() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let target = Container::run(&["-p", "0:80"], &[]);
    let name = unique_name("follower");
    let follower = in_network_of(&target, &name);
    let before = target.published_port("80/tcp");
    wait_for_value(&etcd, &key(&name), &record(before));

    target.restart();
    let after = target.published_port("80/tcp");
    // Podman keeps the port.
    assert_eq!(after == before, is_podman(), "a new port at a restart?");
    wait_for_value(&etcd, &key(&name), &record(after));

    target.stop();
    wait_for_removal(&etcd, &key(&name));
    daemon.wait_for_log(&["skipped", follower.name(), target.name(), "is not running"]);
    target.docker_command("start");
    wait_for_value(&etcd, &key(&name), &record(target.published_port("80/tcp")));
    if skips_on_podman("it removes no container whose network another one shares") {
        return;
    }
    target.remove();
    wait_for_removal(&etcd, &key(&name));
}

#[test]
fn nested_shared_network_follows_its_owner() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let target = Container::run(&["-p", "0:80"], &[]);
    let between = in_network_of(&target, &unique_name("between"));
    let name = unique_name("far-follower");
    let _far = in_network_of(&between, &name);
    let before = target.published_port("80/tcp");
    wait_for_value(&etcd, &key(&name), &record(before));

    target.restart();
    let after = target.published_port("80/tcp");
    // Podman keeps the port.
    assert_eq!(after == before, is_podman(), "a new port at a restart?");
    wait_for_value(&etcd, &key(&name), &record(after));
    target.stop();
    wait_for_removal(&etcd, &key(&name));
}

#[test]
fn moved_container_is_republished() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-layout", "instance");
    let highhock = highhock.flag("--discovery-address", "container");
    let _daemon = highhock.flag("--skydns-hostname", "rack1").start();
    let network = Network::create(&[]);
    let name = unique_name("mover");
    let offer = format!("DISCOVER={name}:80");
    let container = Container::run(&["-e", &offer], &[]);
    let key = format!("{ROOT}/{name}/rack1-{}-80", &container.id()[..12]);
    let record = |address: &str| format!(r#"{{"host":"{address}","port":80,"ttl":60}}"#);
    assert_eq!(wait_for_key(&etcd, &key), record(&address_in(&container, default_network())));

    docker(&["network", "connect", network.name(), container.id()]);
    wait_for_value(&etcd, &key, &record(&address_in(&container, network.name())));
    docker(&["network", "disconnect", network.name(), container.id()]);
    wait_for_value(&etcd, &key, &record(&address_in(&container, default_network())));
}

/// HighHock in a container with its own network: this container's address is unusable.
#[test]
fn rejects_address_of_an_engine_network() {
    const UNAVAILABLE: Option<i32> = Some(69);
    assert!(endpoint().to_string().starts_with("unix:"), "needs an engine on a socket");
    let (network, prefix) = network_with_ipv6();
    for options in [&[][..], &["--network", network.name()]] {
        let container = Container::run(options, &[]);
        let highhock = record_preview().in_network_of(&container);
        let output = highhock.clone().without_flag("--discovery-host").output(&["run"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
        for part in ["seems to run in a container", "--network host", "discovery.host"] {
            assert!(text.contains(part), "no {part} in:\n{text}");
        }
    }
    let container = Container::run(&["--network", network.name()], &[]);
    let highhock = record_preview().in_network_of(&container).flag("--discovery-host6", "auto");
    let output = highhock.output(&["records"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
    assert!(text.contains(&prefix) && text.contains("discovery.host6"), "{text}");
}

#[test]
fn missing_ipv6_address_prevents_start() {
    let highhock = record_preview().flag("--discovery-host6", "auto");
    let output = highhock.flag("--discovery-interface", "nonexistent0").output(&["run"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    let step = "discovery.host6 auto, discovery.interface nonexistent0: no such interface";
    assert!(text.contains(step), "{text}");
}
