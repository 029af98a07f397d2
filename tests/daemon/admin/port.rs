//! An occupied port, and no port at all: records have priority.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::{unique_name, unreachable_servers};

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn port_in_use_is_retried_without_blocking_records() {
    let admin = Admin::on_loopback();
    let taken = TcpListener::bind(admin.listen()).unwrap();
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).flag("--admin-listen", &admin.listen()).start();
    daemon.wait_for_log(&["WARNING", "admin interface unavailable", "Address already in use"]);
    let name = unique_name("first");
    let offer = format!("DISCOVER={name}:80");
    let _container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let key = format!("skydns/local/skydns/{name}");
    eventually("its record", TIMEOUT, || etcd.get(&key));
    drop(taken);
    eventually("an answer", TIMEOUT, || admin.send(&["GET /healthz HTTP/1.1", "Host: localhost"]));
    assert_eq!(
        daemon.lines_with(&["admin interface unavailable"]).len(),
        1,
        "one warning is enough"
    );
}

#[test]
fn empty_address_disables_the_admin_interface() {
    let mut daemon = unreachable_servers().start();
    daemon.wait_for_log(&["docker unreachable"]);
    assert!(daemon.lines_with(&["admin interface listening"]).is_empty() && daemon.is_alive());
}
