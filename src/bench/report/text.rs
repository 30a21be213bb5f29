//! A report for people: text of at most 80 columns.

use std::fmt::Write as _;

use super::baseline::signed;
use super::measured::LEVELS;
use super::unit::{self, moment};
use super::{Comparison, Interval, Mode, Report, Step, Summary, Trend, Validity};
use crate::bench::tally::{Compression, Metric};
use crate::report::{Ink, printable};

/// How wide a line may be.
const WIDTH: usize = 80;

/// The report, in colours if they are wanted.
pub fn text(report: &Report, ink: Ink) -> String {
    let mut page = Page { out: String::new(), ink };
    page.headline(report);
    page.validity(report);
    page.counts(report);
    page.latency(report);
    page.distribution(report);
    page.steps(&report.steps);
    page.errors(report);
    page.gates(report);
    if let Some(comparison) = &report.comparison {
        page.comparison(comparison);
    }
    page.client(report);
    page.out
}

/// What has changed, in colours if they are wanted.
pub fn comparison_text(comparison: &Comparison, ink: Ink) -> String {
    let mut page = Page { out: String::new(), ink };
    page.comparison(comparison);
    page.out
}

struct Page {
    out: String,
    ink: Ink,
}

impl Page {
    /// A line, without what would reach over its end.
    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(cut_to(text.as_ref(), WIDTH).trim_end());
        self.out.push('\n');
    }

    /// Words, broken into lines that begin under the first of them.
    fn fill(&mut self, start: &str, text: &str) {
        let indent = start.chars().count();
        let mut line = start.to_owned();
        for (i, word) in text.split(' ').enumerate() {
            if i > 0 && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line = format!("{:indent$}", "");
            } else if i > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(line);
    }

    /// An empty line between two parts.
    fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn headline(&mut self, report: &Report) {
        let config = &report.config;
        for target in &config.targets {
            let target = cut_to(target, WIDTH);
            let bold = self.ink.bold(&target);
            self.out.push_str(&format!("{bold}\n"));
        }
        let in_flight = config.in_flight.filter(|_| report.mode == Mode::Closed);
        let mut what = match (in_flight, report.rate.target) {
            (Some(in_flight), _) => format!(
                "closed loop, {in_flight} in flight on each connection: not a response time under \
                 load; {}",
                achieved(report)
            ),
            (None, Some(target)) => format!(
                "open loop, {} msg/s asked, {}",
                unit::significant(target),
                achieved(report)
            ),
            (None, None) => format!("{}, {}", config.workload, achieved(report)),
        };
        let _ = write!(
            what,
            ", {} for {:.1} s",
            unit::of(config.connections, "connection"),
            report.duration_s
        );
        if let Some(segment) = &config.segment {
            let _ = write!(what, ", segment {segment}");
        }
        self.fill("", &what);
        if config.workload == "echo" && report.mode == Mode::Open {
            self.fill("", &format!("{}, {} arrivals", config.payload, arrival(report)));
        } else if !config.payload.is_empty() {
            self.fill("", &config.payload);
        }
    }

    fn validity(&mut self, report: &Report) {
        let reasons = report.validity_reasons.iter();
        let (title, alarm) = match report.validity {
            Validity::Ok => ("", false),
            Validity::TooFewSamples => ("TOO FEW SAMPLES", false),
            Validity::ClientLimited => {
                ("CLIENT LIMITED: the figures are those of this machine, not of the server", true)
            }
        };
        if !title.is_empty() {
            let ink = self.ink;
            let title = if alarm { ink.alarm(title) } else { ink.warning(title) };
            self.heading(&title);
        }
        for reason in reasons {
            self.fill("  ", reason);
        }
        if report.interrupted {
            let title = self.ink.warning("INTERRUPTED: this is what was measured until then");
            self.heading(&title);
        }
        if report.client.shares_machine && report.validity != Validity::ClientLimited {
            self.gap();
            self.fill("", "A target is on this machine: server and client share its cores.");
        }
    }

    fn counts(&mut self, report: &Report) {
        let counts = &report.measured.counts;
        self.gap();
        let messages = [
            (counts.sent, "sent"),
            (counts.received, "received"),
            (counts.dropped, "dropped"),
            (counts.lost, "lost"),
            (counts.late, "late"),
            (counts.duplicate, "duplicate"),
            (counts.reordered, "reordered"),
            (counts.corrupt, "corrupt"),
        ];
        self.list("Messages", &messages);
        if counts.bytes_sent + counts.bytes_received > 0 {
            let bytes = |all: u64, rate: f64, what: &str| {
                format!("{} {what} ({}/s)", unit::bytes(all as f64), unit::bytes(rate))
            };
            let sent = bytes(counts.bytes_sent, report.rate.bytes_sent, "sent");
            let received = bytes(counts.bytes_received, report.rate.bytes_received, "received");
            self.line(format!("{:<12} {sent}, {received}", "Payload"));
        }
        if let Some(compression) = &report.measured.compression {
            self.compression(compression);
        }
        let connections = [
            (counts.opened, "opened"),
            (counts.failed, "failed"),
            (counts.closed, "closed by the server"),
        ];
        self.list("Connections", &connections);
        if let Some(fan_out) = &report.fan_out {
            let reach = unit::percent(fan_out.reach * 100.0);
            let (received, expected) =
                (unit::count(fan_out.received), unit::count(fan_out.expected));
            self.line(format!(
                "{:<12} {reach}: {received} of {expected} deliveries, from {} to {}",
                "Reach",
                unit::of(fan_out.publishers, "publisher"),
                unit::of(fan_out.subscribers, "subscriber"),
            ));
        }
        if counts.saturated > 0 {
            let times = unit::of(counts.saturated, "time");
            self.line(format!("{:<12} {times} above 60 s, which are shown as that", "Longer"));
        }
    }

    fn compression(&mut self, compression: &Compression) {
        if !compression.agreed.is_empty() {
            let [sent, received] = [compression.wire_sent, compression.wire_received]
                .map(|bytes| unit::bytes(bytes as f64));
            self.line(format!("{:<12} {sent} sent, {received} received", "On the wire"));
        }
        for (terms, connections) in compression.shown() {
            self.fill(&format!("{:<12} ", "Compression"), &format!("{connections}: {terms}"));
        }
    }

    /// The counts that are not zero, if any.
    fn list(&mut self, name: &str, counts: &[(u64, &str)]) {
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> =
            counts.map(|(count, what)| format!("{} {what}", unit::count(*count))).collect();
        if !counts.is_empty() {
            self.fill(&format!("{name:<12} "), &counts.join(", "));
        }
    }

    fn latency(&mut self, report: &Report) {
        let rows = Metric::ALL.into_iter().filter(|metric| match metric {
            // They are the parts of one that is told, and worth telling only where it matters.
            Metric::PacerLag | Metric::WriteBlock => {
                let lag = report.measured.send_lag_us.as_ref();
                lag.is_some_and(|lag| lag.p99.unwrap_or(lag.max) >= 1_000)
            }
            _ => true,
        });
        let rows: Vec<_> =
            rows.filter_map(|metric| Some((metric, report.measured.summary(metric)?))).collect();
        if rows.is_empty() {
            return self.heading("No time was measured");
        }
        let mut head = format!("{:<12}", "Time");
        for title in COLUMNS {
            let _ = write!(head, " {title:>8}");
        }
        let head = self.ink.bold(&format!("{head} {:>10}", "n"));
        self.heading(&head);
        for (metric, summary) in &rows {
            let name = row_name(*metric);
            let n = unit::count(summary.count);
            let mut line = format!("{name:<12}");
            for cell in cells(summary) {
                let _ = write!(line, " {cell:>8}");
            }
            self.line(format!("{line} {n:>10}"));
        }
        if rows.iter().any(|(_, summary)| summary.p999.is_none()) {
            let needs = LEVELS.iter().filter(|level| COLUMNS.contains(&level.title));
            let needs: Vec<_> =
                needs.map(|it| format!("{} {}", it.title, unit::count(it.needs))).collect();
            self.line(format!("few: too few samples; it takes {}", needs.join(", ")));
        }
        if let Some(why) = explanation(report) {
            self.gap();
            self.fill("", &why);
        }
    }

    fn distribution(&mut self, report: &Report) {
        let metric = report.headline();
        let Some(bars) = report.measured.bars(metric) else { return };
        let title = format!("Distribution of {}", row_name(metric).trim_start());
        let title = self.ink.bold(&title);
        self.heading(&title);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
        let all: u64 = bars.iter().map(|bar| bar.count).sum();
        for bar in &bars {
            let eighths = (bar.count as f64 / most as f64 * (BAR * 8) as f64).round() as usize;
            let eighths = eighths.max(usize::from(bar.count > 0));
            let full = "█".repeat(eighths / 8);
            let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
            let drawn = format!("{full}{rest}");
            let share = unit::percent(bar.count as f64 * 100.0 / all as f64);
            let (to, count) = (unit::time(bar.to as f64), unit::count(bar.count));
            self.line(format!("  < {to:>8}  {drawn:<BAR$}  {share:>8} {count:>11}"));
        }
    }

    fn steps(&mut self, steps: &[Step]) {
        if steps.is_empty() {
            return;
        }
        let head = format!(
            "{:>12} {:>12} {:>9} {:>9} {:>9}  {}",
            "Rate asked", "answered", "p50", "p99", "max", "held"
        );
        let head = self.ink.bold(&head);
        self.heading(&head);
        for step in steps {
            let times = step.response_us.as_ref().map(|it| {
                let percentile = |it: Option<u64>| it.map_or("few".to_owned(), micros);
                [percentile(it.p50), percentile(it.p99), micros(it.max)]
            });
            let [p50, p99, max] = times.unwrap_or_default();
            let held = match (step.held, step.validity) {
                (_, Validity::ClientLimited) => "client limited",
                (Some(true), _) => "yes",
                (Some(false), _) => "no",
                (None, _) => "",
            };
            let (rate, achieved) = (unit::per_second(step.rate), unit::per_second(step.achieved));
            self.line(format!("{rate:>12} {achieved:>12} {p50:>9} {p99:>9} {max:>9}  {held}"));
        }
        let held = steps.iter().filter(|step| step.held == Some(true));
        if let Some(best) = held.max_by(|a, b| a.rate.total_cmp(&b.rate)) {
            let best = format!("The highest rate that held is {}", unit::per_second(best.rate));
            self.line(best);
        }
    }

    fn errors(&mut self, report: &Report) {
        let errors = &report.measured.errors;
        if errors.is_empty() {
            return;
        }
        let title = format!("{:<60} {:>19}", "Errors", unit::count(report.measured.counts.errors));
        let title = self.ink.bold(&title);
        self.heading(&title);
        for group in errors {
            let what = cut_to(&group.title(), 60);
            self.line(format!("  {what:<58} {:>19}", unit::count(group.failures.count)));
            let first = &group.failures.first;
            if !first.is_empty() {
                self.line(format!("      {first}"));
            }
        }
    }

    fn gates(&mut self, report: &Report) {
        if report.gates.is_empty() {
            return;
        }
        let title = self.ink.bold("Gates");
        self.heading(&title);
        for gate in &report.gates {
            let word = match (gate.passed, gate.measured) {
                (true, _) => self.ink.good("passed "),
                (false, Some(_)) => self.ink.alarm("FAILED "),
                (false, None) => self.ink.warning("UNKNOWN"),
            };
            let measured = gate.measured().unwrap_or_default();
            let line = cut_to(&format!("{:<30} {measured}", gate.gate), WIDTH - 11);
            self.out.push_str(&format!("  {word}  {}\n", line.trim_end()));
            if let Some(note) = &gate.note {
                self.fill("           ", note);
            }
        }
    }

    fn comparison(&mut self, comparison: &Comparison) {
        let from = moment(&comparison.before);
        let title = self.ink.bold(&cut_to(&format!("Compared with the run of {from}"), WIDTH));
        self.heading(&title);
        self.line(format!(
            "  {:<15} {:>10} {:>10} {:>7}  {}",
            "", "before", "after", "change", "99% confidence"
        ));
        for change in &comparison.changes {
            let (before, after) = (change.shown(change.before), change.shown(change.after));
            let percent = change.percent.map(signed).unwrap_or_default();
            let word = change.word();
            let word = match change.trend {
                _ if change.regression => self.ink.alarm(word),
                Trend::Better => self.ink.good(word),
                Trend::Worse => self.ink.warning(word),
                Trend::Noise | Trend::Unknown => word.to_owned(),
            };
            let line = format!(
                "  {:<15} {before:>10} {after:>10} {percent:>7}  {:<16}",
                change.name,
                change.interval()
            );
            self.out.push_str(&format!("{} {word}\n", cut_to(&line, WIDTH - 14)));
        }
    }

    fn client(&mut self, report: &Report) {
        let client = &report.client;
        let mut parts = Vec::new();
        if let Some(cost) = client.cpu_us_per_message {
            parts.push(format!("{} of CPU a message{}", unit::time(cost), compressing(report)));
        }
        let busiest = report.intervals.iter().map(|it: &Interval| it.busiest_percent);
        if let Some(busiest) = busiest.max_by(f64::total_cmp) {
            parts.push(format!("busiest thread {}", unit::percent(busiest)));
        }
        parts.push(format!(
            "{} on {}",
            unit::of(client.threads as u64, "thread"),
            unit::of(client.cores as u64, "core")
        ));
        if let Some(rss) = client.max_rss {
            parts.push(unit::bytes(rss as f64));
        }
        if client.throttled > 0 {
            parts.push(format!("throttled {}", unit::of(client.throttled, "time")));
        }
        self.gap();
        self.fill("This client  ", &parts.join(", "));
    }
}

