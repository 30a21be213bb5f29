pub(crate) mod attacks;
mod balance;
mod config;
mod faults;
mod forwarded;
mod health;
mod limits;
mod plain;
mod routes;
mod sight;
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::process::Signal;

use crate::support::{
    self, ClosedPort, Frame, Running, Server, Towline, Ws, exchange, tcp_server, ws_server,
};

/// A proxy on a free port in front of these backends, and more flags.
#[track_caller]
fn proxy(args: &[&str]) -> Running {
    let running = Towline::new().args(["proxy", "127.0.0.1:0"]).args(args).spawn();
    running.ready();
    running
}

fn url(proxy: &Running, path: &str) -> String {
    format!("ws://127.0.0.1:{}{path}", proxy.port())
}

fn backend(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port())
}

/// Reads a request with its body of a known length, and answers it for as long as there are some.
fn answers(answer: impl Fn(&str, &[u8]) -> String + Send + Sync + 'static) -> Server {
    tcp_server(move |mut stream| {
        while let Some((head, body)) = read_request(&mut stream) {
            if stream.write_all(answer(&head, &body).as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_websocket_goes_through_in_both_directions() {
    let server = ws_server(|mut ws| {
        assert!(ws.head.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{}", ws.head);
        ws.text("you are in");
        let close = loop {
            let frame = ws.recv();
            if frame.opcode() == Frame::CLOSE {
                break frame;
            }
            ws.frame(frame.first, &frame.payload);
        };
        ws.close(close.code(), "so long");
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = Ws::connect(&url(&proxy, "/chat?a=b"));
    assert_eq!(client.recv().text(), "you are in");
    for len in [0, 125, 126, 0xffff, 0x1_0000, 300_000] {
        client.binary(support::noise(len / 4 * 4));
        assert!(client.recv().payload == support::noise(len / 4 * 4), "{len}");
    }
    client.close(4001, "enough");
    let close = client.recv();
    assert_eq!((close.code(), close.reason()), (4001, "so long"));
    assert_eq!(client.try_recv(), None);
}

#[test]
fn plain_requests_go_through_and_connections_are_kept() {
    let server = answers(|head, body| {
        let line = head.lines().next().unwrap();
        ok(&format!("{line} {}", String::from_utf8_lossy(body)))
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_read_timeout(Some(support::DEADLINE)).unwrap();
    for (request, want) in [
        ("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a HTTP/1.1 "),
        ("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST /b HTTP/1.1 hello"),
        ("GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /c HTTP/1.1 "),
    ] {
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !answer.ends_with(want.as_bytes()) {
            let len = client.read(&mut chunk).unwrap();
            assert!(len > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..len]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn bodies_are_framed_anew() {
    let server = tcp_server(|mut stream| {
        let (head, _) = read_request(&mut stream).unwrap();
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        let mut body = Vec::new();
        let mut chunk = [0; 64];
        while !body.ends_with(b"0\r\n\r\n") {
            let len = stream.read(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..len]);
        }
        let body = String::from_utf8(body).unwrap();
        assert!(!body.contains("ext"), "{body}");
        // The end of the connection is the end of this body.
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nto the end").unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    });
    let proxy = proxy(&[&backend(&server)]);
    let request = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;ext=1\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n";
    let answer = exchange(proxy.port(), request);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\na\r\nto the end\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn heads_say_who_asked_and_nothing_of_the_other_connection() {
    let server = answers(|head, _| ok(head));
    let backend = backend(&server);
    let proxy = proxy(&[&backend, "--set-header", "X-Set: by us", "--set-header", "X-Gone:"]);
    let request = "GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n\
                   Keep-Alive: 3\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\
                   X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Gone: 1\r\nX-Kept: 1\r\n\r\n";
    let answer = exchange(proxy.port(), request);
    for there in [
        "Host: site.example\r\n",
        "X-Kept: 1\r\n",
        "X-Set: by us\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-Host: site.example\r\n",
        "X-Forwarded-Proto: http\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
    ] {
        assert!(answer.contains(there), "{there:?} is missing: {answer}");
    }
    for gone in ["X-Mine", "Keep-Alive", "TE:", "Upgrade", "HTTP2", "6.6.6.6", "X-Gone"] {
        assert!(!answer.contains(gone), "{gone:?} is there: {answer}");
    }
}

#[test]
fn a_backend_that_is_away_is_passed_over() {
    let away = ClosedPort::new();
    let server = ws_server(Ws::echo);
    let proxy = proxy(&[&format!("http://127.0.0.1:{}*1000", away.port), &backend(&server)]);
    let mut client = Ws::connect(&url(&proxy, "/"));
    client.text("still here");
    assert_eq!(client.recv().text(), "still here");
    proxy.stderr_line(|line| line.contains("connection refused"));
}

#[test]
fn without_a_backend_it_is_said_so() {
    let away = ClosedPort::new();
    let proxy = proxy(&[&format!("http://127.0.0.1:{}", away.port)]);
    let answer = exchange(proxy.port(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
}

#[test]
fn what_does_not_speak_http_is_joined_to() {
    let proxy = proxy(&["echo:you said "]);
    let mut client = Ws::connect(&url(&proxy, "/"));
    client.text("hello");
    assert_eq!(client.recv().text(), "you said hello");
    let answer = exchange(proxy.port(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
}

#[test]
fn addresses_that_make_no_sense_are_refused() {
    for (args, what) in [
        (&["127.0.0.1:0*2", ":1"][..], "where to listen has no weight"),
        (&["exec:cat", ":1"], "cannot listen"),
        (&["ws://:0/path", ":1"], "a proxy listens for every path"),
        (&[":0", "socks5://127.0.0.1:1"], "is a hop to dial through"),
        (&[":0", "http://"], "`http://` names no host; this machine is `http://localhost`"),
        (&[":0", "wss://"], "`wss://` names no host"),
        (&[":0", "https://a:secret@"], "`https://***@` names no host"),
        (&[":0", ":1", "--route", "host=a -> http://"], "`http://` names no host"),
        (&["http://", ":1"], "`http://` names no host"),
        (&[":0", "http:///x"], "`http:///x` names no host"),
        (&[":0", ":1*0"], "a weight is 1 to 1000"),
        (&[":0", ":1", "-H", "A: b"], "--header needs a WebSocket to connect to"),
    ] {
        Towline::new().arg("proxy").args(args).run().code(2).stderr_has(what);
    }
}

#[test]
fn websockets_are_told_when_the_proxy_ends() {
    let server = ws_server(Ws::echo);
    let proxy = proxy(&[&backend(&server), "--access-log=json"]);
    let mut client = Ws::connect(&url(&proxy, "/"));
    client.text("x");
    client.recv();
    proxy.signal(Signal::TERM);
    assert_eq!(client.recv().code(), 1001);
    client.close(1001, "");
    proxy.stderr_line(|line| line.contains(r#""event":"close""#) && line.contains("1001"));
    proxy.wait().code(0);
}
