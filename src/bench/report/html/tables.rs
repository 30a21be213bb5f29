//! The tables of a page.

use serde_json::Value;

use super::{escaped, micros};
use crate::bench::report::baseline::signed;
use crate::bench::report::measured::LEVELS;
use crate::bench::report::text::{compressing, row_name};
use crate::bench::report::unit::{self, moment};
use crate::bench::report::{Comparison, Report, Step, Trend, Validity};
use crate::bench::tally::Metric;

pub(super) fn times(report: &Report) -> String {
    let rows = Metric::ALL.into_iter().filter_map(|metric| {
        let summary = report.measured.summary(metric)?;
        let levels = LEVELS.iter().filter(|level| level.name != "p75" && level.name != "p95");
        let levels = levels.map(|level| summary.percentile(level).map_or("–".to_owned(), micros));
        let mut row = vec![row_name(metric).to_owned()];
        row.extend(levels);
        row.extend([micros(summary.max), unit::time(summary.mean), unit::count(summary.count)]);
        Some(row)
    });
    let head = ["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "samples"];
    table("Times", &head, &rows.collect::<Vec<_>>())
}

pub(super) fn steps(steps: &[Step]) -> String {
    let rows = steps.iter().map(|step| {
        let summary = step.response_us.as_ref();
        let known = |it: Option<u64>| it.map_or("–".to_owned(), micros);
        let held = match (step.validity, step.held) {
            (Validity::ClientLimited, _) => "client limited",
            (_, Some(true)) => "held",
            (_, Some(false)) => "not held",
            (_, None) => "",
        };
        vec![
            unit::per_second(step.rate),
            unit::per_second(step.achieved),
            known(summary.and_then(|it| it.p50)),
            known(summary.and_then(|it| it.p99)),
            known(summary.map(|it| it.max)),
            held.to_owned(),
        ]
    });
    let head = ["asked", "answered", "p50", "p99", "max", ""];
    table("Rates", &head, &rows.collect::<Vec<_>>())
}

pub(super) fn gates(report: &Report) -> String {
    let rows = report.gates.iter().map(|gate| {
        let said = match (gate.passed, gate.measured) {
            (true, _) => "✓ passed",
            (false, Some(_)) => "✗ failed",
            (false, None) => "? cannot be judged",
        };
        let why = [gate.measured(), gate.note.clone()].into_iter().flatten();
        vec![gate.gate.clone(), said.to_owned(), why.collect::<Vec<_>>().join("; ")]
    });
    words("Gates", &["", "", "measured"], &rows.collect::<Vec<_>>())
}

pub(super) fn changes(comparison: &Comparison) -> String {
    let rows = comparison.changes.iter().map(|change| {
        let sign = match change.trend {
            _ if change.regression => "✗ ",
            Trend::Better => "✓ ",
            Trend::Worse => "▲ ",
            Trend::Noise | Trend::Unknown => "",
        };
        vec![
            change.name.clone(),
            change.shown(change.before),
            change.shown(change.after),
            change.percent.map(signed).unwrap_or_default(),
            change.interval(),
            format!("{sign}{}", change.word()),
        ]
    });
    let title = format!("Compared with the run of {}", moment(&comparison.before));
    let head = ["", "before", "after", "change", "with 99% confidence", ""];
    table(&title, &head, &rows.collect::<Vec<_>>())
}

pub(super) fn errors(report: &Report) -> String {
    let rows = report.measured.errors.iter().map(|group| {
        vec![group.title(), unit::count(group.failures.count), group.failures.first.clone()]
    });
    words("Errors", &["", "count", "the first of them"], &rows.collect::<Vec<_>>())
}

pub(super) fn compression(report: &Report) -> String {
    let Some(compression) = &report.measured.compression else { return String::new() };
    let shown = compression.shown().into_iter();
    let mut rows: Vec<_> =
        shown.map(|(terms, connections)| vec![terms.to_owned(), connections]).collect();
    let bytes = |bytes: u64| unit::bytes(bytes as f64);
    if !compression.agreed.is_empty() {
        let counts = &report.measured.counts;
        for (what, sent, received) in [
            ("payload", counts.bytes_sent, counts.bytes_received),
            ("on the wire", compression.wire_sent, compression.wire_received),
        ] {
            let moved = format!("{} sent, {} received", bytes(sent), bytes(received));
            rows.push(vec![what.to_owned(), moved]);
        }
    }
    words("Compression", &["", ""], &rows)
}

pub(super) fn config(report: &Report) -> String {
    let fields = serde_json::to_value(&report.config).unwrap_or_default();
    let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut rows: Vec<_> = fields
        .map(|(name, value)| match name.strip_suffix("_s") {
            Some(name) => vec![name.replace('_', " "), format!("{} s", plain(value))],
            None => vec![name.replace('_', " "), plain(value)],
        })
        .collect();
    let client = &report.client;
    rows.push(vec![
        "client threads".into(),
        format!("{} on {} cores", client.threads, client.cores),
    ]);
    if let Some(cost) = client.cpu_us_per_message {
        let cost = format!("{}{}", unit::time(cost), compressing(report));
        rows.push(vec!["client CPU a message".into(), cost]);
    }
    if let Some(rss) = client.max_rss {
        rows.push(vec!["client memory".into(), unit::bytes(rss as f64)]);
    }
    words("What was asked for", &["", ""], &rows)
}

/// A value of JSON, without what is JSON about it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (None, Some(number)) if number.fract() == 0.0 => unit::count(number as u64),
            (None, Some(number)) => unit::significant(number),
            (Some(number), _) => unit::count(number),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A table of numbers in a section of its own.
fn table(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    section(title, "numbers", head, rows)
}

/// A table of words.
fn words(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    section(title, "words", head, rows)
}

fn section(title: &str, class: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: String = head.iter().map(|it| format!("<th>{}</th>", escaped(it))).collect();
    let rows = rows.iter().map(|row| {
        let (name, cells) = row.split_first().expect("a row has a name");
        let indented = if name.starts_with("  ") { " class=\"part\"" } else { "" };
        let cells = cells.iter().map(|it| {
            let class = match it.chars().next() {
                Some('✓') => " class=\"yes\"",
                Some('✗') => " class=\"no\"",
                Some('?' | '▲') => " class=\"unknown\"",
                _ => "",
            };
            format!("<td{class}>{}</td>", escaped(it))
        });
        let cells: String = cells.collect();
        format!("<tr><th{indented}>{}</th>{cells}</tr>\n", escaped(name))
    });
    format!(
        "<section><h2>{}</h2><div class=\"scroll\"><table class=\"{class}\">\n<thead><tr>{head}</tr></thead>\n\
         <tbody>{}</tbody></table></div></section>\n",
        escaped(title),
        rows.collect::<String>()
    )
}
