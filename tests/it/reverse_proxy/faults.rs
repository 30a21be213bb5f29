//! What those who fail, stall or leave do to the others.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::Signal;

use super::{backend, proxy, url};
use crate::support::{
    DEADLINE, Frame, Running, Server, Towline, Ws, exchange, noise, port, tcp_server, wait_until,
    ws_server,
};

/// The port of `--admin`.
fn admin(proxy: &Running) -> u16 {
    let line = proxy.stderr_line(|line| line.contains("/metrics"));
    port(line.rsplit(' ').next().unwrap())
}

fn post(port: u16, path: &str) {
    let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = exchange(port, request);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}

/// A proxy before this server, and one that can be reached through TLS only, behind another one.
fn both_tiers(server: &Server) -> [Vec<Running>; 2] {
    let tls = Towline::new().args(["proxy", "https://127.0.0.1:0", "--tls-self-signed"]);
    let tls = tls.arg(backend(server)).spawn();
    let inner = format!("https://127.0.0.1:{}", port(&tls.address()));
    [vec![proxy(&[&backend(server)])], vec![proxy(&[&inner, "--insecure"]), tls]]
}

/// Has a message echoed until the Close, answers that, and returns its code.
fn echoed(ws: &mut Ws, message: &[u8]) -> u16 {
    loop {
        // A Close may be there already, and what is written after it is lost.
        let frame = ws.encode(Frame::FIN | Frame::BINARY, message);
        let _ = ws.stream.write_all(&frame);
        let frame = ws.recv();
        if frame.opcode() == Frame::CLOSE {
            let _ = ws.stream.write_all(&ws.encode(frame.first, &frame.payload));
            return frame.code();
        }
        assert!(frame.payload == message);
    }
}

