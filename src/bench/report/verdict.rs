//! What a report makes of the exit code.

use super::{Comparison, GateOutcome, Report, Unit, Validity, unit};
use crate::error::{Error, Kind, Result};

/// Whether all is well: figures that can be believed, and gates that have passed.
///
/// # Errors
/// [`Kind::Invalid`] if this machine was the limit, unless that is allowed, or if a gate cannot be
/// judged; [`Kind::Gate`] if one has failed.
pub fn verdict(report: &Report, allow_limited: bool) -> Result<()> {
    if report.validity == Validity::ClientLimited && !allow_limited {
        let why = report.validity_reasons.first().map_or("this machine", String::as_str);
        let error = Error::new(Kind::Invalid, format_args!("client limited: {why}"));
        return Err(error.hint("the figures are those of this machine, not of the server"));
    }
    let failed: Vec<_> =
        report.gates.iter().filter(|gate| !gate.passed && gate.measured.is_some()).collect();
    if let [first, more @ ..] = failed.as_slice() {
        let more = match more.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let what = format_args!("the gate {}{more}", failure(first));
        return Err(Error::new(Kind::Gate, what));
    }
    match report.gates.iter().find(|gate| !gate.passed) {
        Some(gate) => Err(Error::new(Kind::Invalid, format_args!("the gate {}", failure(gate)))),
        None => report.comparison.as_ref().map_or(Ok(()), Comparison::verdict),
    }
}

fn failure(gate: &GateOutcome) -> String {
    match (&gate.note, gate.measured()) {
        (Some(note), Some(_)) => format!("{} failed: {note}", gate.gate),
        (Some(note), None) => format!("{} cannot be judged: {note}", gate.gate),
        (None, measured) => format!("{} failed: it is {}", gate.gate, measured.unwrap_or_default()),
    }
}

impl GateOutcome {
    /// What was measured, with its unit.
    pub(super) fn measured(&self) -> Option<String> {
        let measured = self.measured?;
        Some(match self.unit {
            Unit::Us => unit::time(measured),
            Unit::Percent => unit::percent(measured),
            Unit::PerS => unit::per_second(measured),
            Unit::Count => unit::count(measured as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{judge, testing};

    fn outcome(report: &Report, allow_limited: bool) -> Option<(Kind, String)> {
        verdict(report, allow_limited).err().map(|error| (error.kind(), error.to_string()))
    }

    #[test]
    fn a_limited_client_decides_before_gates() {
        let mut report = testing::report(10_000);
        judge(&mut report, &["p99<1ms".parse().unwrap()]);
        report.validity = Validity::ClientLimited;
        report.validity_reasons = vec!["messages were sent late".into()];
        let limited = (Kind::Invalid, "client limited: messages were sent late".to_owned());
        assert_eq!(outcome(&report, false), Some(limited));
        let failed = (Kind::Gate, "the gate p99<1ms failed: it is 9.90 ms".to_owned());
        assert_eq!(outcome(&report, true), Some(failed));
        report.gates.clear();
        assert_eq!(outcome(&report, true), None);
    }

    #[test]
    fn what_has_failed_decides_before_what_cannot_be_judged() {
        let mut report = testing::report(100);
        let gates =
            |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        judge(&mut report, &gates(&["p50<1s", "lost=0"]));
        assert_eq!(outcome(&report, false), None);
        judge(&mut report, &gates(&["p50<1s", "p99<1s"]));
        let (kind, what) = outcome(&report, false).unwrap();
        assert_eq!(kind, Kind::Invalid);
        assert_eq!(
            what,
            "the gate p99<1s cannot be judged: too few samples: 100, and 1,000 are needed"
        );
        judge(&mut report, &gates(&["p99<1s", "p50<1us", "received>=1k"]));
        let (kind, what) = outcome(&report, false).unwrap();
        assert_eq!(kind, Kind::Gate);
        assert_eq!(what, "the gate p50<1us failed: it is 50 µs, and 1 more");
    }
}
