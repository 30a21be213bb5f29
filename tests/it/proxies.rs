//! `socks5:`, `http:` and `socks:`, as hops to dial through and as listeners; proxies from the
//! environment.

mod tunnel;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};

use crate::support::{ClosedPort, Server, Towline, Ws, exchange, tcp_server, ws_server};

const SCHEMES: [&str; 2] = ["socks5", "http"];

/// Requests for one place in every protocol that a listener of `socks:` speaks, and the answer.
fn requests(host: Ipv4Addr, port: u16) -> [(&'static str, Vec<u8>, &'static [u8]); 4] {
    let (octets, port_bytes) = (host.octets(), port.to_be_bytes());
    let granted5 = b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0";
    let granted4 = b"\x00\x5a\0\0\0\0\0\0";
    let name = host.to_string();
    [
        ("SOCKS5", [b"\x05\x01\x00\x05\x01\x00\x01", &octets[..], &port_bytes].concat(), granted5),
        ("SOCKS4", [b"\x04\x01", &port_bytes[..], &octets, b"me\0"].concat(), granted4),
        (
            "SOCKS4a",
            [b"\x04\x01", &port_bytes[..], b"\0\0\0\x01\0", name.as_bytes(), b"\0"].concat(),
            granted4,
        ),
        (
            "HTTP",
            format!("CONNECT {name}:{port} HTTP/1.1\r\n\r\n").into_bytes(),
            b"HTTP/1.1 200 Connection Established\r\n\r\n",
        ),
    ]
}

/// Says everything back until the end of the input.
fn echo_server() -> Server {
    tcp_server(|stream| echo(&stream))
}

fn echo(stream: &TcpStream) {
    let (mut from, mut to) = (stream, stream);
    // A test that gives up half way is no failure of the echo.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = stream.shutdown(Shutdown::Write);
}

