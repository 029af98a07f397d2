//! What it costs to meter a message: an actor in the metered context beside the same actor
//! in actix's own, in turns in one run. In processor time, so that a busy machine shows less.
//!
//! `cargo bench --bench metering`.
#![allow(clippy::unwrap_used, reason = "a failed measurement is to panic")]

use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use highhock_actors::runtime::metered_context::{Metered, MeteredContext};
use highhock_actors::runtime::metrics::MailboxMetrics;
use rustix::time::{ClockId, clock_gettime};

/// So many messages are in the mailbox at a time: few, as in a daemon's life.
const BURST_MESSAGES: u32 = 16;
const BURSTS: u32 = 2_000;
const ROUNDS: usize = 51;
/// What metering a message may cost at the most.
const OVERHEAD_LIMIT: Duration = Duration::from_nanos(200);

/// A message type of its own for each number: the one that is measured takes its place in
/// the meter after those before it.
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
            /// How long a message takes on the whole, one after the other.
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

/// What a processor has worked for this thread.
fn total_work_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn main() {
    // cargo gives this flag under `cargo bench` only.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("measures under `cargo bench` only");
        return;
    }
    actix_rt::System::new().block_on(measure());
}

async fn measure() {
    let plain = Plain::default().start();
    let (measured, _task) = MeteredContext::start(Measured::default());
    // As many types as the actor with the most has; the last is the one that costs most.
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
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
    }
    let [plain, first, last] = times.map(median);
    println!("a message in plain actix       {plain:?}");
    for (what, metered) in [("the first", first), ("the twelfth", last)] {
        let cost = metered.saturating_sub(plain);
        println!(
            "a metered one of {what:11} type {metered:?}, {cost:?} more, {:.2} times",
            metered.as_secs_f64() / plain.as_secs_f64()
        );
        assert!(
            cost < OVERHEAD_LIMIT,
            "metering costs {cost:?} a message, and may cost {OVERHEAD_LIMIT:?}"
        );
    }
    println!("(medians of {ROUNDS} rounds of {} messages each)", BURST_MESSAGES * BURSTS);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
