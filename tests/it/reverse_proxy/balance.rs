use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{answers, backend, ok, proxy, url};
use crate::support::{
    Running, Server, Towline, Ws, answer_http, exchange, tcp_server, wait_until, ws_server,
};

/// A server that answers plain requests with its name.
fn named(name: &'static str) -> Server {
    answers(move |_, _| ok(name))
}

/// A server that says its name in every WebSocket, and then echoes.
fn named_ws(name: &'static str) -> Server {
    ws_server(move |mut ws| {
        ws.text(name);
        ws.echo();
    })
}

/// A new client's GET; `headers` are more lines, each ended by `\r\n`.
#[track_caller]
fn get(proxy: &Running, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    exchange(proxy.port(), request)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn count<T: std::hash::Hash + Eq>(all: impl IntoIterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    all.into_iter().for_each(|it| *counts.entry(it).or_default() += 1);
    counts
}

/// A WebSocket, and the name of the backend that it has come to.
fn open(proxy: &Running) -> (Ws, String) {
    let mut ws = Ws::connect(&url(proxy, "/"));
    let name = ws.recv().text().to_owned();
    (ws, name)
}

#[test]
fn requests_are_shared_out_by_weight() {
    let (a, b) = (named("a"), named("b"));
    let proxy = proxy(&[&format!("{}*3", backend(&a)), &backend(&b), "--balance=round-robin"]);
    let got: String = (0..16).map(|_| body(&get(&proxy, "/", "")).to_owned()).collect();
    assert_eq!(got.matches('a').count(), 12, "{got}");
    assert!(!got.contains("bb"), "they take turns: {got}");
}

#[test]
fn a_websocket_goes_to_the_backend_with_the_fewest() {
    let (a, b) = (named_ws("a"), named_ws("b"));
    for policy in ["least", "random"] {
        let backends = [format!("{}*2", backend(&a)), backend(&b)];
        let proxy = proxy(&[&backends[0], &backends[1], "--access-log=json", "--balance", policy]);
        let open_all = |n| (0..n).map(|_| open(&proxy)).collect::<Vec<_>>();
        let all = open_all(6);
        assert_eq!(count(all.iter().map(|(_, name)| &**name)), [("a", 4), ("b", 2)].into());
        let (gone, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, name)| name == "a");
        gone.into_iter().for_each(|(ws, _)| ws.hang_up());
        wait_until("they have left", || proxy.stderr().matches("\"close\"").count() == 4);
        assert!(open_all(4).iter().all(|(_, name)| name == "a"), "{policy}");
        drop(kept);
    }
}

#[test]
fn what_is_hashed_decides() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let backends = [&a, &b, &c].map(backend);
    type Request = fn(usize) -> (String, String);
    let cases: [(&str, Request); 3] = [
        ("hash:path", |i| (format!("/room/{i}?{}", fastrand::u64(..)), String::new())),
        ("hash:header:X-Room", |i| ("/".into(), format!("x-room: {i}\r\n"))),
        ("hash:cookie:sid", |i| ("/".into(), format!("Cookie: a=b; sid={i}; c=d\r\n"))),
    ];
    for (policy, request) in cases {
        let homes = |backends: &[String]| {
            let args: Vec<_> = backends.iter().map(String::as_str).collect();
            let proxy = proxy(&[&args[..], &["--balance", policy]].concat());
            let home = |i| {
                let (path, headers) = request(i);
                body(&get(&proxy, &path, &headers)).to_owned()
            };
            let homes: Vec<_> = (0..30).map(home).collect();
            assert_eq!(homes, (0..30).map(home).collect::<Vec<_>>(), "{policy}");
            homes
        };
        let before = homes(&backends);
        assert_eq!(count(&before).len(), 3, "{policy}: {before:?}");
        // Another process agrees, and only what the third had moves.
        for (before, after) in before.iter().zip(homes(&backends[..2])) {
            assert!(*before == after || before == "c", "{policy}: {before} to {after}");
        }
    }
    let proxy = proxy(&[&backends[0], &backends[1], &backends[2], "--balance", "hash:ip"]);
    assert_eq!(count((0..9).map(|_| body(&get(&proxy, "/", "")).to_owned())).len(), 1);
}

