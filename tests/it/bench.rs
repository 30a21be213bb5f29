//! `bench`: what is sent when, and what is made of what comes back. Servers that lose, repeat and
//! spoil answers show whether it tells these apart. No test looks at how long something took: the
//! machine may be busy, which is why all runs are told that this is no failure.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    ClosedPort, Frame, Output, Running, Server, Towline, Ws, answer_http, keys, ssh, tcp_server,
    ws_server,
};

fn bench(target: &str) -> Towline {
    seen(target).args(["--json", "--progress", "none", "--warm-up", "0s"])
}

/// With progress, a warm-up and text where nothing else is said.
fn seen(target: &str) -> Towline {
    Towline::new().args(["bench", target, "--allow-limited"])
}

/// What a run came to that has gone well.
#[track_caller]
fn report(run: Towline) -> Value {
    let run = run.run();
    run.code(0);
    parsed(&run)
}

#[track_caller]
fn parsed(run: &Output) -> Value {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error} in {run}"))
}

/// One of the counts of a report.
#[track_caller]
fn count(report: &Value, name: &str) -> u64 {
    report["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name} in {report}"))
}

#[track_caller]
fn counts<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| count(report, name))
}

fn echo() -> (Running, String) {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
    let address = server.address();
    (server, address)
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let (_server, address) = echo();
    let report = report(bench(&address).args(["--rate", "500", "-c", "7", "-d", "2s"]));
    assert_eq!(report["mode"], "open");
    let names =
        ["sent", "received", "dropped", "lost", "duplicate", "reordered", "corrupt", "errors"];
    assert_eq!(counts(&report, names), [1000, 1000, 0, 0, 0, 0, 0, 0]);
    assert_eq!(counts(&report, ["opened", "failed", "closed"]), [7, 0, 0]);
    assert_eq!(counts(&report, ["bytes_sent", "bytes_received"]), [128_000, 128_000]);
    for name in ["response_us", "service_us", "send_lag_us", "pacer_lag_us", "write_block_us"] {
        assert_eq!(report[name]["count"], 1000, "{name}");
    }
    assert_eq!(report["handshake_us"]["count"], 7);
    for phase in ["tcp", "upgrade"] {
        assert_eq!(report["phases_us"][phase]["count"], 7, "{phase}");
    }
    assert_eq!(report["rate"]["target"], 500.0);
    assert_eq!(report["rate"]["achieved"], 500.0);
    let seconds: Vec<u64> = report["intervals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["sent"].as_u64().unwrap())
        .collect();
    assert_eq!(seconds.len(), 2, "{seconds:?}");
}

#[test]
fn arrivals_can_be_a_poisson_process() {
    let (_server, address) = echo();
    let report =
        report(bench(&address).args(["--rate", "2k", "--arrival", "poisson", "-n", "500"]));
    assert_eq!(counts(&report, ["sent", "received"]), [500, 500]);
    assert_eq!(report["config"]["arrival"], "poisson");
}

#[test]
fn a_closed_loop_says_that_it_is_one() {
    let (_server, address) = echo();
    let load = ["--in-flight", "8", "-c", "3", "-n", "1000", "--verify"];
    let report = report(bench(&address).args(load));
    assert_eq!(report["mode"], "closed");
    assert_eq!(counts(&report, ["sent", "received", "corrupt"]), [1000, 1000, 0]);
    assert_eq!(report["response_us"], Value::Null);
    assert_eq!(report["rate"]["target"], Value::Null);
    assert_eq!(report["service_us"]["count"], 1000);
    let text = seen(&address).args(["--in-flight", "2", "-n", "50", "--warm-up", "0s"]).run();
    text.code(0).stdout_has("closed loop").stdout_has("2 in flight");
}

#[test]
fn payloads_of_every_kind_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let lines = file("lines", "one\ntwo\n\nthree");
    let recording = file(
        "log",
        "{\"dir\":\"out\",\"type\":\"text\",\"data\":\"hi\"}\n{\"dir\":\"in\",\"type\":\"text\",\"data\":\"no\"}\n",
    );
    let (_server, address) = echo();
    let json = r#"{"id":{seq},"by":{conn},"at":{now},"x":"{rand:9}"}"#;
    for (args, how) in [
        (&["--size", "5"][..], "order"),
        (&["--size", "16"], "stamp"),
        (&["--size", "16-400*3,70000"], "stamp"),
        (&["--size", "200", "--text"], "stamp"),
        (&["--payload", json, "--match", "json:/id"], "json:/id"),
        (&["--payload", "hello {stamp}"], "stamp"),
        (&["--payload", "hello"], "order"),
        (&["--payload-file", &lines], "order"),
        (&["--replay", &recording], "order"),
    ] {
        let load = ["--in-flight", "5", "-c", "2", "-n", "60", "--verify"];
        let report = report(bench(&address).args(load).args(args));
        let got = counts(&report, ["sent", "received", "lost", "corrupt", "reordered"]);
        assert_eq!(got, [60, 60, 0, 0, 0], "{args:?}");
        assert_eq!(report["config"]["match"], how, "{args:?}");
    }
}

