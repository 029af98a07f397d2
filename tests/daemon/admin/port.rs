//! A port that is taken, and none at all: records come first.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::{alone, named};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_port_that_is_taken_is_warned_of_and_tried_again_while_records_are_written() {
    let admin = Admin::on_loopback();
    let taken = TcpListener::bind(admin.listen()).unwrap();
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).flag("--admin-listen", &admin.listen()).start();
    daemon.says(&["WARNING", "state can't be shown over http", "Address already in use"]);
    let name = named("first");
    let offer = format!("DISCOVER={name}:80");
    let _container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let key = format!("skydns/local/skydns/{name}");
    eventually("its record", PATIENCE, || etcd.get(&key));
    drop(taken);
    eventually("an answer", PATIENCE, || admin.send(&["GET /healthz HTTP/1.1", "Host: localhost"]));
    assert_eq!(daemon.lines_with(&["state can't be shown"]).len(), 1, "one warning is enough");
}

#[test]
fn with_no_address_nobody_is_answered() {
    let mut daemon = alone().start();
    daemon.says(&["docker does not answer"]);
    assert!(daemon.lines_with(&["state is shown"]).is_empty() && daemon.is_alive());
}
