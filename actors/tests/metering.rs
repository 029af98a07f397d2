//! `MeteredContext`: counts messages correctly, even if a panic drops them.

use std::time::Duration;

use actix::{Actor, Handler, Message};
use highhock_actors::runtime::metered_context::{Metered, MeteredContext};
use highhock_actors::runtime::metrics::MailboxMetrics;

/// Declares an actor for one test. Mailbox metrics belong to the actor's type, so tests do not
/// share an actor.
macro_rules! actor {
    ($name:ident) => {
        struct $name;
        impl Actor for $name {
            type Context = MeteredContext<Self>;
        }
        impl Metered for $name {
            fn mailbox_metrics() -> &'static MailboxMetrics {
                static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new(stringify!($name), 4);
                &MAILBOX_METRICS
            }
        }
        impl Handler<Work> for $name {
            type Result = u32;
            fn handle(&mut self, work: Work, _: &mut Self::Context) -> u32 {
                assert!(work.0 != 13, "panic requested by the test");
                work.0 + 1
            }
        }
    };
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Work(u32);

#[actix::test]
async fn counts_queued_and_handled_messages() {
    actor!(Worker);
    let (worker, task) = MeteredContext::start(Worker);
    for n in 0..3 {
        worker.do_send(Work(n));
    }
    let queued = Worker::mailbox_metrics().snapshot();
    assert_eq!((queued.depth, queued.enqueued, queued.handled), (3, 3, 0));
    assert_eq!((queued.instances, queued.capacity), (1, 4));
    assert_eq!(worker.send(Work(41)).await.unwrap(), 42);
    let handled = Worker::mailbox_metrics().snapshot();
    assert_eq!((handled.depth, handled.enqueued, handled.handled), (0, 4, 4));
    assert_eq!(handled.high_water, 4);
    assert_eq!((handled.wait.count, handled.handling.count), (4, 4));
    drop(worker);
    task.await.unwrap();
    assert_eq!(Worker::mailbox_metrics().snapshot().instances, 0);
}

#[actix::test]
async fn stays_correct_when_a_panic_drops_the_queue() {
    actor!(Unlucky);
    let (unlucky, task) = MeteredContext::start(Unlucky);
    unlucky.do_send(Work(13));
    unlucky.do_send(Work(1));
    unlucky.do_send(Work(2));
    assert!(task.await.unwrap_err().is_panic());
    assert!(unlucky.send(Work(3)).await.is_err());
    let reading = Unlucky::mailbox_metrics().snapshot();
    assert_eq!((reading.depth, reading.handled, reading.instances), (0, 0, 0));
    assert_eq!(reading.high_water, 3);
}

#[actix::test]
async fn times_the_wait_in_the_mailbox() {
    actor!(Late);
    tokio::time::pause();
    let (late, _task) = MeteredContext::start(Late);
    late.do_send(Work(1));
    tokio::time::advance(Duration::from_millis(300)).await;
    late.send(Work(2)).await.unwrap();
    let wait = Late::mailbox_metrics().snapshot().wait;
    assert_eq!(wait.count, 2);
    assert!(wait.max >= Duration::from_millis(300), "{wait:?}");
    assert!(wait.p99 >= Duration::from_millis(300), "{wait:?}");
    assert!(wait.p50 < Duration::from_millis(300), "{wait:?}");
}