#[test]
fn a_stamp_is_found_behind_what_the_server_says_first() {
    let reply = ["--reply", "Server received from client: {}"];
    let server = Towline::new().args(["serve", "ws://127.0.0.1:0", "echo:"]).args(reply).spawn();
    let address = server.address();
    let load = |more: &[&str]| {
        bench(&address).args(["-n", "100", "--in-flight", "9", "--text"]).args(more)
    };
    let report_of = report(load(&[]));
    assert_eq!(counts(&report_of, ["received", "corrupt"]), [100, 0]);
    let verified = report(load(&["--verify"]));
    assert_eq!(counts(&verified, ["received", "corrupt"]), [100, 100]);
}

#[test]
fn bytes_are_cut_by_length_or_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", dir.path().join("s").display());
    let server = Towline::new().args(["serve", "tcp://127.0.0.1:0", &unix, "echo:"]).spawn();
    let tcp = server.listeners(2).remove(0);
    let load = ["--in-flight", "6", "-c", "2", "-n", "300", "--verify"];
    for target in [&tcp, &unix] {
        for more in [&["--size", "1-3000"][..], &["--lines", "--text", "--size", "16-300"]] {
            let report = report(bench(target).args(load).args(more));
            assert_eq!(counts(&report, ["received", "lost", "corrupt"]), [300, 0, 0], "{target}");
        }
    }
}

/// Answers 1 to 9 of every ten messages differently from an echo.
fn unfaithful() -> Server {
    ws_server(|mut ws| {
        let mut held: Option<Vec<u8>> = None;
        for number in 0_u64.. {
            let Some(frame) = ws.try_recv() else { return };
            if frame.opcode() == Frame::CLOSE {
                ws.close(1000, "");
                return;
            }
            match number % 10 {
                1 => {
                    ws.binary(&frame.payload);
                    ws.binary(&frame.payload);
                }
                2 => held = Some(frame.payload),
                3 => {
                    ws.binary(&frame.payload);
                    ws.binary(held.take().unwrap());
                }
                4 => {}
                5 => ws.binary("nothing that was ever said to anybody here"),
                6 => {
                    let mut spoilt = frame.payload;
                    *spoilt.last_mut().unwrap() ^= 1;
                    ws.binary(&spoilt);
                }
                _ => ws.binary(&frame.payload),
            }
        }
    })
}

#[test]
fn answers_that_are_wrong_are_told_apart() {
    let server = unfaithful();
    let load = ["--rate", "400", "-n", "100", "--verify", "--drain", "500ms"];
    let report = report(bench(&server.ws("/")).args(load));
    // Of ten, 4 and 5 have no answer; 5 has something else, and 6 is not as it was.
    let names = ["sent", "received", "lost", "duplicate", "reordered", "corrupt"];
    assert_eq!(counts(&report, names), [100, 80, 20, 10, 10, 20]);
    assert_eq!(report["response_us"]["count"], 80);
}

/// However busy the machine is, an answer takes no less than it was held back.
#[test]
fn no_percentile_is_below_that_of_the_server() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let record = held.clone();
    let server = ws_server(move |mut ws| {
        for number in 0..u64::MAX {
            let Some(frame) = ws.try_recv() else { return };
            if frame.opcode() == Frame::CLOSE {
                ws.close(1000, "");
                return;
            }
            let came = Instant::now();
            thread::sleep(Duration::from_millis(1 << (number % 5)));
            record.lock().unwrap().push(came.elapsed().as_micros() as u64);
            ws.binary(&frame.payload);
        }
    });
    let report = report(bench(&server.ws("/")).args(["-c", "4", "--rate", "200", "-n", "200"]));
    let mut held = held.lock().unwrap().clone();
    held.sort_unstable();
    assert_eq!(held.len(), 200);
    for (name, at) in [("min", 0), ("p50", 99), ("p90", 179), ("max", 199)] {
        let took = report["response_us"][name].as_u64().unwrap();
        // Histograms hold three digits.
        assert!(took + took / 1000 + 1 >= held[at], "{name}: {took}, but held for {}", held[at]);
    }
}

