//! How streams end: late replies, lingering, half-close, Close codes, lost connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::support::{
    ClosedPort, DEADLINE, Frame, Server, Towline, Ws, answer_http, port, tcp_server, wait_until,
    ws_server,
};

/// The peer answers only some time after our input has ended.
#[test]
fn a_late_reply_is_delivered() {
    let server = ws_server(|mut ws| {
        let request = ws.recv();
        std::thread::sleep(Duration::from_millis(400));
        ws.text(&format!("re: {}", request.text()));
        ws.until_close();
    });
    let out = Towline::connect([server.ws("/")]).stdin("ping\n").run();
    out.code(0).stdout("re: ping\n").stderr_is_empty();
}

#[test]
fn every_event_of_a_slow_stream_is_delivered() {
    let server = ws_server(|mut ws| {
        ws.recv();
        for i in 0..5 {
            ws.text(&i.to_string());
            std::thread::sleep(Duration::from_millis(150));
        }
        ws.until_close();
    });
    Towline::connect([server.ws("/")]).stdin("go\n").run().code(0).stdout("0\n1\n2\n3\n4\n");
}

#[test]
fn after_the_linger_comes_a_close_1000() {
    let (codes, seen) = channel();
    let server = ws_server(move |mut ws| {
        ws.recv();
        codes.send(ws.until_close()).unwrap();
    });
    Towline::connect([server.ws("/")]).args(["--linger", "50ms"]).stdin("a\n").run().code(0);
    assert_eq!(seen.recv().unwrap(), 1000);
    Towline::connect([server.ws("/")]).args(["--linger", "0"]).stdin("a\n").run().code(0);
    assert_eq!(seen.recv().unwrap(), 1000);
}

#[test]
fn an_endless_linger_waits_for_the_peer() {
    let server = ws_server(|mut ws| {
        ws.recv();
        std::thread::sleep(Duration::from_millis(1500));
        ws.text("at last");
        ws.close(1000, "");
        ws.until_close();
    });
    let out = Towline::connect([server.ws("/")]).args(["--linger", "inf"]).stdin("a\n").run();
    out.code(0).stdout("at last\n");
}

#[test]
fn an_endless_linger_ends_when_it_has_been_quiet_for_too_long() {
    let server = ws_server(|mut ws| {
        ws.recv();
        assert_eq!(ws.until_close(), 1000);
    });
    let args = ["--linger", "inf", "--idle-timeout", "100ms"];
    Towline::connect([server.ws("/")]).args(args).stdin("a\n").run().code(0);
}

#[test]
fn inf_is_a_time_that_never_comes() {
    let server = ws_server(|mut ws| {
        assert_eq!(ws.recv().opcode(), Frame::PING);
        ws.text("still here");
        ws.close(1000, "");
        ws.until_close();
    });
    let times = "timeout connect-timeout wait-ready idle-timeout ping-timeout linger max-delay";
    let times = times.split(' ').flat_map(|flag| [format!("--{flag}"), "inf".to_owned()]);
    let out = Towline::connect([server.ws("/")]).args(times).args(["--ping-interval", "50ms"]);
    out.stdin_null().run().code(0).stdout("still here\n");
}

#[test]
fn an_input_without_a_byte_is_no_end() {
    let server = ws_server(|mut ws| {
        std::thread::sleep(Duration::from_millis(1300));
        ws.text("news");
        ws.close(1000, "");
        ws.until_close();
    });
    // Longer than the linger: only a session that did not take /dev/null for an end sees it.
    Towline::connect([server.ws("/")]).stdin_null().run().code(0).stdout("news\n");
}

#[test]
fn a_close_of_the_peer_ends_the_run_whatever_stdin_does() {
    let server = ws_server(|mut ws| {
        ws.text("last words");
        ws.close(1000, "bye");
        assert_eq!(ws.until_close(), 1000, "the Close has to be answered");
    });
    Towline::connect([server.ws("/")]).stdin_open().run().code(0).stdout("last words\n");
}

#[test]
fn another_code_than_1000_is_a_failure_that_names_it() {
    let server = ws_server(|mut ws| {
        ws.close(4001, "quota");
        ws.until_close();
    });
    let out = Towline::connect([server.ws("/")]).stdin_open().run();
    out.code(10).stderr_has("closed by the peer with 4001 quota");
    let out = Towline::connect([server.ws("/")]).args(["--ok-close", "1001,4001"]).stdin_open();
    out.run().code(0).stderr_is_empty();
}

