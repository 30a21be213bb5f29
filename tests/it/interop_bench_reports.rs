//! Reports of `bench` as others read them: HdrHistogram's own reader, a JSON Schema validator, a browser.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};

use towline::cli::Cli;

use crate::bench_reports::{Reports, bench, run};
use crate::support::Towline;
use crate::support::peers::{installed, python};

fn schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/bench.schema.json")
}

/// Answers that take from 1 ms to 1 s, a few of them much longer than the rest.
fn wide(second: u64) -> Vec<u64> {
    (1..=2_000).map(|i| 1_000 + i * i * i / 8_008 + second * 10).collect()
}

#[test]
fn hdr_histogram_reads_the_log_and_finds_the_same() {
    let reports = Reports::new();
    let mut report = run(6, wide);
    report.config.segment = Some("1/1".into());
    let file = reports.put("1.json", &report);
    let log = reports.path("1.hlog");
    let flags = ["--json", "--hdr-log", log.to_str().unwrap()];
    let merged: Value =
        serde_json::from_slice(&bench("merge", &[file], &flags).code(0).stdout).unwrap();
    let output = python("hdr_log.py").arg(&log).run();
    let read: Value = serde_json::from_slice(&output.code(0).stdout).unwrap();
    let start: i64 = 1_795_608_000;
    assert_eq!(read["start_s"], json!(start as f64));
    let starts: Vec<_> = (0..6).map(|second| json!((start + second) as f64 * 1_000.0)).collect();
    for tag in ["response", "service", "send_lag"] {
        let (found, own) = (&read["tags"][tag], &merged[format!("{tag}_us")]);
        assert_eq!(found["starts_ms"], Value::from(starts.clone()), "{tag}");
        assert_eq!(own["count"], 12_000);
        for figure in ["count", "max", "p50", "p75", "p90", "p95", "p99", "p999"] {
            assert_eq!(found[figure], own[figure], "{tag} {figure}: {read:#}");
        }
        assert!(own["p9999"].is_null(), "12,000 samples are too few for it");
    }
}

#[test]
fn reports_keep_to_their_schema() {
    let reports = Reports::new();
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let target = server.address();
    let measure = |name: &str, flags: &[&str]| {
        let file = reports.path(name);
        let json = format!("--json={}", file.display());
        let run = Towline::new().args(["bench", &target, &json, "-d", "2s", "--warm-up", "0s"]);
        // A machine that is busy with other tests may well be the limit.
        run.args(["--allow-limited", "--gate", "rate>0"]).args(flags).run().code(0);
        file
    };
    let mut files = vec![
        measure("open.json", &["--rate", "500", "-c", "3"]),
        measure("closed.json", &["--in-flight", "2"]),
        measure("steps.json", &["--steps", "100,200"]),
        measure("1.json", &["--rate", "500", "-c", "2", "--segment", "1/1"]),
    ];
    let merged = reports.path("merged.json");
    let json = format!("--json={}", merged.display());
    bench("merge", &files[3..], &[&json, "--allow-limited", "--gate", "p99<1s"]);
    files.push(merged);
    let check = |files: &[PathBuf]| python("json_schema.py").arg(schema()).args(files).run();
    check(&files).code(0).stdout("5 fit\n");

    // What is not in the schema is noticed, and what is missing too.
    let mut report: Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    report["intervals"][0]["more"] = json!(1);
    let other = reports.path("other.json");
    fs::write(&other, report.to_string()).unwrap();
    check(std::slice::from_ref(&other)).code(1).stderr_has("$.intervals[0]: Additional properties");
    report["intervals"] = Value::Null;
    fs::write(&other, report.to_string()).unwrap();
    check(&[other]).code(1).stderr_has("$.intervals: None is not of type 'array'");
}

#[test]
fn the_jobs_for_kubernetes_keep_to_its_schema() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench-kubernetes.yaml");
    let check = Towline::program(installed("venv/bin/kubernetes-validate"));
    // It says a line for each: the volume, the segments, the merge.
    let checked = check.arg("--strict").arg(&manifest).run();
    let said = format!("{}{}", String::from_utf8_lossy(&checked.code(0).stdout), checked.stderr);
    assert_eq!(said.matches("passed for resource").count(), 3, "{said}");
    // The commands in it are commands of this program.
    let text = fs::read_to_string(&manifest).unwrap();
    let folded = text.replace("&&\n", ";\n").replace('\n', " ");
    let mut commands = 0;
    for rest in folded.split("towline bench ").skip(1) {
        let command = rest.split(" ; ").next().unwrap().split("  volumeMounts").next().unwrap();
        let command = command.split("          resources:").next().unwrap();
        let words = shlex::split(command.split("          ").collect::<String>().trim()).unwrap();
        let words = words.into_iter().map(|word| match word.as_str() {
            "$((JOB_COMPLETION_INDEX + 1))/4" => "1/4".to_owned(),
            "$START_AT" => "2026-11-25T12:00:00Z".to_owned(),
            _ => word,
        });
        let words: Vec<String> =
            ["towline", "bench"].map(str::to_owned).into_iter().chain(words).collect();
        Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        commands += 1;
    }
    assert_eq!(commands, 2);
}