#[test]
fn a_client_is_who_is_believed_to_have_asked() {
    let (a, b) = (named("a"), named("b"));
    let backends = [backend(&a), backend(&b)];
    let homes = |flags: &[&str]| {
        let proxy = proxy(&[&[&*backends[0], &backends[1], "--balance=hash:ip"], flags].concat());
        let from = |i| format!("X-Forwarded-For: 192.0.2.{i}\r\n");
        count((0..20).map(|i| body(&get(&proxy, "/", &from(i))).to_owned())).len()
    };
    assert_eq!((homes(&[]), homes(&["--trust=127.0.0.1"])), (1, 2));
    let proxy = proxy(&[&backends[0], "--balance=sticky", "--trust=127.0.0.1"]);
    assert!(
        get(&proxy, "/", "X-Forwarded-Proto: https\r\n").contains("; SameSite=Lax; Secure\r\n")
    );
}

#[test]
fn what_has_no_key_goes_where_there_is_least() {
    let (a, b) = (named("a"), named("b"));
    let proxy = proxy(&[&backend(&a), &backend(&b), "--balance", "hash:header:X-Room"]);
    assert_eq!(count((0..9).map(|_| body(&get(&proxy, "/", "")).to_owned())).len(), 2);
}

/// The cookie that an answer sets, as it is to be sent back.
fn cookie(head: &str) -> Option<String> {
    let (_, cookie) = head.split_once("Set-Cookie: ")?;
    Some(format!("Cookie: {}\r\n", cookie.split(';').next().unwrap()))
}

#[test]
fn a_cookie_brings_a_client_back() {
    let (a, b) = (named("a"), named("b"));
    let backends = [backend(&a), backend(&b)];
    let proxy = proxy(&[&backends[0], &backends[1], "--balance", "sticky:at"]);
    for _ in 0..2 {
        let first = get(&proxy, "/", "");
        let (head, name) = first.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{head}");
        assert!(!head.contains("127.0.0.1"), "the backend is nobody's business: {head}");
        let cookie = cookie(head).unwrap();
        assert!(cookie.starts_with("Cookie: at="), "{cookie}");
        for _ in 0..3 {
            let again = get(&proxy, "/", &cookie);
            assert!(again.ends_with(&format!("\r\n\r\n{name}")), "{again}");
            assert!(!again.contains("Set-Cookie"), "it has it already: {again}");
        }
    }
    // What somebody made up is as good as none.
    for made_up in ["at=", "at=1", "at=zz", "at=ffffffffffffffffffff"] {
        assert!(cookie(&get(&proxy, "/", &format!("Cookie: {made_up}\r\n"))).is_some());
    }
}

#[test]
fn a_websocket_gets_a_cookie_too_and_another_one_when_its_backend_is_away() {
    let (a, b) = (named_ws("a"), named_ws("b"));
    let proxy = proxy(&[&backend(&a), &backend(&b), "--balance", "sticky"]);
    let connect = |headers: &str| {
        let mut ws = Ws::connect_with(&url(&proxy, "/"), headers);
        let name = ws.recv().text().to_owned();
        (cookie(&ws.head), name)
    };
    let (first, name) = connect("");
    let first = first.unwrap();
    for _ in 0..3 {
        assert_eq!(connect(&first), (None, name.clone()));
    }
    let (gone, left) = if name == "a" { (a, "b") } else { (b, "a") };
    drop(gone);
    let (second, name) = connect(&first);
    assert_eq!(name, left);
    assert_eq!(connect(&second.unwrap()), (None, name));
}

#[test]
fn over_tls_the_cookie_is_for_tls() {
    let a = named("a");
    let proxy = Towline::new()
        .args(["proxy", "https://127.0.0.1:0", &backend(&a), "--balance", "sticky"])
        .arg("--tls-self-signed")
        .spawn();
    let to = format!("tls://127.0.0.1:{}", proxy.port());
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let out = Towline::connect(["--insecure", &to]).stdin(request).run();
    let answer = String::from_utf8(out.stdout).unwrap();
    assert!(answer.contains("; HttpOnly; SameSite=Lax; Secure\r\n"), "{answer}");
}