#[test]
fn a_close_without_a_code_is_clean() {
    let server = ws_server(|mut ws| {
        ws.frame(Frame::FIN | Frame::CLOSE, []);
        ws.until_close();
    });
    Towline::connect([server.ws("/")]).stdin_open().run().code(0);
}

#[test]
fn a_lost_connection_is_told_from_an_end() {
    let vanish = ws_server(|mut ws| {
        ws.text("half a st");
        ws.hang_up();
    });
    let out = Towline::connect([vanish.ws("/")]).stdin_open().run();
    out.code(11).stdout("half a st\n").stderr_has("connection lost without a Close");
    let reset = ws_server(|ws| ws.reset());
    Towline::connect([reset.ws("/")]).stdin_open().run().code(11);
}

#[test]
fn a_tcp_half_close_reaches_the_other_end() {
    let server = tcp_server(|mut tcp| {
        let mut request = String::new();
        tcp.read_to_string(&mut request).unwrap();
        write!(tcp, "{} bytes", request.len()).unwrap();
    });
    let target = format!("tcp://127.0.0.1:{}", server.port());
    Towline::connect([&target]).stdin("12345").run().code(0).stdout("5 bytes");
    // The same through two more hops: TCP, and bytes in a WebSocket between two of us.
    let tcp = Towline::serve(["tcp://127.0.0.1:0", &target]);
    Towline::connect([tcp.address()]).stdin("1234").run().code(0).stdout("4 bytes");
    let ws = Towline::serve(["ws://127.0.0.1:0", &tcp.address()]);
    Towline::connect([ws.address()]).stdin("123").run().code(0).stdout("3 bytes");
    let again = Towline::serve(["tcp://127.0.0.1:0", &ws.address()]);
    Towline::connect([again.address()]).stdin("12").run().code(0).stdout("2 bytes");
}

#[test]
fn a_byte_stream_is_kept_up_after_one_end() {
    let server = tcp_server(|tcp| {
        let mut ws = Ws::accept_with(tcp, "Sec-WebSocket-Protocol: towline.v1\r\n");
        ws.binary("all there is");
        ws.binary([]);
        ws.frame(Frame::FIN | Frame::PING, "still there?");
        assert_eq!(ws.recv().first, Frame::FIN | Frame::PONG);
        assert_eq!(ws.recv().first, Frame::FIN | Frame::PING, "it asks, too");
        ws.frame(Frame::FIN | Frame::PONG, []);
        ws.close(1000, "");
        ws.until_close();
    });
    let run = Towline::connect([&server.ws("/"), "--ping-interval=50ms"]).stdin_open().run();
    run.code(0).stdout("all there is").stderr_is_empty();
}

#[test]
fn a_byte_stream_that_is_lost_after_one_end_is_lost() {
    let server = tcp_server(|tcp| {
        let mut ws = Ws::accept_with(tcp, "Sec-WebSocket-Protocol: towline.v1\r\n");
        ws.binary("all there is");
        ws.binary([]);
        ws.hang_up();
    });
    let run = Towline::connect([server.ws("/")]).stdin_open().run();
    run.code(11).stdout("all there is").stderr_has("connection lost without a Close");
}

#[test]
fn a_server_that_takes_the_first_subprotocol_is_not_taken_for_ours() {
    let server = tcp_server(|tcp| {
        // npm's ws grants whatever comes first, without knowing what it means.
        let mut ws = Ws::accept_with(tcp, "Sec-WebSocket-Protocol: towline.v0\r\n");
        let line = ws.recv();
        assert_eq!((line.opcode(), line.text()), (Frame::TEXT, "a line"));
        ws.text("plain");
        ws.close(1000, "");
        ws.until_close();
    });
    let out = Towline::connect([server.ws("/")]).stdin("a line\n").run();
    out.code(0).stdout("plain\n");
}

