//! `serve` as a server: announcing, limits, draining, sockets that others opened, rude peers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{Frame, Running, Towline, Ws, tcp_server, wait_until, ws_server};

#[test]
fn the_ready_line_names_the_port_that_was_chosen() {
    let server = Towline::serve(["ws://127.0.0.1:0/chat", "echo:"]);
    let address = server.address();
    assert!(address.starts_with("ws://127.0.0.1:") && address.ends_with("/chat"), "{address}");
    let mut ws = Ws::connect(&address);
    ws.text("x");
    assert_eq!(ws.recv().text(), "x");
}

#[test]
fn the_ready_line_in_json_and_the_command_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ready");
    let command = format!("echo \"$TOWLINE_LISTEN\" > {}", file.display());
    let server = Towline::new()
        .args([
            "serve",
            "tcp://127.0.0.1:0",
            "echo:",
            "--announce",
            "json",
            "--on-listen",
            &command,
        ])
        .spawn();
    let line = server.stderr_line(|line| line.starts_with('{'));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["event"], "listening");
    let want = format!("tcp://127.0.0.1:{}\n", line["port"]);
    assert_eq!(format!("{}\n", line["address"].as_str().unwrap()), want);
    wait_until("the command has run", || std::fs::read_to_string(&file).is_ok_and(|it| it == want));
}

#[test]
fn the_ready_line_in_json_begins_with_what_it_is() {
    let server =
        Towline::new().args(["serve", "tcp://127.0.0.1:0", "echo:", "--announce", "json"]).spawn();
    server.stderr_line(|line| {
        line.starts_with(r#"{"event":"listening","address":"tcp://127.0.0.1:"#)
    });
}

#[test]
fn a_command_for_the_ready_line_that_fails_is_reported() {
    let server = Towline::serve(["tcp://127.0.0.1:0", "echo:", "--on-listen", "exit 3"]);
    server.stderr_line(|line| line == "towline: --on-listen `exit 3`: exit 3");
}

#[test]
fn a_free_port_is_offered_only_for_one_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let hint = "hint: port 0 is any free port\n";
    Towline::new().args(["serve", &taken, "echo:"]).run().code(4).stderr_has(hint);
    // An address of the documentation (RFC 5737) is nobody's.
    let foreign = Towline::new().args(["serve", "tcp://192.0.2.1:0", "echo:"]).run();
    foreign.code(4).stderr_has("cannot assign requested address").stderr_lacks("hint");
}

#[test]
fn a_log_line_names_the_port_that_was_chosen() {
    for scheme in ["ws", "socks5", "http"] {
        let server = Towline::serve([&format!("{scheme}://127.0.0.1:0"), "echo:", "-v"]);
        drop(TcpStream::connect(("127.0.0.1", server.port())).unwrap());
        let address = server.address();
        server.stderr_line(|line| line.contains(&format!(": {address}: ")));
    }
}

/// The example of the article that towline grew from.
#[test]
fn an_echo_server_with_a_prefix() {
    let server = Towline::serve(["127.0.0.1:0", "echo:Server received from client: "]);
    let out = Towline::connect([server.address()]).stdin("hello\n").run();
    out.code(0).stdout("Server received from client: hello\n");
}

#[test]
fn several_listeners_share_a_target() {
    let dir = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", dir.path().join("s").display());
    let server = Towline::serve(["tcp://127.0.0.1:0", "ws://127.0.0.1:0", &unix, "echo:"]);
    let addresses = server.listeners(3);
    assert_eq!(addresses[2], unix);
    for address in addresses {
        Towline::connect([address]).stdin("to all\n").run().code(0).stdout("to all\n");
    }
}

