//! `--log` and `--replay`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{ClosedPort, Frame, Towline, Ws, ws_server};

/// A recording without its times, which are checked to go up.
fn lines(recording: &str) -> Vec<String> {
    let mut last = 0.0;
    let without_time = |line: &str| {
        let (ts, rest) = line.strip_prefix("{\"ts\":").unwrap().split_once(',').unwrap();
        let ts: f64 = ts.parse().unwrap();
        assert!(ts >= last, "{recording}");
        last = ts;
        format!("{{{rest}")
    };
    recording.lines().map(without_time).collect()
}

#[test]
fn both_directions_are_written_down() {
    let server = ws_server(|mut ws| {
        ws.frame(Frame::FIN | Frame::PING, "p");
        ws.text("welcome");
        assert_eq!(ws.recv().first, Frame::FIN | Frame::PONG);
        assert_eq!(ws.recv().text(), "line");
        ws.binary([0xff]);
        ws.close(1000, "bye");
        ws.until_close();
    });
    let run = Towline::connect([&server.ws("/"), "--log", "s.ndjson"]).stdin_open();
    let file = run.home().join("s.ndjson");
    let mut run = run.spawn();
    run.read_until("welcome\n");
    run.write("line\n");
    run.read_until([0xff, b'\n']);
    // The home goes away with the run; the file is there while it runs.
    let recording = fs::read_to_string(&file);
    let recording = recording.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let all = lines(&recording);
    assert_eq!(
        all[..3],
        [
            r#"{"dir":"in","type":"ping","b64":"cA=="}"#,
            r#"{"dir":"in","type":"text","data":"welcome"}"#,
            r#"{"dir":"out","type":"text","data":"line"}"#,
        ],
    );
    assert_eq!(all[3], r#"{"dir":"in","type":"binary","b64":"/w=="}"#);
    run.wait().code(0);
}

#[test]
fn a_recording_can_be_played_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("s.ndjson");
    let log = log.to_str().unwrap();
    let server = ws_server(Ws::echo);
    let run = Towline::connect([&server.ws("/"), "--log", log]).stdin("one\n\ntwo\n").run();
    run.code(0).stdout("one\n\ntwo\n");
    let first = fs::read_to_string(log).unwrap();
    assert!(first.contains(r#""dir":"out","type":"close","code":1000}"#), "{first}");

    let again = dir.path().join("again.ndjson");
    let args = ["--replay", log, "--speed", "max", "--log", again.to_str().unwrap()];
    let run = Towline::connect([&*server.ws("/")]).args(args).run();
    run.code(0).stdout("one\n\ntwo\n").stderr_is_empty();
    let sent = |recording: &str| -> Vec<String> {
        lines(recording).into_iter().filter(|line| line.contains("\"out\"")).collect()
    };
    assert_eq!(sent(&fs::read_to_string(again).unwrap()), sent(&first));
}

#[test]
fn a_recording_of_lines_without_direction_is_sent_as_typed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.ndjson");
    let text = "{\"type\":\"text\",\"data\":\"a\\nb\"}\n{\"type\":\"binary\",\"b64\":\"YQ==\"}\n\
        {\"dir\":\"in\",\"type\":\"text\",\"data\":\"not me\"}\n{\"type\":\"close\",\"code\":3001}\n";
    fs::write(&file, text).unwrap();
    let server = ws_server(|mut ws| {
        let (text, binary, close) = (ws.recv(), ws.recv(), ws.recv());
        assert_eq!((text.opcode(), text.text()), (Frame::TEXT, "a\nb"));
        assert_eq!((binary.opcode(), &*binary.payload), (Frame::BINARY, &b"a"[..]));
        assert_eq!(close.code(), 3001);
        ws.close(3001, "");
    });
    let run = Towline::connect([&*server.ws("/"), "--replay", file.to_str().unwrap()]).run();
    run.stdout("");
    drop(server);
}

#[test]
fn a_malformed_recording_is_refused_before_anything_is_connected() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.ndjson");
    fs::write(&file, "{\"type\":\"text\",\"data\":\"\"}\n{\"type\":\"binary\"}\n").unwrap();
    let closed = ClosedPort::new();
    let file = file.to_str().unwrap();
    let address = format!("ws://127.0.0.1:{}/", closed.port);
    let run = Towline::connect([&*address, "--replay", file]).run();
    run.code(2).stderr_is(&format!("towline: {file}:2: a binary without b64\n"));
    let run = Towline::connect([&*address, "--replay", "/nonexistent/s"]).run();
    run.code(2).stderr_is("towline: /nonexistent/s: no such file or directory\n");
    let run = Towline::connect([&*address, "--log", "/nonexistent/s"]).run();
    run.code(2).stderr_is("towline: /nonexistent/s: no such file or directory\n");
}

#[test]
fn a_full_disk_ends_the_run() {
    let server = ws_server(|mut ws| {
        ws.until_close();
    });
    let run = Towline::connect([&*server.ws("/"), "--log", "/dev/full"]).stdin("a\n").run();
    run.code(14).stderr_is("towline: /dev/full: no space left on device\n");
}