/// What else CPU time was for.
pub(super) fn compressing(report: &Report) -> &'static str {
    let compression = report.measured.compression.as_ref();
    match compression.is_some_and(|it| !it.agreed.is_empty()) {
        true => " with compression",
        false => "",
    }
}

impl Compression {
    /// What was agreed on, and with how many connections.
    pub(super) fn shown(&self) -> Vec<(&str, String)> {
        let agreed = self.agreed.iter().map(|(terms, count)| (terms.as_str(), *count));
        let declined = (self.declined > 0).then_some(("not granted by the server", self.declined));
        let all = agreed.chain(declined);
        all.map(|(terms, count)| (terms, unit::of(count, "connection"))).collect()
    }
}

/// Of the table of times, besides how many there are.
const COLUMNS: [&str; 6] = ["p50", "p90", "p99", "p99.9", "max", "mean"];

/// How wide a bar may be.
const BAR: usize = 40;

fn cells(summary: &Summary) -> [String; 6] {
    let percentile = |it: Option<u64>| it.map_or("few".to_owned(), micros);
    let Summary { p50, p90, p99, p999, .. } = summary;
    let [p50, p90, p99, p999] = [p50, p90, p99, p999].map(|it| percentile(*it));
    [p50, p90, p99, p999, micros(summary.max), unit::time(summary.mean)]
}

