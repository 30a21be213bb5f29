//! Reports of `bench` as others read them: HdrHistogram's own reader, a JSON Schema validator, a browser.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use serde_json::{Value, json};
use towline::bench::report::{ErrorGroup, Report, Step, Validity, html, judge};
use towline::bench::tally::{Cause, Failures};

use towline::cli::Cli;

use crate::bench_reports::{Reports, bench, run};
use crate::support::Towline;
use crate::support::chromium::{Chromium, Tab};
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
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:", "--compress=auto"]);
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
    let whole = measure("whole.json", &["--rate", "500", "-c", "2"]);
    let baseline = ["--baseline", whole.to_str().unwrap()];
    let output = bench(
        "merge",
        &files[3..],
        &[&json, "--allow-limited", "--gate", "p99<1s", baseline[0], baseline[1]],
    );
    output.stdout_has("Compared with the run of ");
    files.push(merged);
    files.push(measure("compressed.json", &["--in-flight", "2", "--compress", "1"]));
    let check = |files: &[PathBuf]| python("json_schema.py").arg(schema()).args(files).run();
    check(&files).code(0).stdout("6 fit\n");

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

/// A run of which everything is to be seen: gates, steps, failures, and names that are markup.
fn shown() -> Report {
    let mut report = run(20, |second| {
        // It gets slower, and stands still once.
        let stall = if second == 12 { 900_000 } else { 0 };
        (1..=2_000).map(|i| 200 + i * i / 400 + second * 15 + stall * (i / 1_950)).collect()
    });
    report.config.targets = vec!["ws://127.0.0.1:8010/<script>alert(1)</script>".into()];
    report.validity_reasons = vec!["<img src=x onerror=alert(2)>".into()];
    for (second, interval) in report.intervals.iter_mut().enumerate() {
        interval.errors = second as u64 % 3;
        interval.dropped = if second == 12 { 40 } else { 0 };
        interval.pacer_lag_p99_us = Some(60 + second as u64 * 3);
    }
    report.measured.errors = vec![ErrorGroup {
        cause: Cause {
            phase: "upgrade".into(),
            cause: "\"><svg onload=alert(3)>".into(),
            status: Some(503),
            code: None,
        },
        failures: Failures { count: 20, first: "</table><script>alert(4)</script>".into() },
    }];
    let step = |rate: f64, held| Step {
        rate,
        achieved: rate,
        response_us: report.measured.response_us.clone(),
        held: Some(held),
        validity: Validity::Ok,
    };
    report.steps = vec![step(1_000.0, true), step(2_000.0, true), step(4_000.0, false)];
    report
}

