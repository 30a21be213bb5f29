//! Whether a backend gets requests: what its answers, checks and people say about it.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::{BalancingArgs, CheckArgs};
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::report;

pub(super) mod check;

/// The health of one backend. Times are those of [`now`]. What every request looks at is read
/// without a lock; the facts it follows from change seldom.
pub(super) struct Health {
    /// The name of the backend.
    name: Arc<str>,
    /// From when on it gets requests: [`ALWAYS`], [`NEVER`], or when it is to be tried by one.
    opens: AtomicU64,
    /// When it came back; [`ALWAYS`] if it has been there from the beginning.
    back: AtomicU64,
    /// Failures in a row.
    failures: AtomicUsize,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    /// Somebody has asked to send it nothing more.
    draining: bool,
    /// The checks say that it is down.
    down: bool,
    /// How many checks in a row have said otherwise.
    against: u32,
    checked: bool,
    /// While it is left out after failures: how often it was in a row, and until when.
    pause: Option<(u32, u64)>,
    last_error: Option<String>,
}

/// Whether a request may go to a backend.
#[derive(Debug, PartialEq)]
pub(super) enum Door {
    /// It may; the number is how warm the backend is, 1 for one that has not been away lately.
    Open(f64),
    /// One may, as a trial.
    Ajar,
    /// None may.
    Shut,
}

/// What a backend is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It gets requests.
    Up,
    /// It gets none, by its checks or because it has failed.
    Down,
    /// It gets none because somebody wants it so.
    Draining,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Draining => "draining",
        })
    }
}

const ALWAYS: u64 = 0;
const NEVER: u64 = u64::MAX;