#[test]
fn what_a_full_connection_does_not_take_is_dropped() {
    // It never reads, and so the connection fills up.
    let server = tcp_server(|mut stream| {
        let mut byte = [0];
        let _ = stream.read(&mut byte);
        thread::park_timeout(Duration::from_secs(20));
    });
    let target = format!("tcp://{}", server.address());
    let load =
        ["--rate", "200", "--size", "1MiB", "-d", "1s", "--max-backlog", "5", "--drain", "0s"];
    let report = report(bench(&target).args(load));
    let [sent, dropped, received, lost] = counts(&report, ["sent", "dropped", "received", "lost"]);
    assert!(dropped > 0 && received == 0, "{report}");
    // What is under way at the end is neither: the system has a part of it.
    let under_way = 200 - dropped - sent;
    assert!(under_way <= 5 && lost <= sent + under_way, "{sent} {dropped} {lost}");
}

#[test]
fn what_publishers_say_reaches_everybody() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "hub:"]);
    let load =
        ["--workload", "fan-out", "-c", "5", "--publishers", "2", "-n", "60", "--rate", "200"];
    let report = report(bench(&server.address()).args(load));
    assert_eq!(counts(&report, ["sent", "received", "duplicate", "reordered"]), [60, 300, 0, 0]);
    assert_eq!(report["fan_out"]["reach"], 1.0);
    assert_eq!(report["fan_out"]["expected"], 300);
    assert_eq!(report["response_us"]["count"], 300);
}

#[test]
fn fan_out_that_misses_some_shows_its_reach() {
    // A hub of which two in ten messages are lost, and one in ten comes twice.
    let peers: Mutex<Vec<TcpStream>> = Mutex::default();
    let server = tcp_server(move |stream| {
        let peer = stream.try_clone().unwrap();
        let mut ws = Ws::accept(stream);
        peers.lock().unwrap().push(peer);
        for number in 0_u64.. {
            let Some(frame) = ws.try_recv() else { return };
            if frame.opcode() == Frame::CLOSE {
                return ws.close(1000, "");
            }
            let said = ws.encode(0x82, &frame.payload);
            let times = [2, 0, 0, 1, 1, 1, 1, 1, 1, 1][(number % 10) as usize];
            for peer in peers.lock().unwrap().iter_mut() {
                (0..times).for_each(|_| peer.write_all(&said).unwrap());
            }
        }
    });
    let load = ["--workload", "fan-out", "-c", "3", "-n", "50", "--rate", "200", "--size", "64"];
    let report = report(bench(&server.ws("/")).args(load));
    assert_eq!(counts(&report, ["sent", "received", "duplicate"]), [50, 120, 15]);
    assert_eq!(report["fan_out"]["reach"], 0.8);
}

#[test]
fn subscribers_only_listen() {
    let server = ws_server(|mut ws| {
        for _ in 0..30 {
            ws.text("news");
        }
        ws.until_close();
    });
    let load = ["--workload", "receive", "-c", "3", "-d", "1s"];
    // What comes before the measured part is not counted, so that all of it may come too early.
    let report = report(bench(&server.ws("/")).args(load));
    assert_eq!(counts(&report, ["sent", "errors", "opened"]), [0, 0, 3]);
}

#[test]
fn connections_alone_can_be_measured() {
    let (_server, address) = echo();
    let load = ["--workload", "connect", "--rate", "100", "-n", "50"];
    let open = report(bench(&address).args(load));
    assert_eq!(counts(&open, ["sent", "received", "opened", "closed"]), [50, 50, 50, 0]);
    assert_eq!(open["response_us"]["count"], 50);
    assert_eq!(open["handshake_us"]["count"], 50);
    let load = ["--workload", "connect", "--in-flight", "4", "-n", "50"];
    let closed = report(bench(&address).args(load));
    assert_eq!((&closed["mode"], count(&closed, "opened")), (&Value::from("closed"), 50));
}

