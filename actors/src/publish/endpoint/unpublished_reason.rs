//! [`UnpublishedPort`]: the reason why a port of a container leads to no published address, with a
//! remedy that the author of the container did not apply yet.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use super::NetworkAccess;
use super::published_binding::PublishedBinding;
use crate::model::address_family::AddressFamily;
use crate::model::container::{Container, NetworkMode, PortBinding, Protocol};
use crate::model::names::quote;
use crate::model::port_request::PortRequest;
use crate::model::publish_config::PublishConfig;
use crate::model::service::Service;

/// A service whose port has no usable binding.
pub(super) struct UnpublishedPort<'a> {
    /// The access to the container that owns the networks.
    pub access: &'a NetworkAccess,
    /// The container that declares the service.
    pub container: &'a Container,
    /// The service.
    pub service: &'a Service,
    /// The operator's settings.
    pub config: &'a PublishConfig,
}

impl UnpublishedPort<'_> {
    /// Returns the reason. `bound` are the bindings of the port, in the order of their rank, and
    /// `family` is the family of the published address.
    pub fn reason(&self, bound: &[PublishedBinding], family: Option<AddressFamily>) -> String {
        let other_family = family.and_then(|family| self.other_family(bound, family));
        other_family
            .or_else(|| bound.first().map(|bound| self.not_reachable(bound)))
            .unwrap_or_else(|| self.not_published())
    }

    fn other_family(&self, bound: &[PublishedBinding], family: AddressFamily) -> Option<String> {
        let chosen = bound.iter().find(|bound| bound.is_reachable())?;
        let is_bound = bound.iter().any(|bound| bound.family() == family);
        let is_requested = self.requests().any(|request| request.includes(family));
        let (other, address) = (chosen.family(), socket_address(chosen));
        let remedy = if is_requested && !is_bound {
            format!(
                "the engine forwards only {other} to {}; use a network with {family} forwarding, \
                 or publish an {other} address of this host (discovery.host or discovery.host6)",
                self.networks(),
            )
        } else {
            format!("publish it on all addresses{}", self.publish_flag(chosen))
        };
        Some(format!(
            "its port {} is published for {other} only ({address}), and the published address {} \
             is an {family} address; {remedy}",
            self.port(),
            self.config.host,
        ))
    }

    fn not_reachable(&self, bound: &PublishedBinding) -> String {
        let kind = if bound.address.is_loopback() { "loopback" } else { "link-local" };
        format!(
            "its port {} is published on {} only, a {kind} address that other hosts cannot reach; \
             publish it on all addresses{} or on another address of this host",
            self.port(),
            socket_address(bound),
            self.publish_flag(bound),
        )
    }

    fn not_published(&self) -> String {
        let (port, service) = (self.port(), self.service);
        let assigned = || self.access.bindings.iter().filter(|binding| binding.host_port != 0);

        if self.access.swarm_service.is_none() && self.requests_have_no_effect() {
            return format!("its port {port} is not published: {}", self.networks_do_not_publish());
        }
        if let Some(other) = assigned().find(|binding| binding.port == service.port.get()) {
            return format!(
                "its port {port} is not published, only {}/{} is; {}, or declare the published \
                 protocol",
                other.port,
                other.proto,
                self.publish_step(),
            );
        }
        if let Some(outside) = assigned().find(|binding| binding.host_port == service.port.get()) {
            return format!(
                "its port {port} is not published: {} is the port outside the container, and {} \
                 is the port inside; declare `{}:{}`",
                outside.host_port, outside.port, service.name, outside.port,
            );
        }
        if let Some(swarm_service) = &self.access.swarm_service {
            return format!(
                "its port {port} is not published on this host: the container is a task of the \
                 Swarm service {}, whose ports the routing mesh publishes for all hosts; {}",
                quote(swarm_service),
                self.publish_step(),
            );
        }
        format!(
            "its port {port} is not published; {}, or with a fixed port outside: `-p PORT:{}`",
            self.publish_step(),
            self.flag_value(),
        )
    }

    /// Returns the requests for the port of the service.
    fn requests(&self) -> impl Iterator<Item = &PortRequest> {
        let is_requested = |request: &&PortRequest| {
            request.port == self.service.port.get()
                && self.service.proto.is_none_or(|proto| proto == request.proto)
        };
        self.access.requested.iter().filter(is_requested)
    }

    /// Returns `true` if the port was requested, or if other ports were requested and none of
    /// them is published. A further request would have no effect either.
    fn requests_have_no_effect(&self) -> bool {
        let is_assigned = |binding: &PortBinding| binding.host_port != 0;
        let NetworkAccess { requested, bindings, .. } = self.access;
        self.requests().next().is_some()
            || (!requested.is_empty() && !bindings.iter().any(is_assigned))
    }

    fn networks_do_not_publish(&self) -> String {
        let subject = self.owner().map_or("the container".to_owned(), |owner| {
            format!("container {owner}, whose network it shares,")
        });
        if self.access.networks.is_empty() {
            return format!(
                "{subject} is in no network; connect it to one (`docker network connect`)"
            );
        }
        format!(
            "{subject} is in {}, where the engine publishes no ports, as in internal, isolated, \
             routed and macvlan networks; connect it to another bridge network (`docker network \
             connect`), or publish its own address (discovery.address)",
            self.networks(),
        )
    }

    /// Returns the step with which the port of the service gets published.
    fn publish_step(&self) -> String {
        let port = self.service.port;
        if let Some(swarm_service) = &self.access.swarm_service {
            let proto = self.service.proto.filter(|proto| *proto != Protocol::Tcp);
            let proto = proto.map(|proto| format!(",protocol={proto}")).unwrap_or_default();
            return format!(
                "publish the port of each task: `docker service update --publish-add \
                 mode=host,target={port}{proto} {swarm_service}`"
            );
        }
        match self.owner() {
            Some(owner) => format!(
                "start container {owner}, whose network it shares, with `-p {}`",
                self.flag_value()
            ),
            None => format!("start the container with `-p {}`", self.flag_value()),
        }
    }

    /// Returns the option that publishes a bound port on all addresses, in parentheses.
    fn publish_flag(&self, bound: &PublishedBinding) -> String {
        let flag = format!("-p {}:{}", bound.port, flag_value(self.service.port, bound.proto));
        match self.owner() {
            Some(owner) => format!(" (`{flag}` of container {owner}, whose network it shares)"),
            None => format!(" (`{flag}`)"),
        }
    }

    /// Returns the container that owns the networks, if it is another one.
    fn owner(&self) -> Option<&str> {
        let is_shared = matches!(self.container.network, NetworkMode::Container(_));
        is_shared.then_some(&self.access.owner)
    }

    fn networks(&self) -> String {
        let names = self.access.networks.keys().map(|name| quote(name)).collect::<Vec<_>>();
        if names.is_empty() { "the network of the container".to_owned() } else { names.join(", ") }
    }

    fn port(&self) -> String {
        format_port(self.service.port, self.service.proto)
    }

    fn flag_value(&self) -> String {
        flag_value(self.service.port, self.service.proto.unwrap_or(Protocol::Tcp))
    }
}

