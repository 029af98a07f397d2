//! [`Machines`]: HighHock as the publisher. Two built daemons publish real containers.

use std::net::IpAddr;
use std::time::Duration;

use super::publish::{Published, Publisher, Service, key};
use super::support::daemon::{Daemon, Highhock};
use super::support::docker::{self, Container};
use super::support::etcd::{Etcd, Release};
use super::support::etcd_v3::V3Client;
use super::support::proxy::Proxy;
use super::support::{eventually, run_id, unique};

/// The addresses of the first machines.
const ADDRESSES: [&str; 2] = ["10.77.66.1", "10.77.66.2"];

/// The time limit for publishing or withdrawing a record.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The port that every container publishes.
const PORT: &str = "80";

/// The machines of a cluster, each with a HighHock, an address and containers. All containers
/// run on one engine, and each HighHock sees only the containers of its machine.
pub struct Machines {
    etcd: V3Client,
    highhock: Highhock,
    /// Started on demand, because the first service determines the layout.
    machines: Vec<Machine>,
    published: u32,
    /// Each with the name of its own record.
    containers: Vec<(String, Container)>,
}

struct Machine {
    name: String,
    address: String,
    /// The label of the machine's containers.
    label: String,
    /// Publishes the records.
    daemon: Daemon,
    /// Filters the engine's containers by the label.
    _engine: Proxy,
}

impl Machines {
    pub fn new(etcd: &Etcd, release: Release) -> Self {
        let highhock = Highhock::new(&etcd.url());
        let highhock = match release {
            // The daemon would detect v2, which CoreDNS does not read.
            Release::V3_4 => highhock.flag("--etcd-api", "v3"),
            Release::V3_6 => highhock,
        };
        let (machines, containers) = (Vec::new(), Vec::new());
        Self { etcd: etcd.v3(), highhock, machines, published: 0, containers }
    }

    /// Returns the machine for a service. It is the machine of the service's host if there is
    /// one, otherwise each machine in turn. Any other host name is set by the container.
    fn machine_for(&mut self, service: &Service) -> &Machine {
        let layout = if service.replica.is_some() { "instance" } else { "flat" };
        let is_started =
            |host: &String| self.machines.iter().any(|machine| machine.address == *host);
        let is_machine = |host: &&String| host.parse::<IpAddr>().is_ok() || is_started(host);
        let requested_host = service.host.as_ref().filter(is_machine);
        let turn = ADDRESSES[self.published as usize % ADDRESSES.len()];
        let address = requested_host.map_or(turn, String::as_str);
        let at = self.machines.iter().position(|machine| machine.address == address);
        let at = at.unwrap_or_else(|| self.add(address, layout));
        self.published += 1;
        &self.machines[at]
    }

    /// Starts a machine that publishes this address or name. Returns its index.
    pub fn add(&mut self, address: &str, layout: &str) -> usize {
        let name = format!("web{}", self.machines.len() + 1);
        let highhock = self.highhock.clone().flag("--skydns-layout", layout);
        self.machines.push(Machine::start(name, address, highhock));
        self.machines.len() - 1
    }

    /// Waits until one of the daemons logs a line with all parts.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) {
        eventually(&format!("a log line with {parts:?}"), TIMEOUT, || {
            let has_line = |machine: &Machine| !machine.daemon.lines_with(parts).is_empty();
            self.machines.iter().any(has_line).then_some(())
        });
    }
}

impl Machine {
    fn start(name: String, address: &str, highhock: Highhock) -> Self {
        let label =
            format!("highhock-test-machine={}-{}-{}", run_id(), std::process::id(), unique());
        let engine = Proxy::with_label_filter(docker::server_address(), &label);
        let daemon = highhock
            .flag("--docker-url", &format!("tcp://{}", engine.authority()))
            .flag("--discovery-host", address)
            .flag("--skydns-hostname", &name)
            .start();
        Self { name, address: address.into(), label, daemon, _engine: engine }
    }
}

impl Publisher for Machines {
    fn publish(&mut self, service: &Service) -> Published {
        let machine = self.machine_for(service);
        let mut labels = vec![machine.label.clone()];
        labels.extend(service.priority.map(|priority| format!("highhock.priority={priority}")));
        labels.extend(service.weight.map(|weight| format!("highhock.weight={weight}")));
        labels.extend(service.text.as_ref().map(|text| format!("highhock.text={text}")));
        labels.extend(service.group.as_ref().map(|it| format!("highhock.group={it}")));
        let elsewhere = service.host.as_ref().filter(|host| **host != machine.address);
        labels.extend(elsewhere.map(|it| format!("highhock.host={it}")));
        let discover = format!("DISCOVER={}:{PORT}", service.name);
        let publish = format!("0:{PORT}");
        let mut options = vec!["-e", &discover, "-p", &publish];
        options.extend(labels.iter().flat_map(|label| ["--label", label]));
        let container = Container::run(&options, &[]);

        let own_name = match service.replica {
            None => service.query_name(),
            Some(_) => {
                let id = &container.id()[..12];
                format!("{}-{id}-{PORT}.{}", machine.name, service.query_name())
            }
        };
        let host = elsewhere.unwrap_or(&machine.address).clone();
        let is_v6 = machine.address.contains(':');
        let port = if is_v6 {
            container.published_port_ipv6(PORT)
        } else {
            container.published_port(PORT)
        };
        let key = key(&own_name);
        eventually(&format!("a record at {key}"), TIMEOUT, || self.etcd.get(&key));
        self.containers.push((own_name.clone(), container));
        Published { host, port, own_name }
    }

    fn withdraw(&mut self, published: &Published) {
        let is_same = |(own_name, _): &(String, Container)| *own_name == published.own_name;
        let at = self.containers.iter().position(is_same).expect("published before");
        self.containers[at].1.stop();
        let key = key(&published.own_name);
        eventually(&format!("{key} is withdrawn"), TIMEOUT, || {
            self.etcd.get(&key).is_none().then_some(())
        });
    }
}
