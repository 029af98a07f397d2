//! Ports that the engine forwards by IPv6 only, because of the container's network.

use crate::addresses::{
    ADDRESS6, preview_records, record_preview, run_service, skip_reason, unique_prefix,
};
use crate::support::docker::{Network, has_routed_networks};

/// The option of a network in which the engine forwards no IPv4 ports.
const ROUTED_IPV4: &str = "com.docker.network.bridge.gateway_mode_ipv4=routed";

#[test]
fn port_of_a_network_without_ipv4_is_published_by_ipv6() {
    if !has_routed_networks() {
        println!("SKIPPED: only Docker 28 and newer have such networks");
        return;
    }
    let subnet = || format!("{}::/64", unique_prefix());
    let routed = Network::create(&["--ipv6", "--subnet", &subnet(), "-o", ROUTED_IPV4]);
    for network in [routed, Network::without_ipv4(&subnet())] {
        let container = run_service(&["80"], &["--network", network.name(), "-p", "80"]);
        let port = container.published_port_ipv6("80/tcp");
        let highhock = record_preview();
        assert_eq!(preview_records(&highhock, &container), [""; 0]);
        let reason = skip_reason(&highhock, &container);
        assert!(reason.contains(&format!("published for IPv6 only ([::]:{port})")), "{reason}");
        assert!(!reason.contains("`-p"), "advises what was done: {reason}");

        let six = highhock.clone().flag("--discovery-host", ADDRESS6);
        assert_eq!(preview_records(&six, &container), [format!("-80 {ADDRESS6} {port}")]);
        let both = highhock.flag("--discovery-host6", ADDRESS6);
        assert_eq!(preview_records(&both, &container), [format!("-80-6 {ADDRESS6} {port}")]);
    }
}
