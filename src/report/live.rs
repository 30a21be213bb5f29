//! Lines at the bottom of a terminal that change in place.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{divert, quiet};
use crate::cli::When;

/// A few lines below everything else that is said; they are gone when this is dropped.
pub(crate) struct Live(ProgressBar);

impl Live {
    /// Takes over the bottom of the terminal, if there is one and lines are wanted.
    pub(crate) fn open(when: When) -> Option<Self> {
        let wanted = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => !quiet(),
        };
        if !wanted || !io::stderr().is_terminal() {
            return None;
        }
        let lines = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        lines.set_style(ProgressStyle::with_template("{msg}").ok()?);
        let above = lines.clone();
        divert(Some(Box::new(move |line| above.println(line.trim_end()))));
        Some(Self(lines))
    }

    /// Changes the lines.
    pub(crate) fn show(&self, lines: &[String]) {
        self.0.set_message(lines.join("\n"));
        self.0.tick();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        divert(None);
        self.0.finish_and_clear();
    }
}

/// A number of bytes, as `1.2 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A span of time as people say it, as `3m 12s`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, ..) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [said(9), said(192), said(7260), said(90_000)],
            ["9s", "3m 12s", "2h 1m", "1d 1h"]
        );
    }
}