/// How often the threads of a server that are there for peers have waited for something.
fn waits(server: &Running) -> Vec<u64> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero()));
    let threads = threads.unwrap().map(|thread| thread.unwrap().path());
    let read = |thread: &Path, file| std::fs::read_to_string(thread.join(file)).unwrap();
    let of_peers = threads.filter(|thread| read(thread, "comm") == "towline-peers\n");
    let waits = of_peers.map(|thread| {
        let status = read(&thread, "status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    });
    waits.collect()
}

#[test]
fn peers_are_spread_over_threads() {
    let dir = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", dir.path().join("s").display());
    let server = Towline::serve(["ws://127.0.0.1:0", &unix, "echo:", "--threads=3"]);
    let address = server.listeners(2).remove(0);
    let connect = || {
        let mut ws = Ws::connect(&address);
        ws.text("here");
        assert_eq!(ws.recv().text(), "here");
        ws
    };
    let mut peers: Vec<_> = (0..3).map(|_| connect()).collect();
    let before = waits(&server);
    assert_eq!(before.len(), 2, "besides the first thread");
    for number in 0..100 {
        for ws in &mut peers {
            ws.text(&number.to_string());
            assert_eq!(ws.recv().text(), number.to_string());
        }
    }
    // Each answer was waited for, so that its thread had nothing else to do before the next one.
    let grown = waits(&server).into_iter().zip(before).map(|(after, before)| after - before);
    assert!(grown.clone().all(|waits| waits >= 50), "{:?}", grown.collect::<Vec<_>>());
    Towline::connect([&unix]).stdin("to any\n").run().code(0).stdout("to any\n");
    server.signal(Signal::TERM);
    for mut ws in peers {
        assert_eq!(ws.until_close(), 1001);
    }
    server.wait().code(0);
}

#[test]
fn peers_over_the_limit_wait_until_one_leaves() {
    let server = Towline::serve(["tcp://127.0.0.1:0", "echo:", "--max-peers", "1"]);
    let mut first = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    first.write_all(b"1").unwrap();
    first.read_exact(&mut [0]).unwrap();
    let mut second = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    second.write_all(b"2").unwrap();
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    second.set_nonblocking(false).unwrap();
    let mut byte = [0];
    second.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"2");
}

#[test]
fn a_peer_that_is_slow_with_its_head_is_cut_off() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:", "--handshake-timeout", "300ms"]);
    let mut slow = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn plain_bytes_are_cut_when_the_time_to_drain_is_over() {
    let target = tcp_server(|mut tcp| {
        let mut all = Vec::new();
        let _ = tcp.read_to_end(&mut all);
        let _ = tcp.write_all(&all);
    });
    let target = format!("tcp://{}", target.address());
    let server = Towline::serve(["tcp://127.0.0.1:0", &target, "--drain", "300ms", "-v"]);
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    tcp.write_all(b"still here").unwrap();
    server.stderr_line(|line| line.ends_with(": connected"));
    server.signal(Signal::TERM);
    server.wait().code(0).stderr_has("1 peers had not left");
}

#[test]
fn a_join_of_bytes_that_ends_while_draining_is_whole() {
    let target = tcp_server(|mut tcp| {
        let mut all = Vec::new();
        tcp.read_to_end(&mut all).unwrap();
        tcp.write_all(&all).unwrap();
    });
    let target_address = format!("tcp://{}", target.address());
    let server = Towline::serve(["tcp://127.0.0.1:0", &target_address, "-v"]);
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    tcp.write_all(b"first ").unwrap();
    server.stderr_line(|line| line.ends_with(": connected"));
    server.signal(Signal::TERM);
    wait_until("nothing new is accepted", || {
        TcpStream::connect(("127.0.0.1", server.port())).is_err()
    });
    tcp.write_all(b"last").unwrap();
    tcp.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    tcp.read_to_string(&mut back).unwrap();
    assert_eq!(back, "first last");
    server.wait().code(0);
}

#[test]
fn a_second_signal_ends_at_once() {
    let target = tcp_server(|mut tcp| drop(tcp.read(&mut [0])));
    let target_address = format!("tcp://{}", target.address());
    let server = Towline::serve(["tcp://127.0.0.1:0", &target_address, "--drain", "1h", "-v"]);
    let tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    server.stderr_line(|line| line.ends_with(": connected"));
    server.signal(Signal::TERM);
    wait_until("nothing new is accepted", || {
        TcpStream::connect(("127.0.0.1", server.port())).is_err()
    });
    server.signal_until_it_ends(Signal::TERM).code(143);
    drop(tcp);
}

#[test]
fn inetd_hands_over_stdin_and_stdout() {
    let out = Towline::new().args(["serve", "--inetd", "tcp:", "echo:"]).stdin("hello\n").run();
    out.code(0).stdout("hello\n").stderr_is_empty();
}

/// What inetd hands over is a connection, and its end is that of the peer.
#[test]
fn inetd_does_not_wait_for_a_peer_that_has_left() {
    let line = ["serve", "--inetd", "--handshake-timeout", "1h", "--idle-timeout", "1h"];
    Towline::new().args(line).args(["ws:", "echo:"]).stdin_null().run().code(11);
    Towline::new().args(line).args(["tcp:", "echo:"]).stdin_null().run().code(0);
}

#[test]
fn inetd_hands_over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("ws://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let socket: OwnedFd = listener.accept().unwrap().0.into();
        Command::new(env!("CARGO_BIN_EXE_towline"))
            .args(["serve", "--inetd", "ws:", "echo:"])
            .stdin(Stdio::from(socket.try_clone().unwrap()))
            .stdout(Stdio::from(socket))
            .status()
            .unwrap()
    });
    Towline::connect([address]).stdin("over inetd\n").run().code(0).stdout("over inetd\n");
    assert!(server.join().unwrap().success());
}

