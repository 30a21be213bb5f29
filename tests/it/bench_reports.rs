//! What `bench` makes of figures: verdicts, merged segments, comparisons. The figures are made up, so
//! that what has to come out is known.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use towline::bench::report::{
    Client, Config, Interval, Measured, Mode, Rate, Report, SCHEMA_VERSION, Validity,
};
use towline::bench::tally::{Compression, Metric, Tally};

use crate::support::{ClosedPort, Output, Towline};

/// A folder of reports.
pub(crate) struct Reports(TempDir);

impl Reports {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a report.
    pub(crate) fn put(&self, name: &str, report: &Report) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, report.to_json()).unwrap();
        path
    }

    /// The segments of a run, as 0.json, 1.json, ...
    fn segments(&self, of: usize) -> Vec<PathBuf> {
        let segment = |i: usize| {
            let mut report = run(10, |second| vec![100 * (i as u64 + 1) + second; 500]);
            report.config.segment = Some(format!("{}/{of}", i + 1));
            self.put(&format!("{i}.json"), &report)
        };
        (0..of).map(segment).collect()
    }
}

/// A run in which answers took these times, in microseconds, second by second.
pub(crate) fn run(seconds: u64, times: impl Fn(u64) -> Vec<u64>) -> Report {
    let mut all = Tally::default();
    let mut intervals = Vec::new();
    for second in 0..seconds {
        let mut tally = Tally::default();
        for micros in times(second) {
            tally.time(Metric::Response, micros * 1_000);
            tally.time(Metric::Service, micros * 900);
            tally.time(Metric::SendLag, micros * 100);
            tally.counts.sent += 1;
            tally.counts.received += 1;
            tally.counts.bytes_sent += 128;
            tally.counts.bytes_received += 128;
        }
        let Measured { response_us, service_us, send_lag_us, histograms, .. } =
            Measured::of(&tally);
        intervals.push(Interval {
            start_s: second as f64,
            length_s: 1.0,
            sent: tally.counts.sent,
            received: tally.counts.received,
            bytes_sent: tally.counts.bytes_sent,
            bytes_received: tally.counts.bytes_received,
            open: 10,
            in_flight: 1,
            response_us,
            service_us,
            send_lag_us,
            histograms,
            busiest_percent: 20.0,
            ..Interval::default()
        });
        all.add(&tally);
    }
    for _ in 0..10 {
        all.time(Metric::Handshake, 2_000_000);
        all.time(Metric::Tcp, 400_000);
        all.time(Metric::Upgrade, 1_500_000);
    }
    all.counts.opened = 10;
    let rate = all.counts.received as f64 / seconds as f64;
    let bytes = rate * 128.0;
    Report {
        schema_version: SCHEMA_VERSION,
        tool: "towline".into(),
        mode: Mode::Open,
        validity: Validity::Ok,
        started_at: "2026-11-25T12:00:00Z".into(),
        duration_s: seconds as f64,
        rate: Rate {
            target: Some(rate),
            achieved: rate,
            sent: rate,
            bytes_sent: bytes,
            bytes_received: bytes,
        },
        measured: Measured::of(&all),
        intervals,
        client: Client { threads: 2, cores: 2, cpu_s: 0.5, ..Client::default() },
        config: Config {
            targets: vec!["ws://127.0.0.1:8010/".into()],
            workload: "echo".into(),
            rate: Some(rate),
            arrival: Some("constant".into()),
            connections: 10,
            duration_s: Some(seconds as f64),
            payload: "128 B binary".into(),
            matching: "stamp".into(),
            ..Config::default()
        },
        ..Report::default()
    }
}

pub(crate) fn bench(verb: &str, files: &[impl AsRef<Path>], flags: &[&str]) -> Output {
    let files = files.iter().map(|file| file.as_ref());
    Towline::new().args(["bench", verb]).args(files).args(flags).run()
}

fn merge(files: &[PathBuf], flags: &[&str]) -> Output {
    bench("merge", files, flags)
}

#[test]
fn segments_become_one_report() {
    let reports = Reports::new();
    let files = reports.segments(4);
    let text = merge(&files, &[]);
    text.code(0).stderr_is_empty();
    text.stdout_has("open loop, 2,000 msg/s asked, 2,000 msg/s answered");
    text.stdout_has("20,000 sent, 20,000 received");

    let output = merge(&files, &["--json"]);
    let json: Value = serde_json::from_slice(&output.code(0).stdout).unwrap();
    let mut truth = Tally::default();
    for (i, second) in (0..4).flat_map(|i| (0..10).map(move |second| (i, second))) {
        truth.times(Metric::Response, (100 * (i + 1) + second) * 1_000, 500);
    }
    let truth = serde_json::to_value(Measured::of(&truth).response_us).unwrap();
    assert_eq!(json["response_us"], truth);
    assert_eq!(json["rate"]["achieved"], 2_000.0);
    assert_eq!(json["intervals"].as_array().unwrap().len(), 10);
    assert_eq!(json["intervals"][3]["response_us"]["count"], 2_000);
    assert_eq!(json["config"]["segment"], Value::Null);
}

