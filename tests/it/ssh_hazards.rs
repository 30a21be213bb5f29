//! What busy, stuck and lost SSH sessions must not do: our client and our server, each of which
//! stands on a library that does most of it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::ssh::{Server, line};
use crate::support::{self, Running, Towline, noise, tcp_server, wait_until};

/// A client that forwards connections to a place behind a server, all in one session.
struct Tunnel {
    server: Server,
    client: Running,
    _place: support::Server,
}

impl Tunnel {
    #[track_caller]
    fn to(place: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let place = tcp_server(place);
        let server = Server::new(&[line("", 1)], &["null:", "--allow-open", "*"]);
        let target = format!("{},tcp://127.0.0.1:{}", server.ssh("me"), place.port());
        let client = Towline::new().args(["serve", "tcp://127.0.0.1:0", &target]);
        let client = client.args(server.flags(1)).spawn();
        client.ready();
        Self { server, client, _place: place }
    }

    #[track_caller]
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.client.port())).unwrap();
        stream.set_read_timeout(Some(support::DEADLINE)).unwrap();
        stream
    }

    /// How many files the server and the client have open.
    fn files(&self) -> [usize; 2] {
        [&self.server.run, &self.client].map(|run| {
            let folder = format!("/proc/{}/fd", run.pid().as_raw_nonzero());
            fs::read_dir(folder).unwrap().count()
        })
    }
}

/// The first byte says what is wanted: an echo, or bytes without end.
fn echo_or_flood(mut stream: TcpStream) {
    let mut wish = [0];
    if stream.read_exact(&mut wish).is_err() {
        return;
    }
    let mut chunk = vec![7; 64 << 10];
    match wish[0] {
        b'e' => {
            while let Ok(len @ 1..) = stream.read(&mut chunk) {
                if stream.write_all(&chunk[..len]).is_err() {
                    return;
                }
            }
        }
        _ => while stream.write_all(&chunk).is_ok() {},
    }
}

#[track_caller]
fn ask(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text.as_bytes());
}

#[test]
fn bulk_both_ways_in_many_channels_comes_through() {
    let tunnel = Tunnel::to(echo_or_flood);
    let bytes = noise(8 << 20);
    thread::scope(|scope| {
        for _ in 0..8 {
            let (mut stream, bytes) = (tunnel.connect(), &bytes);
            scope.spawn(move || {
                stream.write_all(b"e").unwrap();
                let mut writes = stream.try_clone().unwrap();
                thread::scope(|scope| {
                    scope.spawn(move || {
                        writes.write_all(bytes).unwrap();
                        writes.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).unwrap();
                    assert!(back == *bytes);
                });
            });
        }
    });
}

#[test]
fn a_client_that_hears_less_than_it_says_has_to_wait() {
    let server = Server::new(&[line("", 1)], &["echo:"]);
    let client = Towline::new().args(["serve", "tcp://127.0.0.1:0", &server.ssh("me")]);
    let client = client.args(server.flags(1)).args(["--frame", "raw"]).spawn();
    let mut stream = TcpStream::connect(("127.0.0.1", client.port())).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.set_read_timeout(Some(support::DEADLINE)).unwrap();
    let bytes = noise(150 << 20);
    let mut said = 0;
    while let Ok(len) = stream.write(&bytes[said..]) {
        said += len;
        assert!(said < bytes.len(), "all of it was taken, and nothing heard");
    }
    let peak = server.run.memory("VmHWM");
    assert!(peak < 96 << 10, "{peak} KiB");
    // From the moment it listens, everything goes on.
    let mut writes = stream.try_clone().unwrap();
    writes.set_write_timeout(Some(support::DEADLINE)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            writes.write_all(&bytes[said..]).unwrap();
            writes.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == bytes);
    });
}

#[test]
fn a_channel_that_nobody_reads_holds_no_other_up() {
    let tunnel = Tunnel::to(echo_or_flood);
    let mut lively = tunnel.connect();
    ask_first(&mut lively);
    let mut stuck = tunnel.connect();
    stuck.write_all(b"flood").unwrap();
    let mut some = [0; 1024];
    stuck.read_exact(&mut some).unwrap();
    for round in 0..200 {
        ask(&mut lively, &format!("round {round}"));
    }
    // It may be closed for that, or wait. It gets no wrong bytes and no clean end.
    let mut rest = Vec::new();
    stuck.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let end = stuck.take(64 << 20).read_to_end(&mut rest);
    assert!(end.is_err() || rest.len() == 64 << 20, "{} bytes and an end", rest.len());
    ask(&mut lively, "still here");
}

/// Begins an echo.
#[track_caller]
fn ask_first(stream: &mut TcpStream) {
    stream.write_all(b"e").unwrap();
    ask(stream, "hello");
}

#[test]
fn a_channel_that_is_dropped_while_it_is_full_holds_no_other_up() {
    let tunnel = Tunnel::to(echo_or_flood);
    let mut lively = tunnel.connect();
    ask_first(&mut lively);
    for _ in 0..20 {
        let mut full = tunnel.connect();
        full.write_all(b"flood").unwrap();
        full.read_exact(&mut [0; 1 << 20]).unwrap();
        drop(full);
        ask(&mut lively, "still here");
    }
}

