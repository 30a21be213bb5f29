//! --wait-ready and --reconnect: what is tried again, what is not, and what survives the gap.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{ClosedPort, Towline, Ws, answer_http, tcp_server};

/// A server whose connections are told apart by their number, from 0.
fn numbered(serve: impl Fn(usize, Ws) + Send + Sync + 'static) -> crate::support::Server {
    let connections = AtomicUsize::new(0);
    tcp_server(move |tcp| serve(connections.fetch_add(1, Ordering::SeqCst), Ws::accept(tcp)))
}

#[test]
fn a_server_that_comes_up_late_is_waited_for() {
    let port = ClosedPort::new();
    let address = format!("ws://127.0.0.1:{}/", port.port);
    let run = Towline::connect([&address, "--wait-ready", "20s", "-v"]).stdin("hi\n").spawn();
    run.stderr_line(|line| line.contains("connection refused; next attempt in"));
    let number = port.port;
    drop(port);
    let _server = Towline::serve([format!("ws://127.0.0.1:{number}/"), "echo:".into()]);
    run.wait().code(0).stdout("hi\n");
}

#[test]
fn waiting_ends_and_the_last_reason_is_told() {
    let port = ClosedPort::new();
    let address = format!("ws://127.0.0.1:{}/", port.port);
    let out = Towline::connect([&address, "--wait-ready", "400ms"]).stdin_null().run();
    out.code(4).stderr_has("connection refused");
}

#[test]
fn a_refusal_that_is_meant_is_not_tried_again() {
    let answers = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    let server = tcp_server(move |tcp| {
        counted.fetch_add(1, Ordering::SeqCst);
        answer_http(tcp, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    });
    for flag in [&["--wait-ready", "20s"][..], &["--reconnect"]] {
        Towline::connect([server.ws("/")]).args(flag).stdin_open().run().code(6);
    }
    assert_eq!(answers.load(Ordering::SeqCst), 2);
    // A server that is only busy is asked again.
    let busy = AtomicUsize::new(0);
    let server = tcp_server(move |tcp| match busy.fetch_add(1, Ordering::SeqCst) {
        0 => answer_http(tcp, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        _ => Ws::accept(tcp).echo(),
    });
    let out = Towline::connect([server.ws("/")]).args(["--wait-ready", "20s"]).stdin("x\n").run();
    out.code(0).stdout("x\n");
}

#[test]
fn a_lost_connection_is_made_again_and_the_script_sent_again() {
    let server = numbered(|number, mut ws| {
        assert_eq!(ws.recv().text(), "subscribe");
        ws.text(&format!("news {number}"));
        match number {
            0 => ws.reset(),
            1 => ws.hang_up(),
            2 => {
                ws.close(1012, "restart");
                ws.until_close();
            }
            _ => {
                ws.close(1008, "enough of you");
                ws.until_close();
            }
        }
    });
    let out = Towline::connect([server.ws("/")])
        .args(["-s", "subscribe", "--reconnect", "--max-delay", "50ms"])
        .stdin_null()
        .run();
    out.code(10).stdout("news 0\nnews 1\nnews 2\nnews 3\n").stderr_has("1008 enough of you");
}

#[test]
fn what_is_typed_during_the_gap_is_kept() {
    let server = numbered(|number, mut ws| match number {
        0 => {
            assert_eq!(ws.recv().text(), "first");
            ws.hang_up();
        }
        _ => ws.echo(),
    });
    let mut run = Towline::connect([server.ws("/")])
        .args(["--reconnect", "--max-delay", "50ms", "-v", "--text"])
        .stdin_open()
        .spawn();
    run.write("first\n");
    run.stderr_line(|line| line.contains("next attempt in"));
    run.write("second\n");
    run.read_until("second\n");
    run.close_stdin();
    run.wait().code(0).stdout("second\n");
}

#[test]
fn retries_are_counted() {
    let port = ClosedPort::new();
    let address = format!("ws://127.0.0.1:{}/", port.port);
    let retry = ["--reconnect", "--max-retries", "2", "--max-delay", "20ms", "-v"];
    let out = Towline::connect([&address]).args(retry).stdin_open().run();
    out.code(4);
    assert_eq!(out.stderr.matches("next attempt in").count(), 2, "{}", out.stderr);
}

#[test]
fn a_signal_ends_the_waiting() {
    let port = ClosedPort::new();
    let address = format!("ws://127.0.0.1:{}/", port.port);
    let run = Towline::connect([&address, "--wait-ready", "1h", "-v"]).stdin_open().spawn();
    run.stderr_line(|line| line.contains("next attempt in"));
    run.signal(rustix::process::Signal::TERM);
    run.wait().code(143);
}

#[test]
fn the_first_address_of_a_name_that_answers_is_taken() {
    // `localhost` may be ::1 first; the server listens on one family only.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Ws::accept(tcp).echo();
    });
    let out = Towline::connect([format!("ws://localhost:{port}/")]).stdin("either\n").run();
    out.code(0).stdout("either\n");
    server.join().unwrap();
}
