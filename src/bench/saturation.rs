//! Whether this machine was the limit, and not the server: what every figure depends on.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::tally::{Metric, Tally};

/// What a thread has used in an interval, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) wall: u64,
    /// On a core.
    pub(super) cpu: u64,
    /// Ready, but without a core.
    pub(super) waited: u64,
}

/// Reads what the thread that made it has used. It has to be read by that thread.
pub(super) struct UsageMeter {
    /// None where the system does not tell.
    file: Option<File>,
    last: (u64, u64, u64),
}

impl UsageMeter {
    pub(super) fn new() -> Self {
        let file = File::open("/proc/thread-self/schedstat").ok();
        let mut meter = Self { file, last: (0, 0, 0) };
        meter.lap();
        meter
    }

    /// What was used since the last time.
    pub(super) fn lap(&mut self) -> Usage {
        let (cpu, waited) = self.read().unwrap_or_default();
        let wall = super::clock::now();
        let last = std::mem::replace(&mut self.last, (wall, cpu, waited));
        Usage { wall: wall - last.0, cpu: cpu - last.1, waited: waited - last.2 }
    }

    /// The time on a core and the time without one, from the first two of the three numbers there.
    fn read(&self) -> Option<(u64, u64)> {
        let mut buf = [0; 128];
        let read = self.file.as_ref()?.read_at(&mut buf, 0).ok()?;
        let text = std::str::from_utf8(&buf[..read]).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}

/// How often the control group of this process was held back.
pub(super) fn throttled() -> u64 {
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let read = |path: String| std::fs::read_to_string(path).ok();
    // In a container its own group is the root that it sees.
    let stat = read(format!("/sys/fs/cgroup{group}/cpu.stat"))
        .or_else(|| read("/sys/fs/cgroup/cpu.stat".into()));
    let count = stat.as_deref().and_then(|stat| {
        stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok())
    });
    count.unwrap_or(0)
}

/// More CPU time than this of one core, and a thread is the limit, in percent.
const BUSY: f64 = 85.0;
/// More time without a core than this, in percent: a thread that wakes thousands of times a second waits
/// a few microseconds each time.
const WAITED: f64 = 10.0;
/// Later than this with 1 % of the messages, and the times are the pacer's, in microseconds.
const LAG: u64 = 1_000;
/// Less than this of what was due was sent, although connections took all.
const BEHIND: f64 = 0.99;

/// Why this machine was the limit in an interval, if it was.
pub(super) fn limits(interval: &Tally, usages: &[Usage], due: Option<f64>) -> Vec<String> {
    let mut reasons = Vec::new();
    let p99 = |metric| interval.histogram(metric).map(|it| it.value_at_quantile(0.99));
    let service = interval.histogram(Metric::Service).map_or(0, |it| it.value_at_quantile(0.5));
    if let Some(lag) = p99(Metric::PacerLag)
        && lag > LAG.max(service / 10)
    {
        reasons.push("messages were sent late".to_owned());
    }
    let counts = &interval.counts;
    if let Some(due) = due
        && ((counts.sent + counts.dropped) as f64) < BEHIND * due - 2.0
        && p99(Metric::WriteBlock).is_none_or(|blocked| blocked < LAG)
    {
        reasons.push("fewer messages were sent than were due".to_owned());
    }
    let worst = |part: fn(&Usage) -> u64| {
        usages.iter().map(|it| percent(part(it), it.wall)).fold(0.0, f64::max)
    };
    if worst(|usage| usage.cpu) > BUSY {
        reasons.push("a thread used all of a core; --threads".to_owned());
    }
    if worst(|usage| usage.waited) > WAITED {
        reasons.push("threads waited for a core".to_owned());
    }
    reasons
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// What was the limit, and for how much of the time.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    intervals: usize,
    limited: usize,
    reasons: std::collections::BTreeMap<String, usize>,
}

/// How many intervals of a hundred may be limited before the whole is.
const TOLERATED: f64 = 1.0;

impl Verdict {
    /// Takes down an interval; returns whether it was limited.
    pub(super) fn add(&mut self, reasons: Vec<String>) -> bool {
        self.intervals += 1;
        let limited = !reasons.is_empty();
        self.limited += usize::from(limited);
        for reason in reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
        limited
    }

    /// Something that concerns all of it.
    pub(super) fn add_always(&mut self, reason: String) {
        self.limited = self.intervals.max(1);
        self.reasons.insert(reason, self.intervals);
    }

    /// The reasons why it was limited; none if it was not.
    pub(super) fn reasons(&self) -> Vec<String> {
        if percent(self.limited as u64, self.intervals.max(1) as u64) <= TOLERATED {
            return Vec::new();
        }
        let of = self.intervals;
        let reasons = self.reasons.iter().map(|(reason, count)| match (*count, of) {
            (count, of) if count >= of => reason.clone(),
            (count, of) => format!("{reason}, in {count} of {of} intervals"),
        });
        reasons.collect()
    }
}
