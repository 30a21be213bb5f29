//! echo: as a mirror and as a mock server.

use crate::support::{Frame, Towline, Ws};

fn mock(args: &[&str]) -> (crate::support::Running, Ws) {
    let server = Towline::serve([&["ws://127.0.0.1:0", "echo:"], args].concat());
    let ws = Ws::connect(&server.address());
    (server, ws)
}

#[test]
fn answers_take_turns_and_may_hold_the_question() {
    let (_server, mut ws) = mock(&["--reply", "pong", "--reply", "<{}>"]);
    for (question, answer) in [("a", "pong"), ("b", "<b>"), ("c", "pong")] {
        ws.text(question);
        assert_eq!(ws.recv().text(), answer);
    }
}

#[test]
fn a_mock_closes_when_it_was_told_to() {
    let (_server, mut ws) = mock(&["--close-after", "2:4001:quota"]);
    ws.text("1");
    ws.text("2");
    ws.text("3");
    assert_eq!((ws.recv().text(), ws.recv().text()), ("1", "2"));
    let close = ws.recv();
    assert_eq!((close.code(), close.reason()), (4001, "quota"));
}

#[test]
fn an_answer_may_be_slow() {
    let (_server, mut ws) = mock(&["--delay", "300ms"]);
    let began = std::time::Instant::now();
    ws.text("slow");
    assert_eq!(ws.recv().text(), "slow");
    assert!(began.elapsed() >= std::time::Duration::from_millis(300));
}

#[test]
fn an_answer_may_never_come() {
    let (_server, mut ws) = mock(&["--delay", "inf"]);
    ws.text("hello?");
    ws.frame(Frame::FIN | Frame::PING, "");
    assert_eq!(ws.recv().opcode(), Frame::PONG);
    ws.close(1000, "");
    assert_eq!(ws.recv().code(), 1000);
}

#[test]
fn what_was_asked_before_a_close_is_answered_before_it() {
    let (_server, mut ws) = mock(&[]);
    // All in one segment.
    let mut bytes = ws.encode(Frame::FIN | Frame::TEXT, b"one");
    bytes.extend(ws.encode(Frame::FIN | Frame::TEXT, b"two"));
    bytes.extend(ws.encode(Frame::FIN | Frame::CLOSE, &1000u16.to_be_bytes()));
    std::io::Write::write_all(&mut ws.stream, &bytes).unwrap();
    assert_eq!((ws.recv().text(), ws.recv().text()), ("one", "two"));
    assert_eq!(ws.recv().code(), 1000);
}

#[test]
fn a_ping_is_answered_once_and_not_echoed() {
    let (_server, mut ws) = mock(&[]);
    ws.frame(Frame::FIN | Frame::PING, "are you there");
    ws.text("and this");
    let pong = ws.recv();
    assert_eq!((pong.opcode(), pong.payload), (Frame::PONG, b"are you there".to_vec()));
    assert_eq!(ws.recv().text(), "and this");
}

#[test]
fn what_peers_say_is_logged_where_it_is_asked_for() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:", "-v"]);
    let mut ws = Ws::connect(&server.address());
    ws.text("a\x1b[2Jb");
    assert_eq!(ws.recv().text(), "a\x1b[2Jb");
    server.stderr_line(|line| line.ends_with(": received: a\\u{1b}[2Jb"));
}
