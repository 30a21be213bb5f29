//! The seconds of a run as comma-separated values (RFC 4180), for spreadsheets and plotting programs.

use super::{Interval, Report, Summary};

/// A line with the names of the columns and their units, then a line for each second.
pub fn csv(report: &Report) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut out = names.join(",") + "\r\n";
    for interval in &report.intervals {
        // Nothing but numbers, which need no quotes.
        let cells: Vec<_> = COLUMNS.iter().map(|(_, cell)| cell(interval)).collect();
        out += &cells.join(",");
        out += "\r\n";
    }
    out
}

type Column = (&'static str, fn(&Interval) -> String);

const COLUMNS: [Column; 28] = [
    ("start_s", |it| it.start_s.to_string()),
    ("length_s", |it| it.length_s.to_string()),
    ("sent", |it| it.sent.to_string()),
    ("received", |it| it.received.to_string()),
    ("sent_per_s", |it| per_second(it.sent, it)),
    ("received_per_s", |it| per_second(it.received, it)),
    ("dropped", |it| it.dropped.to_string()),
    ("errors", |it| it.errors.to_string()),
    ("sent_bytes", |it| it.bytes_sent.to_string()),
    ("received_bytes", |it| it.bytes_received.to_string()),
    ("open_connections", |it| it.open.to_string()),
    ("in_flight", |it| it.in_flight.to_string()),
    ("response_p50_us", |it| of(&it.response_us, |it| it.p50)),
    ("response_p90_us", |it| of(&it.response_us, |it| it.p90)),
    ("response_p99_us", |it| of(&it.response_us, |it| it.p99)),
    ("response_p999_us", |it| of(&it.response_us, |it| it.p999)),
    ("response_max_us", |it| of(&it.response_us, |it| Some(it.max))),
    ("response_count", |it| of(&it.response_us, |it| Some(it.count))),
    ("service_p50_us", |it| of(&it.service_us, |it| it.p50)),
    ("service_p90_us", |it| of(&it.service_us, |it| it.p90)),
    ("service_p99_us", |it| of(&it.service_us, |it| it.p99)),
    ("service_p999_us", |it| of(&it.service_us, |it| it.p999)),
    ("service_max_us", |it| of(&it.service_us, |it| Some(it.max))),
    ("send_lag_p99_us", |it| of(&it.send_lag_us, |it| it.p99)),
    ("pacer_lag_p99_us", |it| it.pacer_lag_p99_us.map_or_else(String::new, |it| it.to_string())),
    ("busiest_thread_percent", |it| format!("{:.2}", it.busiest_percent)),
    ("run_queue_percent", |it| format!("{:.2}", it.run_queue_percent)),
    ("client_limited", |it| it.limited.to_string()),
];

/// Empty where there is nothing, or too little, to tell.
fn of(summary: &Option<Summary>, value: fn(&Summary) -> Option<u64>) -> String {
    summary.as_ref().and_then(value).map_or_else(String::new, |it| it.to_string())
}

fn per_second(count: u64, interval: &Interval) -> String {
    match interval.length_s > 0.0 {
        true => format!("{:.2}", count as f64 / interval.length_s),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Measured, testing};
    use crate::bench::tally::{Metric, Tally};

    #[test]
    fn a_line_for_each_second() {
        let mut report = testing::report(1_000);
        let mut tally = Tally::default();
        (1..=100).for_each(|i| tally.time(Metric::Response, i * 1_000_000));
        report.intervals[0].response_us = Measured::of(&tally).response_us;
        report.intervals[0].length_s = 0.5;
        report.intervals[1].length_s = 0.0;
        let text = csv(&report);
        let lines: Vec<Vec<&str>> =
            text.trim_end().split("\r\n").map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 11);
        assert!(lines.iter().all(|line| line.len() == COLUMNS.len()));
        let cell =
            |line: usize, name| lines[line][lines[0].iter().position(|it| *it == name).unwrap()];
        assert_eq!([cell(1, "sent"), cell(1, "sent_per_s")], ["100", "200.00"]);
        assert_eq!([cell(1, "response_p90_us"), cell(1, "response_p99_us")], ["90047", ""]);
        assert_eq!([cell(2, "sent_per_s"), cell(2, "response_max_us")], ["", ""]);
        assert_eq!(
            [cell(3, "busiest_thread_percent"), cell(3, "client_limited")],
            ["12.50", "false"]
        );
    }
}
