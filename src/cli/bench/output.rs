//! The flags about what becomes of a measurement.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueHint};

use crate::bench::report::Gate;

/// What can be done with reports
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    // Described by their types: a comment here would hide the longer one there.
    Compare(CompareArgs),
    Merge(MergeArgs),
}

/// The report
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Report")]
pub struct OutputArgs {
    /// Print the report as JSON; with =FILE, write it there and print text all the same
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, num_args = 0..=1, default_missing_value = "-", require_equals = true)]
    pub json: Option<PathBuf>,

    /// Write the seconds of the run to FILE, as comma-separated values
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub csv: Option<PathBuf>,

    /// Write the histograms of every second to FILE, as an HdrHistogram log (V2, tagged, in µs)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub hdr_log: Option<PathBuf>,

    /// Write a page with charts to FILE; it needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,

    /// Exit with 3 unless this holds, as `p99<50ms`, `errors<0.1%`, `rate>=99%`, `lost=0`; see towline-bench(1) (repeat)
    #[arg(long, value_name = "GATE")]
    pub gate: Vec<Gate>,

    /// Compare with the report in FILE, which --json has written
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub baseline: Option<PathBuf>,

    /// Exit with 3 if a time or the rate is worse than in --baseline by more than PERCENT, and that is no noise
    #[arg(long, value_name = "PERCENT", requires = "baseline")]
    pub fail_on_regression: Option<Percent>,
}

/// Compare two reports, and tell changes from noise
///
/// The reports are files that `towline bench --json` has written, of runs that asked for the same.
/// What changes from second to second anyway is noise: a difference counts if it is larger than that.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The report to compare with
    #[arg(value_name = "BEFORE", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,

    /// The report to judge
    #[arg(value_name = "AFTER", value_hint = ValueHint::FilePath)]
    pub after: PathBuf,

    /// Print the comparison as JSON; with =FILE, write it there and print text all the same
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, num_args = 0..=1, default_missing_value = "-", require_equals = true)]
    pub json: Option<PathBuf>,

    /// Write a page with charts of both to FILE; it needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,

    /// Exit with 3 if a time or the rate is worse by more than PERCENT, and that is no noise
    #[arg(long, value_name = "PERCENT")]
    pub fail_on_regression: Option<Percent>,
}

/// Make one report of those of all segments
///
/// Each of the N machines or processes of a run has done `--segment I/N` of it, and has written its
/// report with --json. Rates are summed over the time that is common to all, histograms are added.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// The reports of all segments
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// Exit with 0 even if a machine was the limit, and not the server; the report says so all the same
    #[arg(long)]
    pub allow_limited: bool,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// A part of a whole, as `10%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let number = number.parse().ok().filter(|it| (0.0..=1e6).contains(it));
        number.map(Self).ok_or_else(|| "a percentage, as 10%".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!("10%".parse(), Ok(Percent(10.0)));
        assert_eq!("2.5".parse(), Ok(Percent(2.5)));
        for text in ["", "%", "-1%", "NaN", "inf%", "ten"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
