//! What can be seen of it: the access log, figures, the admin port.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;

use super::{answers, backend, ok, proxy, url};
use crate::support::{
    Frame, Running, Towline, Ws, exchange, port, tcp_server, wait_until, ws_server,
};

fn get(port: u16, path: &str) -> String {
    exchange(port, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn record(proxy: &Running, event: &str) -> Value {
    let wanted = format!("\"event\":\"{event}\"");
    serde_json::from_str(&proxy.stderr_line(|line| line.contains(&wanted))).unwrap()
}

/// Where `--admin` listens.
fn admin(proxy: &Running) -> u16 {
    let line = proxy.stderr_line(|line| line.starts_with("figures at "));
    port(line.trim_start_matches("figures at ").trim_end_matches("/metrics"))
}

#[test]
fn a_websocket_has_a_line_when_it_opens_and_one_when_it_is_over() {
    let server = ws_server(Ws::echo);
    let backend = backend(&server);
    let proxy = proxy(&[&backend, "--access-log=json"]);
    let mut client = Ws::connect(&url(&proxy, "/chat?token=secret"));
    let open = record(&proxy, "open");
    assert_eq!(open["status"], 101);
    assert_eq!(open["path"], "/chat");
    assert_eq!(open["backend"], backend);
    client.text("four");
    client.recv();
    client.close(4001, "enough");
    while client.try_recv().is_some() {}
    let close = record(&proxy, "close");
    assert_eq!(close["id"], open["id"]);
    assert_eq!(close["client"], open["client"]);
    assert_eq!((&close["close"], &close["by"]), (&4001.into(), &"client".into()));
    assert_eq!((&close["messages_in"], &close["messages_out"]), (&1.into(), &1.into()));
    assert!(!proxy.stderr().contains("secret"));
}

#[test]
fn a_request_has_a_line() {
    let server = answers(|_, body| ok(&String::from_utf8_lossy(body)));
    let proxy = proxy(&[&backend(&server), "--access-log"]);
    let request = "POST /a?b=secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   Content-Length: 5\r\n\r\nhello";
    exchange(proxy.port(), request);
    let line = proxy.stderr_line(|line| line.contains("POST"));
    assert!(line.contains(" POST /a 200 in 5B out 5B "), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn a_line_has_the_path_that_the_client_sent() {
    let server = ws_server(Ws::echo);
    let route = format!("strip=/app -> {}", backend(&server));
    let proxy = proxy(&["echo:", "--route", &route, "--access-log=json", "-v"]);
    let mut client = Ws::connect(&url(&proxy, "/app/chat?token=secret"));
    client.close(1000, "");
    while client.try_recv().is_some() {}
    assert_eq!(record(&proxy, "open")["path"], "/app/chat");
    assert_eq!(record(&proxy, "close")["path"], "/app/chat");

    let server = answers(|head, _| ok(head.split(' ').nth(1).unwrap()));
    let route = format!("strip=/app -> {}", backend(&server));
    let proxy = super::proxy(&["echo:", "--route", &route, "--access-log=json", "-v"]);
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n");
    // Each request of a connection has its own.
    let both = get("/app/page?a") + "\r\n" + &get("/other") + "Connection: close\r\n\r\n";
    let answer = exchange(proxy.port(), both);
    assert!(answer.contains("\r\n\r\n/page?a"), "{answer}");
    assert_eq!(record(&proxy, "request")["path"], "/app/page");
    proxy.stderr_line(|line| line.contains("GET /other: 426 "));
}

#[test]
fn figures_tell_the_backends_apart() {
    let server = ws_server(Ws::echo);
    let backend = backend(&server);
    let proxy = proxy(&[&backend, "--admin", "127.0.0.1:0"]);
    let admin = admin(&proxy);
    let mut client = Ws::connect(&url(&proxy, "/"));
    let name = &backend;
    let has = |line: &str| get(admin, "/metrics").lines().any(|it| it == line);
    assert!(has(&format!("towline_backend_live{{backend=\"{name}\"}} 1")));
    assert!(has(&format!("towline_backend_websockets_total{{backend=\"{name}\"}} 1")));
    assert!(has(&format!("towline_backend_handshake_seconds_count{{backend=\"{name}\"}} 1")));
    exchange(proxy.port(), "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(has("towline_refusals_total{status=\"400\"} 1"));
    let answer = get(admin, "/backends");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let backends: Value = serde_json::from_str(body).unwrap();
    assert_eq!(backends[0]["name"], *name);
    assert_eq!(backends[0]["live"], 1);
    assert!(get(admin, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    client.frame(Frame::FIN | Frame::CLOSE, []);
    while client.try_recv().is_some() {}
    drop(client);
    wait_until("the backend has none left", || {
        has(&format!("towline_backend_live{{backend=\"{name}\"}} 0"))
    });
}

#[test]
fn only_programs_of_this_machine_administer() {
    let proxy = proxy(&["echo:", "--admin", "127.0.0.1:0"]);
    let admin = admin(&proxy);
    let foreign = "GET /backends HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(exchange(admin, foreign).starts_with("HTTP/1.1 403 Forbidden\r\n"));
    let page = "POST /drain HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                Connection: close\r\n\r\n";
    assert!(exchange(admin, page).starts_with("HTTP/1.1 403 Forbidden\r\n"));
    let ours = "POST /drain HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(exchange(admin, ours).starts_with("HTTP/1.1 202 Accepted\r\n"));
    proxy.wait().code(0);
}

#[test]
fn an_admin_port_that_is_taken_is_named() {
    let server = ws_server(Ws::echo);
    let taken = format!("127.0.0.1:{}", server.port());
    let run = Towline::new().args(["proxy", ":0", "echo:", "--admin", &taken]).run();
    run.code(4).stderr_has(&taken);
}

#[test]
fn one_backend_is_drained_and_restored() {
    let (a, b) = (ws_server(Ws::echo), ws_server(Ws::echo));
    let backends = [backend(&a), backend(&b)];
    let proxy = proxy(&[&backends[0], &backends[1], "--admin", "127.0.0.1:0", "--drain=10ms"]);
    let admin = admin(&proxy);
    let post = |path: &str| {
        let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        exchange(admin, format!("POST {path} HTTP/1.1\r\n{head}"))
    };
    let told = || -> Value {
        serde_json::from_str(get(admin, "/backends").split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let (mut one, mut other) = (Ws::connect(&url(&proxy, "/")), Ws::connect(&url(&proxy, "/")));
    // Either name will do, and what was written is shown.
    let name = format!("ws://127.0.0.1:{}", a.port());
    let answer = post(&format!("/backends/drain?name={name}"));
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    assert_eq!(one.until_close(), 1012);
    proxy.stderr_line(|line| line.starts_with(&backends[0]) && line.contains("drained"));
    assert_eq!(told()[0]["state"], "draining");
    // The other one has them all, and keeps what it had.
    other.text("still here");
    assert_eq!(other.recv().text(), "still here");
    let _more: Vec<_> = (0..3).map(|_| Ws::connect(&url(&proxy, "/"))).collect();
    assert_eq!(told()[1]["live"], 4);
    post(&format!("/backends/restore?name={}", backends[0]));
    assert_eq!(told()[0]["state"], "up");
    let _back = Ws::connect(&url(&proxy, "/"));
    for path in ["/backends/drain?name=ws://127.0.0.1:1", "/backends/drain"] {
        assert!(post(path).starts_with("HTTP/1.1 404 Not Found\r\n"));
    }
}

#[test]
fn a_client_that_leaves_before_its_101_is_counted_out() {
    let (asked, heard) = channel();
    let (left, waits) = channel();
    let waits = Mutex::new(waits);
    let server = tcp_server(move |stream| {
        asked.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
        drop(Ws::accept(stream));
    });
    let proxy = proxy(&[&backend(&server), "--access-log=json"]);
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    heard.recv().unwrap();
    // So much that nobody looks at what comes after it. It is more than the sockets hold.
    client.set_nonblocking(true).unwrap();
    while client.write(&[0; 64 << 10]).is_ok() {}
    // A reset, which the kernel notes though nobody reads.
    set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    left.send(()).unwrap();
    let (open, close) = (record(&proxy, "open"), record(&proxy, "close"));
    assert_eq!(close["id"], open["id"]);
    assert_eq!(close["error"], "gone before the 101");
}