#[test]
fn everything_can_be_written_in_one_go() {
    let reports = Reports::new();
    let files = reports.segments(2);
    let place = |name: &str| reports.path(name).display().to_string();
    let json = format!("--json={}", place("out.json"));
    let flags = [&json, "--csv", &place("out.csv"), "--hdr-log", &place("out.hlog")];
    merge(&files, &flags).code(0).stdout_has("Distribution of response");
    let read = |name: &str| fs::read_to_string(reports.path(name)).unwrap();
    assert_eq!(Report::from_json(&read("out.json")).unwrap().measured.counts.sent, 10_000);
    assert_eq!(read("out.csv").lines().count(), 11);
    let tags = read("out.hlog").lines().filter(|line| line.starts_with("Tag=response,")).count();
    assert_eq!(tags, 10);
}

#[test]
fn the_exit_code_is_the_verdict() {
    let reports = Reports::new();
    let files = reports.segments(2);
    merge(&files, &["--gate", "p99<1ms", "--gate", "errors<0.1%"]).code(0).stdout_has("passed");
    let failed = merge(&files, &["--gate", "p99<1ms", "--gate", "p50<10us"]);
    failed.code(3).stdout_has("FAILED ").stderr_has("the gate p50<10us failed: it is 1");
    let few = merge(&files, &["--gate", "p99.99<1s"]);
    few.code(4).stdout_has("UNKNOWN").stderr_has("cannot be judged: too few samples");

    let mut limited = Report::from_json(&fs::read_to_string(&files[1]).unwrap()).unwrap();
    limited.validity = Validity::ClientLimited;
    limited.validity_reasons = vec!["threads waited for a core".into()];
    reports.put("1.json", &limited);
    let output = merge(&files, &["--gate", "p50<10us"]);
    output.code(4).stdout_has("CLIENT LIMITED").stderr_has("segment 2/2: threads waited");
    merge(&files, &["--allow-limited"]).code(0).stdout_has("CLIENT LIMITED");
    merge(&files, &["--allow-limited", "--gate", "p50<10us"]).code(3);
}

#[test]
fn what_was_agreed_on_adds_up() {
    let reports = Reports::new();
    let segment = |index: u64| {
        let mut report = run(2, |_| vec![100; 600]);
        report.config.segment = Some(format!("{index}/2"));
        report.config.compress = Some("auto".into());
        report.measured.compression = Some(Compression {
            agreed: [("permessage-deflate".to_owned(), 10 * index)].into(),
            declined: index,
            wire_sent: 100,
            wire_received: 200,
        });
        reports.put(&format!("{index}.json"), &report)
    };
    let files = [segment(1), segment(2)];
    let merged: Value = serde_json::from_slice(&merge(&files, &["--json"]).code(0).stdout).unwrap();
    let want = json!({
        "agreed": { "permessage-deflate": 30 }, "declined": 3, "wire_sent": 200, "wire_received": 400,
    });
    assert_eq!(merged["compression"], want);
    assert_eq!(merged["config"]["compress"], "auto");
}

