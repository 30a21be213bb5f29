//! What the flags of a probe say.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::handshake::Check;
use super::pattern::Pattern;
use super::step::{Step, Written};
use crate::error::Kind;
use crate::trace::Term;

/// What a probe says and what it expects.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
    pub(super) checks: Vec<(Written, Check)>,
    pub(super) rejects: Vec<(Written, Pattern)>,
    /// The `--within` that holds after the last step, if there was one.
    pub(super) within: Option<Duration>,
    pub(super) options: Options,
}

/// What has no place in the order.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Probe")]
pub(super) struct Options {
    /// The next message must match, in place of any message that comes in time
    #[arg(long)]
    pub(super) strict: bool,

    /// End well as soon as N messages were received
    ///
    /// Steps are played to their end first. Waits for as long as --timeout allows, or --within if
    /// that is given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,

    /// Report what was found as one JSON object, in FILE or as a line on stderr
    #[arg(long, value_name = "json[=FILE]", value_hint = ValueHint::Other)]
    pub(super) report: Option<ReportTo>,

    /// Write the outcome of every expectation to FILE, as JUnit XML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) junit: Option<PathBuf>,
}

/// Where the report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReportTo {
    Stderr,
    File(PathBuf),
}

impl FromStr for ReportTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "json" => Ok(Self::Stderr),
            Some(("json", file)) if !file.is_empty() => Ok(Self::File(file.into())),
            _ => Err("json, or json=FILE".into()),
        }
    }
}

impl Script {
    /// Whether no flag of a probe was given, so that there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.checks.is_empty() && self.watches_nothing()
    }

    fn watches_nothing(&self) -> bool {
        let Options { strict: _, count, report, junit } = &self.options;
        self.rejects.is_empty() && count.is_none() && report.is_none() && junit.is_none()
    }

    /// Whether the script says something itself, so that stdin is input only where it is asked for.
    pub fn sends(&self) -> bool {
        self.steps.iter().any(|step| step.action.sends())
    }

    /// Whether the run is over once the script has been played: it had something to expect, or
    /// looked at the handshakes and had nothing to say.
    pub fn decides(&self) -> bool {
        let expects = self.steps.iter().any(|step| step.action.expects());
        expects
            || self.options.count.is_some()
            || (self.steps.is_empty() && !self.checks.is_empty())
    }

    /// Whether a failure to connect is what is expected, and no reason to try again.
    pub fn allows(&self, failure: Kind) -> bool {
        let Kind::Status(status) = failure else { return false };
        self.checks.iter().any(|(_, check)| check.allows(status))
    }

    /// Whether a check is about the very thing for which connecting has failed.
    pub(super) fn looks_at(&self, failure: Kind, unmet: Option<Term>) -> bool {
        self.checks.iter().any(|(_, check)| match check {
            Check::Status(_) => matches!(failure, Kind::Status(_)),
            Check::Subprotocol(_) => unmet == Some(Term::Subprotocol),
            Check::Extension(_) => unmet == Some(Term::Extension),
            _ => false,
        })
    }
}
