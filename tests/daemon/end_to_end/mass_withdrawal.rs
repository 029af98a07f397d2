//! Listings that are not believed at once, of a real engine that is shown otherwise.

use std::time::Duration;

use crate::PATIENCE;
use crate::changes::{Changes, deleted};
use crate::fixture::{Stage, becomes_exactly, held, records_of};
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::proxy::Play;

const MOST_GONE: &str = "docker lists none of the containers of most records";
const STRANGER: &str = "another docker engine than before answers";

/// Waits until the daemon has listed so many times more.
fn lists(stage: &Stage, times: usize) {
    let before = stage.engine().asked().0;
    eventually("it lists", PATIENCE, || (stage.engine().asked().0 >= before + times).then_some(()));
}

/// Has the engine shown otherwise until the daemon says this.
fn until_it_says(stage: &Stage, daemon: &Daemon, play: Play, what: &str) {
    let before = daemon.lines_with(&[what]).len();
    stage.engine().plays(play);
    let said = || (daemon.lines_with(&[what]).len() > before).then_some(());
    eventually(what, PATIENCE, said);
    stage.engine().plays(Play::Honest);
}

#[test]
fn a_listing_that_would_withdraw_most_records_is_confirmed_first() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let packs = [stage.pack(8), stage.pack(4)];
    // Seldom enough that one listing can be shown otherwise alone.
    let daemon = stage.highhock(&etcd.url()).flag("--docker-poll", "2").start();
    let records = records_of(&packs, 60);
    becomes_exactly(&etcd.v3(), &records, PATIENCE);

    let changes = Changes::watch(&etcd);
    until_it_says(&stage, &daemon, Play::Empty, MOST_GONE);
    lists(&stage, 3);
    assert_eq!(held(&etcd.v3()), records);
    assert_eq!(deleted(&changes.finish(&etcd)), [""; 0]);

    // Two such listings are believed.
    stage.engine().plays(Play::Empty);
    becomes_exactly(&etcd.v3(), &Default::default(), PATIENCE);
    stage.engine().plays(Play::Honest);
    becomes_exactly(&etcd.v3(), &records, PATIENCE);
}

#[test]
fn another_engine_is_believed_when_it_answers_twice() {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    // Few enough that their number alone makes no listing doubtful.
    let pack = stage.pack(3);
    let daemon = stage.highhock(&etcd.url()).flag("--docker-poll", "2").start();
    let records = pack.records();
    becomes_exactly(&etcd.v3(), &records, PATIENCE);

    let changes = Changes::watch(&etcd);
    until_it_says(&stage, &daemon, Play::Stranger, STRANGER);
    lists(&stage, 3);
    assert_eq!(held(&etcd.v3()), records);
    assert_eq!(deleted(&changes.finish(&etcd)), [""; 0]);

    stage.engine().plays(Play::Stranger);
    becomes_exactly(&etcd.v3(), &Default::default(), Duration::from_secs(10));
}
