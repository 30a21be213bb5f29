//! Every row of the exit-code table, provoked from outside.

use rustix::process::Signal;

use crate::support::{ClosedPort, DEADLINE, Frame, Towline, Ws, exchange, tcp_server, ws_server};

fn connect(address: &str) -> Towline {
    Towline::connect([address]).stdin_open()
}

#[test]
fn exit_0_for_a_clean_end() {
    let server = ws_server(Ws::echo);
    Towline::connect([server.ws("/")]).stdin("hi\n").run().code(0).stdout("hi\n");
}

#[test]
fn exit_1_for_an_expectation_that_was_not_met() {
    let server = ws_server(Ws::echo);
    let out = connect(&server.ws("/")).args(["-s", "ping", "--strict", "-e", "=pong"]).run();
    out.code(1).stderr_has("pong");
}

#[test]
fn exit_2_for_what_the_user_wrote() {
    for (args, said) in [
        (&["nonsense"][..], "has no scheme"),
        (&["tcp://a"], "a port is missing"),
        (&["wx://a"], "unknown scheme `wx:`"),
        (&["echo:,tcp://a:1"], "nothing can be reached through `echo:`"),
        (&["tcp://a:1,hub:b"], "`hub:b` cannot be reached through `tcp://a:1`"),
        (&["ssh://a,hub:"], "the name of a client is missing"),
        (&["tcp://a:1,tcp://b:2"], "`tcp://b:2` cannot be reached through `tcp://a:1`"),
        (&[":99999"], "`:99999`: `99999` is not a port"),
        (&["localhost:99999/x"], "`99999` is not a port"),
        (&[":abc"], "`:abc`: `abc` is not a port"),
        (&["127.0.0.1:"], "a port is missing"),
        (&["wss:/host"], "did you mean `wss://host`, or"),
        (&["ws://a", "--close", "1000"], "--close=1000"),
        (&["--ping", "x", "ws://a"], "--ping=x"),
        (&["ws://a", "-s", "${nope}"], "no --capture before it finds `nope`"),
        (&["ws://a", "--linger", "soon"], "--linger"),
        (&["ws://a", "-H", "no colon"], "Name: value"),
    ] {
        let out = Towline::new().arg("connect").args(args).stdin_null().run();
        out.code(2).stdout("").stderr_has(said);
    }
    let out = Towline::new().args(["serve", "echo:", "echo:"]).run();
    out.code(2).stderr_has("echo:: cannot listen").stderr_has("hint: ");
}

#[test]
fn a_password_is_not_repeated_where_an_address_is_bad() {
    let bad = "socks5://user:secret@:bad,tcp://a:1";
    for args in [&["connect", bad][..], &["serve", ":0", bad]] {
        let out = Towline::new().args(args).stdin_null().run();
        out.code(2).stderr_has("`bad` is not a port").stderr_lacks("secret");
    }
    let route = format!("/x={bad}");
    let out = Towline::new().args(["serve", ":0", "echo:", "--route", &route]).run();
    out.code(2).stderr_lacks("secret");
}

#[test]
fn exit_3_for_a_name_that_does_not_resolve() {
    let out = connect("ws://name.invalid:1/").run();
    out.code(3).stderr_has("ws://name.invalid:1/: cannot resolve `name.invalid`");
}

#[test]
fn exit_4_for_a_refused_connection_even_without_input() {
    let port = ClosedPort::new();
    let address = format!("ws://127.0.0.1:{}/", port.port);
    let want = format!("towline: {address}: connection refused\n");
    connect(&address).run().code(4).stderr_is(&want);
    Towline::connect([&address]).stdin_null().run().code(4).stderr_is(&want);
    Towline::connect([&address]).stdin("x\n").run().code(4).stdout("");
}

#[test]
fn exit_4_for_a_port_that_is_taken() {
    let taken = tcp_server(|_| ());
    let address = format!("tcp://{}", taken.address());
    let out = Towline::new().args(["serve", &address, "echo:"]).run();
    out.code(4).stderr_has("cannot listen: address already in use");
}