#[test]
fn the_page_of_a_report_is_seen_as_it_is_meant() {
    let reports = Reports::new();
    let mut report = shown();
    let gates: Vec<_> =
        ["p99<50ms", "p99.99<1s", "p50<1us"].iter().map(|gate| gate.parse().unwrap()).collect();
    judge(&mut report, &gates);
    let file = reports.path("report.html");
    fs::write(&file, html(&report)).unwrap();
    let title = &report.config.targets[0];
    let browser = Chromium::open(&format!("file://{}", file.display()), title);
    let mut tab = browser.tab();
    tab.command("Log.enable", json!({}));
    tab.command("Runtime.enable", json!({}));
    let titles = [
        "Response over time",
        "Percentiles",
        "Messages a second",
        "Failures",
        "Send lag",
        "Response by rate",
    ];
    for (width, dark) in [(1200, false), (400, false), (1200, true), (400, true)] {
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        tab.command("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        tab.command("Emulation.setDeviceMetricsOverride", size);
        looks_right(&mut tab, width, dark, &titles);
        screenshot(&mut tab, &format!("{width}-{scheme}"), if dark { &DARK } else { &LIGHT });
    }
    let heading = tab.run("return document.querySelector('h1').textContent;");
    assert_eq!(heading, **title, "what was markup there is text here");
    let injected = "return document.querySelectorAll('script, img, svg svg, [onload]').length;";
    assert_eq!(tab.run(injected), 0);
    let bad = |it: &&Value| {
        it["method"] == "Log.entryAdded"
            || it["method"] == "Runtime.exceptionThrown"
            || it["method"] == "Page.javascriptDialogOpening"
    };
    let bad: Vec<_> = tab.events().iter().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn the_page_of_a_comparison_is_seen_as_it_is_meant() {
    let reports = Reports::new();
    let file = |name: &str, factor: u64| {
        let times = |second| wide(second).iter().map(|it| it * factor / 100).collect();
        reports.put(name, &run(12, times))
    };
    let (before, after) = (file("before.json", 100), file("after.json", 130));
    let page = reports.path("both.html");
    let output = bench("compare", &[before, after], &["--html", page.to_str().unwrap()]);
    output.code(0).stdout_has("worse");
    let title = "ws://127.0.0.1:8010/";
    let browser = Chromium::open(&format!("file://{}", page.display()), title);
    let mut tab = browser.tab();
    tab.command("Log.enable", json!({}));
    for width in [1200, 400] {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        tab.command("Emulation.setDeviceMetricsOverride", size);
        let titles = [
            "Response, percentiles",
            "Response, median over time",
            "Response, p99 over time",
            "Messages a second",
        ];
        looks_right(&mut tab, width, false, &titles);
        screenshot(
            &mut tab,
            &format!("compare-{width}"),
            &[[0x2b, 0x6c, 0xb0], [0x9a, 0xa1, 0xac]],
        );
    }
    let rows = tab.run("return document.querySelector('tbody').rows.length;");
    assert_eq!(rows, 6);
    assert!(tab.events().iter().all(|it| it["method"] != "Log.entryAdded"), "{:#?}", tab.events());
}

/// What must hold in any size: charts that are drawn, inside their frames, with labels of a size
/// that can be read and that do not lie on each other.
#[track_caller]
fn looks_right(tab: &mut Tab, width: u32, dark: bool, titles: &[&str]) {
    let seen = tab.run(
        "
        const charts = Array.from(document.querySelectorAll('figure svg'), svg => {
            const frame = svg.getBoundingClientRect();
            const lines = Array.from(svg.querySelectorAll('path.line, svg > rect, circle'));
            const box = it => it.getBoundingClientRect();
            const outside = lines.filter(it => {
                const { left, right, top, bottom } = box(it);
                return left < frame.left - 1 || right > frame.right + 1
                    || top < frame.top - 1 || bottom > frame.bottom + 1;
            });
            const points = Array.from(svg.querySelectorAll('path.line'), it => it.getTotalLength());
            const labels = Array.from(svg.querySelectorAll('text.x, text.y'), box);
            const touching = labels.filter((a, i) => labels.slice(i + 1).some(b =>
                a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom));
            return {
                title: svg.getAttribute('aria-label'),
                drawn: lines.length,
                outside: outside.length,
                bad: points.filter(it => !(it > 0)).length,
                touching: touching.length,
                small: labels.filter(it => it.height < 11).length,
                cut: labels.filter(it => it.left < 0 || it.right > innerWidth).length,
            };
        });
        const style = it => getComputedStyle(document.querySelector(it));
        return {
            charts,
            wide: Array.from(document.querySelectorAll('main, main > *, figure *'))
                .filter(it => it.getBoundingClientRect().right > document.documentElement.clientWidth)
                .map(it => it.outerHTML.slice(0, 100)),
            width: document.documentElement.scrollWidth,
            back: style('body').backgroundColor,
            ink: style('body').color,
        };
        ",
    );
    let charts = seen["charts"].as_array().unwrap();
    let seen_titles: Vec<_> = charts.iter().map(|it| it["title"].as_str().unwrap()).collect();
    assert_eq!(seen_titles, titles);
    for chart in charts {
        assert!(chart["drawn"].as_u64().unwrap() >= 2, "{width}: {chart:#}");
        for flaw in ["outside", "bad", "touching", "small", "cut"] {
            assert_eq!(chart[flaw], 0, "{width}: {chart:#}");
        }
    }
    assert_eq!(seen["wide"], json!([]), "{width}");
    assert!(seen["width"].as_u64().unwrap() <= u64::from(width), "too wide: {seen:#}");
    let brightness = |color: &Value| -> u32 {
        let digits = color.as_str().unwrap().split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|it| it.parse::<u32>().ok()).take(3).sum()
    };
    assert_eq!(brightness(&seen["back"]) < brightness(&seen["ink"]), dark, "{seen:#}");
}

/// The colours of lines: blue and orange.
const LIGHT: [[u8; 3]; 2] = [[0x2b, 0x6c, 0xb0], [0xc8, 0x72, 0x0a]];
const DARK: [[u8; 3]; 2] = [[0x6c, 0xab, 0xf0], [0xed, 0xa6, 0x4c]];

/// Takes a picture of the whole page, in which there is something to be seen. With `SCREENSHOTS` in
/// the environment, it is kept in that folder.
#[track_caller]
fn screenshot(tab: &mut Tab, name: &str, expected: &[[u8; 3]]) {
    let shot = tab.command(
        "Page.captureScreenshot",
        json!({ "format": "png", "captureBeyondViewport": true }),
    );
    let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
    if let Some(folder) = std::env::var_os("SCREENSHOTS") {
        fs::write(Path::new(&folder).join(format!("{name}.png")), &bytes).unwrap();
    }
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut image = decoder.read_info().unwrap();
    let mut pixels = vec![0; image.output_buffer_size().unwrap()];
    let frame = image.next_frame(&mut pixels).unwrap();
    let channels = frame.color_type.samples();
    let mut colors: BTreeMap<&[u8], usize> = BTreeMap::new();
    for pixel in pixels[..frame.buffer_size()].chunks(channels) {
        *colors.entry(&pixel[..3]).or_default() += 1;
    }
    assert!(colors.len() > 100, "{name}: {} colours only", colors.len());
    // The colours of lines and their names are there, and so is much of the background.
    for color in expected {
        let count = colors.get(&color[..]).copied().unwrap_or_default();
        assert!(count > 100, "{name}: {count} pixels of {color:02x?}");
    }
    let most = colors.values().max().copied().unwrap_or_default();
    let all: usize = colors.values().sum();
    assert!(most * 100 < all * 95, "{name}: nearly blank");
}