#[test]
fn idle_connections_are_pinged() {
    let (_server, address) = echo();
    let load = ["--soak", "-c", "4", "-d", "1s", "--ping-interval", "200ms"];
    let report = report(bench(&address).args(load));
    assert_eq!(report["config"]["workload"], "idle");
    assert_eq!(counts(&report, ["opened", "closed", "errors"]), [4, 0, 0]);
    assert!(report["ping_us"]["count"].as_u64().unwrap() >= 4, "{report}");
}

#[test]
fn bulk_is_as_much_as_will_go_through() {
    let server = Towline::serve(["tcp://127.0.0.1:0", "echo:"]);
    let load = ["--workload", "bulk", "-c", "2", "-d", "500ms", "--size", "16KiB"];
    let report = report(bench(&server.address()).args(load));
    let [sent, received] = counts(&report, ["bytes_sent", "bytes_received"]);
    assert!(sent > 1 << 20 && received > 1 << 20, "{sent} {received}");
}

#[test]
fn nothing_that_listens_is_a_failed_run() {
    let closed = ClosedPort::new();
    let run = bench(&format!("ws://127.0.0.1:{}", closed.port)).args(["-d", "1s", "-c", "3"]).run();
    run.code(1).stdout("").stderr_has("no connection could be opened").stderr_has("refused");
    let server = tcp_server(|stream| {
        answer_http(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
    });
    let run = bench(&server.ws("/")).args(["-d", "1s"]).run();
    run.code(1).stdout("").stderr_has("HTTP 503");
}

#[test]
fn failures_are_told_apart() {
    let number = Mutex::new(0);
    let server = tcp_server(move |stream| {
        let mine = {
            let mut number = number.lock().unwrap();
            *number += 1;
            *number
        };
        match mine % 3 {
            0 => answer_http(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
            1 => {
                let mut ws = Ws::accept(stream);
                ws.recv();
                ws.close(1013, "later");
            }
            _ => Ws::accept(stream).echo(),
        }
    });
    let report = report(bench(&server.ws("/")).args(["-c", "6", "--rate", "300", "-n", "90"]));
    assert_eq!(counts(&report, ["opened", "failed", "closed", "errors"]), [4, 2, 2, 4]);
    let errors = report["errors"].as_array().unwrap();
    let error = |wanted: (&str, &str)| {
        let found = errors.iter().find(|it| {
            (it["phase"].as_str(), it["cause"].as_str()) == (Some(wanted.0), Some(wanted.1))
        });
        found.unwrap_or_else(|| panic!("no {wanted:?} in {errors:?}"))
    };
    let busy = error(("upgrade", "status"));
    assert_eq!((&busy["status"], &busy["count"]), (&Value::from(503), &Value::from(2)));
    let later = error(("run", "closed"));
    assert_eq!((&later["code"], &later["count"]), (&Value::from(1013), &Value::from(2)));
    assert!(later["first"].as_str().unwrap().contains("later"), "{later}");
    // What was due on a connection that is gone was dropped, or lost with it.
    let [sent, received, dropped, lost] = counts(&report, ["sent", "received", "dropped", "lost"]);
    assert_eq!((sent + dropped, received), (90, sent - lost), "{report}");
    assert!(dropped > 0, "{report}");
}

#[test]
fn lost_connections_are_opened_again() {
    let server = ws_server(|mut ws| {
        for _ in 0..5 {
            let Some(frame) = ws.try_recv() else { return };
            if frame.opcode() == Frame::CLOSE {
                return ws.close(1000, "");
            }
            ws.binary(&frame.payload);
        }
        ws.close(1001, "restart");
    });
    let report = report(bench(&server.ws("/")).args(["--reconnect", "--rate", "100", "-d", "2s"]));
    let [opened, closed] = counts(&report, ["opened", "closed"]);
    assert!(opened >= 3 && closed >= 2, "{report}");
}

#[test]
fn several_targets_have_their_parts() {
    let (here, there) = (
        Towline::serve(["ws://127.0.0.1:0", "echo:"]),
        Towline::serve(["ws://127.0.0.1:0", "null:"]),
    );
    let load =
        ["--target", &format!("{}*3", here.address()), "-c", "8", "--rate", "200", "-n", "80"];
    let report = report(bench(&there.address()).args(load).args(["--drain", "100ms"]));
    // One in four goes where nobody answers.
    assert_eq!(counts(&report, ["sent", "received", "lost"]), [80, 60, 20]);
    assert_eq!(report["config"]["targets"].as_array().unwrap().len(), 2);
}

#[test]
fn connections_come_from_the_addresses_that_are_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let seen = thread::spawn(move || {
        let mut seen = BTreeSet::new();
        for _ in 0..6 {
            let (mut stream, from) = listener.accept().unwrap();
            seen.insert(from.ip().to_string());
            thread::spawn(move || {
                let mut buf = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buf) {
                    let _ = stream.write_all(&buf[..read]);
                }
            });
        }
        seen
    });
    let load =
        ["-c", "6", "-n", "12", "--rate", "100", "--local-addr", "127.0.0.2-127.0.0.3,127.0.0.9"];
    let report = report(bench(&target).args(load));
    assert_eq!(count(&report, "received"), 12);
    let want = ["127.0.0.2", "127.0.0.3", "127.0.0.9"].map(str::to_owned);
    assert_eq!(seen.join().unwrap(), BTreeSet::from(want));
}