/// The longest that a backend is left out before it is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Health {
    pub(super) fn new(name: Arc<str>) -> Self {
        let (opens, back) = (AtomicU64::new(ALWAYS), AtomicU64::new(ALWAYS));
        Self { name, opens, back, failures: AtomicUsize::new(0), facts: Mutex::default() }
    }

    /// Has it warm up from now on: it was not there before.
    pub(super) fn begin_cold(&self) {
        self.back.store(now(), Relaxed);
    }

    /// Whether a request may go there.
    pub(super) fn door(&self, slow_start: Duration) -> Door {
        match self.opens.load(Relaxed) {
            ALWAYS => {}
            opens if opens <= now() => return Door::Ajar,
            _ => return Door::Shut,
        }
        match self.back.load(Relaxed) {
            ALWAYS => Door::Open(1.0),
            back => {
                let passed = Duration::from_millis(now().saturating_sub(back));
                Door::Open((passed.as_secs_f64() / slow_start.as_secs_f64()).min(1.0))
            }
        }
    }

    /// Whether requests go there as a matter of course.
    pub(super) fn is_in(&self) -> bool {
        self.opens.load(Relaxed) == ALWAYS
    }

    /// Claims the trial of one whose door is ajar. If nothing comes of it, because the client has
    /// gone, there is another one after the pause.
    pub(super) fn claim(&self, args: &BalancingArgs) -> bool {
        let opens = self.opens.load(Relaxed);
        let next = now().saturating_add(millis(args.fail_pause));
        let ajar = opens != ALWAYS && opens <= now();
        ajar && self.opens.compare_exchange(opens, next, Relaxed, Relaxed).is_ok()
    }

    /// It has answered as it should.
    pub(super) fn succeeded(&self, trial: bool) {
        // Written only where it changes something, since all threads read it.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if trial {
            let mut facts = self.facts();
            let was_out = facts.pause.take().is_some();
            self.settle(&facts);
            if was_out && self.is_in() {
                report::note(format_args!("{} is back", self.name));
            }
        }
    }

    /// It has failed. Too many failures in a row have it left out: as long as there are `others`, or
    /// where it is `unreachable`, so that trying it has no use.
    pub(super) fn failed(
        &self,
        error: &Error,
        trial: bool,
        others: bool,
        unreachable: bool,
        args: &BalancingArgs,
    ) {
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        let mut facts = self.facts();
        let (name, what) = (&self.name, error.what());
        facts.last_error = Some(what.to_owned());
        let due = self.is_in() && args.max_fails > 0 && failures >= args.max_fails;
        let leaves = due && (others || unreachable);
        if trial || leaves {
            let pauses = facts.pause.map_or(0, |(pauses, _)| pauses);
            // Where no other is left, its first sign of life is not to be missed for long.
            let pauses = if others { pauses + 1 } else { 1 };
            let pause = pause(args.fail_pause, pauses);
            facts.pause = Some((pauses, now().saturating_add(millis(pause))));
            self.settle(&facts);
            if leaves {
                return report::warn(format_args!(
                    "{name}: {what}; left out for {pause:.1?}, failures in a row: {failures}"
                ));
            }
        }
        match failures {
            1 => report::warn(format_args!("{name}: {what}")),
            _ => report::verbose(format_args!("{name}: {what}")),
        }
    }

    /// A check has come to this.
    fn checked(&self, outcome: Result<()>, args: &CheckArgs) {
        let mut facts = self.facts();
        // The first one tells what nobody knows yet.
        let fall = if std::mem::replace(&mut facts.checked, true) { args.health_fall } else { 1 };
        let is_down = outcome.is_err();
        facts.against = if is_down == facts.down { 0 } else { facts.against + 1 };
        if facts.against == 0 || facts.against < if is_down { fall } else { args.health_rise } {
            return;
        }
        (facts.down, facts.against) = (is_down, 0);
        if let Err(error) = &outcome {
            facts.last_error = Some(error.what().to_owned());
        } else {
            facts.pause = None;
            self.failures.store(0, Relaxed);
        }
        self.settle(&facts);
        match outcome {
            Ok(()) => report::note(format_args!("{} is up", self.name)),
            Err(error) => report::warn(format_args!("{} is down: {}", self.name, error.what())),
        }
    }

    /// Nobody checks it any more, whatever has come of it.
    pub(super) fn forget_checks(&self) {
        let mut facts = self.facts();
        (facts.down, facts.checked, facts.against) = (false, false, 0);
        self.settle(&facts);
    }

    /// Sends it nothing more, or again what comes.
    pub(super) fn set_draining(&self, draining: bool) {
        let mut facts = self.facts();
        if std::mem::replace(&mut facts.draining, draining) == draining {
            return;
        }
        self.settle(&facts);
        let what = if draining { "is drained: it gets nothing more" } else { "is restored" };
        report::note(format_args!("{} {what}", self.name));
    }

    /// Whether somebody has asked to send it nothing more.
    pub(super) fn is_draining(&self) -> bool {
        !self.is_in() && self.facts().draining
    }

    pub(super) fn state(&self) -> State {
        let facts = self.facts();
        match (facts.draining, facts.down || facts.pause.is_some()) {
            (true, _) => State::Draining,
            (false, true) => State::Down,
            (false, false) => State::Up,
        }
    }

    /// What has gone wrong last.
    pub(super) fn last_error(&self) -> Option<String> {
        self.facts().last_error.clone()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// Has the requests follow the facts.
    fn settle(&self, facts: &Facts) {
        let opens = match facts.pause {
            _ if facts.draining || facts.down => NEVER,
            Some((_, until)) => until,
            None => ALWAYS,
        };
        let before = self.opens.swap(opens, Relaxed);
        if opens == ALWAYS && before != ALWAYS {
            self.back.store(now(), Relaxed);
        }
    }
}

/// How long one is left out that has been left out so often in a row: twice as long each time, and
/// somewhat less, lest several proxies come back to it at once.
fn pause(first: Duration, pauses: u32) -> Duration {
    let bound = first.saturating_mul(2_u32.saturating_pow(pauses - 1));
    bound.min(LONGEST_PAUSE.max(first)).mul_f64(0.75 + fastrand::f64() / 4.0)
}

