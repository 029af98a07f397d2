//! Which address and port are published of a container, case by case, as a real engine
//! tells of it.

use std::net::{IpAddr, TcpListener};

use serde_json::Value;

use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker::{Container, Network, default_network, docker, endpoint, is_podman};
use crate::support::etcd::Etcd;
use crate::support::{eventually, free_port, unique};
use crate::{PATIENCE, ROOT, becomes, goes, key, named, offering_with, record, value_at};

/// The host's IPv6 address, where one is published: of the range for documentation.
const ADDRESS6: &str = "2001:db8::77";

/// Shows what would be published: without etcd, of which nothing is asked then.
fn previewer() -> Highhock {
    let highhock = Highhock::new("http://127.0.0.1:1").flag("--etcd-api", "v3");
    highhock.flag("--skydns-domain", "skydns.local").flag("--skydns-layout", "instance")
}

/// The same, for containers' own addresses.
fn of_containers() -> Highhock {
    previewer().flag("--discovery-address", "container")
}

/// What would be published of a container: for each record what follows the
/// container's id in its key, the host and the port.
#[track_caller]
fn published(highhock: &Highhock, container: &Container) -> Vec<String> {
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

/// Why a container's services are left out.
#[track_caller]
fn left_out(highhock: &Highhock, container: &Container) -> String {
    let output = highhock.output(&["records"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let start = format!("left out: {}: ", container.name());
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("nothing of {} is left out:\n{text}", container.name())).into()
}

/// A container that offers these ports, with these options.
#[track_caller]
fn offering(ports: &[&str], options: &[&str]) -> Container {
    let entries: Vec<_> = ports.iter().map(|port| format!("{}:{port}", named("at"))).collect();
    let offer = format!("DISCOVER={}", entries.join(","));
    Container::run(&[&["-e", &offer], options].concat(), &[])
}

/// The host ports of a container's port, and the addresses that they are bound to.
fn bindings(container: &Container, port: &str) -> Vec<(String, u16)> {
    let shown = docker(&["port", container.id(), port]);
    let read = |line: &str| {
        let (address, port) = line.rsplit_once(':').unwrap();
        (address.trim_matches(['[', ']']).to_owned(), port.parse().unwrap())
    };
    shown.lines().map(read).collect()
}

/// The port on which all IPv6 addresses are bound. Podman names no address where all are
/// meant; those of IPv6 are where the container has one itself.
#[track_caller]
fn port6(container: &Container, port: &str) -> u16 {
    let all = if is_podman() { ["::", ""] } else { ["::"; 2] };
    let found = bindings(container, port).into_iter().find(|(host, _)| all.contains(&&**host));
    found.expect("this engine binds IPv6 addresses").1
}

/// What `docker inspect` tells of a container's place in a network.
fn place_in(container: &Container, network: &str, field: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).{field}}}}}");
    docker(&["inspect", "--format", &format, container.id()])
}

fn address_in(container: &Container, network: &str) -> String {
    place_in(container, network, "IPAddress")
}

/// The host's own address in a network of the test's own.
fn gateway(network: &Network) -> String {
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    docker(&["network", "inspect", "--format", format, network.name()])
}

/// A network with IPv6 addresses as well, and what all of those begin with.
fn network_with_ipv6() -> (Network, String) {
    // Not 0, which would be written as `::`.
    let (process, number) = (std::process::id(), 1 + unique());
    let prefix = format!("fd{:02x}:{:x}:{number:x}", process >> 16 & 0xff, process & 0xffff);
    let subnet = format!("{prefix}::/64");
    (Network::create(&["--ipv6", "--subnet", &subnet]), prefix)
}

/// A container that has the host take its addresses in the network: with Podman, or those
/// of IPv6, it does so only once one is there.
#[track_caller]
fn neighbour(network: &Network, address: IpAddr) -> Container {
    let neighbour = Container::run(&["--network", network.name()], &[]);
    let usable = || TcpListener::bind((address, 0)).ok();
    drop(eventually(&format!("{address} can be bound"), PATIENCE, usable));
    neighbour
}

