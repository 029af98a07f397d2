//! Detects that the machine was suspended. Records in etcd age during a suspend, but the timers of
//! the daemon stand still.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The interval between two comparisons of the clocks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest detected suspend. The clocks are read one after the other, so a smaller difference
/// is noise.
const SUSPEND_MIN: Duration = Duration::from_millis(500);

/// Returns the total suspend time since the boot: the boot clock counts it, and the monotonic clock
/// does not (clock_gettime(2)).
pub fn total_suspended() -> Duration {
    let read = |clock| {
        let time = clock_gettime(clock);
        // Neither clock starts before 0.
        let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    };
    read(ClockId::Boottime).saturating_sub(read(ClockId::Monotonic))
}

/// Calls `on_resume` with the length of every suspend, soon after its end. Never returns.
pub async fn watch_suspends(total_suspended: impl Fn() -> Duration, on_resume: impl Fn(Duration)) {
    let mut before = total_suspended();
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let now = total_suspended();
        let slept = now.saturating_sub(before);
        if slept >= SUSPEND_MIN {
            on_resume(slept);
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[actix_rt::test]
    async fn reports_each_suspend_once() {
        tokio::time::pause();
        let (clock, reported) = (Cell::new(Duration::from_secs(7)), RefCell::new(Vec::new()));
        let watching = watch_suspends(|| clock.get(), |slept| reported.borrow_mut().push(slept));
        let machine = async {
            tokio::time::sleep(CHECK_INTERVAL * 3).await;
            clock.set(Duration::from_secs(97));
            tokio::time::sleep(CHECK_INTERVAL * 3).await;
            clock.set(clock.get() + Duration::from_millis(1));
            tokio::time::sleep(CHECK_INTERVAL * 3).await;
        };
        tokio::select! {
            () = watching => {}
            () = machine => {}
        }
        assert_eq!(*reported.borrow(), [Duration::from_secs(90)]);
    }

    #[test]
    fn reads_the_real_clocks() {
        let (first, second) = (total_suspended(), total_suspended());
        assert!(second.abs_diff(first) < SUSPEND_MIN, "{first:?} {second:?}");
    }
}