#[test]
fn a_run_that_is_interrupted_still_reports() {
    let (_server, address) = echo();
    let run = seen(&address).args(["--json", "--rate", "100", "-d", "60s"]);
    let run = run.args(["--progress", "json", "--progress-interval", "100ms"]).spawn();
    run.stderr_line(|line| {
        line.contains("\"phase\":\"measure\"") && !line.contains("\"received_per_s\":0.0")
    });
    run.signal(Signal::INT);
    let run = run.wait();
    run.code(130);
    let report = parsed(&run);
    assert_eq!(report["interrupted"], true);
    let [sent, received] = counts(&report, ["sent", "received"]);
    assert!(received > 0 && received == sent, "{report}");
    assert!(report["duration_s"].as_f64().unwrap() < 60.0);
}

#[test]
fn progress_is_lines_where_there_is_no_terminal() {
    let (_server, address) = echo();
    let load = ["-d", "2s", "--warm-up", "0s"];
    let quiet = seen(&address).args(load).args(["--progress", "none"]).run();
    quiet.code(0).stderr_is_empty();
    let lines = seen(&address).args(load).args(["--progress-interval", "500ms"]).run();
    lines.code(0).stderr_has("/s sent").stdout_has("open loop");
    assert!(!lines.stderr.contains('\x1b'), "{lines}");
}

#[test]
fn rates_can_be_tried_one_after_the_other() {
    let (_server, address) = echo();
    let steps = report(bench(&address).args(["--steps", "50,100", "-d", "1s", "-c", "2"]));
    let rates: Vec<_> =
        steps["steps"].as_array().unwrap().iter().map(|it| it["rate"].as_f64()).collect();
    assert_eq!(rates, [Some(50.0), Some(100.0)]);
    assert_eq!(count(&steps, "sent"), 100);
}

#[test]
fn the_highest_rate_that_holds_is_searched() {
    // It answers no more than so many in all, so that what holds does not depend on the machine.
    let server = ws_server(|mut ws| {
        for number in 0.. {
            let Some(frame) = ws.try_recv() else { return };
            if frame.opcode() == Frame::CLOSE {
                return ws.close(1000, "");
            }
            if number < 150 {
                ws.binary(&frame.payload);
            }
        }
    });
    let load = ["--find-max", "--slo", "lost<1", "--rate", "50", "-d", "1s", "--drain", "100ms"];
    let report = report(bench(&server.ws("/")).args(load));
    let held: Vec<_> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["rate"].as_f64().unwrap(), it["held"].as_bool().unwrap()))
        .collect();
    // 50 are answered, and 50 of 100; more than that never.
    assert!(held.iter().any(|(rate, held)| *rate > 50.0 && !held), "{held:?}");
    assert!(held.iter().all(|(rate, held)| *rate <= 100.0 || !held), "{held:?}");
}

