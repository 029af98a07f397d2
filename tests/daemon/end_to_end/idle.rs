//! Nothing changes: little is asked, and nothing said.

use std::thread;
use std::time::Duration;

use crate::many_containers::Fleet;
use crate::named;
use crate::support::daemon::Highhock;
use crate::support::docker;
use crate::support::etcd::Etcd;
use crate::support::proxy::Front;

#[test]
fn where_nothing_changes_docker_gets_one_question_a_poll_and_the_log_is_quiet() {
    const WATCHED: u32 = 10;
    let etcd = Etcd::start();
    // Other tests' containers come and go: this daemon is not to see them.
    let label = named("steady");
    let engine = Front::narrowed(docker::place(), &label);
    let fleet = Fleet::start_labelled(5, &label);
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-ttl", "5");
    let daemon = highhock.flag("--docker-url", &format!("tcp://{}", engine.authority())).start();
    for member in &fleet.0 {
        daemon.says(&["record put", &member.name]);
    }

    let (listings, others) = engine.asked();
    let log = daemon.log();
    thread::sleep(Duration::from_secs(WATCHED.into()));
    let (listings, others) = (engine.asked().0 - listings, engine.asked().1 - others);
    println!("{listings} listings and {others} other questions in {WATCHED} s");
    assert_eq!(daemon.log(), log);
    assert_eq!(others, 0);
    assert!((8..=12).contains(&listings), "{listings}");
}
