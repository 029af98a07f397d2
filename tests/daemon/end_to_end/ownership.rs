//! Foreign records are left alone.

use std::time::Duration;

use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::{
    TIMEOUT, key, record, record_with_ttl, run_service, unique_name, wait_for_key,
    wait_for_removal, wait_for_value,
};

const FOREIGN_VALUE: &str = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;

#[test]
fn foreign_record_is_kept_until_it_expires() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).flag("--etcd-ttl", "6").start();
    let name = unique_name("held");
    etcd.put(&key(&name), FOREIGN_VALUE, Some(60));
    let container = run_service(&name);
    daemon.wait_for_log(&["WARNING", "record on standby", &name, "10.77.66.99 holds the key"]);

    // The last refresh of this record.
    etcd.put(&key(&name), FOREIGN_VALUE, Some(5));
    let put = etcd.get(&key(&name)).unwrap();
    let ours = record_with_ttl(container.published_port("80/tcp"), 6);
    eventually("the other's record ends", TIMEOUT, || {
        let node = etcd.get(&key(&name));
        if let Some(node) = &node {
            let untouched = node.value == FOREIGN_VALUE && node.modified == put.modified;
            assert!(untouched || node.value == ours, "{node:?}");
        }
        node.is_none_or(|node| node.value == ours).then_some(())
    });
    wait_for_value(&etcd, &key(&name), &ours);
    assert_eq!(daemon.lines_with(&["record on standby", &name]).len(), 1);
}

#[test]
fn static_entry_is_kept_even_for_this_host() {
    let etcd = Etcd::start();
    let (theirs, ours, free) =
        (unique_name("static"), unique_name("own-static"), unique_name("free"));
    etcd.put(&key(&theirs), FOREIGN_VALUE, None);
    etcd.put(&key(&ours), &record(1), None);
    let before = [etcd.get(&key(&theirs)), etcd.get(&key(&ours))];
    let mut daemon = Highhock::new(&etcd.url()).flag("--etcd-ttl", "5").start();
    let container = Container::run(
        &["-e", &format!("DISCOVER={theirs}:80,{ours}:80,{free}:80"), "-p", "0:80"],
        &[],
    );
    for name in [&theirs, &ours] {
        daemon.wait_for_log(&["WARNING", "record on standby", name, "a static record"]);
    }
    wait_for_value(&etcd, &key(&free), &record_with_ttl(container.published_port("80/tcp"), 5));

    container.stop();
    wait_for_removal(&etcd, &key(&free));
    assert_eq!(daemon.stop_with("TERM").0, Some(0));
    assert_eq!([etcd.get(&key(&theirs)), etcd.get(&key(&ours))], before);
}

#[test]
fn conflicting_directory_blocks_only_its_name() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).flag("--log-level", "debug").start();
    let (blocked, free) = (unique_name("blocked"), unique_name("free"));
    let in_it = format!("{}/static", key(&blocked));
    etcd.put(&in_it, FOREIGN_VALUE, None);
    let container =
        Container::run(&["-e", &format!("DISCOVER={blocked}:80,{free}:80"), "-p", "0:80"], &[]);
    let ours = record(container.published_port("80/tcp"));
    wait_for_value(&etcd, &key(&free), &ours);
    let warning = daemon.wait_for_log(&["WARNING", "cannot write record", &blocked]);
    assert!(warning.contains(&format!("there are records below it, such as {in_it}")), "{warning}");

    // The write is retried from time to time, but reported once.
    let tries = ["request to etcd", "PUT", &blocked];
    eventually("a second try", TIMEOUT + Duration::from_secs(10), || {
        (daemon.lines_with(&tries).len() >= 2).then_some(())
    });
    assert_eq!(daemon.lines_with(&["cannot write record", &blocked]).len(), 1);

    etcd.remove(&in_it);
    eventually("a third try", TIMEOUT + Duration::from_secs(10), || {
        (etcd.get(&key(&blocked))?.value == ours).then_some(())
    });
    assert_eq!(wait_for_key(&etcd, &key(&free)), ours);
}
