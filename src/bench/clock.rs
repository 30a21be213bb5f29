//! The clock of a run, and an alarm that is not late.
//!
//! The timers of an asynchronous runtime count in milliseconds and so add one to every time that is
//! measured from when a message was due. The system's own timer is late by less than a tenth of
//! that.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine was started: one clock for all processes on it.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A duration on this clock.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

/// Waits for a time on this clock.
#[cfg(target_os = "linux")]
pub(super) struct Alarm(tokio::io::unix::AsyncFd<OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    /// # Errors
    /// There is no descriptor left.
    #[expect(deprecated, reason = "its successor is unsafe for the sake of others than OwnedFd")]
    pub(super) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(tokio::io::unix::AsyncFd::with_interest(timer, tokio::io::Interest::READABLE)?))
    }

    /// Returns once the clock shows `at`, or at once if it has.
    pub(super) async fn until(&self, at: u64) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // All zeros would switch it off.
        let at = at.max(1);
        let (tv_sec, tv_nsec) = ((at / 1_000_000_000) as _, (at % 1_000_000_000) as _);
        let once = Itimerspec { it_interval: never, it_value: Timespec { tv_sec, tv_nsec } };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)) {
                Ok(rung) => return rung.map(drop),
                Err(_) => continue,
            }
        }
    }
}

/// Waits for a time on this clock, with what the runtime has.
#[cfg(not(target_os = "linux"))]
pub(super) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn until(&self, at: u64) -> io::Result<()> {
        tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now()))).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_is_never_early() {
        let alarm = Alarm::new().unwrap();
        for ahead in [0, 1_000_000, 3_000_000] {
            let at = now() + ahead;
            alarm.until(at).await.unwrap();
            assert!(now() >= at);
        }
    }
}
