//! HighHock itself as the publisher: the built daemon, twice, with real containers.

use std::net::IpAddr;
use std::time::Duration;

use super::publish::{Published, Publisher, Service, key};
use super::support::daemon::{Daemon, Highhock};
use super::support::docker::{self, Container};
use super::support::etcd::{Etcd, Release};
use super::support::etcd_v3::V3Client;
use super::support::proxy::Proxy;
use super::support::{eventually, run_id, unique};

/// The addresses of the machines that are there from the start.
const ADDRESSES: [&str; 2] = ["10.77.66.1", "10.77.66.2"];

/// How long a record may take to come or to go.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The port that every container offers.
const PORT: &str = "80";

/// Machines of one cluster, each with a HighHock, an address and containers of its
/// own. All containers run on the one engine that there is; each HighHock is shown
/// those of its machine.
pub struct Machines {
    etcd: V3Client,
    highhock: Highhock,
    /// Started when they are needed: then it is known in which layout.
    machines: Vec<Machine>,
    published: u32,
    /// With the name that answers with its record alone.
    containers: Vec<(String, Container)>,
}

struct Machine {
    name: String,
    address: String,
    /// On its containers.
    label: String,
    /// Keeps the records.
    daemon: Daemon,
    /// Shows the daemon the machine's containers.
    _engine: Proxy,
}

impl Machines {
    pub fn new(etcd: &Etcd, release: Release) -> Self {
        let highhock = Highhock::new(&etcd.url());
        let highhock = match release {
            // It would choose v2, which no CoreDNS reads.
            Release::V3_4 => highhock.flag("--etcd-api", "v3"),
            Release::V3_6 => highhock,
        };
        let (machines, containers) = (Vec::new(), Vec::new());
        Self { etcd: etcd.v3(), highhock, machines, published: 0, containers }
    }

    /// The machine that this service runs on, with HighHock in the service's layout:
    /// the one of the address that it names, else each in turn. A host's name that is
    /// no machine's is for the container to say.
    fn machine_for(&mut self, service: &Service) -> &Machine {
        let layout = if service.replica.is_some() { "instance" } else { "flat" };
        let is_there = |host: &String| self.machines.iter().any(|it| it.address == *host);
        let is_machine = |host: &&String| host.parse::<IpAddr>().is_ok() || is_there(host);
        let requested_host = service.host.as_ref().filter(is_machine);
        let turn = ADDRESSES[self.published as usize % ADDRESSES.len()];
        let address = requested_host.map_or(turn, String::as_str);
        let at = self.machines.iter().position(|machine| machine.address == address);
        let at = at.unwrap_or_else(|| self.add(address, layout));
        self.published += 1;
        &self.machines[at]
    }

    /// Starts a machine that publishes itself as this address or name; its number.
    pub fn add(&mut self, address: &str, layout: &str) -> usize {
        let name = format!("web{}", self.machines.len() + 1);
        let highhock = self.highhock.clone().flag("--skydns-layout", layout);
        self.machines.push(Machine::start(name, address, highhock));
        self.machines.len() - 1
    }

    /// Waits until one of the HighHocks says all that in a line.
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
        labels.extend(service.priority.map(|it| format!("highhock.priority={it}")));
        labels.extend(service.weight.map(|it| format!("highhock.weight={it}")));
        labels.extend(service.text.as_ref().map(|it| format!("highhock.text={it}")));
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
        let at = self.containers.iter().position(is_same).expect("it was published");
        self.containers[at].1.stop();
        let key = key(&published.own_name);
        eventually(&format!("{key} is gone"), TIMEOUT, || {
            self.etcd.get(&key).is_none().then_some(())
        });
    }
}