#[test]
fn all_of_many_are_told_when_the_proxy_ends() {
    const CLIENTS: usize = 200;
    let server = Towline::serve(["127.0.0.1:0", "echo:"]);
    let backend = format!("ws://127.0.0.1:{}", server.port());
    for by_signal in [true, false] {
        let flags = ["--admin=127.0.0.1:0", "--drain=1s", "--access-log=json"];
        let proxy = proxy(&[&[&*backend], &flags[..]].concat());
        let all: Vec<_> = (0..CLIENTS).map(|_| Ws::connect(&url(&proxy, "/"))).collect();
        let talks = |(i, mut ws): (usize, Ws)| {
            thread::spawn(move || {
                // Every other one is quiet.
                if i % 2 == 0 { echoed(&mut ws, &noise(400 * i)) } else { ws.until_close() }
            })
        };
        let all: Vec<_> = all.into_iter().enumerate().map(talks).collect();
        match by_signal {
            true => proxy.signal(Signal::TERM),
            false => post(admin(&proxy), "/drain"),
        }
        for client in all {
            assert_eq!(client.join().unwrap(), 1001);
        }
        let ended = proxy.wait();
        ended.code(0);
        let closed = |line: &&str| line.contains(r#""event":"close""#) && line.contains("1001");
        assert_eq!(ended.stderr.lines().filter(closed).count(), CLIENTS);
    }
}

#[test]
fn a_message_that_is_under_way_comes_before_the_goodbye() {
    let (go_on, told) = channel();
    let told = Mutex::new(told);
    let server = ws_server(move |mut ws| {
        let message = noise(300_000);
        let frame = ws.encode(Frame::FIN | Frame::BINARY, &message);
        let (first, rest) = frame.split_at(100_000);
        ws.stream.write_all(first).unwrap();
        told.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        ws.stream.write_all(rest).unwrap();
        assert!(ws.recv().payload == message);
        assert_eq!(ws.until_close(), 1012);
    });
    let backend = backend(&server);
    let proxy = proxy(&[&backend, "--admin=127.0.0.1:0", "--drain=0"]);
    let mut ws = Ws::connect(&url(&proxy, "/"));
    let message = noise(300_000);
    let frame = ws.encode(Frame::FIN | Frame::BINARY, &message);
    let (first, rest) = frame.split_at(100_000);
    ws.stream.write_all(first).unwrap();
    let mut byte = [0];
    ws.stream.peek(&mut byte).unwrap();
    post(admin(&proxy), &format!("/backends/drain?name=ws://127.0.0.1:{}", server.port()));
    go_on.send(()).unwrap();
    ws.stream.write_all(rest).unwrap();
    assert!(ws.recv().payload == message);
    assert_eq!(ws.until_close(), 1012);
}

/// Has a conversation, and checks every word of it, until the other side is gone or it is enough.
fn talk(ws: &mut Ws, name: &str, enough: &AtomicBool) -> usize {
    let mut said = 0;
    while !enough.load(SeqCst) {
        let text = format!("{said:0>0$}", said % 5000);
        let frame = ws.encode(Frame::FIN | Frame::TEXT, text.as_bytes());
        if ws.stream.write_all(&frame).is_err() {
            break;
        }
        let Some(frame) = ws.try_recv() else { break };
        assert_eq!(frame.text(), format!("{name}{text}"));
        said += 1;
    }
    said
}

/// A WebSocket, and the name of the backend that it has come to.
fn open(proxy: &Running) -> (Ws, String) {
    let mut ws = Ws::connect(&url(proxy, "/"));
    ws.text("");
    let name = ws.recv().text().to_owned();
    (ws, name)
}

#[test]
fn a_backend_that_is_killed_takes_its_clients_along_and_nobody_else() {
    let servers = ["a ", "b "].map(|name| Towline::serve(["127.0.0.1:0", &format!("echo:{name}")]));
    let backends = [0, 1].map(|i| format!("ws://127.0.0.1:{}", servers[i].port()));
    let proxy = proxy(&[&backends[0], &backends[1], "--access-log=json"]);
    let all: Vec<_> = (0..20).map(|_| open(&proxy)).collect();
    let enough = Arc::new(AtomicBool::new(false));
    let (busy, began) = channel();
    let (theirs, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .map(|(mut ws, name)| {
            let (enough, busy, of) = (enough.clone(), busy.clone(), name.clone());
            let thread = thread::spawn(move || {
                ws.text("go");
                ws.recv();
                busy.send(()).unwrap();
                let said = talk(&mut ws, &name, &enough);
                (said, ws)
            });
            (of, thread)
        })
        .partition(|(name, _)| name == "a ");
    assert_eq!((theirs.len(), others.len()), (10, 10));
    (0..20).for_each(|_| began.recv().unwrap());
    servers[0].signal(Signal::KILL);
    for (_, client) in theirs {
        // It is over before the others have had enough.
        client.join().unwrap();
        assert!(!enough.load(SeqCst));
    }
    for _ in 0..10 {
        assert_eq!(open(&proxy).1, "b ");
    }
    enough.store(true, SeqCst);
    for (_, client) in others {
        let (_, mut ws) = client.join().unwrap();
        ws.text("still here");
        assert_eq!(ws.recv().text(), "b still here");
    }
}

#[test]
fn a_backend_that_is_frozen_gets_nobody_and_keeps_those_it_has() {
    let servers = ["a ", "b "].map(|name| Towline::serve(["127.0.0.1:0", &format!("echo:{name}")]));
    let backends = [0, 1].map(|i| format!("ws://127.0.0.1:{}", servers[i].port()));
    let flags =
        ["--balance=round-robin", "--handshake-timeout=1s", "--max-fails=1", "--fail-pause=1m"];
    let proxy = proxy(&[&[&*backends[0], &backends[1]], &flags[..]].concat());
    let both = [open(&proxy), open(&proxy)];
    let (mut ws, _) = both.into_iter().find(|(_, name)| name == "a ").unwrap();
    servers[0].signal(Signal::STOP);
    ws.text("are you there?");
    for _ in 0..5 {
        assert_eq!(open(&proxy).1, "b ");
    }
    proxy.stderr_line(|line| line.contains("no answer after 1s"));
    servers[0].signal(Signal::CONT);
    assert_eq!(ws.recv().text(), "a are you there?");
}

/// More than all sockets between two ends hold.
const MUCH: usize = 32 << 20;

/// Writes much, notes when nobody takes it for a while, and goes on.
fn pour(ws: &mut Ws, stalled: &AtomicUsize) {
    let mut rest = &*ws.encode(Frame::FIN | Frame::BINARY, &noise(MUCH));
    ws.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while !rest.is_empty() {
        match ws.stream.write(rest) {
            Ok(len) => rest = &rest[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stalled.store(MUCH - rest.len().min(MUCH), SeqCst);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn who_does_not_read_is_waited_for_and_holds_nobody_up() {
    let stalled = Arc::new(AtomicUsize::new(0));
    let (pours, go_on) = (stalled.clone(), Arc::new(AtomicBool::new(false)));
    let may_read = go_on.clone();
    let server = ws_server(move |mut ws| match &*ws.recv().payload {
        b"pour" => {
            pour(&mut ws, &pours);
            assert_eq!(ws.until_close(), 1000);
        }
        b"take" => {
            wait_until("it may read", || may_read.load(SeqCst));
            assert!(ws.recv().payload == noise(MUCH));
            ws.text("taken");
            assert_eq!(ws.until_close(), 1000);
        }
        _ => ws.echo(),
    });
    for proxies in both_tiers(&server) {
        for what in ["pour", "take"] {
            stalled.store(0, SeqCst);
            go_on.store(false, SeqCst);
            let mut neighbour = Ws::connect(&url(&proxies[0], "/"));
            neighbour.text("echo");
            let before: Vec<_> = proxies.iter().map(|proxy| proxy.memory("VmHWM")).collect();
            let mut ws = Ws::connect(&url(&proxies[0], "/"));
            ws.text(what);
            let (stalls, may_go_on) = (stalled.clone(), go_on.clone());
            let client = thread::spawn(move || {
                match what {
                    "pour" => {
                        wait_until("it may read", || may_go_on.load(SeqCst));
                        assert!(ws.recv().payload == noise(MUCH));
                    }
                    _ => {
                        pour(&mut ws, &stalls);
                        assert_eq!(ws.recv().text(), "taken");
                    }
                }
                ws.close(1000, "");
                assert_eq!(ws.recv().code(), 1000);
            });
            wait_until("it is stalled", || stalled.load(SeqCst) > 0);
            for i in 0..100 {
                neighbour.binary(noise(i * 400));
                assert!(neighbour.recv().payload == noise(i * 400));
            }
            for (proxy, before) in proxies.iter().zip(before) {
                let now = proxy.memory("VmHWM");
                assert!(now < before + (8 << 10), "{now} KiB after {before}");
            }
            go_on.store(true, SeqCst);
            client.join().unwrap();
        }
    }
}

/// Descriptors and threads of a process.
fn held(proxy: &Running) -> [usize; 2] {
    let count = |what| {
        let folder = format!("/proc/{}/{what}", proxy.pid().as_raw_nonzero());
        fs::read_dir(folder).unwrap().count()
    };
    [count("fd"), count("task")]
}

#[test]
fn sessions_leave_nothing_behind() {
    let server = Towline::serve(["127.0.0.1:0", "echo:"]);
    let backend = format!("ws://127.0.0.1:{}", server.port());
    let proxy = proxy(&[&backend]);
    let sessions = |count| {
        for i in 0..count {
            let mut ws = Ws::connect(&url(&proxy, "/"));
            ws.text("hello");
            assert_eq!(ws.recv().text(), "hello");
            match i % 4 {
                0 => ws.hang_up(),
                1 => ws.reset(),
                2 => drop(exchange(proxy.port(), "GET / HTTP/1.1\r\n\r\n")),
                _ => {
                    ws.close(1000, "");
                    assert_eq!(ws.recv().code(), 1000);
                }
            }
        }
    };
    let before = held(&proxy);
    sessions(500);
    let memory = proxy.memory("VmRSS");
    sessions(2000);
    wait_until("all is given back", || held(&proxy) == before);
    assert!(proxy.memory("VmRSS") < memory + 2048, "{} KiB after {memory}", proxy.memory("VmRSS"));
}

/// A backend that hears a request, tells of that, and says nothing until its client has left; then
/// it tells of that, too.
fn thinking() -> (Server, Receiver<()>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = tcp_server(move |mut stream| {
        let mut heard = Vec::new();
        let mut chunk = [0; 4096];
        let has = |heard: &[u8], what: &[u8]| heard.windows(what.len()).any(|it| it == what);
        while !heard.ends_with(b"\r\n\r\n") || has(&heard, b"Content-Length: 5") {
            if heard.ends_with(b"hello") {
                break;
            }
            let len = stream.read(&mut chunk).unwrap();
            assert!(len > 0, "the proxy leaves by itself");
            heard.extend_from_slice(&chunk[..len]);
        }
        tell.lock().unwrap().send(()).unwrap();
        assert!(!matches!(stream.read(&mut chunk), Ok(1..)));
        tell.lock().unwrap().send(()).unwrap();
    });
    (server, told)
}

#[test]
fn a_client_that_leaves_while_a_backend_thinks_is_noticed() {
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (method, fields, body) in [
        ("GET", "", ""),
        ("POST", "Content-Length: 5\r\n", "hello"),
        // The next request is there already.
        ("GET", "", "GET /next HTTP/1.1\r\n"),
        ("GET", upgrade, ""),
    ] {
        for reset in [false, true] {
            let (server, told) = thinking();
            let flags = ["--http-timeout=inf", "--handshake-timeout=1h", "--access-log=json"];
            let proxy = proxy(&[&[&*backend(&server)], &flags[..]].concat());
            let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
            let head = format!("{method} /slow?secret HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            client.write_all((head + body).as_bytes()).unwrap();
            told.recv_timeout(DEADLINE).unwrap();
            if reset {
                set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            told.recv_timeout(DEADLINE).expect("the backend is told");
            let line = proxy.stderr_line(|line| line.contains("has left"));
            for part in
                [r#""path":"/slow""#, r#""by":"client""#, &format!(r#""method":"{method}""#)]
            {
                assert!(line.contains(part), "no {part}: {line}");
            }
            assert!(!line.contains("status"), "{line}");
            assert!(!proxy.stderr().contains("failures"), "{}", proxy.stderr());
        }
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_is_noticed() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = tcp_server(move |mut stream| {
        super::read_request(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(head.as_bytes()).unwrap();
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        tell.lock().unwrap().send(()).unwrap();
    });
    let proxy = proxy(&[&backend(&server), "--http-timeout=inf", "--access-log=json"]);
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"data: 1\n\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    drop(client);
    told.recv_timeout(DEADLINE).expect("the backend is told");
    let line = proxy.stderr_line(|line| line.contains("has left"));
    assert!(line.contains(r#""status":200"#) && line.contains(r#""by":"client""#), "{line}");
}

#[test]
fn a_client_that_has_only_ended_its_own_direction_has_its_answer() {
    let server = tcp_server(|mut stream| {
        super::read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nat ");
        let _ = stream.write_all(b"last...");
    });
    let proxy = proxy(&[&backend(&server)]);
    for fields in ["", "Connection: close\r\n"] {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("at last..."), "{answer}");
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_for_its_turn_is_noticed() {
    let server = ws_server(Ws::echo);
    let flags = ["--max-per-backend=1", "--queue-timeout=inf", "--access-log=json"];
    let proxy = proxy(&[&[&*backend(&server)], &flags[..]].concat());
    let first = Ws::connect(&url(&proxy, "/"));
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, fields) in [("/plain", ""), ("/socket", upgrade)] {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        client.write_all(head.as_bytes()).unwrap();
        drop(client);
        let line = proxy.stderr_line(|line| line.contains("has left") && line.contains(path));
        assert!(line.contains(r#""backend":"-""#), "{line}");
    }
    first.hang_up();
}