/// As systemd does it: the socket is descriptor 3, and the environment says so.
#[test]
fn a_socket_that_systemd_opened_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket: OwnedFd = listener.into();
    // The shell's own pid is the one that exec keeps.
    let line = format!(
        "LISTEN_PID=$$ LISTEN_FDS=1 exec {} serve tcp://127.0.0.1:1 echo: 3<&0 </dev/null",
        env!("CARGO_BIN_EXE_towline")
    );
    let mut child = Command::new("/bin/sh")
        .args(["-c", &line])
        .stdin(Stdio::from(socket))
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let address = format!("tcp://127.0.0.1:{port}");
    let out = Towline::connect([address]).stdin("activated").run();
    child.kill().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    out.code(0).stdout("activated");
    assert_eq!(said, format!("listening on tcp://127.0.0.1:{port}\n"));
}

#[test]
fn peers_that_leave_in_the_middle_of_the_handshake_leave_nothing_behind() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
    let mut stayed = Ws::connect(&server.address());
    let before = descriptors(&server);
    for round in 0..2000 {
        let mut rude = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        if round % 2 == 0 {
            rude.write_all(b"GET / HTTP/1.1\r\nUpgr").unwrap();
        }
    }
    wait_until("all descriptors are closed again", || descriptors(&server) <= before);
    stayed.text("still here");
    assert_eq!(stayed.recv().text(), "still here");
}

