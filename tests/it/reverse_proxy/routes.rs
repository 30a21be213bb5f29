//! `--route`: which backends a request goes to.

use super::{answers, backend, ok, proxy, url};
use crate::support::{Running, Server, Towline, Ws, exchange, ws_server};

/// A backend that answers with its name and the target it is asked for.
fn named(name: &'static str) -> Server {
    answers(move |head, _| ok(&format!("{name} {}", head.split(' ').nth(1).unwrap())))
}

#[track_caller]
fn get(proxy: &Running, target: &str, fields: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    let answer = exchange(proxy.port(), &head);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", head.split(' ').nth(1).unwrap())
}

#[test]
fn the_first_route_that_fits_takes_a_request() {
    let servers = ["beta", "chat", "others", "rest"].map(named);
    let [beta, chat, others, rest] = servers.each_ref().map(backend);
    let proxy = proxy(&[
        &rest,
        "--route",
        &format!("host=a.example header=X-Beta:1 -> {beta}"),
        "--route",
        &format!("host=a.example path=/chat/* strip=/chat -> {chat}"),
        "--route",
        &format!("host=*.example -> {others}"),
    ]);
    let a = "Host: a.example:80\r\n";
    assert_eq!(get(&proxy, "/chat/x?y", a), "200 chat /x?y");
    assert_eq!(get(&proxy, "/chat/x", &format!("{a}X-Beta: 1\r\n")), "200 beta /chat/x");
    assert_eq!(get(&proxy, "/chat", a), "200 others /chat");
    assert_eq!(get(&proxy, "/chat/x", "Host: b.example\r\n"), "200 others /chat/x");
    assert_eq!(get(&proxy, "/", "Host: example\r\n"), "200 rest /");
    // Where it leads is what counts, not how it is written.
    assert_eq!(get(&proxy, "/%63hat/x", a), "200 others /%63hat/x");
    assert_eq!(get(&proxy, "http://a.example/chat/z", "Host: b\r\n"), "200 chat /z");
}

#[test]
fn a_websocket_is_routed_by_its_subprotocol() {
    let (graphql, rest) = (named("graphql"), named("rest"));
    let route = format!("subprotocol=graphql-ws -> {}", backend(&graphql));
    let proxy = proxy(&[&backend(&rest), "--route", &route]);
    // These backends have no WebSocket, and what they say instead comes through.
    let upgrade = "Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
    let offer = "Sec-WebSocket-Protocol: mqtt, graphql-ws\r\n";
    assert_eq!(get(&proxy, "/", &format!("{upgrade}{offer}")), "200 graphql /");
    assert_eq!(get(&proxy, "/", upgrade), "200 rest /");
}

#[test]
fn what_no_route_fits_is_not_found() {
    let server = named("a");
    let route = format!("path=/a -> {}", backend(&server));
    let proxy = Towline::new().args(["proxy", "127.0.0.1:0", "--route", &route]).spawn();
    assert_eq!(get(&proxy, "/a", "Host: x\r\n"), "200 a /a");
    assert_eq!(get(&proxy, "/b", "Host: x\r\n"), "404 no route leads there\n");
    assert_eq!(get(&proxy, "/a/../b", "Host: x\r\n"), "404 no route leads there\n");
    let output = Towline::connect([&url(&proxy, "/b"), "--expect-status", "404"]).run();
    output.code(0);
}

#[test]
fn figures_tell_the_routes_of_a_server_apart() {
    let server = named("it");
    let there = backend(&server);
    let route = format!("host=a 'header=Cookie:*b c*' -> {there}");
    let proxy = proxy(&[&there, "--route", &route, "--admin", "127.0.0.1:0"]);
    assert_eq!(get(&proxy, "/", "Host: a\r\nCookie: ab cd\r\n"), "200 it /");
    let admin = proxy.stderr_line(|line| line.starts_with("figures at "));
    let port = admin.rsplit(':').next().unwrap().trim_end_matches("/metrics").parse().unwrap();
    let ask = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let figures = exchange(port, ask);
    let name = "towline_backend_requests_total";
    let route = "host=a 'header=Cookie:*b c*'";
    for line in [
        format!("{name}{{backend=\"{there}\",route=\"{route}\"}} 1\n"),
        format!("{name}{{backend=\"{there}\"}} 0\n"),
    ] {
        assert!(figures.contains(&line), "{line} is not in {figures}");
    }
}

#[test]
fn routes_that_make_no_sense_are_refused() {
    for (args, what) in [
        (&[":0", "--route", "host=a"][..], "'--route <ROUTE>': a route is written `CONDITION..."),
        (&[":0", "--route", "hots=a -> :1"], "`hots=`: it is none of host, path"),
        (&[":0", "--route", "host=a -> socks5://127.0.0.1:1"], "is a hop to dial through"),
        (&[":0", "--route", "host=a -> :1", "--route", "host=A. -> :2"], "two for the same"),
        (&[":0"], "there is no backend"),
        (&[], "there is nowhere to listen"),
    ] {
        Towline::new().arg("proxy").args(args).run().code(2).stderr_has(what);
    }
    let secret = "host=a -> ws://u:hunter2@a:99999";
    let output = Towline::new().args(["proxy", ":0", "--route", secret]).run();
    output.code(2).stderr_has("backend 1").stderr_lacks("hunter2");
}

#[test]
fn a_route_balances_between_its_own_backends() {
    let [first, second] = ["first", "second"].map(|name| {
        ws_server(move |mut ws| {
            ws.text(name);
            ws.echo();
        })
    });
    let route = format!("path=/two -> {} {}", backend(&first), backend(&second));
    let proxy = Towline::new().args(["proxy", "127.0.0.1:0", "--route", &route]).spawn();
    let mut clients = [0; 2].map(|_| Ws::connect(&url(&proxy, "/two")));
    let mut names = clients.each_mut().map(|client| client.recv().text().to_owned());
    names.sort();
    assert_eq!(names, ["first", "second"]);
}