#[test]
fn exit_5_for_tls() {
    let plain = tcp_server(|mut tcp| {
        use std::io::{Read, Write};
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let out = connect(&format!("wss://127.0.0.1:{}/", plain.port())).run();
    out.code(5).stderr_has("wss://127.0.0.1");
}

#[test]
fn exit_6_for_an_http_answer_says_the_status_and_the_body() {
    for (answer, said) in [
        (
            "401 Unauthorized\r\nContent-Length: 9\r\n\r\nno token\n",
            "HTTP 401 Unauthorized: no token",
        ),
        ("503 Later\r\n\r\n\r\n<b>busy</b>", "HTTP 503 Later: <b>busy</b>"),
        ("200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200 OK"),
        ("302 Found\r\nLocation: /there\r\n\r\n", "redirected to /there"),
    ] {
        let server = tcp_server(move |tcp| {
            crate::support::answer_http(tcp, &format!("HTTP/1.1 {answer}"));
        });
        connect(&server.ws("/")).run().code(6).stdout("").stderr_has(said);
    }
}

#[test]
fn exit_7_for_a_handshake_that_is_answered_wrongly() {
    for (fields, said) in [
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "without Sec-WebSocket-Accept"),
        (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n",
            "does not match",
        ),
        ("Connection: Upgrade\r\n", "does not upgrade"),
    ] {
        let server = tcp_server(move |tcp| {
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
            crate::support::answer_http(tcp, &answer);
        });
        connect(&server.ws("/")).run().code(7).stderr_has(said);
    }
    let noise = tcp_server(|tcp| crate::support::answer_http(tcp, "SSH-2.0-OpenSSH_9.2\r\n"));
    connect(&noise.ws("/")).run().code(7).stderr_has("not an HTTP answer");
}

#[test]
fn exit_7_for_a_subprotocol_that_is_not_granted_or_never_offered() {
    let server = ws_server(Ws::echo);
    let out = connect(&server.ws("/")).args(["--subprotocol", "chat.v2"]).run();
    out.code(7).stderr_has("no subprotocol of chat.v2 was granted").stderr_has("hint: ");
    let server = tcp_server(|tcp| {
        let _ = Ws::accept_with(tcp, "Sec-WebSocket-Protocol: mqtt\r\n").try_recv();
    });
    connect(&server.ws("/")).run().code(7).stderr_has("mqtt was granted but never offered");
    let server = tcp_server(|tcp| {
        let _ = Ws::accept_with(tcp, "Sec-WebSocket-Extensions: x-own\r\n").try_recv();
    });
    connect(&server.ws("/")).run().code(7).stderr_has("x-own was granted but never offered");
}

#[test]
fn exit_8_names_the_phase_that_took_too_long() {
    let silent = tcp_server(|mut tcp| {
        use std::io::Read;
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let out = connect(&silent.ws("/")).args(["--connect-timeout", "200ms"]).run();
    out.code(8).stderr_has("timeout after 200ms while waiting for the WebSocket handshake");
}

#[test]
fn exit_8_for_a_run_that_takes_too_long_after_a_close() {
    let server = ws_server(|mut ws| assert_eq!(ws.until_close(), 1001));
    let out = connect(&server.ws("/")).args(["--timeout", "300ms"]).run();
    out.code(8).stderr_has("not finished after 300ms (--timeout)");
    let server = ws_server(|mut ws| assert_eq!(ws.until_close(), 1001));
    let out = connect(&server.ws("/")).args(["--idle-timeout", "300ms"]).run();
    out.code(8).stderr_has("nothing was said for 300ms (--idle-timeout)");
}

#[test]
fn exit_8_for_a_run_that_takes_too_long_though_the_peer_does_not_read() {
    for flag in ["--timeout", "--idle-timeout"] {
        let (over, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let server = ws_server(move |_ws| {
            let _ = wait.lock().unwrap().recv_timeout(DEADLINE);
        });
        // More than the buffers of the kernel on both sides.
        let much = "x".repeat(64 << 20);
        let out = connect(&server.ws("/")).args([flag, "300ms"]).stdin(much).run();
        out.code(8).stderr_has(&format!("300ms ({flag})"));
        drop(over);
    }
}

#[test]
fn exit_9_for_a_message_that_does_not_come() {
    let server = ws_server(|mut ws| {
        ws.until_close();
    });
    let out = connect(&server.ws("/")).args(["--within", "200ms", "-e", "pong"]).run();
    out.code(9).stderr_has("pong");
}

#[test]
fn exit_10_for_another_code_than_1000() {
    let server = ws_server(|mut ws| {
        ws.close(1008, "policy");
        ws.until_close();
    });
    connect(&server.ws("/")).run().code(10).stderr_has("1008 policy");
}

#[test]
fn exit_11_for_a_connection_that_is_lost() {
    let server = ws_server(Ws::hang_up);
    connect(&server.ws("/")).run().code(11).stderr_has("connection lost without a Close");
}

#[test]
fn exit_12_for_a_peer_that_breaks_the_protocol() {
    for (first, payload, code) in [
        (Frame::FIN | Frame::TEXT, &b"\xff\xfe"[..], 1007),
        (Frame::FIN | 0x3, b"", 1002),
        (Frame::FIN | 0x40 | Frame::TEXT, b"rsv", 1002),
        (Frame::FIN, b"continues nothing", 1002),
    ] {
        let server = ws_server(move |mut ws| {
            ws.frame(first, payload);
            assert_eq!(ws.until_close(), code);
        });
        connect(&server.ws("/")).run().code(12);
    }
}

#[test]
fn exit_13_for_a_proxy_that_wants_another_login() {
    let proxy = tcp_server(|tcp| {
        crate::support::answer_http(tcp, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    });
    let address = format!("http://{},tcp://db:5432", proxy.address());
    connect(&address).run().code(13).stderr_has("407");
}

#[test]
fn exit_14_for_a_child_that_fails_and_a_disk_that_is_full() {
    connect("exec:false").run().code(14).stderr_has("exit 1");
    let server = ws_server(|mut ws| {
        ws.text("x");
        ws.until_close();
    });
    let out = Towline::new().args(["connect", &server.ws("/"), "file:/dev/full"]).stdin_null();
    out.run().code(14).stderr_has("no space left on device");
}

#[test]
fn exit_130_and_143_for_signals_after_a_close_1001() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = ws_server(|mut ws| {
            ws.text("up");
            assert_eq!(ws.until_close(), 1001);
        });
        let mut run = connect(&server.ws("/")).spawn();
        run.read_until("up\n");
        run.signal(signal);
        run.wait().code(code).stderr_is_empty();
    }
}

#[test]
fn serve_leaves_with_0_after_sigterm_and_tells_its_peers() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
        let mut ws = Ws::connect(&server.address());
        ws.text("hi");
        assert_eq!(ws.recv().text(), "hi");
        server.signal(signal);
        assert_eq!(ws.until_close(), 1001);
        ws.close(1001, "");
        server.wait().code(code);
    }
}

#[test]
fn a_malformed_request_is_answered_before_it_is_dropped() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", "400"),
        ("\x16\x03\x01\x02\x00", "400"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            "426",
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            "400",
        ),
    ] {
        let answer = exchange(server.port(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    assert!(exchange(server.port(), long).starts_with("HTTP/1.1 431 "));
}