fn descriptors(server: &Running) -> usize {
    let pid = server.pid().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn a_peer_that_does_not_read_stops_its_own_target_alone() {
    let flood = ws_server(|mut ws| {
        let chunk = vec![b'x'; 64 << 10];
        // Until the peer has had enough.
        let frame = ws.encode(Frame::FIN | Frame::BINARY, &chunk);
        while ws.stream.write_all(&frame).is_ok() {}
    });
    let server = Towline::serve(["ws://127.0.0.1:0", &flood.ws("/")]);
    let mut stalled = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stalled.write_all(request.as_bytes()).unwrap();
    stalled.read_exact(&mut [0; 12]).unwrap();
    // The others get theirs, and the server's memory stays that of a few buffers.
    let mut other = Ws::connect(&server.address());
    for _ in 0..1000 {
        assert_eq!(other.recv().payload.len(), 64 << 10);
    }
    let pid = server.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = rss.trim().split(' ').next().unwrap().parse().unwrap();
    assert!(kib < 100 << 10, "{kib} KiB");
    other.reset();
    drop(stalled);
}

/// The answers wait in memory, so that there may not be any number of them.
#[test]
fn a_peer_that_pings_without_end_and_reads_nothing_is_not_read_either() {
    let server = Towline::serve(["ws://127.0.0.1:0", "null:"]);
    let mut ws = Ws::connect(&server.address());
    ws.stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let pings = ws.encode(0x89, &[b'p'; 125]).repeat(1000);
    // The kernel holds a few MiB on either side.
    let refused = (0..1000).any(|_| ws.stream.write_all(&pings).is_err());
    assert!(refused, "131 MB of pings were taken");
}

#[test]
fn a_ping_that_was_answered_in_time_does_not_put_the_next_one_off() {
    let args = ["--ping-interval", "50ms", "--ping-timeout", "1h"];
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"].iter().chain(&args));
    let mut ws = Ws::connect(&server.address());
    for _ in 0..3 {
        assert_eq!(ws.recv().opcode(), Frame::PING);
        ws.frame(Frame::FIN | Frame::PONG, "");
    }
}

#[test]
fn a_peer_whose_target_is_slow_to_answer_is_not_waited_for_at_the_end() {
    let silent = tcp_server(|mut tcp| drop(tcp.read_to_end(&mut Vec::new())));
    let target = silent.ws("/");
    let server = Towline::serve(["ws://127.0.0.1:0", &target, "-v", "--connect-timeout", "1h"]);
    let mut ws = Ws::connect(&server.address());
    server.stderr_line(|line| line.ends_with(": connected"));
    server.signal(Signal::TERM);
    assert_eq!(ws.until_close(), 1001);
    ws.close(1001, "");
    server.wait().code(0);
}

#[test]
fn the_access_log_counts_what_was_moved_before_a_failure_too() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:", "--access-log=json"]);
    let mut ws = Ws::connect(&server.address());
    ws.text("12345");
    assert_eq!(ws.recv().text(), "12345");
    ws.reset();
    let line = server.stderr_line(|line| line.contains("\"left\""));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["bytes_in"], &line["messages_out"]), (&5.into(), &1.into()), "{line}");
    assert!(line["error"].is_string(), "{line}");
}

#[test]
fn a_flag_that_nothing_heeds_is_refused() {
    let (tcp, ws) = ("tcp://127.0.0.1:0", "ws://127.0.0.1:0");
    for (listener, target, flag, needs) in [
        (tcp, "echo:", "--static=/tmp", "a listener for WebSockets"),
        (tcp, "echo:", "--route=/a=null:", "a listener for WebSockets or SSH"),
        (tcp, "echo:", "--no-status", "a listener for WebSockets"),
        (tcp, "echo:", "--allow-origin=*", "a listener for WebSockets"),
        (ws, "null:", "--reply=x", "the target echo:"),
        (ws, "null:", "--delay=1s", "the target echo:"),
        (ws, "echo:", "--slow=block", "a hub"),
        (ws, "echo:", "--queue=8", "a hub"),
        (ws, "echo:", "--origin=http://a", "a WebSocket to connect to"),
        (ws, "echo:", "--cookie=a=b", "a WebSocket to connect to"),
        (tcp, "echo:", "--subprotocol=a", "a WebSocket"),
        (ws, "echo:", "--ca=/nonexistent", "an address with TLS"),
    ] {
        let name = flag.split('=').next().unwrap();
        let run = Towline::new().args(["serve", listener, target, flag]).run();
        run.code(2).stderr_has(&format!("towline: {name} needs {needs}\n"));
    }
    let two = ["serve", "--inetd", "tcp:", "ws:", "echo:"];
    Towline::new().args(two).run().code(2).stderr_has("--inetd has one address and a target");
    // The target of a route heeds as well as that of the rest.
    Towline::serve([ws, "null:", "--route", "/a=echo:", "--delay", "1s"]);
    Towline::serve([ws, "null:", "--route", "/a=hub:", "--queue", "8"]);
}

#[test]
fn a_port_is_shared_only_by_those_who_say_so() {
    let one = Towline::serve(["tcp://127.0.0.1:0", "echo:", "--reuse-port"]);
    let address = format!("tcp://127.0.0.1:{}", one.port());
    let _two = Towline::serve([&address, "echo:", "--reuse-port"]);
    Towline::new().args(["serve", &address, "echo:"]).run().code(4);
}
