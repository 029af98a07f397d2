//! What is another's is left alone.

use std::time::Duration;

use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::{PATIENCE, becomes, goes, key, named, offering, record, record_with_ttl, value_at};

const ANOTHERS: &str = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;

#[test]
fn anothers_record_is_left_alone_and_taken_over_when_it_ends() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).flag("--etcd-ttl", "6").start();
    let name = named("held");
    etcd.put(&key(&name), ANOTHERS, Some(60));
    let container = offering(&name);
    daemon.says(&["WARNING", "stands by", &name, "10.77.66.99 holds the record"]);

    // Its last refresh.
    etcd.put(&key(&name), ANOTHERS, Some(5));
    let put = etcd.get(&key(&name)).unwrap();
    let ours = record_with_ttl(container.published("80/tcp"), 6);
    eventually("the other's record ends", PATIENCE, || {
        let node = etcd.get(&key(&name));
        if let Some(node) = &node {
            let untouched = node.value == ANOTHERS && node.modified == put.modified;
            assert!(untouched || node.value == ours, "{node:?}");
        }
        node.is_none_or(|node| node.value == ours).then_some(())
    });
    becomes(&etcd, &key(&name), &ours);
    assert_eq!(daemon.lines_with(&["stands by", &name]).len(), 1);
}

#[test]
fn a_static_entry_is_left_alone_even_where_it_names_this_host() {
    let etcd = Etcd::start();
    let (theirs, ours, free) = (named("static"), named("own-static"), named("free"));
    etcd.put(&key(&theirs), ANOTHERS, None);
    etcd.put(&key(&ours), &record(1), None);
    let before = [etcd.get(&key(&theirs)), etcd.get(&key(&ours))];
    let mut daemon = Highhock::new(&etcd.url()).flag("--etcd-ttl", "5").start();
    let container = Container::run(
        &["-e", &format!("DISCOVER={theirs}:80,{ours}:80,{free}:80"), "-p", "0:80"],
        &[],
    );
    for name in [&theirs, &ours] {
        daemon.says(&["WARNING", "stands by", name, "a static entry"]);
    }
    becomes(&etcd, &key(&free), &record_with_ttl(container.published("80/tcp"), 5));

    container.stop();
    goes(&etcd, &key(&free));
    assert_eq!(daemon.ends_on("TERM").0, Some(0));
    assert_eq!([etcd.get(&key(&theirs)), etcd.get(&key(&ours))], before);
}

#[test]
fn a_directory_in_the_way_holds_up_only_its_own_name() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).flag("--log-level", "debug").start();
    let (blocked, free) = (named("blocked"), named("free"));
    let in_it = format!("{}/static", key(&blocked));
    etcd.put(&in_it, ANOTHERS, None);
    let container =
        Container::run(&["-e", &format!("DISCOVER={blocked}:80,{free}:80"), "-p", "0:80"], &[]);
    let ours = record(container.published("80/tcp"));
    becomes(&etcd, &key(&free), &ours);
    let warning = daemon.says(&["WARNING", "a record can't be kept", &blocked]);
    assert!(warning.contains(&format!("there are records below it, such as {in_it}")), "{warning}");

    // Tried again now and then, and not told again.
    let tries = ["request to etcd", "PUT", &blocked];
    eventually("a second try", PATIENCE + Duration::from_secs(10), || {
        (daemon.lines_with(&tries).len() >= 2).then_some(())
    });
    assert_eq!(daemon.lines_with(&["a record can't be kept", &blocked]).len(), 1);

    etcd.remove(&in_it);
    eventually("a third try", PATIENCE + Duration::from_secs(10), || {
        (etcd.get(&key(&blocked))?.value == ours).then_some(())
    });
    assert_eq!(value_at(&etcd, &key(&free)), ours);
}