/// Milliseconds since some moment before; never [`ALWAYS`].
fn now() -> u64 {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(BEGINNING.elapsed()) + 1
}

fn millis(time: Duration) -> u64 {
    // `inf` is longer than any run.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::error::Kind;

    fn args(flags: &[&str]) -> BalancingArgs {
        let cli = Cli::try_parse_from([&["towline", "proxy", ":1", ":2"], flags].concat());
        match cli.unwrap().command {
            Command::Proxy(args) => args.balancing,
            _ => unreachable!("it is a proxy"),
        }
    }

    fn failure() -> Error {
        Error::new(Kind::Refused, "connection refused")
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        for (first, pauses, longest) in [(1, 1, 1), (1, 2, 2), (1, 6, 32), (1, 99, 60), (90, 9, 90)]
        {
            let bound = Duration::from_secs(longest);
            let pause = pause(Duration::from_secs(first), pauses);
            assert!(pause <= bound && pause >= bound.mul_f64(0.75), "{pause:?} of {bound:?}");
        }
        assert!(pause(Duration::MAX, 3) > Duration::from_secs(1 << 40), "inf is for ever");
    }

    #[test]
    fn one_request_is_the_trial() {
        let args = args(&["--max-fails=2", "--fail-pause=0"]);
        let health = Health::new("a".into());
        health.failed(&failure(), false, true, false, &args);
        assert_eq!(health.door(Duration::ZERO), Door::Open(1.0));
        health.succeeded(false);
        for _ in 0..2 {
            assert!(health.is_in(), "failures count in a row");
            health.failed(&failure(), false, true, false, &args);
        }
        assert_eq!((health.door(Duration::ZERO), health.state()), (Door::Ajar, State::Down));
        // What was under way before says nothing about now.
        health.succeeded(false);
        assert!(!health.is_in());
        assert!(health.claim(&self::args(&["--fail-pause=1h"])));
        assert_eq!(health.door(Duration::ZERO), Door::Shut);
        assert!(!health.claim(&args), "there is one trial");
        health.succeeded(true);
        assert_eq!((health.is_in(), health.state()), (true, State::Up));
        assert!(!health.claim(&args), "there is nothing to try");
    }

    #[test]
    fn a_pause_grows_only_where_there_are_others() {
        let args = args(&["--max-fails=1", "--fail-pause=1s"]);
        let health = Health::new("a".into());
        let pauses = |others| {
            let trial = !health.is_in();
            health.failed(&failure(), trial, others, true, &args);
            health.facts().pause.unwrap().0
        };
        assert_eq!([true, true, true, false, false].map(pauses), [1, 2, 3, 1, 1]);
    }

    #[test]
    fn checks_and_people_have_the_last_word() {
        let args = args(&["--health=tcp", "--health-rise=2", "--health-fall=3", "--max-fails=1"]);
        let (health, checks) = (Health::new("a".into()), &args.checks);
        let check = |good: bool| {
            health.checked(if good { Ok(()) } else { Err(failure()) }, checks);
            health.is_in()
        };
        assert!(!check(false), "the first one is believed");
        assert_eq!([true, false, true, true].map(check), [false, false, false, true]);
        assert_eq!([false, false, true, false].map(check), [true; 4]);
        assert_eq!([false, false, true, true].map(check), [true, false, false, true]);
        // A backend that has failed is back when its checks are good, but not while it is drained.
        health.set_draining(true);
        health.failed(&failure(), false, true, true, &args);
        assert_eq!([false, false, false, true, true].map(check), [false; 5]);
        assert_eq!((health.door(Duration::ZERO), health.state()), (Door::Shut, State::Draining));
        health.set_draining(false);
        assert!(health.is_in());
        assert!(matches!(health.door(Duration::MAX), Door::Open(..0.1)), "it is cold");
    }
}
