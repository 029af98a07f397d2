//! Outages of Docker, of etcd, and of both.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::many_containers::ContainerGroup;
use crate::poller::{Sample, Sampler, assert_never_missing};
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::proxy::Proxy;
use crate::support::{TempDir, docker, eventually};
use crate::{TIMEOUT, key, run_service, unique_name, wait_for_key, wait_for_removal};

/// The shortest TTL, so that outages that outlast it are short.
const TTL: Duration = Duration::from_secs(5);

/// All records must be back within a second ("Recovery time"). The rest is for a busy machine.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(5);

#[test]
fn republishes_when_an_emptied_etcd_returns() {
    let mut etcd = Etcd::start();
    // Containers of other tests would disturb the measurement.
    let label = unique_name("recovery");
    let engine = Proxy::with_label_filter(docker::server_address(), &label);
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", "5");
    let daemon = highhock.flag("--docker-url", &format!("tcp://{}", engine.authority())).start();
    let containers = ContainerGroup::start_with_label(20, &label);
    let all = containers.keys();
    eventually("20 records", TIMEOUT, || {
        all.iter().all(|key| etcd.get(key).is_some()).then_some(())
    });

    type OutageMethod = fn(&mut Etcd);
    for end in [Etcd::kill as OutageMethod, Etcd::stop as OutageMethod] {
        end(&mut etcd);
        let sampler = Sampler::start(etcd.reader(), Duration::from_millis(5));
        thread::sleep(TTL + Duration::from_secs(1));
        etcd.restart(true);
        eventually("20 records again", TIMEOUT, || {
            all.iter().all(|key| etcd.get(key).is_some()).then_some(())
        });
        let took = time_to_recover(&sampler.finish(), &all);
        println!("20 records were back {took:?} after etcd's first answer");
        assert!(took < RECOVERY_TIME_MAX, "{took:?}");
    }
    assert_eq!(daemon.lines_with(&["WARNING", "etcd unreachable"]).len(), 2);
    eventually("the outage is logged", TIMEOUT, || {
        (daemon.lines_with(&["NOTICE", "etcd connected"]).len() == 2).then_some(())
    });
}

/// From the first read that etcd answered to the first read with all keys.
fn time_to_recover(samples: &[Sample], keys: &HashSet<String>) -> Duration {
    assert!(samples[0].values.is_none(), "etcd was not away at first");
    let answered = samples.iter().find(|sample| sample.values.is_some()).unwrap();
    let complete = samples.iter().find(|sample| sample.has_all(keys)).unwrap();
    complete.received_at - answered.received_at
}

#[test]
fn docker_outage_withdraws_nothing_until_it_returns() {
    let etcd = Etcd::start();
    let dir = TempDir::new();
    let socket = dir.0.join("docker.sock");
    let mut relay = CuttableProxy::unix(&socket, docker::server_address());
    let url = format!("unix://{}", socket.display());
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", "5");
    let daemon = highhock.flag("--docker-url", &url).start();
    let mut containers = ContainerGroup::start(4);
    let all = containers.keys();
    eventually("4 records", TIMEOUT, || {
        all.iter().all(|key| etcd.get(key).is_some()).then_some(())
    });

    relay.cut();
    let sampler = Sampler::start(etcd.reader(), Duration::from_millis(50));
    let ended = containers.stop(2);
    thread::sleep(TTL + Duration::from_secs(3));
    assert_never_missing(&sampler.finish(), &all);
    assert_eq!(daemon.lines_with(&["WARNING", "docker unreachable"]).len(), 1);

    let sampler = Sampler::start(etcd.reader(), Duration::from_millis(50));
    relay.restore();
    for key in &ended {
        wait_for_removal(&etcd, key);
    }
    assert_never_missing(&sampler.finish(), &containers.keys());
    daemon.wait_for_log(&["NOTICE", "docker connected again"]);
}

#[test]
fn waits_for_docker_and_etcd_and_logs_each_once() {
    let mut etcd = Etcd::start();
    etcd.stop();
    let dir = TempDir::new();
    let socket = dir.0.join("docker.sock");
    let mut relay = CuttableProxy::unix(&socket, docker::server_address());
    relay.cut();
    let url = format!("unix://{}", socket.display());
    let mut daemon = Highhock::new(&etcd.url()).flag("--docker-url", &url).start();
    let name = unique_name("patient");
    let _container = run_service(&name);

    let of_docker = daemon.wait_for_log(&["WARNING", "docker"]);
    assert!(of_docker.contains("no such socket"), "{of_docker}");
    thread::sleep(Duration::from_secs(3));
    relay.restore();
    let of_etcd = daemon.wait_for_log(&["WARNING", "etcd unreachable"]);
    assert!(of_etcd.contains("refused"), "{of_etcd}");
    thread::sleep(Duration::from_secs(3));
    assert!(daemon.is_alive());
    assert_eq!(daemon.lines_with(&["WARNING", "docker"]).len(), 1);
    assert_eq!(daemon.lines_with(&["WARNING", "etcd"]).len(), 1);

    etcd.restart(false);
    wait_for_key(&etcd, &key(&name));
}