#[test]
fn segments_add_up_to_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = echo();
    let file = |i: usize| dir.path().join(format!("{i}.json"));
    let segment = |i: usize| {
        let load = ["-c", "10", "--rate", "400", "-d", "3s", "--segment", &format!("{i}/4")];
        seen(&address)
            .args(load)
            .args(["--warm-up", "0s"])
            .arg(format!("--json={}", file(i).display()))
    };
    let runs: Vec<Running> = (1..=4).map(|i| segment(i).spawn()).collect();
    for run in runs {
        run.wait().code(0);
    }
    let parts: Vec<Value> =
        (1..=4).map(|i| serde_json::from_slice(&fs::read(file(i)).unwrap()).unwrap()).collect();
    let merge = Towline::new().args(["bench", "merge", "--json", "--allow-limited"]);
    let merged = report(merge.args((1..=4).map(file)));

    let sum = |name: &str| parts.iter().map(|part| count(part, name)).sum::<u64>();
    for name in ["sent", "received", "opened", "bytes_sent"] {
        assert_eq!(count(&merged, name), sum(name), "{name}");
    }
    assert_eq!(
        (count(&merged, "opened"), merged["config"]["connections"].as_u64()),
        (10, Some(10))
    );
    // One histogram of all samples has the same percentiles, and no mean of percentiles has.
    for name in ["response", "service", "send_lag"] {
        let mut all = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        for part in &parts {
            let packed = part["histograms"][name].as_str().unwrap();
            let packed = BASE64_STANDARD.decode(packed).unwrap();
            let samples: Histogram<u64> =
                Deserializer::new().deserialize(&mut packed.as_slice()).unwrap();
            all.add(samples).unwrap();
        }
        let of_all = &merged[format!("{name}_us")];
        assert_eq!(of_all["count"], all.len(), "{name}");
        for (figure, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            assert_eq!(of_all[figure], all.value_at_quantile(quantile), "{name} {figure}");
        }
        assert_eq!(of_all["max"], all.max(), "{name}");
    }
    let merge = Towline::new().args(["bench", "merge"]).args((1..=3).map(file)).run();
    merge.code(2).stdout("").stderr_has("4/4");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let (_server, address) = echo();
    for (args, said) in [
        (
            &[address.as_str(), "--match", "stamp", "--size", "9"][..],
            "--match: the messages have no stamp",
        ),
        (&[&address, "--match", "json:/id"], "--match: there is no {seq}"),
        (&[&address, "--segment", "3/2"], "--segment"),
        (&[&address, "--segment", "2/2"], "--segment: there are fewer connections than segments"),
        (&[&address, "--rate", "0"], "--rate"),
        (&[&address, "--find-max"], "--slo"),
        (&[&address, "--in-flight", "1", "--rate", "1"], "--rate"),
        (&[&address, "--soak", "--in-flight", "1"], "--in-flight: no answer is waited for"),
        (&[&address, "--soak", "-n", "1"], "--messages: nothing is sent"),
        (&["hub:"], "hub:: is no server to measure"),
        (
            &["tcp://127.0.0.1:1", "--workload", "fan-out"],
            "--workload: tcp://127.0.0.1:1 is no WebSocket",
        ),
        (&["tcp://127.0.0.1:1", "--match", "stamp"], "--match: bytes have no beginning"),
        (&[], "TARGET"),
    ] {
        let run = Towline::new().arg("bench").args(args).run();
        run.code(2).stdout("").stderr_has(said);
    }
}

#[test]
fn handshakes_of_every_layer_are_timed() {
    let server = Towline::new().args(["serve", "wss://127.0.0.1:0/", "echo:", "--tls-self-signed"]);
    let server = server.spawn();
    let run = bench(&server.address()).args(["-k", "-c", "3", "-n", "60", "--rate", "300"]);
    let secure = report(run);
    assert_eq!(counts(&secure, ["sent", "received", "opened"]), [60, 60, 3]);
    for phase in ["tcp", "tls", "upgrade"] {
        assert_eq!(secure["phases_us"][phase]["count"], 3, "{phase}");
    }

    let ssh = ssh::Server::new(&[keys::public(1) + "\n"], &["--allow-open", "127.0.0.1:*"]);
    let echo = Towline::serve(["tcp://127.0.0.1:0", "echo:"]);
    let run = bench(&format!("{},{}", ssh.ssh("c"), echo.address())).args(ssh.flags(1));
    let tunnelled = report(run.args(["-c", "2", "-n", "40", "--rate", "200", "--verify"]));
    assert_eq!(counts(&tunnelled, ["sent", "received", "corrupt"]), [40, 40, 0]);
    assert_eq!(tunnelled["phases_us"]["forward"]["count"], 2);
}