#[test]
fn what_is_closed_abruptly_leaves_nothing_behind() {
    let tunnel = Tunnel::to(echo_or_flood);
    let mut first = tunnel.connect();
    ask_first(&mut first);
    let before = tunnel.files();
    for round in 0..200 {
        let mut stream = tunnel.connect();
        let wish: &[u8] = if round % 2 == 0 { b"flood" } else { b"echo" };
        stream.write_all(wish).unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }
    wait_until("all sockets are closed", || {
        let [server, client] = tunnel.files();
        server <= before[0] && client <= before[1]
    });
    ask(&mut first, "still here");
}

#[test]
fn channels_that_have_ended_hold_neither_places_nor_memory() {
    let tunnel = Tunnel::to(echo_or_flood);
    let chats = |count: usize| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..count / 4).for_each(|_| chat(&tunnel)));
            }
        });
    };
    chats(1000);
    let before = [&tunnel.server.run, &tunnel.client].map(|run| run.memory("VmRSS"));
    chats(3000);
    let after = [&tunnel.server.run, &tunnel.client].map(|run| run.memory("VmRSS"));
    // The client may keep 4 KiB of each, until there are so many that it begins a session anew.
    assert!(after[0] < before[0] + (4 << 10), "the server's: {before:?}, {after:?} KiB");
    assert!(after[1] < before[1] + (24 << 10), "the client's: {before:?}, {after:?} KiB");
    chats(2000);
    assert_eq!(tunnel.server.run.stderr().matches("logs in").count(), 2);
}

/// A connection that says something, hears it, and ends.
#[track_caller]
fn chat(tunnel: &Tunnel) {
    let mut stream = tunnel.connect();
    ask_first(&mut stream);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_reader_that_is_given_up_is_told_although_it_reads_nothing() {
    let tunnel = Tunnel::to(echo_or_flood);
    let mut lively = tunnel.connect();
    ask_first(&mut lively);
    let mut stuck = tunnel.connect();
    stuck.write_all(b"flood").unwrap();
    wait_until("its connection is reset", || stuck.take_error().unwrap().is_some());
    ask(&mut lively, "still here");
}

#[test]
fn a_reader_that_is_slow_is_not_given_up() {
    const PIECE: usize = 256 << 10;
    let tunnel = Tunnel::to(echo_or_flood);
    let mut lively = tunnel.connect();
    ask_first(&mut lively);
    let mut slow = tunnel.connect();
    slow.write_all(b"flood").unwrap();
    // Some 20 MiB a second at most, and more in all than may wait on the way.
    for _ in 0..512 {
        slow.read_exact(&mut [0; PIECE]).unwrap();
        thread::sleep(Duration::from_millis(12));
    }
    ask(&mut lively, "still here");
}

#[test]
fn a_server_that_was_killed_is_no_end() {
    let mut server = Server::new(&[line("", 1)], &["exec:cat /dev/zero"]);
    let mut client = server.connect(1, "me", "").stdin_open().spawn();
    client.read_until([0; 1024]);
    server.run.signal(Signal::KILL);
    client.wait().code(11);
    wait_until("the server is gone", || !server.run.runs());
}

#[test]
fn a_client_that_was_killed_is_no_end() {
    let (told, ends) = mpsc::channel();
    let target = tcp_server(move |mut stream| {
        let mut byte = [0];
        let end = loop {
            match stream.read(&mut byte) {
                Ok(0) => break Ok(()),
                Ok(_) => stream.write_all(&byte).unwrap(),
                Err(error) => break Err(error.kind()),
            }
        };
        told.send(end).unwrap();
    });
    let target = format!("tcp://127.0.0.1:{}", target.port());
    let server = Server::new(&[line("", 1)], &[&target]);
    let mut client = server.connect(1, "me", "").stdin_open().spawn();
    client.write("x\n");
    client.read_until("x");
    client.signal(Signal::KILL);
    assert_eq!(ends.recv_timeout(support::DEADLINE).unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_server_that_is_stuck_is_noticed_while_we_write() {
    let server = Server::new(&[line("", 1)], &["null:"]);
    // More than all buffers on the way take.
    let client = server.connect(1, "me", "").args(["--ssh-keepalive", "200ms"]);
    let client = client.stdin(noise(256 << 20)).spawn();
    server.said("connected");
    server.run.signal(Signal::STOP);
    client.wait().code(11).stderr_has("the SSH ");
}

#[test]
fn a_client_that_is_stuck_is_noticed_while_it_is_written_to() {
    let server = Server::new(&[line("", 1)], &["exec:cat /dev/zero", "--ssh-keepalive", "200ms"]);
    let mut client = server.connect(1, "me", "").stdin_open().spawn();
    client.read_until([0; 1024]);
    client.signal(Signal::STOP);
    server.said("does not answer any more");
}
