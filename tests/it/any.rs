//! `any:`: one port for WebSockets, HTTP, TLS and SSH.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use tempfile::TempDir;

use crate::support::certs::Authority;
use crate::support::ssh::{HOST, flags, line};
use crate::support::{Running, Towline, exchange, keys, wait_until};

fn serve(args: &[&str]) -> Running {
    Towline::serve([&["-v", "any://127.0.0.1:0"], args].concat())
}

/// A server that knows key 1, and the folder with its files.
fn with_ssh(args: &[&str]) -> (Running, TempDir) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("keys");
    std::fs::write(&file, line("", 1)).unwrap();
    let host = keys::write(HOST, dir.path());
    let ssh = ["--authorized-keys", file.to_str().unwrap(), "--host-key", host.to_str().unwrap()];
    (serve(&[args, &ssh].concat()), dir)
}

fn say_hello(address: &str) -> Towline {
    Towline::connect([address, "--insecure"]).stdin("hello\n")
}

/// One figure of `/metrics`.
fn figure(server: &Running, name: &str) -> u64 {
    let page = exchange(
        server.port(),
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

#[test]
fn websockets_and_their_pages_are_at_every_path() {
    let server = serve(&["echo:", "--route", "/nothing=null:"]);
    let at = format!("127.0.0.1:{}", server.port());
    assert_eq!(server.address(), format!("any://{at}"));
    for path in ["", "/", "/some/path"] {
        say_hello(&format!("ws://{at}{path}")).run().code(0).stdout("hello\n");
    }
    say_hello(&format!("ws://{at}/nothing")).run().code(0).stdout("");
    let page = exchange(
        server.port(),
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
}

#[test]
fn tls_is_spoken_beside_plain_http() {
    let server = serve(&["echo:", "--tls-self-signed"]);
    let at = format!("127.0.0.1:{}", server.port());
    say_hello(&format!("ws://{at}")).run().code(0).stdout("hello\n");
    // Agreed on by ALPN, and found out inside.
    say_hello(&format!("wss://{at}")).run().code(0).stdout("hello\n");
    say_hello(&format!("tls://{at},ws://x/")).run().code(0).stdout("hello\n");
    let run = say_hello(&format!("tls://{at},tls:")).run();
    run.code(11).stdout("");
    server.stderr_line(|line| line.ends_with("TLS inside TLS"));
}

#[test]
fn tls_without_a_certificate_is_refused() {
    let server = serve(&["echo:"]);
    let run = say_hello(&format!("wss://127.0.0.1:{}", server.port())).run();
    run.code(5).stderr_has("handshake");
    server
        .stderr_line(|line| line.ends_with("TLS is spoken only with --cert or --tls-self-signed"));
}

#[test]
fn where_certificates_are_asked_for_plain_http_is_no_way_in() {
    let dir = TempDir::new().unwrap();
    let ca = Authority::new("clients").write(dir.path().join("ca.pem"));
    let server = serve(&["echo:", "--tls-self-signed", "--client-ca", ca.to_str().unwrap()]);
    let answer = exchange(
        server.port(),
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("only over TLS\n"), "{answer}");
}

#[test]
fn noise_is_refused_at_once_and_counted() {
    let server = serve(&["echo:"]);
    for noise in [&b"\x05\x01\x00"[..], b"EHLO\r\n", b"\0\0\0\0\0\0\0\0\0"] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream.write_all(noise).unwrap();
        let mut answer = Vec::new();
        // Closed with words unread it may be a reset.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    server.stderr_line(|line| line.ends_with(r"`\x05\x01\x00` begins no SSH, TLS or HTTP"));
    wait_until("all are counted", || figure(&server, "towline_refused_total") == 3);
    let run = Towline::connect([format!("ssh://me@127.0.0.1:{}", server.port())])
        .args(["-F", "none", "--host-key-policy", "off"])
        .run();
    assert_ne!(run.code, 0);
    server.stderr_line(|line| line.ends_with("SSH is served only with --authorized-keys"));
}

#[test]
fn a_peer_that_does_not_go_on_is_not_waited_for() {
    let server = serve(&["echo:", "--handshake-timeout", "100ms"]);
    for word in ["", "GE"] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream.write_all(word.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    server.stderr_line(|line| line.ends_with("no complete handshake within 100ms"));
}

#[test]
fn ssh_comes_in_by_the_same_port_and_inside_tls() {
    let (server, dir) = with_ssh(&["echo:", "--tls-self-signed"]);
    let at = format!("127.0.0.1:{}", server.port());
    let flags = flags(dir.path(), server.port(), 1);
    for address in [format!("ssh://me@{at}"), format!("tls://{at},ssh://me@{at}")] {
        say_hello(&address).args(&flags).run().code(0).stdout("hello\n");
    }
    say_hello(&format!("wss://{at}")).run().code(0).stdout("hello\n");
}

#[test]
fn who_is_silent_is_greeted_by_ssh() {
    let (server, _dir) = with_ssh(&["echo:"]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    stream.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn it_stands_on_another_socket_and_is_not_connected_to() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    let socket = format!("unix:{}", path.display());
    let server = Towline::serve([&format!("{socket},any:"), "echo:"]);
    assert_eq!(server.address(), format!("{socket},any:"));
    say_hello(&format!("{socket},ws://x/")).run().code(0).stdout("hello\n");
    let run = Towline::connect(["any://127.0.0.1:1"]).run();
    run.code(2).stderr_has("any://127.0.0.1:1: is only for listening");
    run.stderr_has("hint: connect to it as ws:, wss: or ssh:");
    let run = Towline::new().args(["serve", "any:", "echo:"]).run();
    run.code(2).stderr_has("any:: a port is missing, as in any://:443");
}