#[test]
fn what_cannot_be_merged_is_named() {
    let reports = Reports::new();
    let files = reports.segments(3);
    let refused = |files: &[PathBuf], said: &str| {
        let output = merge(files, &[]);
        output.code(2).stdout("").stderr_has(said);
        let lines = output.stderr.lines().count();
        assert!(lines <= 2, "one line, and a hint");
    };
    refused(&files[..2], "segments are missing: 3/3");
    refused(&[&files[..], &files[..1]].concat(), "0.json: is segment 1/3, and so is ");
    refused(&[reports.path("none.json")], "none.json: no such file or directory");
    let other = reports.path("other.json");
    for (text, said) in [
        ("", "other.json: is no report of `towline bench`: EOF"),
        ("{}", "other.json: is no report of `towline bench`: missing field `schema_version`"),
        (r#"{"schema_version": 9}"#, "other.json: has version 9 of the schema, not 1"),
        (r#"{"schema_version": 1}"#, "other.json: is no report of `towline bench`: missing field"),
    ] {
        fs::write(&other, text).unwrap();
        refused(std::slice::from_ref(&other), said);
    }
    let mut report = run(10, |_| vec![1; 500]);
    report.config.segment = Some("3/3".into());
    report.config.compress = Some("auto".into());
    let compressed = reports.put("compressed.json", &report);
    refused(&[&files[..2], &[compressed]].concat(), "compressed.json: `compress` is \"auto\"");
    let whole = reports.put("whole.json", &run(1, |_| vec![1; 10]));
    refused(&[whole], "whole.json: is of a whole run, not of a segment");
}

/// A run of ten seconds whose answers took about so long.
fn about(micros: u64) -> Report {
    run(10, |second| (0..1_000).map(|i| micros * (900 + second * 10 + i % 50) / 1_000).collect())
}

#[test]
fn changes_are_told_from_noise() {
    let reports = Reports::new();
    let old = reports.put("old.json", &about(1_000));
    let same = reports.put("same.json", &about(1_005));
    let slow = reports.put("slow.json", &about(1_400));
    let margin = ["--fail-on-regression", "10%"];
    let compare = |after: &PathBuf, flags: &[&str]| bench("compare", &[&old, after], flags);
    let output = compare(&same, &margin);
    output.code(0).stdout_has("within noise").stdout_has("response.p99").stderr_is_empty();
    compare(&slow, &[]).code(0).stdout_has("+40%").stdout_has("worse").stderr_is_empty();
    let output = compare(&slow, &margin);
    output.code(3).stdout_has("REGRESSION").stderr_has("response.p50 went from");
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(line).unwrap();
        assert!(line.chars().count() <= 80 && !line.contains('…'), "{line}");
    }
    bench("compare", &[&slow, &old], &margin).code(0).stdout_has("better");

    let html = reports.path("both.html");
    let flags = ["--json", "--html", html.to_str().unwrap()];
    let output = compare(&slow, &flags);
    let json: Value = serde_json::from_slice(&output.code(0).stdout).unwrap();
    assert_eq!(json["changes"][0]["name"], "response.p50");
    assert_eq!(json["changes"][0]["trend"], "worse");
    assert!(fs::read_to_string(html).unwrap().contains("p99 over time</h2>"));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let reports = Reports::new();
    let old = reports.put("old.json", &about(1_000));
    let put = |change: fn(&mut Report)| {
        let mut report = about(1_000);
        change(&mut report);
        reports.put("new.json", &report)
    };
    let other = put(|it| it.config.connections = 11);
    let output = bench("compare", &[&old, &other], &[]);
    output.code(2).stdout("").stderr_has("new.json: `connections` is 11, but 10 in ");
    let other = put(|it| it.config.compress = Some("6".into()));
    let output = bench("compare", &[&old, &other], &[]);
    output.code(2).stdout("").stderr_has("new.json: `compress` is 6, but off in ");
    // Versions that did not compress do not say so.
    let mut json: Value = serde_json::from_str(&about(1_000).to_json()).unwrap();
    json["config"].as_object_mut().unwrap().remove("compress").unwrap();
    let older = reports.path("older.json");
    fs::write(&older, json.to_string()).unwrap();
    bench("compare", &[&older, &old], &[]).code(0);
    let limited = put(|it| it.validity = Validity::ClientLimited);
    bench("compare", &[&old, &limited], &[]).code(0);
    let output = bench("compare", &[&old, &limited], &["--fail-on-regression", "5%"]);
    output.code(4).stderr_has("new.json: client limited");
    let short = put(|it| it.intervals.truncate(3));
    let output = bench("compare", &[&old, &short], &["--fail-on-regression", "5%"]);
    output.code(4).stdout_has("cannot be told").stderr_has("it takes 8 seconds of each run");
    let output = bench("compare", &[&old, &old], &["--json", "out.json"]);
    output.code(2).stderr_has("--json=out.json");
}

#[test]
fn a_run_is_compared_with_a_baseline() {
    let reports = Reports::new();
    let segment = |micros| {
        let mut report = about(micros);
        report.config.segment = Some("1/1".into());
        report
    };
    let old = reports.put("old.json", &about(1_000));
    let new = [reports.put("new.json", &segment(1_400))];
    let old = old.to_str().unwrap();
    let output = merge(&new, &["--baseline", old]);
    output.code(0).stdout_has("Compared with the run of 2026-11-25 12:00:00 UTC");
    let output = merge(&new, &["--baseline", old, "--fail-on-regression", "10", "--json"]);
    output.code(3).stderr_has("response.p50 went from");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["comparison"]["margin_percent"], 10.0);
    let mut other = segment(1_000);
    other.config.verify = true;
    let other = [reports.put("other.json", &other)];
    let output = merge(&other, &["--baseline", old]);
    output.code(2).stdout_has("Messages").stderr_has("this run: `verify` is true, but false in ");
    merge(&new, &["--baseline", "/none"]).code(2).stdout("").stderr_has("/none: no such file");
    merge(&new, &["--fail-on-regression", "10"]).code(2).stderr_has("--baseline");
}

#[test]
fn a_run_that_cannot_be_compared_is_not_begun() {
    let reports = Reports::new();
    let old = reports.put("old.json", &about(1_000));
    let closed = ClosedPort::new();
    let target = format!("ws://127.0.0.1:{}", closed.port);
    let run = Towline::new().args(["bench", &target, "-c", "11", "--baseline"]).arg(&old).run();
    run.code(2).stdout("").stderr_has("this run: `").stderr_lacks("could be opened");
}

#[test]
fn what_is_wrong_with_flags_is_said_before_anything_is_done() {
    let reports = Reports::new();
    let files = reports.segments(1);
    merge(&files, &["--gate", "p99<50"]).code(2).stdout("").stderr_has("needs a unit: us, ms or s");
    merge(&files, &["--csv", "/nowhere/x.csv"])
        .code(2)
        .stdout("")
        .stderr_has("--csv /nowhere/x.csv");
    merge(&[], &[]).code(2).stdout("").stderr_has("<FILE>");
    let json = merge(&files, &["--json", "out.json"]);
    json.code(2).stdout("").stderr_has("out.json: no such file or directory");
}