fn micros(micros: u64) -> String {
    unit::time(micros as f64)
}

/// What a metric is called in a table; what is part of the one above is indented.
pub(super) fn row_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Response => "response",
        Metric::Service => "service",
        Metric::SendLag => "send lag",
        Metric::PacerLag => "  pacer lag",
        Metric::WriteBlock => "  blocked",
        Metric::Handshake => "handshake",
        Metric::Dns => "  dns",
        Metric::Tcp => "  tcp",
        Metric::Proxy => "  proxy",
        Metric::Tls => "  tls",
        Metric::Upgrade => "  upgrade",
        Metric::Ssh => "  ssh",
        Metric::Login => "  login",
        Metric::Forward => "  forward",
        Metric::Ping => "ping",
        Metric::Close => "close",
    }
}

fn achieved(report: &Report) -> String {
    let verb = match report.config.workload.as_str() {
        "echo" => "answered",
        "connect" => "opened",
        _ => "received",
    };
    format!("{} msg/s {verb}", unit::significant(report.rate.achieved))
}

fn arrival(report: &Report) -> &str {
    report.config.arrival.as_deref().unwrap_or("constant")
}

/// Why answers took much longer from when messages were due than from when they were sent.
pub(super) fn explanation(report: &Report) -> Option<String> {
    let tail = |metric| report.measured.summary(metric).and_then(|it| it.p99);
    let (response, service) = (tail(Metric::Response)?, tail(Metric::Service)?);
    if response < 2 * service || response - service < 1_000 {
        return None;
    }
    let (blocked, lag) = (tail(Metric::WriteBlock)?, tail(Metric::PacerLag)?);
    let gap = micros(response - service);
    Some(match blocked >= lag {
        true => format!(
            "Response is {gap} above service at p99: the server took messages later than they were due."
        ),
        false => format!(
            "Response is {gap} above service at p99: this client was late, so believe neither too much."
        ),
    })
}