fn socket_address(bound: &PublishedBinding) -> SocketAddr {
    SocketAddr::new(bound.address, bound.port.get())
}

/// Formats a port as `80`, or as `80/tcp` if the protocol is declared.
fn format_port(port: NonZeroU16, proto: Option<Protocol>) -> String {
    proto.map_or_else(|| port.to_string(), |proto| format!("{port}/{proto}"))
}

/// Formats the container's part of Docker's option `-p`. The default protocol of `-p` is TCP.
fn flag_value(port: NonZeroU16, proto: Protocol) -> String {
    format_port(port, Some(proto).filter(|proto| *proto != Protocol::Tcp))
}

#[cfg(test)]
mod tests {
    use crate::model::container::{Container, NetworkMode};
    use crate::model::publish_config::PublishConfig;
    use crate::model::record::Host;
    use crate::publish::endpoint::PortAccess;
    use crate::publish::endpoint::tests::service;

    /// A container in the network `lan`, that was created to publish these ports.
    fn container(requested: &[&str], bound: &[&str]) -> Container {
        let container = Container::sample().join("lan");
        let container = requested.iter().fold(container, |container, port| container.request(port));
        bound.iter().fold(container, |container, shown| container.bind(shown))
    }

    /// Returns the reason why a service of `container` is not published through `owner`.
    fn reason(container: &Container, owner: &Container, port: &str, host: &str) -> String {
        let config = PublishConfig { host: Host::parse(host).unwrap(), ..PublishConfig::sample() };
        let access = PortAccess::from_container(owner);
        access.endpoints(container, &service(port), &config).unwrap_err()
    }

