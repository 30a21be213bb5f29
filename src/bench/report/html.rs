//! A report as a page with charts: one file that needs nothing else, and runs no script.

use std::fmt::Write as _;

use super::text::{explanation, row_name};
use super::unit::{self, moment};
use super::{Comparison, Mode, Report, Validity};

mod chart;
mod charts;
mod tables;

use chart::Chart;
use charts::{both, charts};
use tables::{changes, compression, config, errors, gates, steps, times};

/// The page.
pub fn html(report: &Report) -> String {
    let mut body = String::new();
    head(&mut body, report);
    body += &verdict(report);
    body += &tiles(report);
    let charts = charts(report);
    if !charts.is_empty() {
        body += "<section class=\"charts\">\n";
        body.extend(charts.iter().map(Chart::figure));
        body += "</section>\n";
    }
    body += &times(report);
    body += &steps(&report.steps);
    body += &gates(report);
    if let Some(comparison) = &report.comparison {
        body += &changes(comparison);
    }
    body += &errors(report);
    body += &compression(report);
    body += &config(report);
    let _ = writeln!(
        body,
        "<footer>{}, {}. Times are in HdrHistograms of three digits; a percentile is shown where ten \
         samples or more are above it.</footer>",
        escaped(&report.tool),
        escaped(&moment(&report.started_at))
    );
    page(&title(report), &body)
}

/// A page that shows two runs in the same charts.
pub fn comparison_html(before: &Report, after: &Report, comparison: &Comparison) -> String {
    let mut body = String::new();
    let (old, new) = (title(before), title(after));
    let name = if old == new { new } else { format!("{old} and {new}") };
    let runs =
        [before, after].map(|report| format!("<li>{}</li>", escaped(&moment(&report.started_at))));
    let _ = writeln!(
        body,
        "<header><p class=\"what\">towline bench compare</p><h1>{}</h1><ul>{}</ul></header>",
        escaped(&name),
        runs.concat()
    );
    for (which, report) in [("Before", before), ("After", after)] {
        if report.validity != Validity::Ok {
            let _ = writeln!(body, "<h2 class=\"which\">{which}</h2>");
            body += &verdict(report);
        }
    }
    body += &changes(comparison);
    let charts = both(before, after);
    body += "<section class=\"charts\">\n";
    body.extend(charts.iter().filter(|it| !it.series.is_empty()).map(Chart::figure));
    body += "</section>\n";
    body += &config(after);
    page(&name, &body)
}

/// What surrounds every page.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{}</style>\n<main>\n{body}</main>\n</html>\n",
        escaped(title),
        include_str!("html/style.css")
    )
}

/// Text that cannot become markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // They would turn around what stands beside them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn title(report: &Report) -> String {
    report.config.targets.join(", ")
}

fn head(out: &mut String, report: &Report) {
    let config = &report.config;
    let mut parts = Vec::new();
    match (report.mode, config.in_flight) {
        (Mode::Open, _) => parts.push("open loop".to_owned()),
        (Mode::Closed, Some(in_flight)) => {
            parts.push(format!("closed loop, {in_flight} in flight on each connection"));
        }
        (Mode::Closed, None) => parts.push("closed loop".to_owned()),
    }
    parts.push(config.workload.clone());
    parts.push(unit::of(config.connections, "connection"));
    parts.push(config.payload.clone());
    parts.push(format!("{:.1} s", report.duration_s));
    parts.extend(config.segment.as_ref().map(|it| format!("segment {it}")));
    parts.push(moment(&report.started_at));
    parts.retain(|part| !part.is_empty());
    let parts: Vec<_> = parts.iter().map(|part| format!("<li>{}</li>", escaped(part))).collect();
    let _ = writeln!(
        out,
        "<header><p class=\"what\">towline bench</p><h1>{}</h1><ul>{}</ul></header>",
        escaped(&title(report)),
        parts.join("")
    );
}

fn verdict(report: &Report) -> String {
    let (class, what) = match report.validity {
        Validity::Ok => ("good", "The client was not the limit"),
        Validity::TooFewSamples => ("warn", "Too few samples"),
        Validity::ClientLimited => {
            ("bad", "CLIENT LIMITED: these are figures of the client's machine, not of the server")
        }
    };
    let mut notes: Vec<_> = report.validity_reasons.clone();
    if report.interrupted {
        notes.push("The run was interrupted; this is what was measured until then.".into());
    }
    if report.mode == Mode::Closed && report.config.in_flight.is_some() {
        notes.push(
            "In a closed loop a slow server is asked less often: these are no response times under \
             load."
                .into(),
        );
    }
    if report.client.shares_machine {
        notes.push("A target is on the client's machine, and shares its cores.".into());
    }
    notes.extend(explanation(report));
    let notes: String = notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul>{notes}</ul>") };
    format!("<section class=\"verdict {class}\"><strong>{what}</strong>{notes}</section>\n")
}

fn tiles(report: &Report) -> String {
    let mut tiles = Vec::new();
    let rate = unit::significant(report.rate.achieved);
    let asked = report.rate.target.map(|it| format!("of {} asked", unit::significant(it)));
    tiles.push(("Messages a second", rate, asked.unwrap_or_default()));
    let metric = report.headline();
    if let Some(summary) = report.measured.summary(metric) {
        let name = row_name(metric).trim_start();
        let known = |it: Option<u64>| it.map_or("too few".to_owned(), micros);
        tiles.push(("Median", known(summary.p50), name.to_owned()));
        tiles.push(("99th percentile", known(summary.p99), name.to_owned()));
        tiles.push(("Longest", micros(summary.max), name.to_owned()));
    }
    let counts = &report.measured.counts;
    let missing = counts.lost + counts.late + counts.dropped;
    let of = format!("of {}", unit::count(counts.sent + counts.dropped));
    tiles.push(("Lost, late or dropped", unit::count(missing), of));
    if let Some(fan_out) = &report.fan_out {
        let of = format!("of {} deliveries", unit::count(fan_out.expected));
        tiles.push(("Reach", unit::percent(fan_out.reach * 100.0), of));
    }
    let failed = unit::of(counts.failed, "failed connection");
    tiles.push(("Errors", unit::count(counts.errors), failed));
    let tiles = tiles.iter().map(|(name, value, note)| {
        format!(
            "<div><dt>{name}</dt><dd>{}<small>{}</small></dd></div>\n",
            escaped(value),
            escaped(note)
        )
    });
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.collect::<String>())
}

fn micros(micros: u64) -> String {
    unit::time(micros as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::testing;

    #[test]
    fn a_page_needs_nothing_else() {
        let page = html(&testing::report(10_000));
        for outside in ["src=", "href=", "@import", "url(", "<script", " onclick", "http:"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a b=\"'&\">"), "&lt;a b=&quot;&#39;&amp;&quot;&gt;");
        assert_eq!(escaped("a\x1b\u{202e}b"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn a_report_of_next_to_nothing_has_a_page() {
        for samples in [0, 1, 20] {
            let mut report = testing::report(samples);
            report.intervals.truncate(samples as usize);
            let page = html(&report);
            assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
        }
    }
}
