//! The proxies of `tunnel`, whose connections our own SSH server makes, and its metrics.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use super::{echo_server, requests, through};
use crate::support::ssh::{HOST, Server, line};
use crate::support::{Running, Towline, exchange, keys, port, wait_until};

fn server() -> Server {
    Server::new(&[line("", 1)], &["null:", "--allow-open", "*:*", "--allow-listen", "*:*"])
}

fn tunnel(server: &Server, args: &[&str]) -> Running {
    let tunnel = Towline::new().args(["-v", "tunnel"]).args(args).args(server.flags(1));
    tunnel.arg(server.ssh("me")).spawn()
}

fn ask(port: u16, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn every_protocol_is_spoken_here_and_there() {
    let (server, target) = (server(), echo_server());
    let tunnel = tunnel(&server, &["-D", "127.0.0.1:0", "-R", "0"]);
    let addresses = tunnel.listeners(2);
    let [there, here] = &addresses[..] else { panic!("{addresses:?}") };
    assert!(here.starts_with("socks://127.0.0.1:"), "{here}");
    let far = there.strip_prefix(&format!("{},", server.ssh("me"))).unwrap();
    assert!(far.starts_with("tcp://localhost:") && far.ends_with(",socks:"), "{far}");
    for port in [port(here), port(far)] {
        for (protocol, request, granted) in requests(Ipv4Addr::LOCALHOST, target.port()) {
            let answer = ask(port, &[&request[..], b"early"].concat());
            assert_eq!(answer, [granted, b"early"].concat(), "{protocol} to {port}");
        }
    }
}

#[test]
fn a_forward_that_cannot_be_served_ends_the_tunnel_unless_it_may_not() {
    let (server, taken) = (server(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let taken = taken.local_addr().unwrap().port().to_string();
    let args = ["-D", &taken, "-D", "0"];
    for flags in [&[][..], &["--exit-on-forward-failure"]] {
        let run = tunnel(&server, &[&args, flags].concat()).wait();
        run.code(4).stderr_has("address already in use").stderr_has("hint: --keep-going");
    }
    let both = ["--exit-on-forward-failure", "--keep-going"];
    tunnel(&server, &[&args[..], &both].concat()).wait().code(2).stderr_has("cannot be used with");
    tunnel(&server, &[&args[..], &["--keep-going"]].concat()).address();
}

#[test]
fn the_way_has_to_end_with_an_ssh_server() {
    for (via, why) in [
        (
            "box,tcp://a:1",
            "`box` has no scheme: VIA is USER@HOST, or a chain of hops that ends with",
        ),
        ("me@box,ssh://inner", "as ssh://me@box,ssh://USER@HOST"),
        ("ssh://box,tcp://a:1", "`ssh://box,tcp://a:1` does not end with an SSH server"),
    ] {
        let run = Towline::new().args(["tunnel", "-D", "0", via]).run();
        run.code(2).stderr_has(why).stderr_lacks("ws://");
    }
}

#[test]
fn a_unix_socket_will_do() {
    let (server, target) = (server(), echo_server());
    let path = server.dir.path().join("socks");
    let tunnel = tunnel(&server, &["-D", path.to_str().unwrap()]);
    assert_eq!(tunnel.address(), format!("unix:{},socks:", path.display()));
    for (protocol, request, granted) in requests(Ipv4Addr::LOCALHOST, target.port()) {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(&request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, granted, "{protocol}");
    }
}

#[test]
fn a_login_is_asked_for_here_and_there() {
    let (server, target) = (server(), echo_server());
    let file = server.dir.path().join("login");
    std::fs::write(&file, "me:a:b\n").unwrap();
    let login = format!("@{}", file.display());
    let tunnel = tunnel(&server, &["-D", "0", "-R", "0", "--socks-auth", &login]);
    let target = format!("tcp://{}", target.address());
    for address in tunnel.listeners(2) {
        assert!(!address.contains("a:b"), "{address}");
        let at = port(address.trim_start_matches(&format!("{},", server.ssh("me"))));
        for scheme in ["socks5", "http"] {
            let run =
                |login: &str| through(&format!("{scheme}://{login}127.0.0.1:{at}"), &target).run();
            run("me:a%3Ab@").code(0).stdout("hello\n");
            run("me:wrong@").code(13);
            run("").code(13);
        }
    }
}

#[test]
fn clients_go_where_they_may() {
    let (server, target) = (server(), echo_server());
    let allowed = format!("127.0.0.0/8:{}", target.port());
    let closed = tunnel(&server, &["-D", "0", "--allow", &allowed, "--allow", "*.test:80"]);
    let open = tunnel(&server, &["-D", "0"]);
    let [closed_port, open_port] = [closed.port(), open.port()];
    for (_, request, granted) in requests(Ipv4Addr::LOCALHOST, target.port()) {
        assert_eq!(ask(closed_port, &request), granted);
    }
    let refusals: [&[u8]; 4] = [
        b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
        b"\x00\x5b\0\0\0\0\0\0",
        b"\x00\x5b\0\0\0\0\0\0",
        b"HTTP/1.1 403 Forbidden\r\n",
    ];
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    for (port, place) in [(closed_port, Ipv4Addr::new(10, 0, 0, 1)), (open_port, metadata)] {
        for ((protocol, request, _), refusal) in requests(place, 80).iter().zip(refusals) {
            let answer = ask(port, request);
            assert!(answer.starts_with(refusal), "{protocol}: {answer:?}");
        }
    }
    closed.stderr_line(|it| it.ends_with("10.0.0.1:80 is not allowed: no --allow names it"));
    open.stderr_line(|it| {
        it.ends_with("169.254.169.254:80 is not allowed: link-local and metadata addresses have to be named by --allow")
    });
}

#[test]
fn a_proxy_for_everybody_is_warned_of() {
    let server = server();
    let warning = "whoever reaches this proxy may use it; --socks-auth asks for a login";
    for (args, warns) in [
        (&["-D", "0.0.0.0:0"][..], true),
        (&["-D", "0.0.0.0:0", "--socks-auth", "me:secret"], false),
        (&["-D", "0"], false),
        (&["-L", "0.0.0.0:0:localhost:1"], false),
    ] {
        let tunnel = tunnel(&server, args);
        tunnel.ready();
        assert_eq!(tunnel.stderr().contains(warning), warns, "{args:?}\n{}", tunnel.stderr());
    }
}

/// The line of a figure, once the page of `/metrics` has it.
fn shows(port: u16, line: &str) {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    wait_until(line, || exchange(port, request).lines().any(|it| it == line));
}

#[test]
fn figures_need_a_place() {
    for (place, why) in [
        ("9100", "a port is missing"),
        ("http://127.0.0.1:9100", "only HOST:PORT is needed"),
        ("127.0.0.1:x", "`x` is not a port"),
    ] {
        let run = Towline::new().args(["tunnel", "-D", "0", "box", "--metrics", place]).run();
        run.code(2).stderr_has(why);
    }
}

#[test]
fn figures_say_whether_the_session_is_up() {
    let (server, target) = (server(), echo_server());
    let forward = format!("0:{}", target.address());
    let tunnel = tunnel(&server, &["--metrics", "127.0.0.1:0", "-L", &forward]);
    let port = tunnel.port();
    let said = tunnel.stderr_line(|line| line.starts_with("metrics at "));
    let metrics = crate::support::port(said.trim_start_matches("metrics at "));
    assert_eq!(said, format!("metrics at http://127.0.0.1:{metrics}/metrics"));
    assert_eq!(tunnel.listeners(1).len(), 1, "it is no forward");
    shows(metrics, "towline_tunnel_up 1");
    shows(metrics, "towline_tunnel_reconnects_total 0");
    assert_eq!(ask(port, b"hello"), b"hello");
    shows(metrics, "towline_received_bytes_total 5");
    let (at, Server { run, dir }) = (server.port(), server);
    drop(run);
    shows(metrics, "towline_tunnel_up 0");
    let address = format!("ssh://127.0.0.1:{at}");
    let _again = Towline::serve([
        &*address,
        "null:",
        "--authorized-keys",
        dir.path().join("keys").to_str().unwrap(),
        "--host-key",
        keys::write(HOST, dir.path()).to_str().unwrap(),
    ]);
    shows(metrics, "towline_tunnel_up 1");
    shows(metrics, "towline_tunnel_reconnects_total 1");
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(exchange(metrics, health).starts_with("HTTP/1.1 200 "));
}
