//! Measures the cost of metering a message: an actor in the metered context, and the same actor
//! in actix's own context, in turns in one run. Measures processor time, which depends less on
//! the load of the machine.
//!
//! Run `cargo bench --bench metering`.
#![allow(clippy::unwrap_used, reason = "a failed measurement panics")]

use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use highhock_actors::runtime::metered_context::{Metered, MeteredContext};
use highhock_actors::runtime::metrics::MailboxMetrics;
use rustix::time::{ClockId, clock_gettime};

/// The number of messages in the mailbox at a time. Mailboxes of the daemon are short too.
const BURST_MESSAGES: u32 = 16;
const BURSTS: u32 = 2_000;
const ROUNDS: usize = 51;
/// The maximum permitted cost of metering a message.
const OVERHEAD_LIMIT: Duration = Duration::from_nanos(200);

/// A message type for each number. The meter searches the types in order of first use, so that
/// later types cost more.
#[derive(Message)]
#[rtype(result = "()")]
struct Work<const TYPE: u32>;

#[derive(Message)]
#[rtype(result = "u64")]
struct Done;

macro_rules! actor {
    ($name:ident, $context:ident) => {
        #[derive(Default)]
        struct $name {
            worked: u64,
        }
        impl Actor for $name {
            type Context = $context<Self>;
        }
        impl<const TYPE: u32> Handler<Work<TYPE>> for $name {
            type Result = ();
            fn handle(&mut self, _: Work<TYPE>, _: &mut Self::Context) {
                self.worked += 1;
            }
        }
        impl Handler<Done> for $name {
            type Result = u64;
            fn handle(&mut self, _: Done, _: &mut Self::Context) -> u64 {
                self.worked
            }
        }
        impl $name {
            /// Returns the average time per message, with bursts one after the other.
            async fn time<const TYPE: u32>(actor: &Addr<Self>) -> Duration {
                let before = actor.send(Done).await.unwrap();
                let started = total_work_time();
                for _ in 0..BURSTS {
                    for _ in 1..BURST_MESSAGES {
                        actor.do_send(Work::<TYPE>);
                    }
                    actor.send(Work::<TYPE>).await.unwrap();
                }
                let took = total_work_time() - started;
                let worked = actor.send(Done).await.unwrap() - before;
                assert_eq!(worked, u64::from(BURST_MESSAGES * BURSTS));
                took / (BURST_MESSAGES * BURSTS)
            }
        }
    };
}

actor!(Plain, Context);
actor!(Measured, MeteredContext);

impl Metered for Measured {
    fn mailbox_metrics() -> &'static MailboxMetrics {
        static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("Measured", 16);
        &MAILBOX_METRICS
    }
}

/// Returns the processor time of this thread.
fn total_work_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn main() {
    // Cargo passes this flag only under `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: measurements run only under `cargo bench`");
        return;
    }
    actix_rt::System::new().block_on(measure());
}

async fn measure() {
    let plain = Plain::default().start();
    let (measured, _task) = MeteredContext::start(Measured::default());
    // As many types as the actor with the most message types. The last type costs most.
    measured.send(Work::<0>).await.unwrap();
    macro_rules! send_each {
        ($($type:literal)*) => { $(measured.send(Work::<$type>).await.unwrap();)* };
    }
    send_each!(1 2 3 4 5 6 7 8 9 10);

    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let took = [
            Plain::time::<0>(&plain).await,
            Measured::time::<0>(&measured).await,
            Measured::time::<11>(&measured).await,
        ];
        // The first round only warms up.
        if round > 0 {
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
    }
    let [plain, first, last] = times.map(median);
    println!("message in actix's own context  {plain:?}");
    for (position, metered) in [("first", first), ("twelfth", last)] {
        let cost = metered.saturating_sub(plain);
        println!(
            "metered message, {position:7} type   {metered:?} ({cost:?} more, {:.2} times)",
            metered.as_secs_f64() / plain.as_secs_f64()
        );
        assert!(
            cost < OVERHEAD_LIMIT,
            "metering a {position} message type costs {cost:?}, more than {OVERHEAD_LIMIT:?}"
        );
    }
    println!("(medians of {ROUNDS} rounds of {} messages each)", BURST_MESSAGES * BURSTS);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
