//! The probe of `connect`: steps, checks, exit codes and reports.

use std::fs;
use std::io::{Read, Write};
use std::sync::mpsc;

use rustix::process::Signal;

use crate::support::{
    ClosedPort, DEADLINE, Frame, Output, Running, Towline, Ws, tcp_server, ws_server,
};

fn echo() -> Running {
    Towline::serve(["127.0.0.1:0", "echo:"])
}

/// Runs `connect ADDRESS ARGS`.
#[track_caller]
fn probe(address: &str, args: &[&str]) -> Output {
    Towline::connect([address]).args(args).run()
}

/// Runs with `--report json`; the object is the first line of stderr.
#[track_caller]
fn report(address: &str, args: &[&str]) -> serde_json::Value {
    let output = probe(address, &[args, &["--report", "json"]].concat());
    let line = output.stderr.lines().next().unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| {
        panic!("no report: {error}\n{output}");
    });
    assert_eq!(report["exit"], output.code);
    assert_eq!(report["ok"], output.code == 0);
    report
}

#[test]
fn what_is_expected_ends_the_run_at_once() {
    let server = echo();
    let address = server.address();
    probe(&address, &["-s", "ping", "-e", "=ping", "--linger", "inf"])
        .code(0)
        .stdout("ping\n")
        .stderr_is_empty();
    // Quiet: no payload either is the business of `-q`; the exit code stays.
    probe(&address, &["-s", "a", "-s", "b", "-e", "~^[b]$"]).code(0).stdout("a\nb\n");
    probe(&address, &["--ping=hi", "--expect-pong=hi", "-s", "x", "-e", "x"]).code(0);
    probe(&address, &["--send-bin", "00ff", "--expect-bin", "00ff", "--frame", "json"])
        .code(0)
        .stdout_has(r#""type":"binary","b64":"AP8=""#);
    probe(&address, &["--expect-none", "20ms", "-s", "x", "-e", "x", "--expect-none", "20ms"])
        .code(0);
}

#[test]
fn a_message_is_seen_by_one_step_only_and_in_order() {
    let server = echo();
    let address = server.address();
    // Both have arrived before the first is looked at.
    probe(&address, &["-s", "a", "-s", "b", "--sleep", "50ms", "-e", "a", "-e", "b"]).code(0);
    probe(&address, &["-s", "a", "-e", "a", "--within", "50ms", "-e", "a"]).code(9).stderr_is(
        "towline: step 3 (--expect 'a'): no matching message within 50ms; \
             last received: \"a\"\n",
    );
    probe(&address, &["-s", "a", "-s", "b", "-e", "b", "--within", "50ms", "-e", "a"]).code(9);
    probe(&address, &["-s", "a", "-s", "b", "--strict", "-e", "b"])
        .code(1)
        .stdout("a\n")
        .stderr_is("towline: step 3 (--expect 'b'): the next message was \"a\"\n");
    probe(&address, &["-s", "a", "--expect-none", "30s"])
        .code(1)
        .stderr_is("towline: step 2 (--expect-none '30s'): received \"a\"\n");
}

#[test]
fn rejected_messages_fail_any_run() {
    let server = echo();
    let address = server.address();
    let says = "towline: --reject '=no': received \"no\"\n";
    probe(&address, &["-s", "no", "-e", "no", "--reject", "=no"]).code(1).stderr_is(says);
    // Nothing is expected, so that it is the ordinary join that meets it.
    probe(&address, &["-s", "no", "--reject", "=no"]).code(1).stderr_has("--reject '=no'");
    let run = Towline::connect([&*address, "--reject", "=no"]).stdin("yes\nno\n").run();
    run.code(1).stderr_has("--reject '=no'");
}

#[test]
fn captured_values_are_used_again() {
    let server = echo();
    let args = [
        "-s",
        r#"{"id":7,"token":"a.\"b"}"#,
        "--expect-json",
        r#"{"id":7}"#,
        "--capture",
        "id=/id",
        "--capture",
        "token=/token",
        "-s",
        "n=${id};",
        "-e",
        "=n=${id};",
        "--capture",
        "n=~n=([0-9]+)",
        "-s",
        r#"{"n":${n}}"#,
        "--expect-json",
        "/n=${id}",
        "-s",
        "a.\"b",
        "-e",
        "~^${token}$",
    ];
    probe(&server.address(), &args).code(0);
    probe(&server.address(), &["-s", "{}", "-e", "{}", "--capture", "id=/id"])
        .code(1)
        .stderr_is("towline: step 3 (--capture 'id=/id'): not found in \"{}\"\n");
}

#[test]
fn files_are_one_message() {
    let server = echo();
    let address = server.address();
    let run = Towline::connect([&*address, "--send-file", "text", "-e", "=a\nb\n"]);
    fs::write(run.home().join("text"), "a\nb\n").unwrap();
    run.run().code(0);
    let run = Towline::connect([&*address, "--send-file", "bytes", "--text", "-e", ""]);
    fs::write(run.home().join("bytes"), b"\xff").unwrap();
    run.run().code(2).stderr_has("--send-file 'bytes': not UTF-8");
    let run = Towline::connect([&*address, "--send-bin", "@bytes", "--expect-bin", "~ff", "-q"]);
    fs::write(run.home().join("bytes"), b"\x00\xff").unwrap();
    run.run().code(0);
}

#[test]
fn closes_are_expected_or_not() {
    let server = Towline::serve(["127.0.0.1:0", "echo:", "--close-after", "1:4001:quota"]);
    let address = server.address();
    for codes in ["4001", "4xxx", "4000-4002", "4001:quota", "4001:~^q"] {
        probe(&address, &["-s", "x", "--expect-close", codes]).code(0);
    }
    for codes in ["1000", "4001:=qu"] {
        probe(&address, &["-s", "x", "--expect-close", codes]).code(1);
    }
    probe(&address, &["-s", "x", "-e", "x", "-e", "y"])
        .code(10)
        .stderr_is("towline: step 3 (--expect 'y'): the peer closed with 4001 (quota)\n");
    probe(&address, &["-s", "x", "--sleep", "50ms"]).code(10).stderr_has("4001");
    probe(&address, &["-s", "x", "--sleep", "50ms", "--ok-close", "4001"]).code(0);
    probe(&address, &["--within", "20ms", "--expect-close", "4001"])
        .code(9)
        .stderr_has("no Close within 20ms; nothing was received");
}

#[test]
fn our_close_is_answered_and_so_is_theirs() {
    let server = ws_server(|mut peer| {
        // What is said after our Close and before the answer still counts.
        let close = peer.recv();
        assert_eq!((close.code(), close.reason()), (4002, "bye"));
        peer.text("late");
        peer.close(close.code(), "");
        assert_eq!(peer.try_recv(), None);
    });
    let args = ["--close=4002:bye", "-e", "=late", "--expect-close", "4002"];
    probe(&server.ws("/"), &args).code(0).stdout("late\n");

    let server = ws_server(|mut peer| {
        peer.close(1000, "");
        assert_eq!(peer.recv().code(), 1000);
    });
    probe(&server.ws("/"), &["--expect-close", "1000"]).code(0);
}

#[test]
fn a_lost_connection_is_told_from_a_close() {
    let server = ws_server(|mut peer| {
        peer.recv();
        peer.hang_up();
    });
    let address = server.ws("/");
    probe(&address, &["-s", "x", "-e", "x"])
        .code(11)
        .stderr_is("towline: step 2 (--expect 'x'): connection lost without a Close\n");
    probe(&address, &["-s", "x", "--expect-close", "1000"]).code(11);
    probe(&address, &["-s", "x", "--expect-close", "1006"]).code(0);
}

#[test]
fn a_broken_peer_is_a_protocol_error() {
    let server = ws_server(|mut peer| {
        peer.frame(Frame::FIN | Frame::TEXT, b"\xff");
        peer.until_close();
    });
    probe(&server.ws("/"), &["-e", "x"]).code(12).stderr_has("step 1 (--expect 'x')");
}

#[test]
fn a_number_of_messages_is_enough() {
    let server = echo();
    let address = server.address();
    probe(&address, &["-s", "a", "-s", "b", "--count", "2", "--linger", "inf"])
        .code(0)
        .stdout("a\nb\n");
    // stdin may say more, and may stay open.
    let mut run = Towline::connect([&*address, "--count", "2"]).stdin_open().spawn();
    run.write("1\n2\n3\n");
    run.wait().code(0).stdout("1\n2\n");
    probe(&address, &["-s", "a", "-e", "a", "--count", "2", "--within", "50ms"])
        .code(9)
        .stderr_is("towline: --count: 1 of 2 messages within 50ms\n");
    probe(&address, &["-s", "a", "--count", "2", "--timeout", "100ms"])
        .code(8)
        .stderr_has("not finished after 100ms (--timeout): ");
    let server = Towline::serve(["127.0.0.1:0", "echo:", "--close-after", "1"]);
    probe(&server.address(), &["-s", "a", "--count", "2"])
        .code(10)
        .stderr_has("the peer closed with 1000 after 1 of 2 messages");
}

#[test]
fn input_is_sent_while_something_is_expected() {
    let server = echo();
    let address = server.address();
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    let run = Towline::connect([&*address, "-e", "=19999"]).stdin(lines.clone()).run();
    run.code(0).stdout(&lines);
    // What the script says goes first; without `-`, it goes alone.
    let run = Towline::connect(["-", &address, "-s", "first", "-e", "last"]).stdin("last\n").run();
    run.code(0).stdout("first\nlast\n");
    let run = Towline::connect([&*address, "-s", "first", "--linger", "100ms"]).stdin("x\n").run();
    run.code(0).stdout("first\n");
}

#[test]
fn a_closed_stdout_does_not_make_an_expectation_true() {
    let server = echo();
    let args = [&*server.address(), "-s", "a", "--sleep", "50ms", "-s", "b"];
    let run = Towline::connect(args).args(["--within", "50ms", "-e", "c"]);
    run.stdout_closes_after(1).run().code(9);
    let run = Towline::connect(args).args(["-e", "b"]);
    run.stdout_closes_after(1).run().code(0);
}

#[test]
fn the_handshake_is_looked_at() {
    let server = ws_server(|mut peer| {
        let offered = peer.header("sec-websocket-protocol").is_some();
        assert!(!offered);
        peer.until_close();
    });
    let address = server.ws("/");
    probe(&address, &["--expect-status", "101", "--expect-header", "upgrade: =websocket"])
        .code(0)
        .stderr_is_empty();
    probe(&address, &["--expect-no-header", "Server", "--expect-extension", "none"]).code(0);
    probe(&address, &["--expect-subprotocol", "none"]).code(0);
    probe(&address, &["--expect-status", "401"])
        .code(1)
        .stderr_is("towline: --expect-status '401': the answer was HTTP 101\n");
    probe(&address, &["--expect-header", "X-Served-By", "-s", "x"])
        .code(1)
        .stderr_is("towline: --expect-header 'X-Served-By': the answer has no X-Served-By\n");
    probe(&address, &["--expect-tls", "1.3"])
        .code(1)
        .stderr_is("towline: --expect-tls '1.3': there was no TLS handshake\n");
}

#[test]
fn a_refusal_may_be_what_is_expected() {
    let server = tcp_server(|mut stream| {
        let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\
                      Content-Length: 4\r\n\r\nnope";
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let address = server.ws("/");
    probe(&address, &["--expect-status", "401", "-s", "never", "-e", "never"]).code(0).stdout("");
    probe(&address, &["--expect-status", "4xx", "--expect-header", "www-authenticate: Bearer"])
        .code(0);
    probe(&address, &["--expect-status", "4xx", "--expect-header", "www-authenticate: Basic"])
        .code(1);
    probe(&address, &["--expect-status", "403"])
        .code(1)
        .stderr_is("towline: --expect-status '403': the answer was HTTP 401\n");
    probe(&address, &["-s", "x", "-e", "x"]).code(6);
    let report = report(&address, &["--expect-status", "401"]);
    assert_eq!(report["phase"], "handshake");
    assert_eq!(report["http"]["status"], 401);
    assert_eq!(report["http"]["headers"]["www-authenticate"], "Bearer");
    assert_eq!(report["http"]["body_head"], "nope");
}

#[test]
fn what_was_granted_is_looked_at_even_if_it_was_not_asked_for() {
    let server = tcp_server(|stream| {
        let mut peer = Ws::accept(stream);
        while peer.try_recv().is_some() {}
    });
    let address = server.ws("/");
    probe(&address, &["--subprotocol", "a", "-s", "x"]).code(7);
    probe(&address, &["--subprotocol", "a", "--expect-subprotocol", "none"]).code(0);
    probe(&address, &["--subprotocol", "a", "--expect-subprotocol", "a"])
        .code(1)
        .stderr_is("towline: --expect-subprotocol 'a': none was granted\n");
    let server = tcp_server(|stream| {
        let headers = "Sec-WebSocket-Extensions: x-own\r\n";
        let mut peer = Ws::accept_with(stream, headers);
        while peer.try_recv().is_some() {}
    });
    let address = server.ws("/");
    probe(&address, &["-s", "x"]).code(7);
    probe(&address, &["--expect-extension", "x-own"]).code(0);
    probe(&address, &["--expect-extension", "none"]).code(1);
}

#[test]
fn byte_streams_are_probed_by_line() {
    let server = tcp_server(|mut stream| {
        stream.write_all(b"220 mail\r\n").unwrap();
        let mut line = [0; 6];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"QUIT\r\n");
        stream.write_all(b"221 bye\r\n").unwrap();
    });
    let address = format!("tcp://{}", server.address());
    let args = ["-e", "~^220 ", "-s", "QUIT\r", "-e", "~^221 ", "--expect-close", "1000"];
    probe(&address, &args).code(0).stdout("220 mail\n221 bye\n");
    probe(&address, &["-s", "QUIT\r", "-e", "250"])
        .code(10)
        .stderr_has("step 2 (--expect '250'): the peer ended the stream");
}

#[test]
fn the_report_says_what_was_found() {
    let server = echo();
    let address = server.address();
    let fine = report(&address, &["-s", "héllo", "-e", "=héllo", "-q"]);
    assert_eq!(fine["phase"], "session");
    assert_eq!(fine["error"], serde_json::Value::Null);
    assert_eq!(fine["failed_step"], serde_json::Value::Null);
    assert_eq!(fine["http"]["status"], 101);
    assert_eq!(fine["sent"], serde_json::json!({ "messages": 1, "bytes": 6 }));
    assert_eq!(fine["received"], fine["sent"]);
    assert_eq!(fine["close"], serde_json::json!({ "code": 1000, "reason": "", "by": "us" }));
    for phase in ["tcp", "upgrade", "first_message", "total"] {
        assert!(fine["ms"][phase].is_number(), "{phase}: {fine}");
    }
    let args = ["-s", "1", "-s", "2", "-s", "3\u{1b}", "-e", "3", "--within", "50ms", "-e", "=4"];
    let missing = report(&address, &args);
    assert_eq!(
        missing["failed_step"],
        serde_json::json!({
            "n": 5, "flag": "--expect", "want": "=4", "within_ms": 50.0,
            "last": ["1", "2", "3\\u{1b}"],
        })
    );
    let closed = ClosedPort::new();
    let refused = report(&format!("ws://u:secret@127.0.0.1:{}/", closed.port), &["-s", "x"]);
    assert_eq!((&refused["exit"], &refused["phase"]), (&4.into(), &"tcp".into()));
    assert_eq!(refused["url"], format!("ws://***@127.0.0.1:{}/", closed.port));
}

#[test]
fn reports_go_to_files_whatever_the_outcome() {
    let server = echo();
    let address = server.address();
    let args = ["-s", "<&>", "-e", "<&>", "--within", "50ms", "-e", "\"]]>", "-e", "z"];
    let folder = tempfile::tempdir().unwrap();
    let run = Towline::connect([&*address, "--report", "json=r.json", "--junit", "j.xml"]);
    let run = run.args(args).args(["--expect-status", "101", "--reject", "never"]);
    run.dir(&folder).run().code(9);
    let file = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&file("r.json")).unwrap();
    assert_eq!(report["exit"], 9);
    let junit = file("j.xml");
    for part in [
        r#"tests="6" failures="1" errors="0" skipped="1""#,
        r#"name="connect"/>"#,
        r#"name="--expect-status '101'"/>"#,
        r#"name="step 2 --expect '&lt;&amp;&gt;'" time=""#,
        r#"name="step 3 --expect '&quot;]]&gt;'""#,
        r#"<failure type="exit 9" message="step 3 (--expect '&quot;]]&gt;'): no matching"#,
        r#"name="step 4 --expect 'z'"><skipped/>"#,
        r#"name="--reject 'never'"/>"#,
    ] {
        assert!(junit.contains(part), "{part}\n{junit}");
    }

    let closed = ClosedPort::new();
    let output =
        probe(&format!("127.0.0.1:{}", closed.port), &["-e", "x", "--junit", "/dev/stdout"]);
    output.code(4).stdout_has(r#"failures="0" errors="1" skipped="1""#);
}

#[test]
fn a_report_without_a_place_is_found_before_anything_is_connected() {
    let closed = ClosedPort::new();
    let address = format!("127.0.0.1:{}", closed.port);
    for flag in [["--junit", "/nowhere/j.xml"], ["--report", "json=/nowhere/r.json"]] {
        let out = probe(&address, &["-s", "x", "-e", "x", flag[0], flag[1]]);
        let path = flag[1].trim_start_matches("json=");
        out.code(2).stderr_has(&format!("{} {path}: no such file", flag[0]));
    }
}

#[test]
fn a_join_that_takes_too_long_says_that_it_was_joined() {
    let server = Towline::serve(["127.0.0.1:0", "null:"]);
    let args = [&*server.address(), "--timeout", "200ms"];
    let out = Towline::connect(args).stdin_open().run();
    out.code(8).stderr_has("(--timeout): both ends are still open");
}

#[test]
fn a_signal_ends_a_script_with_a_report() {
    let server = ws_server(|mut peer| {
        peer.text("here");
        assert_eq!(peer.until_close(), 1001);
    });
    let args = [&*server.ws("/"), "-e", "here", "--within", "inf", "-e", "there"];
    let mut run = Towline::connect(args).args(["--report", "json"]).spawn();
    run.read_until("here");
    run.signal(Signal::TERM);
    run.wait().code(143).stderr_has(r#""exit":143"#);
}

#[test]
fn a_flood_while_a_step_sleeps_waits_with_the_peer() {
    let (tell, told) = mpsc::channel();
    let server = ws_server(move |mut ws| {
        let mebibyte = "x".repeat(1 << 20);
        for _ in 0..256 {
            ws.text(&mebibyte);
        }
        ws.text("over");
        tell.send(ws.recv().text().to_owned()).unwrap();
        ws.until_close();
    });
    let args = ["-q", "--sleep", "1s", "--within", "inf", "-e", "=over", "-s", "done", "-e", "x"];
    let run = Towline::connect([&*server.ws("/")]).args(args).deadline(2 * DEADLINE).spawn();
    assert_eq!(told.recv_timeout(2 * DEADLINE).unwrap(), "done");
    let status = format!("/proc/{}/status", run.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 160 << 10, "{kibibytes} KiB");
    run.signal(Signal::TERM);
    run.wait().code(143);
}

#[test]
fn what_happens_can_be_watched() {
    let server = echo();
    let address = server.address();
    let args = ["-vv", "-s", "ping", "--within", "50ms", "-e", "=ping", "-e", "x"];
    let out = probe(&address, &args);
    for line in [
        format!("{address}: sent: ping\n"),
        format!("{address}: received: ping\n"),
        format!("{address}: sent: (close with 1000)\n"),
        "step 1 (--send 'ping'): done after ".to_owned(),
        "step 3 (--expect 'x'): failed after ".to_owned(),
    ] {
        out.code(9).stderr_has(&line);
    }
    let server = Towline::serve(["tcp://127.0.0.1:0", "echo:"]);
    let out = Towline::connect([&*server.address(), "-vv"]).stdin("four").run();
    out.code(0).stderr_has(&format!("{}: 4 bytes sent, 4 received", server.address()));
}

#[test]
fn a_quiet_probe_speaks_by_its_exit_code() {
    let server = Towline::serve(["127.0.0.1:0", "echo:"]);
    let out = Towline::connect([server.address()]).args(["-q", "-s", "ping", "-e", "=ping"]).run();
    out.code(0).stdout("").stderr_is_empty();
    // Without a probe there is nothing to be quiet about on stdout.
    let out = Towline::connect([server.address()]).arg("-q").stdin("payload\n").run();
    out.code(0).stdout("payload\n");
}
