use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{answers, backend, ok, proxy, read_request, url};
use crate::support::{
    ClosedPort, Frame, Running, Server, Towline, Ws, answer_http, exchange, tcp_server, wait_until,
    ws_server,
};

/// What a server does with a connection.
type Serve = fn(TcpStream);

/// A server that can be broken, and counts who comes.
struct Moody {
    server: Server,
    asked: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Moody {
    /// Broken at first: it does this with a connection.
    fn new(broken: Serve) -> Self {
        let (asked, is_broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (counter, switch) = (asked.clone(), is_broken.clone());
        let server = tcp_server(move |mut stream| {
            if switch.load(Ordering::SeqCst) {
                counter.fetch_add(1, Ordering::SeqCst);
                return broken(stream);
            }
            if read_request(&mut stream).is_some() {
                counter.fetch_add(1, Ordering::SeqCst);
                std::io::Write::write_all(&mut stream, closing("moody").as_bytes()).unwrap();
            }
        });
        Self { server, asked, broken: is_broken }
    }

    fn heavy(&self) -> String {
        format!("{}*1000", backend(&self.server))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn repair(&self) {
        self.broken.store(false, Ordering::SeqCst);
    }
}

fn closing(body: &str) -> String {
    ok(body).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
}

fn get(proxy: &Running) -> String {
    exchange(proxy.port(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn unavailable(stream: TcpStream) {
    answer_http(stream, "HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

fn hanging_up(mut stream: TcpStream) {
    read_request(&mut stream);
}

/// Accepts, and never says anything.
fn silent(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

#[test]
fn a_backend_that_fails_is_left_out() {
    let good = answers(|_, _| ok("good"));
    let cases: [(Serve, &str); 3] = [
        (hanging_up, "closed without an HTTP answer"),
        (unavailable, "HTTP 503"),
        (silent, "no answer after"),
    ];
    for (broken, why) in cases {
        let moody = Moody::new(broken);
        let backends = [&*moody.heavy(), &*backend(&good)];
        let flags = ["--max-fails=2", "--fail-pause=1h", "--http-timeout=1s"];
        let proxy = proxy(&[&backends[..], &flags].concat());
        (0..10).for_each(|_| drop(get(&proxy)));
        assert!(get(&proxy).ends_with("good"));
        assert_eq!(moody.asked(), 2, "{why}");
        let said = proxy.stderr();
        assert_eq!(said.matches("left out for").count(), 1, "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn handshakes_that_fail_count_too() {
    let good = ws_server(Ws::echo);
    let cases: [(Serve, &str); 3] = [
        (|it| answer_http(it, "HTTP/1.1 101 Sure\r\n\r\n"), "a 101 that does not upgrade"),
        (unavailable, "HTTP 503"),
        (silent, "--handshake-timeout"),
    ];
    for (broken, why) in cases {
        let moody = Moody::new(broken);
        let proxy = proxy(&[
            &moody.heavy(),
            &backend(&good),
            "--max-fails=2",
            "--fail-pause=1h",
            "--handshake-timeout=1s",
        ]);
        (0..5).for_each(|_| drop(Ws::try_connect(&url(&proxy, "/"), "")));
        Ws::connect(&url(&proxy, "/")).hang_up();
        assert_eq!(moody.asked(), 2, "{why}");
        proxy.stderr_line(|it| it.contains(why) && it.contains("left out for"));
    }
}

#[test]
fn what_does_not_speak_http_is_left_out_where_it_cannot_be_connected_to() {
    let closed = ClosedPort::new();
    let address = format!("tcp://127.0.0.1:{}", closed.port);
    let greeted = |proxy: &Running| {
        let mut ws = Ws::connect(&url(proxy, "/"));
        ws.text("hello");
        ws.recv()
    };
    for (bad, why) in [(&*address, "connection refused"), ("exec:/no/such/program", "no such")] {
        let heavy = format!("{bad}*1000");
        let proxy = proxy(&[&heavy, "echo:good ", "--max-fails=2", "--fail-pause=1h"]);
        let closed = (0..10).filter(|_| greeted(&proxy).opcode() == Frame::CLOSE).count();
        assert_eq!(closed, 2, "{}", proxy.stderr());
        proxy.stderr_line(|it| it.to_lowercase().contains(why) && it.contains("left out for"));
        for _ in 0..5 {
            assert_eq!(greeted(&proxy).text(), "good hello");
        }
    }

    let proxy = proxy(&[&address, "--max-fails=1", "--fail-pause=20ms"]);
    assert_eq!(greeted(&proxy).opcode(), Frame::CLOSE);
    let _server = Towline::serve([&address, "echo:"]);
    wait_until("it is there", || {
        Ws::try_connect(&url(&proxy, "/"), "").head.starts_with("HTTP/1.1 101 ")
    });
    proxy.stderr_line(|it| it.ends_with(" is back"));
}

#[test]
fn a_client_that_has_a_backend_goes_to_it_though_it_is_warming_up() {
    let good = answers(|_, _| closing("good"));
    let moody = Moody::new(hanging_up);
    let backends = [&*moody.heavy(), &*backend(&good)];
    let flags = ["--max-fails=1", "--fail-pause=20ms", "--slow-start=inf", "--balance=sticky"];
    let proxy = proxy(&[&backends[..], &flags].concat());
    moody.repair();
    let mine = get(&proxy);
    assert!(mine.ends_with("moody"), "{mine}");
    let (_, cookie) = mine.split_once("Set-Cookie: ").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    moody.broken.store(true, Ordering::SeqCst);
    wait_until("it is left out", || {
        assert!(get(&proxy).ends_with("good"));
        proxy.stderr().contains("left out for")
    });
    moody.repair();
    wait_until("it is back", || {
        get(&proxy);
        proxy.stderr().contains(" is back")
    });
    for _ in 0..10 {
        assert!(get(&proxy).ends_with("good"), "it is cold to those who are new");
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n");
        let mine = exchange(proxy.port(), head + "Connection: close\r\n\r\n");
        assert!(mine.ends_with("moody"), "{mine}");
    }
}

#[test]
fn a_backend_that_is_left_out_is_tried_again() {
    let good = answers(|_, _| ok("good"));
    let moody = Moody::new(hanging_up);
    let backends = [&*moody.heavy(), &*backend(&good)];
    let proxy = proxy(&[&backends[..], &["--max-fails=1", "--fail-pause=20ms"]].concat());
    // Nobody notices, though it is tried in vain.
    wait_until("it has been tried", || {
        assert!(get(&proxy).ends_with("good"));
        moody.asked() > 2
    });
    moody.repair();
    wait_until("it is back", || get(&proxy).ends_with("moody"));
    proxy.stderr_line(|it| it.ends_with(" is back"));
    assert_eq!(proxy.stderr().matches("left out for").count(), 1, "{}", proxy.stderr());
}

#[test]
fn a_backend_that_comes_back_is_spared_at_first() {
    let good = answers(|_, _| closing("good"));
    let moody = Moody::new(hanging_up);
    let backends = [&*moody.heavy(), &*backend(&good)];
    let flags = ["--max-fails=1", "--fail-pause=20ms", "--slow-start=inf"];
    let proxy = proxy(&[&backends[..], &flags].concat());
    get(&proxy);
    moody.repair();
    wait_until("it is back", || {
        get(&proxy);
        proxy.stderr().contains(" is back")
    });
    let before = moody.asked();
    (0..20).for_each(|_| assert!(get(&proxy).ends_with("good")));
    assert_eq!(moody.asked(), before);
    // Where there is no other it is good enough.
    drop(good);
    wait_until("it is asked", || get(&proxy).ends_with("moody"));
}

#[test]
fn the_last_backend_is_asked_as_long_as_it_can_be_reached() {
    let moody = Moody::new(unavailable);
    let proxy = proxy(&[&backend(&moody.server), "--max-fails=1", "--fail-pause=1h"]);
    for _ in 0..5 {
        assert!(get(&proxy).starts_with("HTTP/1.1 503 Not Now\r\n"));
    }
    assert_eq!(moody.asked(), 5);
}

#[test]
fn where_none_can_be_reached_clients_are_told_to_come_back() {
    let (one, two) = (ClosedPort::new(), ClosedPort::new());
    let backends = [&one, &two].map(|it| format!("ws://127.0.0.1:{}", it.port));
    let all = [&backends[0], &backends[1], "--max-fails=1", "--fail-pause=1h"];
    let proxy_of_none = proxy(&all);
    assert!(get(&proxy_of_none).starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    let answer = get(&proxy_of_none);
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("Retry-After: "), "{answer}");
    let ws = Ws::try_connect(&url(&proxy_of_none, "/"), "");
    assert!(ws.head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{}", ws.head);

    // But not for longer than it takes.
    let proxy = proxy(&[&backends[0], "--max-fails=1", "--fail-pause=20ms"]);
    get(&proxy);
    let _server = Towline::serve([&backends[0], "echo:"]);
    wait_until("it is there", || {
        Ws::try_connect(&url(&proxy, "/"), "").head.starts_with("HTTP/1.1 101 ")
    });
}

/// Flags for checks that do not let anybody wait.
const QUICK: [&str; 3] = ["--health-interval=10ms", "--health-rise=1", "--health-fall=1"];

#[test]
fn a_check_takes_a_backend_out_and_brings_it_back() {
    let good = answers(|_, _| ok("good"));
    let healthy = Arc::new(AtomicBool::new(false));
    let switch = healthy.clone();
    let checked =
        answers(move |head, _| match head.starts_with("GET /base/healthz HTTP/1.1\r\n") {
            true if switch.load(Ordering::SeqCst) => closing("fine"),
            true => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            false => ok("checked"),
        });
    let backends = [format!("{}/base*1000", backend(&checked)), format!("{}/base", backend(&good))];
    let backends = [&*backends[0], &*backends[1]];
    let flags = [&["--health=http:/healthz", "--slow-start=0"], &QUICK[..]].concat();
    let proxy = proxy(&[&backends[..], &flags].concat());
    proxy.stderr_line(|it| it.ends_with(" is down: HTTP 500 to a check"));
    (0..5).for_each(|_| assert!(get(&proxy).ends_with("good")));
    healthy.store(true, Ordering::SeqCst);
    proxy.stderr_line(|it| it.ends_with(" is up"));
    assert!(get(&proxy).ends_with("checked"));
    healthy.store(false, Ordering::SeqCst);
    wait_until("it is down again", || proxy.stderr().matches(" is down: ").count() > 1);
    assert!(get(&proxy).ends_with("good"));
}

#[test]
fn every_kind_of_check_finds_out() {
    const SILENCE: &str = "no answer to a check";
    let away = ClosedPort::new();
    let away = format!("ws://127.0.0.1:{}", away.port);
    let silent = tcp_server(silent);
    let wrong = tcp_server(|stream| {
        answer_http(
            stream,
            "HTTP/1.1 101 Sure\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: bm9uc2Vuc2Ugbm9uc2Vuc2Ugbm8=\r\n\r\n",
        );
    });
    let mute = ws_server(|mut ws| while ws.try_recv().is_some() {});
    let echo = ws_server(Ws::echo);
    for (check, backend, why) in [
        ("tcp", &away, "connection refused"),
        ("http:/", &away, "connection refused"),
        ("http:/", &away.replace("ws", "tcp"), "connection refused"),
        ("ws:/", &away, "connection refused"),
        ("http:/", &backend(&silent), SILENCE),
        ("ws:/", &backend(&silent), SILENCE),
        ("ws:/", &backend(&wrong), "does not match the key"),
        ("ws:/:ping=ping", &backend(&mute), SILENCE),
        ("ws:/:ping=pong", &backend(&echo), SILENCE),
    ] {
        // What never comes is not waited for.
        let patience = if why == SILENCE { "1s" } else { "10s" };
        let flags = ["--health", check, "--health-timeout", patience];
        let proxy = proxy(&[&[&**backend], &flags[..], &QUICK].concat());
        proxy.stderr_line(|it| it.contains(" is down: ") && it.contains(why));
        let answer = get(&proxy);
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{check}: {answer}");
        assert!(answer.contains("Retry-After: "), "{check}: {answer}");
    }
}

#[test]
fn every_kind_of_check_is_content_with_what_is_well() {
    let closed = ClosedPort::new();
    let address = format!("ws://127.0.0.1:{}/base", closed.port);
    for check in ["tcp", "ws:/x", "ws:/x:ping=said ping"] {
        let proxy = proxy(&[&[&*address, "--health", check], &QUICK[..]].concat());
        proxy.stderr_line(|it| it.contains(" is down: "));
        // The path of a check follows that of the backend, as those of requests do.
        let server = Towline::serve(["-v", &format!("{address}/x"), "echo:you said "]);
        proxy.stderr_line(|it| it.ends_with(" is up"));
        let said = server.stderr();
        assert!(!said.contains("lost"), "{check}: {said}");
        drop(server);
        wait_until("it is missed", || proxy.stderr().matches(" is down: ").count() > 1);
    }
}

#[test]
fn a_backend_is_not_down_where_nobody_checks_it_any_more() {
    let server = answers(|head, _| match head.starts_with("GET /healthz ") {
        true => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(),
        false => ok("served"),
    });
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("proxy.toml");
    let write = |more: &str| {
        let text = format!("listen = '127.0.0.1:0'\nbackend = '{}'\n{more}", backend(&server));
        fs::write(&file, text).unwrap();
    };
    write("health = 'http:/healthz'\n");
    let proxy = Towline::new().args(["proxy", "--config"]).arg(&file).spawn();
    proxy.stderr_line(|it| it.contains(" is down: "));
    write("");
    proxy.signal(Signal::HUP);
    wait_until("it is asked again", || get(&proxy).ends_with("served"));
}

#[test]
fn a_check_says_goodbye() {
    let closes = Arc::new(AtomicUsize::new(0));
    let counter = closes.clone();
    let server = ws_server(move |mut ws| {
        while let Some(frame) = ws.try_recv() {
            ws.frame(frame.first, &frame.payload);
            if frame.opcode() == Frame::CLOSE {
                assert_eq!(frame.code(), 1000);
                counter.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
    });
    let _proxy = proxy(&[&[&*backend(&server), "--health=ws:/:a=a"], &QUICK[..]].concat());
    wait_until("several have closed", || closes.load(Ordering::SeqCst) > 2);
}