/// Says so where the rest of a test is not for Podman.
fn left_out_on_podman(why: &str) -> bool {
    if is_podman() {
        println!("LEFT OUT on Podman: {why}");
    }
    is_podman()
}

#[test]
fn a_port_on_all_addresses_is_reached_at_the_hosts() {
    let container = offering(&["80"], &["-p", "0:80"]);
    let all: Vec<_> = bindings(&container, "80/tcp").into_iter().map(|(host, _)| host).collect();
    // As Podman says "all".
    assert_eq!(all, if is_podman() { &[""][..] } else { &["0.0.0.0", "::"] });
    let port = container.published("80/tcp");
    assert_eq!(published(&previewer(), &container), [format!("-80 {ADDRESS} {port}")]);

    if left_out_on_podman("it reaches no container by IPv4 where `[::]` is asked for") {
        return;
    }
    // IPv6 alone is all addresses, too.
    let container = offering(&["80"], &["-p", "[::]:0:80"]);
    let port = container.published6("80/tcp");
    assert_eq!(published(&previewer(), &container), [format!("-80 {ADDRESS} {port}")]);
}

#[test]
fn a_port_on_one_address_is_reached_there() {
    // An address that this host has, and that is no loopback.
    let lan = Network::create(&[]);
    let address = gateway(&lan);
    let _neighbour = neighbour(&lan, address.parse().unwrap());
    let four = offering(&["80"], &["-p", &format!("{address}::80")]);
    let port = four.published("80/tcp");
    assert_eq!(published(&previewer(), &four), [format!("-80 {address} {port}")]);

    let (network, prefix) = network_with_ipv6();
    let address: IpAddr = format!("{prefix}::1").parse().unwrap();
    let _neighbour = neighbour(&network, address);
    let six = offering(&["80"], &["-p", &format!("[{address}]::80")]);
    let port = six.published6("80/tcp");
    assert_eq!(published(&previewer(), &six), [format!("-80 {address} {port}")]);
}

#[test]
fn a_port_on_loopback_alone_is_left_out() {
    for address in ["127.0.0.1", "[::1]"] {
        let container = offering(&["80"], &["-p", &format!("{address}::80")]);
        assert_eq!(published(&previewer(), &container), [""; 0]);
        let reason = left_out(&previewer(), &container);
        assert!(reason.contains("only, a loopback address"), "{reason}");
    }
}

#[test]
fn a_port_that_is_not_published_is_left_out() {
    let container = offering(&["80"], &["-p", "0:81"]);
    assert_eq!(published(&previewer(), &container), [""; 0]);
    let reason = left_out(&previewer(), &container);
    assert!(reason.contains("port 80 is not published; start the container with `-p 80`"));
}

#[test]
fn of_several_bindings_all_addresses_go_before_one_and_the_lowest_port_first() {
    let lan = Network::create(&[]);
    let address = gateway(&lan);
    let _neighbour = neighbour(&lan, address.parse().unwrap());
    let (one, other) = (free_port(), free_port());
    let publish =
        ["127.0.0.1::80".to_owned(), format!("{address}::80"), format!("0.0.0.0:{one}:80")];
    let mut options: Vec<&str> = publish.iter().flat_map(|binding| ["-p", binding]).collect();
    let container = offering(&["80"], &options);
    assert_eq!(published(&previewer(), &container), [format!("-80 {ADDRESS} {one}")]);
    drop(container);

    let second = format!("0.0.0.0:{other}:80");
    options.extend(["-p", &second]);
    let container = offering(&["80"], &options);
    let lowest = one.min(other);
    assert_eq!(published(&previewer(), &container), [format!("-80 {ADDRESS} {lowest}")]);
    drop(container);

    // Loopback does not count beside another.
    let container = offering(&["80"], &options[..4]);
    let bindings = bindings(&container, "80/tcp");
    let (_, port) = bindings.iter().find(|(host, _)| *host == address).unwrap();
    assert_eq!(published(&previewer(), &container), [format!("-80 {address} {port}")]);
}