#[test]
fn a_server_that_wants_no_subprotocol_gets_none() {
    let attempts = AtomicUsize::new(0);
    let server = tcp_server(move |tcp| {
        if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
            return answer_http(tcp, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        let mut ws = Ws::accept(tcp);
        assert_eq!(ws.header("Sec-WebSocket-Protocol"), None);
        ws.text("plain");
        ws.close(1000, "");
        ws.try_recv();
    });
    Towline::connect([server.ws("/")]).stdin("a line\n").run().code(0).stdout("plain\n");
}

#[test]
fn an_empty_binary_message_of_a_stranger_is_a_message() {
    let server = ws_server(|mut ws| {
        ws.binary([]);
        ws.text("more");
        ws.close(1000, "");
        ws.until_close();
    });
    Towline::connect([server.ws("/")]).stdin_null().run().code(0).stdout("\nmore\n");
}

/// Truncation has to show: a WebSocket that is lost becomes a reset on the byte side.
#[test]
fn a_lost_websocket_is_a_reset_on_the_byte_side() {
    let server = ws_server(|mut ws| {
        ws.binary("part of it");
        ws.hang_up();
    });
    let bridge = Towline::serve(["tcp://127.0.0.1:0", &server.ws("/")]);
    let mut tcp = TcpStream::connect(("127.0.0.1", bridge.port())).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut got = Vec::new();
    let error = tcp.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn the_end_of_a_target_is_a_close_1000_and_its_failure_a_1011() {
    let fine = tcp_server(|mut tcp| {
        tcp.write_all(b"all there is").unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        let _ = tcp.read(&mut [0]);
    });
    let bridge = Towline::serve(["ws://127.0.0.1:0", &format!("tcp://127.0.0.1:{}", fine.port())]);
    let mut ws = Ws::connect(&bridge.address());
    assert_eq!(ws.recv().payload, b"all there is");
    let close = ws.recv();
    assert_eq!((close.opcode(), close.code()), (Frame::CLOSE, 1000));

    let closed = ClosedPort::new();
    let bridge = Towline::serve(["ws://127.0.0.1:0", &format!("tcp://127.0.0.1:{}", closed.port)]);
    let close = Ws::connect(&bridge.address()).recv();
    assert_eq!((close.code(), close.reason()), (1011, "connection refused"));
}

#[test]
fn a_close_goes_through_a_chain_of_two_websockets() {
    let server = ws_server(|mut ws| {
        ws.close(4009, "busy");
        // The relay may be gone before it has answered.
        ws.try_recv();
    });
    let relay = Towline::serve(["ws://127.0.0.1:0", &server.ws("/")]);
    let close = Ws::connect(&relay.address()).recv();
    assert_eq!((close.code(), close.reason()), (4009, "busy"));
}

#[test]
fn a_closed_stdout_is_a_clean_end() {
    let server = ws_server(|mut ws| {
        for i in 0..100_000 {
            ws.text(&format!("line {i}"));
        }
    });
    Towline::connect([server.ws("/")]).stdin_open().stdout_closes_after(7).run().code(0);
}

#[test]
fn a_stdout_that_is_closed_while_nothing_comes_is_noticed() {
    let server = ws_server(|mut ws| {
        ws.text("one");
        // Nothing more comes, and nothing is said until the other end leaves.
        assert_eq!(ws.until_close(), 1000);
    });
    let forever = ["--linger", "inf"];
    let connect = || Towline::connect([server.ws("/")]).args(forever).stdout_closes_after(4);
    connect().stdin_open().run().code(0).stderr_is_empty();
    connect().stdin_null().run().code(0).stderr_is_empty();
    connect().stdin("input\n").run().code(0).stderr_is_empty();
    connect().args(["-s", "x"]).stdin_open().run().code(0).stderr_is_empty();
}

#[test]
fn a_stdout_that_is_closed_while_a_byte_stream_is_quiet_is_noticed() {
    let server = tcp_server(|mut tcp| {
        tcp.write_all(b"one\n").unwrap();
        tcp.read_to_end(&mut Vec::new()).expect("an end, not a reset");
    });
    let target = format!("tcp://{}", server.address());
    let connect = || Towline::connect([&target]).stdout_closes_after(4);
    connect().stdin_open().run().code(0).stderr_is_empty();
    connect().stdin_null().run().code(0).stderr_is_empty();
    connect().stdin("input\n").run().code(0).stderr_is_empty();
}

#[test]
fn a_peer_that_goes_on_after_our_close_is_left_in_the_end() {
    let server = ws_server(|mut ws| {
        // It reads nothing, so it never sees our Close.
        while ws.stream.write_all(&[0x81, 1, b'x']).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let out = Towline::connect([server.ws("/")]).args(["--linger", "0"]).stdin("a\n").run();
    out.code(0);
}

/// A handshake that asks for bytes, as another towline does.
const BYTES: &str = "Sec-WebSocket-Protocol: towline.v0, towline.v1\r\n";

#[test]
fn a_peer_that_leaves_after_its_end_takes_its_child_with_it() {
    let server = Towline::serve(["ws://127.0.0.1:0", "sh:echo up; cat; sleep 1000"]);
    let mut ws = Ws::connect_with(&server.address(), BYTES);
    assert_eq!(ws.header("Sec-WebSocket-Protocol"), Some("towline.v1"));
    assert_eq!(ws.recv().payload, b"up\n");
    // The end of its bytes; a Ping is still answered, and so is the Close.
    ws.binary([]);
    ws.frame(Frame::FIN | Frame::PING, "there?");
    assert_eq!(ws.recv().opcode(), Frame::PONG);
    ws.close(1000, "");
    assert_eq!(ws.until_close(), 1000);
    // The stop ladder has run when the server can leave at once.
    server.signal(rustix::process::Signal::TERM);
    server.wait().code(0).stderr_lacks("had not left");
}

#[test]
fn a_peer_that_vanishes_after_its_end_is_noticed() {
    let server =
        Towline::serve(["ws://127.0.0.1:0", "sh:echo up; sleep 1000", "--max-children", "1"]);
    let mut ws = Ws::connect_with(&server.address(), BYTES);
    assert_eq!(ws.recv().payload, b"up\n");
    ws.binary([]);
    ws.reset();
    // Its seat is free again.
    wait_until("another peer gets a child", || {
        let mut ws = Ws::connect_with(&server.address(), BYTES);
        ws.recv().opcode() == Frame::BINARY
    });
}

#[test]
fn a_late_reply_comes_over_a_quiet_connection_that_is_pinged() {
    let server = Towline::serve(["ws://127.0.0.1:0", "sh:read x; sleep 2; echo late $x"]);
    let ping = ["--ping-interval", "300ms", "--ping-timeout", "300ms"];
    let out = Towline::connect([server.address()]).args(ping).stdin("q\n").run();
    out.code(0).stdout("late q\n");
}

#[test]
fn a_close_without_an_end_of_bytes_is_answered() {
    let target = tcp_server(|mut tcp| drop(tcp.read_to_end(&mut Vec::new())));
    let target = format!("tcp://{}", target.address());
    let server = Towline::serve(["ws://127.0.0.1:0", &target]);
    let mut ws = Ws::connect_with(&server.address(), BYTES);
    ws.binary("x");
    ws.close(1000, "");
    assert_eq!(ws.until_close(), 1000);
}

/// A target that never reads after the first byte, and says when it has been reset all the same.
fn deaf_target() -> (Server, Receiver<()>) {
    let (reset, seen) = channel();
    let server = tcp_server(move |mut tcp| {
        tcp.read_exact(&mut [0]).unwrap();
        wait_until("the reset is passed on", || tcp.take_error().unwrap().is_some());
        reset.send(()).unwrap();
    });
    (server, seen)
}

/// Says more than anybody takes.
fn fill(tcp: &mut TcpStream, message: &[u8]) {
    tcp.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while tcp.write_all(message).is_ok() {}
}

#[test]
fn a_peer_that_vanishes_while_its_target_does_not_read_is_noticed() {
    let (target, reset) = deaf_target();
    let target = format!("tcp://{}", target.address());
    let server = Towline::serve(["tcp://127.0.0.1:0", "ws://127.0.0.1:0", &target]);
    let addresses = server.listeners(2);
    let mut tcp = TcpStream::connect(("127.0.0.1", port(&addresses[0]))).unwrap();
    fill(&mut tcp, &[0; 1 << 16]);
    set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
    drop(tcp);
    reset.recv_timeout(DEADLINE).unwrap();
    let mut ws = Ws::connect_with(&addresses[1], BYTES);
    let message = ws.encode(Frame::FIN | Frame::BINARY, &[0; 1 << 16]);
    fill(&mut ws.stream, &message);
    ws.reset();
    reset.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_peer_that_vanishes_after_its_end_while_nothing_is_answered_is_noticed() {
    let (target, reset) = deaf_target();
    let server = Towline::serve(["tcp://127.0.0.1:0", &format!("tcp://{}", target.address())]);
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    tcp.write_all(b"x").unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
    drop(tcp);
    reset.recv_timeout(DEADLINE).unwrap();
}
