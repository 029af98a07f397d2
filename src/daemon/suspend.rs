//! Notices that the machine slept: records in etcd have aged meanwhile, while the
//! daemon's own timers stood still.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(1);
/// The clocks are read one after the other; less than this between them is no sleep.
const SLEPT: Duration = Duration::from_millis(500);

/// How long the machine has slept since it was started: what the boot clock counts
/// and the monotonic clock does not (clock_gettime(2)).
pub fn slept_so_far() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        // Neither clock starts before 0.
        let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

/// Calls `woken` with the length of every sleep, soon after its end. Never returns.
pub async fn notice_sleep(slept_so_far: impl Fn() -> Duration, woken: impl Fn(Duration)) {
    let mut before = slept_so_far();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = slept_so_far();
        let slept = now.saturating_sub(before);
        if slept >= SLEPT {
            woken(slept);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[actix_rt::test]
    async fn tells_of_each_sleep_once() {
        tokio::time::pause();
        let (clock, told) = (Cell::new(Duration::from_secs(7)), RefCell::new(Vec::new()));
        let noticing = notice_sleep(|| clock.get(), |slept| told.borrow_mut().push(slept));
        let living = async {
            tokio::time::sleep(EVERY * 3).await;
            clock.set(Duration::from_secs(97));
            tokio::time::sleep(EVERY * 3).await;
            clock.set(clock.get() + Duration::from_millis(1));
            tokio::time::sleep(EVERY * 3).await;
        };
        tokio::select! {
            () = noticing => {}
            () = living => {}
        }
        assert_eq!(*told.borrow(), [Duration::from_secs(90)]);
    }

    #[test]
    fn reads_the_real_clocks() {
        let (first, second) = (slept_so_far(), slept_so_far());
        assert!(second.abs_diff(first) < SLEPT, "{first:?} {second:?}");
    }
}