/// The first characters of a line that commands no terminal.
fn cut_to(line: &str, most: usize) -> String {
    let line = printable(line);
    match line.char_indices().nth(most) {
        Some(_) => line.chars().take(most - 1).chain(['…']).collect(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Measured, judge, testing};
    use crate::bench::tally::{Cause, Tally};

    fn plain(report: &Report) -> String {
        text(report, Ink::default())
    }

    #[track_caller]
    fn has(text: &str, what: &str) {
        let flat = text.replace(['\n', ' '], "");
        let text = if what.contains('\n') { text } else { &flat };
        let what = if what.contains('\n') { what.to_owned() } else { what.replace(' ', "") };
        assert!(text.contains(&what), "not in the report: {what:?}\n{text}");
    }

    #[test]
    fn a_good_run() {
        let mut report = testing::report(10_000);
        judge(&mut report, &["p99<50ms".parse().unwrap(), "p99.99<1s".parse().unwrap()]);
        let text = plain(&report);
        let expected = "\
ws://127.0.0.1:8010/
open loop, 1,000 msg/s asked, 998 msg/s answered, 2 connections for 10.0 s
128 B of bytes, constant arrivals

TOO FEW SAMPLES
  too few samples for p99.99<1s

Messages     10,000 sent, 10,000 received
Payload      1.22 MiB sent (125 KiB/s), 1.22 MiB received (125 KiB/s)
Connections  2 opened
";
        has(&text, expected);
        has(
            &text,
            "Time              p50      p90      p99    p99.9      max     mean          n\n",
        );
        has(
            &text,
            "response      5.00 ms  9.01 ms  9.90 ms  9.99 ms  10.0 ms  5.00 ms     10,000\n",
        );
        has(&text, "  passed   p99<50ms                       9.90 ms\n");
        has(
            &text,
            "  UNKNOWN  p99.99<1s\n           too few samples: 10,000, and 100,000 are needed\n",
        );
    }

    #[test]
    fn a_closed_loop_is_no_response_time() {
        let mut report = testing::report(1_000);
        report.mode = Mode::Closed;
        report.rate.target = None;
        report.config.in_flight = Some(64);
        report.measured.response_us = None;
        has(&plain(&report), "closed loop, 64 in flight on each connection: not a response time");
    }

    #[test]
    fn every_line_fits_whatever_is_in_it() {
        let mut tally = Tally::default();
        for metric in Metric::ALL {
            tally.times(metric, 59_999_000_000, 40_000_000_000);
            tally.times(metric, 1_000, 40_000_000_000);
        }
        for i in 0..30 {
            let cause = Cause {
                phase: "upgrade".into(),
                cause: format!("an answer that nobody has understood {i} "),
                status: Some(503),
                code: Some(1013),
            };
            tally.fail(cause, || "ws://a/: \x1b[2J answered ".repeat(20));
        }
        tally.counts.sent = u64::MAX / 4;
        tally.counts.received = u64::MAX / 4;
        tally.counts.lost = u64::MAX / 4;
        tally.counts.corrupt = u64::MAX / 4;
        let mut report = testing::report(10);
        report.measured = Measured::of(&tally);
        report.config.targets = vec!["ws://h/".to_owned() + &"x".repeat(200)];
        report.config.payload = "x".repeat(200);
        report.validity = Validity::ClientLimited;
        report.validity_reasons = vec!["because of this and that ".repeat(20)];
        report.interrupted = true;
        judge(
            &mut report,
            &["dropped<999999999999999%".parse().unwrap(), "p99<1ms".parse().unwrap()],
        );
        let text = plain(&report);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
        assert!(!text.contains('\x1b'), "a peer cannot command the terminal");
        has(&text, "CLIENT LIMITED");
        has(&text, "INTERRUPTED");
    }

    #[test]
    fn few_samples_are_no_percentiles() {
        let text = plain(&testing::report(12));
        has(
            &text,
            "response          few      few      few      few    12 µs  6.50 µs         12\n",
        );
        has(&text, "few: too few samples; it takes p50 20, p90 100, p99 1,000, p99.9 10,000");
        assert!(!text.contains("NaN"), "{text}");
        let none = plain(&testing::report(0));
        has(&none, "No time was measured");
        assert!(!none.contains("NaN"), "{none}");
    }

    #[test]
    fn whose_fault_it_was() {
        let mut tally = Tally::default();
        tally.times(Metric::Response, 900_000_000, 2_000);
        tally.times(Metric::Service, 1_000_000, 2_000);
        tally.times(Metric::WriteBlock, 899_000_000, 2_000);
        tally.times(Metric::PacerLag, 50_000, 2_000);
        let mut report = testing::report(0);
        report.measured = Measured::of(&tally);
        has(&plain(&report), "the server took messages later than they were due");
        std::mem::swap(&mut report.measured.write_block_us, &mut report.measured.pacer_lag_us);
        has(&plain(&report), "this client was late");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let mut report = testing::report(1_000);
        report.validity = Validity::ClientLimited;
        assert!(!plain(&report).contains('\x1b'));
        assert!(text(&report, Ink::colored()).contains("\x1b[1;31mCLIENT LIMITED"));
    }
}