    const HOST: &str = "10.77.66.0";
    const HOST6: &str = "2001:db8::5";

    #[track_caller]
    fn check(container: &Container, port: &str, host: &str, parts: &[&str]) {
        let reason = reason(container, container, port, host);
        for part in parts {
            let (part, expected) = part.strip_prefix('!').map_or((*part, true), |p| (p, false));
            assert_eq!(reason.contains(part), expected, "{part:?} in {reason}");
        }
    }

    #[test]
    fn names_the_remedy_for_an_unpublished_port() {
        for (bindings, port, reason) in [
            (&[][..], "80", "port 80 is not published; start the container with `-p 80`"),
            (&[], "53/udp", "port 53/udp is not published; start the container with `-p 53/udp`"),
            (&["80/tcp -> 0.0.0.0:0"], "80", "start the container with `-p 80`"),
            (&["81/tcp -> 0.0.0.0:81"], "80", "`-p PORT:80`"),
            (
                &["53/tcp -> 0.0.0.0:53"],
                "53/udp",
                "port 53/udp is not published, only 53/tcp is; start the container with \
                 `-p 53/udp`",
            ),
            (&["80/tcp -> 0.0.0.0:8080"], "8080", "80 is the port inside; declare `httpd:80`"),
            (
                &["80/tcp -> 127.0.0.1:8080"],
                "80",
                "published on 127.0.0.1:8080 only, a loopback address that other hosts cannot \
                 reach; publish it on all addresses (`-p 8080:80`)",
            ),
            (&["80/tcp -> 127.1.2.3:8080"], "80", "loopback"),
            (&["80/tcp -> [::1]:8080"], "80", "[::1]:8080 only, a loopback"),
            (&["53/udp -> 127.0.0.1:54"], "53", "`-p 54:53/udp`"),
            (&["80/tcp -> [fe80::1]:8080"], "80", "link-local"),
            (&["80/tcp -> 169.254.1.1:8080"], "80", "link-local"),
        ] {
            check(&container(&[], bindings), port, HOST, &[reason]);
        }
    }

    #[test]
    fn names_the_published_family_if_it_is_the_other_one() {
        let all_six = container(&["80/tcp -> ::"], &["80/tcp -> [::]:8080"]);
        let remedy = "publish it on all addresses (`-p 8080:80`)";
        let cause = "is published for IPv6 only ([::]:8080), and the published address \
                     10.77.66.0 is an IPv4 address";
        check(&all_six, "80", HOST, &[cause, remedy]);
        let one_six = container(&[], &["80/tcp -> [2001:db8::7]:8080"]);
        check(&one_six, "80", HOST, &["IPv6 only ([2001:db8::7]:8080)", remedy]);
        let all_four = container(&["80/tcp -> 0.0.0.0"], &["80/tcp -> 0.0.0.0:8080"]);
        let cause = "is published for IPv4 only (0.0.0.0:8080), and the published address \
                     2001:db8::5 is an IPv6 address";
        check(&all_four, "80", HOST6, &[cause, remedy]);
        // The loopback binding was requested and is bound.
        let both = ["80/tcp -> 127.0.0.1:8081", "80/tcp -> [::]:8080"];
        let requested = ["80/tcp -> 127.0.0.1", "80/tcp -> ::"];
        check(&container(&requested, &both), "80", HOST, &["IPv6 only", remedy]);
    }

