//! Without changes, the daemon sends few requests and logs nothing.

use std::thread;
use std::time::Duration;

use crate::many_containers::ContainerGroup;
use crate::support::daemon::Highhock;
use crate::support::docker;
use crate::support::etcd::Etcd;
use crate::support::proxy::Proxy;
use crate::unique_name;

#[test]
fn idle_daemon_sends_one_request_per_poll_and_logs_none() {
    const OBSERVED_POLLS: u32 = 10;
    let etcd = Etcd::start();
    // Hides the containers of other tests, which start and stop.
    let label = unique_name("steady");
    let engine = Proxy::with_label_filter(docker::server_address(), &label);
    let containers = ContainerGroup::start_with_label(5, &label);
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", "5");
    let daemon = highhock.flag("--docker-url", &format!("tcp://{}", engine.authority())).start();
    for member in &containers.0 {
        daemon.wait_for_log(&["record published", &member.name]);
    }

    let (listings, others) = engine.request_counts();
    let log = daemon.log();
    thread::sleep(Duration::from_secs(OBSERVED_POLLS.into()));
    let (listings, others) =
        (engine.request_counts().0 - listings, engine.request_counts().1 - others);
    println!("{listings} listings and {others} other questions in {OBSERVED_POLLS} s");
    assert_eq!(daemon.log(), log);
    assert_eq!(others, 0);
    assert!((8..=12).contains(&listings), "{listings}");
}