#[test]
fn tcp_goes_before_udp_where_the_container_says_neither() {
    let options = ["-p", "0:53", "-p", "0:53/udp", "-p", "0:54/udp"];
    let container = offering(&["53", "54", "53/udp"], &options);
    let port = |port| container.published(port);
    let mut expected = [
        format!("-53 {ADDRESS} {}", port("53/tcp")),
        format!("-54-udp {ADDRESS} {}", port("54/udp")),
        format!("-53-udp {ADDRESS} {}", port("53/udp")),
    ];
    let mut found = published(&previewer(), &container);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn in_the_hosts_network_a_port_is_the_same_outside() {
    let container = offering(&["4711"], &["--network", "host"]);
    for highhock in [previewer(), of_containers()] {
        assert_eq!(published(&highhock, &container), [format!("-4711 {ADDRESS} 4711")]);
        let both = published(&highhock.flag("--discovery-host6", ADDRESS6), &container);
        let six = format!("-4711-6 {ADDRESS6} 4711");
        assert_eq!(both, [format!("-4711 {ADDRESS} 4711"), six]);
    }
}

#[test]
fn without_a_network_there_is_nothing_to_publish() {
    let container = offering(&["80"], &["--network", "none"]);
    for highhock in [previewer(), of_containers()] {
        assert_eq!(published(&highhock, &container), [""; 0]);
        assert!(left_out(&highhock, &container).contains("`--network none`"));
    }
}

#[test]
fn a_user_defined_network_publishes_ports_as_the_default_one() {
    let network = Network::create(&[]);
    let container = offering(&["80"], &["--network", network.name(), "-p", "0:80"]);
    let port = container.published("80/tcp");
    assert_eq!(published(&previewer(), &container), [format!("-80 {ADDRESS} {port}")]);
}

#[test]
fn a_containers_own_address_needs_no_published_port() {
    let default = offering(&["80"], &["-p", "127.0.0.1::80"]);
    let address = address_in(&default, default_network());
    assert_eq!(published(&of_containers(), &default), [format!("-80 {address} 80")]);

    let network = Network::create(&[]);
    let own = offering(&["80", "53/udp"], &["--network", network.name()]);
    let address = address_in(&own, network.name());
    let mut found = published(&of_containers(), &own);
    found.sort();
    assert_eq!(found, [format!("-53-udp {address} 53"), format!("-80 {address} 80")]);
}

#[test]
fn a_containers_own_port_has_the_protocol_that_it_exposes() {
    let container = offering(&["53", "54"], &["--expose", "53/udp"]);
    let address = address_in(&container, default_network());
    let mut found = published(&of_containers(), &container);
    found.sort();
    assert_eq!(found, [format!("-53-udp {address} 53"), format!("-54 {address} 54")]);
}

#[test]
fn of_several_networks_the_label_names_one_else_the_order_is_fixed() {
    let mut networks = [Network::create(&[]), Network::create(&[])];
    networks.sort_by(|one, other| one.name().cmp(other.name()));
    let [first, last] = &networks;
    let in_all = |label: &str| {
        let label = format!("highhock.network={label}");
        let container = offering(&["80"], &["--label", &label]);
        for network in [last, first] {
            docker(&["network", "connect", network.name(), container.id()]);
        }
        container
    };
    let default = default_network();
    for (label, expected) in [("", first.name()), (last.name(), last.name()), (default, default)] {
        let container = in_all(label);
        let address = address_in(&container, expected);
        let found = published(&of_containers(), &container);
        assert_eq!(found, [format!("-80 {address} 80")], "{label}");
    }
    let astray = in_all("astray");
    assert_eq!(published(&of_containers(), &astray), [""; 0]);
    let reason = left_out(&of_containers(), &astray);
    for part in ["\"astray\"", &format!("{default:?}"), first.name(), last.name()] {
        assert!(reason.contains(part), "no {part} in: {reason}");
    }
}

#[test]
fn an_ipv6_address_is_published_beside_the_first() {
    let highhock = previewer().flag("--discovery-host6", ADDRESS6);
    let (four, six) = (free_port(), free_port());
    let publish = [format!("0.0.0.0:{four}:80"), format!("[::]:{six}:80")];
    let (network, _) = network_with_ipv6();
    let mut options = vec!["--network", network.name()];
    for publish in [&publish[0], &publish[1], "0:53/udp", "0.0.0.0:0:81"] {
        options.extend(["-p", publish]);
    }
    let container = offering(&["80", "53", "81"], &options);
    let mut expected = [
        format!("-80 {ADDRESS} {four}"),
        format!("-80-6 {ADDRESS6} {six}"),
        format!("-53-udp {ADDRESS} {}", container.published("53/udp")),
        format!("-53-udp-6 {ADDRESS6} {}", port6(&container, "53/udp")),
        // Not bound there.
        format!("-81 {ADDRESS} {}", container.published("81/tcp")),
    ];
    let mut found = published(&highhock, &container);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_containers_own_ipv6_address_is_published_beside_its_first() {
    let (network, prefix) = network_with_ipv6();
    let container = offering(&["80"], &["--network", network.name()]);
    let (four, six) = (
        address_in(&container, network.name()),
        place_in(&container, network.name(), "GlobalIPv6Address"),
    );
    assert!(six.starts_with(&prefix), "{six}");
    assert_eq!(published(&of_containers(), &container), [format!("-80 {four} 80")]);
    let both = published(&of_containers().flag("--discovery-host6", ADDRESS6), &container);
    assert_eq!(both, [format!("-80 {four} 80"), format!("-80-6 {six} 80")]);
}

#[test]
fn the_second_address_is_kept_and_withdrawn_with_the_first() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-layout", "instance");
    let highhock = highhock.flag("--discovery-host6", ADDRESS6).flag("--skydns-hostname", "rack1");
    let mut daemon = highhock.start();
    let name = named("dual");
    let (network, _) = network_with_ipv6();
    let container = offering_with(&name, &["--network", network.name()]);
    let first = format!("{ROOT}/{name}/rack1-{}-80", &container.id()[..12]);
    let second = format!("{first}-6");
    let port = port6(&container, "80/tcp");
    let record6 = format!(r#"{{"host":"{ADDRESS6}","port":{port},"ttl":60}}"#);
    becomes(&etcd, &first, &record(container.published("80/tcp")));
    becomes(&etcd, &second, &record6);

    // Another life knows both again.
    daemon.kill();
    let daemon = highhock.start();
    for key in [&first, &second] {
        daemon.says(&["record of an earlier life adopted", &format!("key: {key},")]);
    }
    container.restart();
    let port = port6(&container, "80/tcp");
    let record6 = format!(r#"{{"host":"{ADDRESS6}","port":{port},"ttl":60}}"#);
    becomes(&etcd, &second, &record6);
    becomes(&etcd, &first, &record(container.published("80/tcp")));
    assert_eq!(daemon.lines_with(&["stands by", &name]), Vec::<String>::new());

    container.stop();
    goes(&etcd, &first);
    goes(&etcd, &second);
}

/// A container in the network of another.
#[track_caller]
fn in_network_of(other: &Container, name: &str) -> Container {
    let (offer, network) = (format!("DISCOVER={name}:80"), format!("container:{}", other.id()));
    Container::run(&["-e", &offer, "--network", &network], &[])
}

#[test]
fn in_anothers_network_the_bindings_of_that_one_count() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let target = Container::run(&["-p", "0:80"], &[]);
    let (name, far) = (named("guest"), named("far-guest"));
    let guest = in_network_of(&target, &name);
    let far_guest = in_network_of(&guest, &far);
    for name in [&name, &far] {
        becomes(&etcd, &key(name), &record(target.published("80/tcp")));
    }
    let address = address_in(&target, default_network());
    for container in [&guest, &far_guest] {
        assert_eq!(published(&of_containers(), container), [format!("-80 {address} 80")]);
    }
}

#[test]
fn who_shares_a_network_follows_the_one_that_has_it() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let target = Container::run(&["-p", "0:80"], &[]);
    let name = named("follower");
    let follower = in_network_of(&target, &name);
    let before = target.published("80/tcp");
    becomes(&etcd, &key(&name), &record(before));

    target.restart();
    let after = target.published("80/tcp");
    // Podman keeps it.
    assert_eq!(after == before, is_podman(), "a new port at a restart?");
    becomes(&etcd, &key(&name), &record(after));

    target.stop();
    goes(&etcd, &key(&name));
    daemon.says(&["left out", follower.name(), target.name(), "is not running"]);
    target.does("start");
    becomes(&etcd, &key(&name), &record(target.published("80/tcp")));
    if left_out_on_podman("it removes no container whose network another one shares") {
        return;
    }
    target.remove();
    goes(&etcd, &key(&name));
}

#[test]
fn who_shares_a_shared_network_follows_the_one_that_has_it() {
    let etcd = Etcd::start();
    let _daemon = Highhock::new(&etcd.url()).start();
    let target = Container::run(&["-p", "0:80"], &[]);
    let between = in_network_of(&target, &named("between"));
    let name = named("far-follower");
    let _far = in_network_of(&between, &name);
    let before = target.published("80/tcp");
    becomes(&etcd, &key(&name), &record(before));

    target.restart();
    let after = target.published("80/tcp");
    // Podman keeps it.
    assert_eq!(after == before, is_podman(), "a new port at a restart?");
    becomes(&etcd, &key(&name), &record(after));
    target.stop();
    goes(&etcd, &key(&name));
}

#[test]
fn a_container_that_moves_to_another_address_is_found_there() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-layout", "instance");
    let highhock = highhock.flag("--discovery-address", "container");
    let _daemon = highhock.flag("--skydns-hostname", "rack1").start();
    let network = Network::create(&[]);
    let name = named("mover");
    let offer = format!("DISCOVER={name}:80");
    let container = Container::run(&["-e", &offer], &[]);
    let key = format!("{ROOT}/{name}/rack1-{}-80", &container.id()[..12]);
    let record = |address: &str| format!(r#"{{"host":"{address}","port":80,"ttl":60}}"#);
    assert_eq!(value_at(&etcd, &key), record(&address_in(&container, default_network())));

    docker(&["network", "connect", network.name(), container.id()]);
    becomes(&etcd, &key, &record(&address_in(&container, network.name())));
    docker(&["network", "disconnect", network.name(), container.id()]);
    becomes(&etcd, &key, &record(&address_in(&container, default_network())));
}

/// HighHock in a container that has a network of its own: its address is of no use.
#[test]
fn an_address_that_the_engine_gave_out_is_refused() {
    const UNAVAILABLE: Option<i32> = Some(69);
    assert!(endpoint().to_string().starts_with("unix:"), "needs an engine on a socket");
    let (network, prefix) = network_with_ipv6();
    for options in [&[][..], &["--network", network.name()]] {
        let container = Container::run(options, &[]);
        let highhock = previewer().in_network_of(&container);
        let output = highhock.clone().without("--discovery-host").output(&["run"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
        for part in ["seems to run in a container", "--network host", "discovery.host"] {
            assert!(text.contains(part), "no {part} in:\n{text}");
        }
    }
    let container = Container::run(&["--network", network.name()], &[]);
    let highhock = previewer().in_network_of(&container).flag("--discovery-host6", "auto");
    let output = highhock.output(&["records"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
    assert!(text.contains(&prefix) && text.contains("discovery.host6"), "{text}");
}

#[test]
fn without_an_ipv6_address_to_be_found_it_does_not_start() {
    let highhock = previewer().flag("--discovery-host6", "auto");
    let output = highhock.flag("--discovery-interface", "nonexistent0").output(&["run"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    let step = "discovery.host6 auto, discovery.interface nonexistent0: no such interface";
    assert!(text.contains(step), "{text}");
}