fn read<const N: usize>(mut stream: &TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// A proxy written by hand that expects one SOCKS5 request, answers `reply` and then echoes.
fn socks5_peer(request: &'static [u8], reply: &'static [u8]) -> Server {
    tcp_server(move |mut stream| {
        assert_eq!(read(&stream), *b"\x05\x01\x00", "one method: no login");
        stream.write_all(b"\x05\x00").unwrap();
        let mut asked = vec![0; request.len()];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(asked, request);
        stream.write_all(reply).unwrap();
        echo(&stream);
    })
}

/// A proxy written by hand that expects one head, answers `reply` and then echoes.
fn http_peer(head: &'static str, reply: &'static str) -> Server {
    tcp_server(move |mut stream| {
        let mut asked = vec![0; head.len()];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(String::from_utf8_lossy(&asked), head);
        stream.write_all(reply.as_bytes()).unwrap();
        echo(&stream);
    })
}

/// Connects through `proxy` to `target` and says something.
fn through(proxy: &str, target: &str) -> Towline {
    Towline::connect([format!("{proxy},{target}")]).stdin("hello\n")
}

#[test]
fn each_kind_of_proxy_leads_to_where_its_peer_asks() {
    let target = echo_server();
    for scheme in SCHEMES {
        for login in ["", "me:p%40ss@"] {
            let proxy = Towline::serve([format!("{scheme}://{login}127.0.0.1:0"), "tcp:".into()]);
            let address = format!("{scheme}://127.0.0.1:{}", proxy.port());
            assert_eq!(proxy.address(), address, "the login is not announced");
            let hop = address.replace("://", &format!("://{login}"));
            let target = format!("tcp://{}", target.address());
            through(&hop, &target).run().code(0).stdout("hello\n").stderr_is_empty();
        }
    }
}

#[test]
fn a_wrong_login_is_code_13_and_the_password_is_not_shown() {
    for scheme in SCHEMES {
        let proxy = Towline::serve([&format!("{scheme}://me:secret@127.0.0.1:0"), "tcp:"]);
        let at = format!("127.0.0.1:{}", proxy.port());
        let wrong = through(&format!("{scheme}://me:guess@{at}"), "tcp://127.0.0.1:1").run();
        wrong.code(13).stdout("");
        wrong.stderr_has(&format!("{scheme}://me:***@{at}: the proxy refused the user name"));
        wrong.stderr_has(&format!("hint: the login stands before the host: {scheme}://USER:"));
        assert!(!wrong.stderr.contains("guess"), "{wrong}");
        let none = through(&format!("{scheme}://{at}"), "tcp://127.0.0.1:1").run();
        none.code(13).stderr_has("the proxy asks for a login");
    }
}

#[test]
fn a_refused_target_is_code_4_and_says_why() {
    let closed = ClosedPort::new();
    let target = format!("tcp://127.0.0.1:{}", closed.port);
    for scheme in SCHEMES {
        let proxy = Towline::serve([&format!("{scheme}://127.0.0.1:0"), "tcp:"]);
        let run = through(&proxy.address(), &target).run();
        run.code(4).stderr_has(&format!("{target}: "));
        let at = format!("127.0.0.1:{}", proxy.port());
        run.stderr_has(&format!("connection refused, says the proxy {at}"));
        proxy.stderr_line(|line| line.ends_with(&format!("{target}: connection refused")));
    }
}

#[test]
fn a_refused_proxy_is_named() {
    let closed = ClosedPort::new();
    for scheme in SCHEMES {
        let proxy = format!("{scheme}://me:secret@127.0.0.1:{}", closed.port);
        let run = through(&proxy, "tcp://127.0.0.1:1").run();
        run.code(4).stderr_has(&format!("{}: connection refused", proxy.replace("secret", "***")));
    }
}

#[test]
fn proxies_are_chained() {
    let target = echo_server();
    let first = Towline::serve(["socks5://127.0.0.1:0", "tcp:"]);
    let second = Towline::serve(["http://127.0.0.1:0", "tcp:"]);
    let target = format!("tcp://{}", target.address());
    for (one, other) in [(&first, &second), (&second, &first)] {
        let run = through(&format!("{},{}", one.address(), other.address()), &target).run();
        run.code(0).stdout("hello\n");
    }
    // A proxy that dials through another.
    let chain = format!("{},tcp:", second.address());
    let outer = Towline::serve(["socks5://127.0.0.1:0", &chain]);
    through(&outer.address(), &target).run().code(0).stdout("hello\n");
}

#[test]
fn a_proxy_stands_on_a_stream() {
    let target = echo_server();
    let target = format!("tcp://{}", target.address());
    for scheme in SCHEMES {
        for carrier in ["tls", "ws"] {
            let listen = format!("{carrier}://127.0.0.1:0,{scheme}://me:secret@:0");
            let certificate = (carrier == "tls").then_some("--tls-self-signed");
            let proxy = Towline::serve([&*listen, "tcp:"].into_iter().chain(certificate));
            let at = format!("127.0.0.1:{}", proxy.port());
            let hops = format!("{carrier}://{at},{scheme}://me:secret@{at}");
            through(&hops, &target).arg("--insecure").run().code(0).stdout("hello\n");
        }
    }
}

#[test]
fn a_target_of_its_own_takes_every_peer() {
    for scheme in SCHEMES {
        let proxy = Towline::serve([&format!("{scheme}://127.0.0.1:0"), "echo:"]);
        through(&proxy.address(), "tcp://nowhere.invalid:1").run().code(0).stdout("hello\n");
    }
}

#[test]
fn a_name_is_resolved_by_the_proxy() {
    let proxy = socks5_peer(
        b"\x05\x01\x00\x03\x0cdb.corp.test\x15\x38",
        // The proxy tells its own address by name, which has to be read to its end.
        b"\x05\x00\x00\x03\x02me\x00\x01",
    );
    let run = through(&format!("socks5://{}", proxy.address()), "tcp://db.corp.test:5432").run();
    run.code(0).stdout("hello\n");
    let proxy = http_peer(
        "CONNECT db.corp.test:5432 HTTP/1.1\r\nHost: db.corp.test:5432\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
    );
    let run = through(&format!("http://{}", proxy.address()), "tcp://db.corp.test:5432").run();
    run.code(0).stdout("hello\n");
}

#[test]
fn an_ipv6_address_goes_as_an_address() {
    let proxy = socks5_peer(
        b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb",
        b"\x05\x00\x00\x01\0\0\0\0\0\0",
    );
    let run = through(&format!("socks5://{}", proxy.address()), "tcp://[2001:db8::1]:443").run();
    run.code(0).stdout("hello\n");
    let proxy = http_peer(
        "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    );
    let run = through(&format!("http://{}", proxy.address()), "tcp://[2001:db8::1]:443").run();
    run.code(0).stdout("hello\n");
}

#[test]
fn a_proxy_reaches_ipv6() {
    // A machine without IPv6 has nothing to show here.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let port = listener.local_addr().unwrap().port();
    let target = std::thread::spawn(move || {
        for _ in SCHEMES {
            echo(&listener.accept().unwrap().0);
        }
    });
    for scheme in SCHEMES {
        let proxy = Towline::serve([&format!("{scheme}://127.0.0.1:0"), "tcp:"]);
        let target = format!("tcp://[::1]:{port}");
        through(&proxy.address(), &target).run().code(0).stdout("hello\n");
    }
    target.join().unwrap();
}

#[test]
fn what_the_far_side_says_with_the_answer_is_not_lost() {
    let proxy = http_peer(
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbanner ",
    );
    let run = through(&format!("http://{}", proxy.address()), "tcp://a:1").run();
    run.code(0).stdout("banner hello\n");
    let proxy =
        socks5_peer(b"\x05\x01\x00\x03\x01a\x00\x01", b"\x05\x00\x00\x01\0\0\0\0\0\0banner ");
    let run = through(&format!("socks5://{}", proxy.address()), "tcp://a:1").run();
    run.code(0).stdout("banner hello\n");
}

#[test]
fn what_a_peer_says_with_its_request_is_not_lost() {
    let target = echo_server();
    let proxy = Towline::serve(["http://127.0.0.1:0", "tcp:"]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    write!(stream, "CONNECT {} HTTP/1.1\r\n\r\nearly", target.address()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "HTTP/1.1 200 Connection Established\r\n\r\nearly");

    let proxy = Towline::serve(["socks5://127.0.0.1:0", "tcp:"]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    let mut said = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01".to_vec();
    said.extend(target.port().to_be_bytes());
    said.extend(b"early");
    stream.write_all(&said).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0early");
}

#[test]
fn an_http_listener_says_what_it_does_not_do() {
    let proxy = Towline::serve(["http://127.0.0.1:0", "tcp:"]);
    let ask = |request: &str| exchange(proxy.port(), request);
    let answer = ask("GET http://example/ HTTP/1.1\r\nHost: example\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n"),
        "{answer}"
    );
    let reason = "\r\n\r\nGET http://example/: this proxy knows CONNECT only\n";
    assert!(answer.ends_with(reason), "{answer}");
    for target in ["db", ":80", "db:port", "a b:1"] {
        let answer = ask(&format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
    }
    let closed = ClosedPort::new();
    let answer = ask(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n\r\n", closed.port));
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nconnection refused\n"), "{answer}");
    let answer = ask("\x05\x01\x00 and more");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn an_http_listener_asks_for_its_login_first() {
    let proxy = Towline::serve(["http://me:secret@127.0.0.1:0", "tcp:"]);
    for request in ["GET / HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n"] {
        let answer = exchange(proxy.port(), request);
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
        assert!(answer.contains("\r\nProxy-Authenticate: Basic realm="), "{answer}");
    }
}

#[test]
fn a_socks5_listener_says_what_it_does_not_do() {
    let proxy = Towline::serve(["socks5://127.0.0.1:0", "tcp:"]);
    let ask = |request: &[u8]| exchange(proxy.port(), request).into_bytes();
    let closed = ClosedPort::new();
    let mut refused = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01".to_vec();
    refused.extend(closed.port.to_be_bytes());
    for (request, reply, what) in [
        (&b"\x05\x01\x00\x05\x02\x00\x01\0\0\0\0\0\0"[..], 7, "BIND"),
        (b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0", 7, "UDP"),
        (b"\x05\x01\x00\x05\x01\x00\x09\0\0\0\0\0\0", 8, "an unknown type of address"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50", 1, "no host"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x03a/b\x00\x50", 1, "a host that is no name"),
        (&refused, 5, "a closed port"),
    ] {
        let answer = ask(request);
        assert_eq!(answer, [5, 0, 5, reply, 0, 1, 0, 0, 0, 0, 0, 0], "{what}");
    }
}

#[test]
fn a_socks5_listener_answers_those_who_do_not_speak_it() {
    let proxy = Towline::serve(["socks5://127.0.0.1:0", "tcp:"]);
    let ask = |request: &[u8]| exchange(proxy.port(), request);
    assert_eq!(ask(b"\x04\x01\x00\x50\x7f\0\0\x01\0").as_bytes(), b"\x00\x5b\0\0\0\0\0\0");
    assert!(ask(b"GET / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nthis is a SOCKS5 proxy\n"));
    // Only a login is offered, and none is wanted.
    assert_eq!(ask(b"\x05\x01\x02"), "\x05\u{fffd}");
}

#[test]
fn a_socks_listener_speaks_what_its_peer_speaks() {
    let target = echo_server();
    let proxy = Towline::serve(["socks://127.0.0.1:0", "tcp:"]);
    assert!(proxy.address().starts_with("socks://127.0.0.1:"), "{}", proxy.address());
    for (protocol, request, granted) in requests(Ipv4Addr::LOCALHOST, target.port()) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.write_all(&[&request[..], b"early"].concat()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let expected = [granted, b"early"].concat();
        assert_eq!(answer, expected, "{protocol}: {}", String::from_utf8_lossy(&answer));
    }
    // To dial through it is SOCKS5.
    let target = format!("tcp://{}", target.address());
    through(&proxy.address(), &target).run().code(0).stdout("hello\n").stderr_is_empty();
}

#[test]
fn a_socks_listener_with_a_login_knows_no_socks4() {
    let target = echo_server();
    let proxy = Towline::serve(["-v", "socks://me:secret@127.0.0.1:0", "tcp:"]);
    let refusals: [&[u8]; 4] =
        [b"\x05\xff", b"\x00\x5b\0\0\0\0\0\0", b"\x00\x5b\0\0\0\0\0\0", b"HTTP/1.1 407 "];
    let requests = requests(Ipv4Addr::LOCALHOST, target.port());
    for ((protocol, request, _), refusal) in requests.iter().zip(refusals) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(refusal), "{protocol}: {answer:?}");
    }
    proxy.stderr_line(|line| line.ends_with("a login is asked for, which SOCKS4 does not have"));
    let (at, target) =
        (format!("127.0.0.1:{}", proxy.port()), format!("tcp://{}", target.address()));
    for scheme in ["socks", "socks5", "http"] {
        let run = through(&format!("{scheme}://me:secret@{at}"), &target).run();
        run.code(0).stdout("hello\n");
    }
}

#[test]
fn a_socks_listener_says_what_it_does_not_do() {
    let proxy = Towline::serve(["-v", "socks://127.0.0.1:0", "tcp:"]);
    let ask = |request: &[u8]| exchange(proxy.port(), request).into_bytes();
    for (command, name) in [(2, "BIND"), (3, "UDP ASSOCIATE")] {
        let answer = ask(&[5, 1, 0, 5, command, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer, [5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0], "{name}");
        let line = format!("asks for {name}; this proxy knows CONNECT only");
        proxy.stderr_line(|it| it.ends_with(&line));
    }
    let closed = ClosedPort::new();
    let refused = [b"\x04\x01", &closed.port.to_be_bytes()[..], b"\x7f\0\0\x01\0"].concat();
    let long = [&b"\x04\x01\x00\x50\x7f\0\0\x01"[..], &[b'x'; 300]].concat();
    for (request, what) in [
        (&b"\x04\x02\x00\x50\x7f\0\0\x01\0"[..], "BIND"),
        (b"\x04\x01\x00\x50\0\0\0\x01\0a/b\0", "a host that is no name"),
        (b"\x04\x01\x00\x50\0\0\0\x01\0\0", "no host"),
        (&long, "a user name without an end"),
        (&refused, "a closed port"),
    ] {
        let answer = exchange(proxy.port(), request);
        assert_eq!(answer.as_bytes(), b"\x00\x5b\0\0\0\0\0\0", "{what}");
    }
    assert_eq!(ask(b"\x16\x03\x01 and more"), b"");
    proxy.stderr_line(|line| line.ends_with("not a request of socks: the first byte is 0x16"));
}

#[test]
fn a_proxy_without_a_place_stands_on_the_hop_before() {
    let target = echo_server();
    let target = format!("tcp://{}", target.address());
    for scheme in ["socks", "socks5", "http"] {
        for login in ["", "//me:secret@"] {
            let hop = format!("{scheme}:{login}");
            let proxy = Towline::serve([&format!("tcp://127.0.0.1:0,{hop}"), "tcp:"]);
            let shown = hop.replace("secret", "***");
            assert!(proxy.address().ends_with(&format!(",{shown}")), "{}", proxy.address());
            let carrier = format!("tcp://127.0.0.1:{},{hop}", proxy.port());
            through(&carrier, &target).run().code(0).stdout("hello\n");
        }
        let hop = format!("{scheme}:");
        let why = format!("a port is missing, as in {scheme}://:1080");
        Towline::new().args(["serve", &hop, "tcp:"]).run().code(2).stderr_has(&why);
        Towline::connect([format!("{hop},tcp://a:1")]).run().code(2).stderr_has(&why);
    }
}

#[test]
fn flags_for_the_clients_of_a_tunnel_need_some() {
    let tunnel = |args: &[&str]| Towline::new().arg("tunnel").args(args).arg("127.0.0.1:1").run();
    for flag in [["--socks-auth", "me:secret"], ["--allow", "*:443"]] {
        let local = tunnel(&[&["-L", "0:localhost:1"], &flag[..]].concat());
        local.code(2).stderr_has(&format!("{} needs a SOCKS server", flag[0]));
        tunnel(&[&["-W", "a:1"], &flag[..]].concat()).code(2).stderr_has("cannot be used with");
    }
    let login = tunnel(&["-D", "0", "--socks-auth", "secret"]);
    login.code(2).stderr_has("--socks-auth: a login is USER:PASSWORD").stderr_lacks("secret");
    tunnel(&["-D", "0", "--allow", "a:x"]).code(2).stderr_has("`a:x` is not HOST:PORT");
}

#[test]
fn what_is_no_proxy_is_told_from_one_that_refuses() {
    let web = tcp_server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nnothing\n");
    });
    let run = through(&format!("socks5://{}", web.address()), "tcp://a:1").run();
    run.code(7).stderr_has("not a SOCKS5 proxy");
    let run = through(&format!("http://{}", web.address()), "tcp://a:1").run();
    run.code(4).stderr_has("tcp://a:1: 404 Not Found: nothing, says the proxy");
    let mute = tcp_server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    for scheme in SCHEMES {
        let run = through(&format!("{scheme}://{}", mute.address()), "tcp://a:1").run();
        run.code(11).stderr_has("connection closed inside the proxy handshake");
    }
    let noise = tcp_server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
    });
    let run = through(&format!("http://{}", noise.address()), "tcp://a:1").run();
    run.code(7).stderr_has("not an HTTP answer");
}

#[test]
fn a_proxy_that_says_nothing_is_named_by_the_timeout() {
    let silent = tcp_server(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    for scheme in SCHEMES {
        let proxy = format!("{scheme}://me:secret@{}", silent.address());
        let run = through(&proxy, "tcp://a:1").args(["--connect-timeout", "100ms"]).run();
        run.code(8).stderr_has("while waiting for the proxy");
        assert!(!run.stderr.contains("secret"), "{run}");
    }
}

#[test]
fn a_proxy_at_the_end_leads_nowhere() {
    for scheme in SCHEMES {
        let proxy = format!("{scheme}://me:secret@127.0.0.1:1");
        let chain = format!("tcp://127.0.0.1:2,{proxy}");
        let serve = Towline::new().args(["serve", "tcp://127.0.0.1:0", &proxy]);
        for run in [Towline::connect([&proxy]), Towline::connect([&chain]), serve] {
            let run = run.run();
            run.code(2).stderr_has("127.0.0.1:1: is a hop to dial through");
            run.stderr_has("hint: write what to reach after it, as ");
            assert!(!run.stderr.contains("secret"), "{run}");
        }
    }
}

#[test]
fn a_websocket_goes_through_a_proxy() {
    let server = ws_server(Ws::echo);
    for scheme in SCHEMES {
        let proxy = Towline::serve([&format!("{scheme}://127.0.0.1:0"), "tcp:"]);
        through(&proxy.address(), &server.ws("/")).run().code(0).stdout("hello\n");
    }
}

mod environment {
    use super::*;

    /// A proxy whose every peer finds a WebSocket echo, whatever it asked for.
    fn feed(scheme: &str, server: &Server) -> crate::support::Running {
        let target = format!("tcp://{}", server.address());
        Towline::serve([&format!("{scheme}://me:secret@127.0.0.1:0"), &target])
    }

    fn ask(address: &str) -> Towline {
        Towline::connect([address]).stdin("hello\n")
    }

    #[test]
    fn the_variables_are_honoured() {
        let server = ws_server(Ws::echo);
        for scheme in SCHEMES {
            let proxy = feed(scheme, &server);
            let value = format!("{scheme}://me:secret@127.0.0.1:{}", proxy.port());
            let mut variables = vec!["ALL_PROXY", "all_proxy"];
            if scheme == "http" {
                variables.extend(["HTTP_PROXY", "http_proxy"]);
            }
            for variable in variables {
                let run = ask("ws://feed.invalid/").env(variable, &value).run();
                run.code(0).stdout("hello\n");
            }
        }
    }

    #[test]
    fn an_https_proxy_is_reached_over_tls() {
        let server = ws_server(Ws::echo);
        let target = format!("tcp://{}", server.address());
        let listen = "tls://127.0.0.1:0,http://me:secret@:0";
        let proxy = Towline::serve(["--tls-self-signed", listen, &target]);
        let value = format!("https://me:secret@127.0.0.1:{}", proxy.port());
        let run =
            |args: &[&str]| ask("ws://feed.invalid/").args(args).env("HTTP_PROXY", &value).run();
        run(&["--insecure"]).code(0).stdout("hello\n");
        let untrusted = run(&[]);
        untrusted.code(5).stderr_has(&value.replace("secret", "***"));
    }

    #[test]
    fn the_proxy_is_named_with_its_variable() {
        let closed = ClosedPort::new();
        let value = format!("me:secret@127.0.0.1:{}", closed.port);
        let run = ask("ws://feed.invalid/").env("HTTP_PROXY", value).run();
        run.code(4)
            .stderr_has(&format!("http://me:***@127.0.0.1:{}: connection refused", closed.port));
        run.stderr_has("hint: HTTP_PROXY names this proxy; --no-proxy ignores it");
        let run = ask("ws://feed.invalid/").env("HTTP_PROXY", "ftp://me:secret@x").run();
        run.code(2).stderr_has("HTTP_PROXY: unknown kind of proxy `ftp:`");
        assert!(!run.stderr.contains("secret"), "{run}");
    }

    /// A variable that names no proxy is an error, so that a run without one did not look at it.
    #[test]
    fn it_is_not_asked_for_this_machine_or_against_the_users_will() {
        let server = ws_server(Ws::echo);
        let wrong = |run: Towline| run.env("ALL_PROXY", "nothing://");
        wrong(ask(&server.ws("/"))).run().code(0).stdout("hello\n");
        // No resolver is asked for a name whose first label is empty.
        let address = "ws://.feed.invalid/";
        wrong(ask(address)).run().code(2);
        wrong(ask(address)).arg("--no-proxy").run().code(3);
        wrong(ask(address)).env("NO_PROXY", "other.test, .invalid").run().code(3);
        wrong(ask(address)).env("NO_PROXY", "feed").run().code(2);
    }

    #[test]
    fn a_chain_that_is_written_out_comes_first() {
        let server = ws_server(Ws::echo);
        let proxy =
            Towline::serve(["socks5://127.0.0.1:0", &format!("tcp://{}", server.address())]);
        let run = ask(&format!("{},ws://feed.invalid/", proxy.address()));
        run.env("ALL_PROXY", "nothing://").run().code(0).stdout("hello\n");
    }
}

#[test]
fn the_access_log_says_where_a_peer_wanted_to_go() {
    let closed = ClosedPort::new();
    let target = format!("127.0.0.1:{}", closed.port);
    for scheme in ["socks5", "http"] {
        let proxy = Towline::serve([&format!("{scheme}://127.0.0.1:0"), "tcp:", "--access-log"]);
        let through = format!("{},tcp://{target}", proxy.address());
        Towline::connect([through]).run().code(4);
        proxy.stderr_line(|line| line.contains(&format!(" {target} - in 0B/0 ")));
    }
}

#[test]
fn a_proxy_for_everybody_is_warned_of() {
    let warning = "whoever reaches this proxy may use it";
    for (listener, warns) in [
        ("socks5://0.0.0.0:0", true),
        ("http://0.0.0.0:0", true),
        ("tcp://0.0.0.0:0,http://:0", true),
        ("socks5://me:secret@0.0.0.0:0", false),
        ("socks5://127.0.0.1:0", false),
        ("http://:0", false),
        ("tcp://0.0.0.0:0", false),
    ] {
        let server = Towline::serve([listener, if warns { "tcp:" } else { "echo:" }]);
        // It is said before the ready line.
        assert_eq!(server.stderr().contains(warning), warns, "{listener}\n{}", server.stderr());
    }
}
