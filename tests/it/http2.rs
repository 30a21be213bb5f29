//! WebSockets over HTTP/2 (RFC 8441) between two towlines, and what is said where that cannot be.

use std::io::{Read, Write};

use tempfile::NamedTempFile;

use crate::support::{Output, Running, Towline, noise, tcp_server};

fn echo(flags: &[&str]) -> Running {
    Towline::serve(["ws://127.0.0.1:0/", "echo:"].iter().chain(flags))
}

fn secure(flags: &[&str]) -> Running {
    Towline::serve(["wss://127.0.0.1:0/", "echo:", "--tls-self-signed"].iter().chain(flags))
}

/// A file with one login.
fn users() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"a:b\n").unwrap();
    file
}

fn hello(server: &Running, flags: &[&str]) -> Output {
    Towline::connect([&server.address(), "--http2"]).args(flags).stdin("hello\n").run()
}

#[test]
fn a_websocket_is_a_stream_of_a_connection() {
    let server = echo(&["--access-log=text"]);
    hello(&server, &[]).code(0).stdout("hello\n").stderr_is_empty();
    server.stderr_line(|line| line.contains(" / 200 in 5B/1 out 5B/1 close 1000"));
    let server = secure(&["--compress=auto"]);
    hello(&server, &["-k", "-v"]).code(0).stdout("hello\n").stderr_has(", h2, ");
    hello(&server, &["-k", "-v", "--compress=auto"])
        .code(0)
        .stdout("hello\n")
        .stderr_has("compressing");
    let any = Towline::serve(["any://127.0.0.1:0", "echo:", "--tls-self-signed"]);
    for scheme in ["ws", "wss"] {
        let address = format!("{scheme}://127.0.0.1:{}/", any.port());
        let run = Towline::connect([&address, "--http2", "-k"]).stdin("hello\n").run();
        run.stdout("hello\n");
    }
}

#[test]
fn bytes_go_through_whole_and_their_end_too() {
    let upper = Towline::serve(["wss://127.0.0.1:0/", "exec:cat", "--tls-self-signed"]);
    let data = noise(8 << 20);
    let run = Towline::connect([&upper.address(), "--http2", "-k"]).stdin(data.clone()).run();
    run.code(0).stdout_bytes(data);
}

#[test]
fn a_probe_reports_what_it_reports_of_an_upgrade() {
    let server = secure(&["--subprotocol=chat"]);
    let flags = ["-k", "--subprotocol=chat", "--expect-status=200", "--report=json"];
    let run = Towline::connect([&server.address(), "--http2", "-s", "hello"]).args(flags).run();
    run.code(0);
    for said in ["\"status\":200", "\"upgrade\"", "\"alpn\":\"h2\"", "\"subprotocol\":\"chat\""] {
        let all = format!("{}{}", String::from_utf8_lossy(&run.stdout), run.stderr);
        assert!(all.replace("\": ", "\":").contains(said), "no {said}\n{run}");
    }
}

#[test]
fn a_login_is_needed_as_ever() {
    let users = users();
    let server = echo(&["--basic-auth", users.path().to_str().unwrap()]);
    let refused = hello(&server, &[]);
    refused.code(6).stderr_has("HTTP 401 Unauthorized").stderr_has("--user");
    hello(&server, &["--user=a:b"]).code(0).stdout("hello\n");
    let there = Towline::serve(["ws://127.0.0.1:0/there", "echo:"]);
    let here = format!("ws://127.0.0.1:{}/here", there.port());
    let lost = Towline::connect([&here, "--http2"]).stdin_open().run();
    lost.code(6).stderr_has("HTTP 404 Not Found: nothing is at /here");
}

#[test]
fn a_server_without_http2_is_told_apart() {
    // --alpn says what a listener agrees to.
    let old = secure(&["--alpn=http/1.1"]);
    let run = hello(&old, &["-k"]);
    run.code(5).stderr_has("h2").stderr_has("leave out --http2");
    let mute = Towline::serve(["tls://127.0.0.1:0", "null:", "--tls-self-signed"]);
    let address = format!("wss://127.0.0.1:{}/", mute.port());
    let run = Towline::connect([&address, "--http2", "-k"]).stdin_open().run();
    run.code(7).stderr_has("it chose no protocol (ALPN)").stderr_has("leave out --http2");
    let server = tcp_server(|mut stream| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let run = Towline::connect([&server.ws("/"), "--http2"]).stdin_open().run();
    run.code(7).stderr_has("it says `HTTP/1.1 400 Bad Request`").stderr_has("leave out --http2");
}

#[test]
fn a_target_can_be_reached_over_http2() {
    let far = echo(&["-v"]);
    let near = Towline::serve(["tcp://127.0.0.1:0", &far.address(), "--http2", "--frame=lines"]);
    for _ in 0..2 {
        Towline::connect([near.address()]).stdin("hello\n").run().code(0).stdout("hello\n");
    }
}

#[test]
fn clients_of_a_proxy_may_come_over_http2() {
    let server = echo(&["--subprotocol=chat"]);
    let proxy = Towline::new()
        .args(["proxy", "https://127.0.0.1:0", &server.address(), "--tls-self-signed"])
        .args(["--access-log=text", "--allow-origin=https://a.example"])
        .spawn();
    proxy.ready();
    let address = format!("wss://127.0.0.1:{}/", proxy.port());
    let ask = |flags: &[&str]| {
        Towline::connect([&address, "--http2", "-k"]).args(flags).stdin("hello\n").run()
    };
    ask(&["--subprotocol=chat"]).code(0).stdout("hello\n");
    ask(&["--subprotocol=chat", "--expect-status=200"]).code(0);
    proxy.stderr_line(|line| line.contains(" / 101 open "));
    ask(&["--origin=https://b.example"]).code(6).stderr_has("HTTP 403 Forbidden");
    let data = noise(4 << 20);
    let run = Towline::connect([&address, "--http2", "-k", "--binary", "--frame=whole"])
        .args(["--count=1"])
        .stdin(data.clone())
        .run();
    run.code(0).stdout_bytes(data);
}

#[test]
fn http2_is_refused_where_it_would_mean_nothing() {
    let refused = |args: &[&str], why: &str| {
        Towline::new().args(args).run().code(2).stderr_has(why);
    };
    refused(&["serve", "ws://127.0.0.1:0", "echo:", "--http2"], "--http2 needs a WebSocket");
    refused(&["proxy", "http://127.0.0.1:0", "ws://a", "--http2"], "--http2 is for");
}
