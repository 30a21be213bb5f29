//! `--junit FILE`: one test case for connecting and one for each thing expected.

use std::fmt::Write as _;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::session::{Session, Stage};
use crate::error::{Error, Kind};

struct Case {
    name: String,
    time: Option<Duration>,
    verdict: Verdict,
}

enum Verdict {
    Passed,
    /// It was looked at, and is otherwise.
    Failed(Error),
    /// It could not be looked at.
    Broken(Error),
    /// The run ended before.
    Skipped,
}

/// The document. `error` is what the run ended with.
pub(super) fn document(session: &Session<'_>, error: Option<&Error>) -> String {
    // A reader of stdout that went away is a clean end.
    let cases = cases(session, error.filter(|error| error.kind().exit_code() != 0));
    let count = |of: fn(&Verdict) -> bool| cases.iter().filter(|case| of(&case.verdict)).count();
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\"",
        cases.len(),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Broken(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped)),
        session.started.elapsed().as_secs_f64(),
    );
    let began = OffsetDateTime::now_utc() - session.started.elapsed();
    let began = began.replace_nanosecond(0).unwrap_or(began);
    let began = began.format(&Rfc3339).unwrap_or_default();
    let target = escaped(&session.target);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {totals}>\n\
         \x20 <testsuite name=\"towline connect {target}\" {totals} timestamp=\"{began}\">\n"
    );
    for case in &cases {
        // Writing to a string cannot fail.
        let _ = case.write(&mut out, &target);
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn cases(session: &Session<'_>, error: Option<&Error>) -> Vec<Case> {
    let script = session.script;
    let connected = session.stage != Stage::Connecting;
    let failed_here = |here: bool, otherwise: Verdict| match error {
        Some(error) if here => Verdict::of(error),
        _ => otherwise,
    };
    let passed_or_skipped = |passed| if passed { Verdict::Passed } else { Verdict::Skipped };

    let mut cases = vec![Case {
        name: "connect".into(),
        time: None,
        verdict: failed_here(!connected, Verdict::Passed),
    }];
    for (at, (written, _)) in script.checks.iter().enumerate() {
        let verdict = match session.checked.get(at) {
            None => Verdict::Skipped,
            Some(Ok(())) => Verdict::Passed,
            Some(Err(why)) => Verdict::Failed(Error::new(Kind::Expectation, why)),
        };
        cases.push(Case { name: written.to_string(), time: None, verdict });
    }
    let rejected = session.tally.get().rejected;
    for (at, step) in script.steps.iter().enumerate() {
        let here = session.stage == Stage::Step(at) && rejected.is_none();
        // A step that says something is a case only if that is where the run has failed.
        let is_case = step.action.expects() || here && error.is_some();
        if !is_case {
            continue;
        }
        let time = session.took.get(at).copied();
        let verdict = failed_here(here, passed_or_skipped(time.is_some()));
        cases.push(Case { name: format!("step {} {}", at + 1, step.written), time, verdict });
    }
    let played = session.stage == Stage::Played;
    if let Some(count) = script.options.count {
        let here = session.stage == Stage::Count && rejected.is_none();
        let verdict = failed_here(here, passed_or_skipped(played));
        cases.push(Case { name: format!("--count {count}"), time: None, verdict });
    }
    for (at, (written, _)) in script.rejects.iter().enumerate() {
        let verdict = failed_here(rejected == Some(at), passed_or_skipped(connected));
        cases.push(Case { name: written.to_string(), time: None, verdict });
    }
    // Whatever else has ended the run has to show, too.
    let shows = |case: &Case| matches!(case.verdict, Verdict::Failed(_) | Verdict::Broken(_));
    if let Some(error) = error
        && !cases.iter().any(shows)
    {
        cases.push(Case { name: "session".into(), time: None, verdict: Verdict::of(error) });
    }
    cases
}

impl Verdict {
    fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::Expectation | Kind::NoMessage | Kind::Closed(_) => Self::Failed(error.clone()),
            _ => Self::Broken(error.clone()),
        }
    }
}

impl Case {
    fn write(&self, out: &mut String, class: &str) -> std::fmt::Result {
        let name = escaped(&self.name);
        write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"")?;
        if let Some(time) = self.time {
            write!(out, " time=\"{:.3}\"", time.as_secs_f64())?;
        }
        let (element, error) = match &self.verdict {
            Verdict::Passed => return out.write_str("/>\n"),
            Verdict::Skipped => return out.write_str("><skipped/></testcase>\n"),
            Verdict::Failed(error) => ("failure", error),
            Verdict::Broken(error) => ("error", error),
        };
        let message = escaped(&format!("{error}"));
        let exit = error.kind().exit_code();
        writeln!(
            out,
            ">\n      <{element} type=\"exit {exit}\" message=\"{message}\"/>\n    </testcase>"
        )
    }
}

/// Text for an attribute. Characters that XML 1.0 (section 2.2) has no way to write are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_for_an_attribute() {
        assert_eq!(escaped("a<b>&\"c\"'\n\u{1b}é"), "a&lt;b&gt;&amp;&quot;c&quot;'&#10;\u{fffd}é");
    }
}