/// A server that refuses WebSockets with 503, and how many it has refused.
fn refusing() -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let server = tcp_server(move |stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        answer_http(stream, "HTTP/1.1 503 Not Now\r\nContent-Length: 5\r\n\r\nlater");
    });
    (server, asked)
}

#[test]
fn a_handshake_is_offered_to_as_many_as_is_said() {
    let (a, b, c) = (refusing(), refusing(), refusing());
    let backends = [&a, &b, &c].map(|(server, _)| backend(server));
    let asked = || [&a, &b, &c].iter().map(|it| it.1.swap(0, Ordering::SeqCst)).sum::<usize>();
    for (retries, want) in [("0", 1), ("1", 2), ("9", 3)] {
        let all = [&backends[0], &backends[1], &backends[2], "--retries", retries];
        let proxy = proxy(&all);
        let ws = Ws::try_connect(&url(&proxy, "/"), "");
        assert!(ws.head.starts_with("HTTP/1.1 503 Not Now\r\n"), "{}", ws.head);
        assert_eq!(asked(), want, "--retries {retries}");
    }
    let echo = named_ws("echo");
    let proxy = proxy(&[&format!("{}*1000", backends[0]), &backend(&echo)]);
    assert_eq!(open(&proxy).1, "echo");
    assert_eq!(asked(), 1);
}

#[test]
fn a_handshake_is_over_with_its_101() {
    let other = named_ws("other");
    // One leaves at once, one gets the handshake wrong, and nobody else is asked in their place.
    let leaving = ws_server(Ws::hang_up);
    let proxy = proxy(&[&format!("{}*1000", backend(&leaving)), &backend(&other)]);
    assert_eq!(Ws::connect(&url(&proxy, "/")).try_recv(), None);
    let wrong = tcp_server(|stream| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: bm9uc2Vuc2Ugbm9uc2Vuc2Ugbm8=\r\n\r\n";
        answer_http(stream, head);
    });
    let proxy = super::proxy(&[&format!("{}*1000", backend(&wrong)), &backend(&other)]);
    let ws = Ws::try_connect(&url(&proxy, "/"), "");
    assert!(ws.head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{}", ws.head);
}

#[test]
fn a_backend_has_no_more_than_it_may() {
    let (a, b) = (named_ws("a"), named_ws("b"));
    let heavy = format!("{}*1000", backend(&a));
    let args = [&heavy, &backend(&b), "--max-per-backend", "2", "--queue-timeout", "1ms"];
    let proxy = proxy(&args);
    let all: Vec<_> = (0..4).map(|_| open(&proxy)).collect();
    assert_eq!(count(all.iter().map(|(_, name)| &**name)), [("a", 2), ("b", 2)].into());
    let more = Ws::try_connect(&url(&proxy, "/"), "");
    assert!(more.head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{}", more.head);
    assert!(more.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

#[test]
fn who_waits_gets_the_place_of_who_leaves() {
    let server = named_ws("a");
    let args = ["--max-per-backend", "1", "--queue-timeout", "inf"];
    let proxy = proxy(&[&[&*backend(&server)], &args[..]].concat());
    let (first, _) = open(&proxy);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| open(&proxy).0.hang_up())).collect();
        first.hang_up();
        waiting.into_iter().for_each(|it| it.join().unwrap());
    });
}

#[test]
fn an_address_in_the_name_of_localhost_is_enough() {
    let server = named("a");
    let proxy = proxy(&[&format!("http://localhost:{}", server.port())]);
    for _ in 0..4 {
        assert_eq!(body(&get(&proxy, "/", "")), "a");
    }
    assert_eq!(proxy.stderr().lines().count(), 1, "{}", proxy.stderr());
}

#[test]
fn policies_that_are_none_are_refused() {
    for (args, what) in [
        (["--balance", "most"], "least, round-robin, random, hash:KEY"),
        (["--balance", "hash:port"], "ip, path, header:NAME or cookie:NAME"),
        (["--health", "ping"], "tcp, http:/PATH, ws:/PATH"),
        (["--queue-timeout", "1s"], "--max-per-backend"),
        (["--health-rise", "1"], "--health"),
    ] {
        Towline::new().args(["proxy", ":0", ":1"]).args(args).run().code(2).stderr_has(what);
    }
}