    #[test]
    fn never_advises_a_family_that_was_requested() {
        for requested in [&["80/tcp"][..], &["80/tcp -> 0.0.0.0"]] {
            let routed = container(requested, &["80/tcp -> [::]:32774", "80/tcp -> 0.0.0.0:0"]);
            let remedy = "the engine forwards only IPv6 to \"lan\"; use a network with IPv4";
            check(&routed, "80", HOST, &["IPv6 only", remedy, "discovery.host6", "!`-p"]);
        }
        let four = container(&["80/tcp"], &["80/tcp -> 0.0.0.0:8080"]);
        check(&four, "80", HOST6, &["the engine forwards only IPv4 to \"lan\"", "!`-p"]);
    }

    #[test]
    fn never_advises_a_request_without_effect() {
        let cause = "is in \"lan\", where the engine publishes no ports";
        for (requested, bound, port) in [
            (&["80/tcp"][..], &[][..], "80"),
            (&["80/tcp"], &["80/tcp -> 0.0.0.0:0"], "80"),
            (&["53/udp"], &[], "53/udp"),
            // The request for another port had no effect either.
            (&["81/tcp"], &[], "80"),
        ] {
            let container = container(requested, bound);
            check(&container, port, HOST, &[cause, "docker network connect", "!`-p"]);
        }
        // Another protocol, or another port, is published in this network.
        let advice = "start the container with `-p 80`";
        check(&container(&["81/tcp"], &["81/tcp -> 0.0.0.0:81"]), "80", HOST, &[advice]);
        let advice = "start the container with `-p 80/udp`";
        check(&container(&["80/tcp"], &["80/tcp -> 0.0.0.0:81"]), "80/udp", HOST, &[advice]);
    }

    #[test]
    fn container_in_no_network_needs_one() {
        let container = Container::sample().request("80/tcp");
        let parts = ["the container is in no network; connect it to one", "!`-p"];
        check(&container, "80", HOST, &parts);
    }

    #[test]
    fn swarm_task_is_published_in_host_mode() {
        let label = "com.docker.swarm.service.name";
        let task = |bound: &[&str]| container(&[], bound).label(label, "shop_web");
        for (bound, port, step) in [
            (&[][..], "80", "mode=host,target=80 shop_web`"),
            (&[], "53/udp", "mode=host,target=53,protocol=udp shop_web`"),
            (&["53/tcp -> 0.0.0.0:53"], "53/udp", "mode=host,target=53,protocol=udp shop_web`"),
        ] {
            let step = format!("`docker service update --publish-add {step}");
            check(&task(bound), port, HOST, &[&step, "!`-p"]);
        }
        check(
            &task(&[]),
            "80",
            HOST,
            &["a task of the Swarm service \"shop_web\"", "routing mesh"],
        );
    }

    #[test]
    fn shared_network_is_published_by_its_owner() {
        let guest =
            Container { network: NetworkMode::Container("vpn".into()), ..container(&[], &[]) };
        for (requested, bound, part) in [
            (&[][..], &[][..], "start container vpn, whose network it shares, with `-p 80`"),
            (&["80/tcp"], &[], "container vpn, whose network it shares, is in \"lan\", where"),
            (
                &["80/tcp -> 127.0.0.1"],
                &["80/tcp -> 127.0.0.1:8080"],
                "(`-p 8080:80` of container vpn, whose network it shares)",
            ),
        ] {
            let owner = Container { name: "vpn".into(), ..container(requested, bound) };
            let reason = reason(&guest, &owner, "80", HOST);
            assert!(reason.contains(part), "{reason}");
        }
    }
}
