//! Rooms: who hears whom, what they are called, and what becomes of those who do not listen.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::ssh::{Server, line};
use crate::support::{DEADLINE, Frame, Running, Towline, Ws, port, wait_until};

/// Starts a console on pipes, listening for WebSockets and for plain TCP.
fn console(flags: &[&str]) -> (Running, String, u16) {
    let run = Towline::new().args(["serve", "ws://127.0.0.1:0/", "tcp://127.0.0.1:0", "-"]);
    let run = run.args(flags).stdin_open().spawn();
    let addresses = run.listeners(2);
    (run, addresses[0].clone(), port(&addresses[1]))
}

/// Connects and waits until the server has said that this peer joined.
fn join(server: &Running, address: &str, who: &str) -> Ws {
    let ws = Ws::connect(address);
    server.stderr_line(|line| line.starts_with(&format!("{who} ")));
    ws
}

#[test]
fn a_room_joins_its_peers_whatever_they_come_by() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "tcp://127.0.0.1:0", "hub:lobby"]);
    let addresses = server.listeners(2);
    let mut one = join(&server, &addresses[0], "c1");
    let mut two = join(&server, &addresses[0], "c2");
    let mut tcp = TcpStream::connect(("127.0.0.1", port(&addresses[1]))).unwrap();
    server.stderr_line(|line| line.starts_with("c3 joined hub:lobby from 127.0.0.1:"));
    let mut lines = BufReader::new(tcp.try_clone().unwrap()).lines();

    one.text("from one");
    assert_eq!(two.recv().text(), "from one");
    assert_eq!(lines.next().unwrap().unwrap(), "from one");
    tcp.write_all(b"from three\n").unwrap();
    assert_eq!(one.recv().text(), "from three");
    assert_eq!(two.recv().text(), "from three");
    two.binary([1, 2]);
    assert_eq!(one.recv().payload, [1, 2]);

    drop((tcp, lines));
    server.stderr_line(|line| line == "c3 left hub:lobby");
    two.close(1000, "");
    server.stderr_line(|line| line == "c2 left hub:lobby");
    // It is alone now; nothing comes back.
    one.text("hello?");
    one.close(1000, "");
    assert_eq!(one.until_close(), 1000);
}

#[test]
fn a_room_is_the_same_on_all_threads() {
    let server = Towline::serve(["ws://127.0.0.1:0", "hub:room", "--threads=3"]);
    let who = |number| format!("c{} joined", number + 1);
    let mut peers: Vec<_> =
        (0..6).map(|number| join(&server, &server.address(), &who(number))).collect();
    for speaker in 0..peers.len() {
        peers[speaker].text(&speaker.to_string());
        let others = peers.iter_mut().enumerate().filter(|(number, _)| *number != speaker);
        for (_, ws) in others {
            assert_eq!(ws.recv().text(), speaker.to_string());
        }
    }
}

#[test]
fn rooms_do_not_hear_each_other() {
    let server = Towline::serve(["ws://127.0.0.1:0", "--route", "/b=hub:b", "hub:a"]);
    let (a, b) = (server.address(), format!("{}/b", server.address().trim_end_matches('/')));
    let mut a1 = join(&server, &a, "c1");
    let mut a2 = join(&server, &a, "c2 joined hub:a");
    let mut b1 = join(&server, &b, "c1 joined hub:b");
    let mut b2 = join(&server, &b, "c2 joined hub:b");
    a1.text("a");
    b1.text("b");
    assert_eq!(a2.recv().text(), "a");
    assert_eq!(b2.recv().text(), "b");
}

#[test]
fn the_console_hears_all_and_speaks_to_all_or_to_one() {
    let (mut server, ws, tcp) = console(&[]);
    let mut one = join(&server, &ws, "c1");
    let mut two = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    server.stderr_line(|line| line.starts_with("c2 joined from 127.0.0.1:"));
    let mut lines = BufReader::new(two.try_clone().unwrap()).lines();

    one.text("one\nc2: forged");
    server.read_until("c1: one\nc1: c2: forged\n");
    two.write_all(b"two\n").unwrap();
    server.read_until("c2: two\n");
    server.write("for all\n@c2 for two\n@c9 for nobody\n@@c2 for all\n");
    server.stderr_line(|line| line == "towline: nobody is called c9");
    assert_eq!(one.recv().text(), "for all");
    assert_eq!(one.recv().text(), "@c2 for all");
    for line in ["for all", "for two", "@c2 for all"] {
        assert_eq!(lines.next().unwrap().unwrap(), line);
    }
    // Peers do not hear each other, and the end of the input ends nothing.
    server.close_stdin();
    one.text("still here");
    server.read_until("c1: still here\n");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(one.until_close(), 1001);
    server.wait().code(0).stderr_has("c1 left\n");
}

#[test]
fn a_script_at_the_console_gets_envelopes() {
    let (mut server, ws, tcp) = console(&["--frame", "json", "--name-from", "query:who"]);
    let mut anna = join(&server, &format!("{ws}?who=an%20na%1b%40"), "anna");
    let mut plain = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    server.stderr_line(|line| line.starts_with("c1 joined"));
    anna.text("hi");
    server.read_until(r#""from":"anna","type":"text","data":"hi"}"#);
    anna.binary([0xff]);
    server.read_until(r#""from":"anna","type":"binary","b64":"/w=="}"#);
    // What a TCP peer says is lines all the same.
    plain.write_all(b"plain\n").unwrap();
    server.read_until(r#""from":"c1","type":"text","data":"plain"}"#);
    server.write("{\"type\":\"text\",\"data\":\"a\",\"to\":\"c1\"}\n{\"type\":\"binary\",\"b64\":\"AQ==\"}\n");
    assert_eq!(anna.recv().payload, [1]);
    let mut lines = BufReader::new(plain).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "a");
}

#[test]
fn a_slip_at_the_console_of_a_server_ends_nothing() {
    let (mut server, ws, _) = console(&["--frame", "json"]);
    let mut one = join(&server, &ws, "c1");
    server.write("{\"type\":\"text\",\"data\":\"a\"}\n{oops\n\n{\"type\":\"text\"}\n");
    server.write("{\"type\":\"text\",\"data\":\"b\"}\n");
    for (line, why) in [(2, "not an envelope"), (4, "a text without data")] {
        let said = format!("towline: line {line} of the input: {why}");
        let line = server.stderr_line(|line| line.starts_with(&said));
        assert!(line.ends_with("; it is skipped"), "{line}");
    }
    assert_eq!(one.recv().text(), "a");
    assert_eq!(one.recv().text(), "b");

    let (mut server, ws, _) = console(&["--text"]);
    let mut one = join(&server, &ws, "c1");
    server.write(b"\xff\nc\n");
    server.stderr_line(|line| line.starts_with("towline: message 1 of the input is not UTF-8"));
    assert_eq!(one.recv().text(), "c");
}

#[test]
fn a_script_at_the_console_sends_a_peer_away() {
    let (mut server, ws, _) = console(&["--frame", "json"]);
    let (mut one, mut two) = (join(&server, &ws, "c1"), join(&server, &ws, "c2"));
    server.write("{\"type\":\"close\",\"code\":4001}\n");
    server.stderr_line(|line| line.starts_with("towline: a close needs the name"));
    server.write("{\"to\":\"c9\",\"type\":\"close\"}\n");
    server.stderr_line(|line| line == "towline: nobody is called c9");
    server.write("{\"to\":\"c1\",\"type\":\"close\",\"code\":4001,\"reason\":\"off you go\"}\n");
    assert_eq!(one.until_close(), 4001);
    server.stderr_line(|line| line == "c1 left");
    server.write("{\"to\":\"c2\",\"type\":\"close\"}\n");
    assert_eq!(two.until_close(), 1005);
}

#[test]
fn names_come_from_where_the_flag_says() {
    let header = |name: &str| format!("X-User: {name}\r\n");
    let (server, ws, _tcp) = console(&["--name-from", "header:X-User"]);
    let _one = Ws::connect_with(&ws, &header("bob"));
    server.stderr_line(|line| line.starts_with("bob joined"));
    let two = Ws::connect_with(&ws, &header("bob"));
    server.stderr_line(|line| line.starts_with("bob#2 joined"));
    let _three = Ws::connect_with(&ws, &header("S"));
    server.stderr_line(|line| line.starts_with("S#2 joined"));
    let _four = Ws::connect_with(&ws, "");
    server.stderr_line(|line| line.starts_with("c1 joined"));
    drop(two);
    server.stderr_line(|line| line == "bob#2 left");
    let _again = Ws::connect_with(&ws, &header("bob"));
    wait_until("the name to be free again", || {
        server.stderr().lines().filter(|line| line.starts_with("bob#2 joined")).count() == 2
    });

    let run = Towline::serve(["ws://127.0.0.1:0", "-", "--name-from", "path"]);
    let _path = Ws::connect(&format!("{}/rooms/eve", run.address().trim_end_matches('/')));
    run.stderr_line(|line| line.starts_with("eve joined"));
}

#[test]
fn a_name_of_a_key_is_not_for_who_merely_says_it() {
    let named = line("environment=\"TOWLINE_NAME=c1\"", 1);
    let args = ["ws://127.0.0.1:0/", "hub:", "--name-from", "query:name"];
    let server = Server::new(&[named, line("", 2)], &args);
    let ws = server.run.listeners(2).remove(1);
    let come = |query: &str, name: &str| join(&server.run, &format!("{ws}{query}"), name);
    // Its holder has yet to come.
    let _pretender = come("?name=c1", "c1#2 joined");
    let _nameless = come("", "c2 joined");
    let log_in = |key, user, name: &str| {
        let run = server.connect(key, user, "").stdin_open().spawn();
        server.run.stderr_line(|line| line.starts_with(&format!("{name} joined")));
        run
    };
    let _c1 = log_in(1, "me", "c1");
    // A login name that the file does not know, once it was here.
    drop(log_in(2, "bob", "bob"));
    server.run.stderr_line(|line| line.starts_with("bob left"));
    let _pretender = come("?name=bob", "bob#2 joined");
    let _back = log_in(2, "bob", "bob");
}

/// One that never reads, one that talks, one that listens; `messages` of 64 KiB are said, more
/// than all sockets on the way can hold.
struct Crowd {
    server: Running,
    address: String,
    stalled: Ws,
    talker: Ws,
    listener: Ws,
}

const CHUNK: usize = 64 << 10;
const MESSAGES: u32 = 600;

impl Crowd {
    fn new(slow: &str) -> Self {
        let args = ["ws://127.0.0.1:0/", "hub:", "--slow", slow, "--queue", "8"];
        let server = Towline::serve(args);
        let address = server.address();
        let stalled = join(&server, &address, "c1");
        let talker = join(&server, &address, "c2");
        let listener = join(&server, &address, "c3");
        Self { server, address, stalled, talker, listener }
    }

    /// Says numbered messages; the listener gets them all, in order, before the next is said.
    fn talk(&mut self) {
        for n in 0..MESSAGES {
            self.talker.binary(numbered(n));
            assert_eq!(number(&self.listener.recv().payload), n);
        }
    }
}

fn numbered(n: u32) -> Vec<u8> {
    let mut message = vec![0; CHUNK];
    message[..4].copy_from_slice(&n.to_be_bytes());
    message
}

fn number(payload: &[u8]) -> u32 {
    assert_eq!(payload.len(), CHUNK);
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

#[test]
fn a_stalled_peer_misses_the_oldest_and_nobody_waits_for_it() {
    let mut crowd = Crowd::new("drop-oldest");
    crowd.talk();
    crowd.server.stderr_line(|line| line.starts_with("towline: c1 reads too slowly"));
    // It reads at last: the first messages, which were on their way, then the newest.
    let mut got = Vec::new();
    while got.last() != Some(&(MESSAGES - 1)) {
        got.push(number(&crowd.stalled.recv().payload));
    }
    assert!(got.is_sorted() && got[0] == 0 && got.len() < MESSAGES as usize, "{got:?}");
    crowd.stalled.close(1000, "");
    let missed = MESSAGES as usize - got.len();
    let said = format!("c1 left hub:; {missed} messages for it were dropped");
    crowd.server.stderr_line(|line| line == said);
}

#[test]
fn a_stalled_peer_is_disconnected_and_nobody_waits_for_it() {
    let mut crowd = Crowd::new("disconnect");
    crowd.talk();
    crowd.server.stderr_line(|line| line == "towline: c1 reads too slowly and is disconnected");
    assert_eq!(crowd.stalled.until_close(), 1013);
    crowd.server.stderr_line(|line| line == "c1 left hub:");
    let _again = join(&crowd.server, &crowd.address, "c4");
}

#[test]
fn a_stalled_peer_is_waited_for_and_misses_nothing() {
    let Crowd { server, mut stalled, mut talker, mut listener, .. } = Crowd::new("block");
    let talking = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            talker.binary(numbered(n));
        }
        talker
    });
    let listening = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            assert_eq!(number(&listener.recv().payload), n);
        }
    });
    for n in 0..MESSAGES {
        assert_eq!(number(&stalled.recv().payload), n);
    }
    listening.join().unwrap();
    drop(talking.join().unwrap());
    server.stderr_line(|line| line == "c2 left hub:");
    assert!(!server.stderr().contains("slowly"), "{}", server.stderr());
}

#[test]
fn a_closed_stdout_ends_the_server() {
    let run = Towline::new().args(["serve", "tcp://127.0.0.1:0"]);
    let run = run.stdout_closes_after(1).spawn();
    // What is printed after the first byte finds nobody.
    let mut peer = TcpStream::connect(("127.0.0.1", run.port())).unwrap();
    let stopped = std::thread::spawn(move || run.wait());
    wait_until("the end of the server", || {
        let _ = peer.write_all(b"more\n");
        stopped.is_finished()
    });
    stopped.join().unwrap().code(0);
}

/// A peer that is given up is not waited for while its last messages are still pressed upon it.
#[test]
fn a_dead_peer_holds_up_a_room_that_waits_no_longer_than_its_ping() {
    let args = ["--slow", "block", "--queue", "1"];
    let ping = ["--ping-interval", "100ms", "--ping-timeout", "100ms"];
    let server = Towline::serve(["ws://127.0.0.1:0", "hub:"].iter().chain(&args).chain(&ping));
    let _dead = Ws::connect(&server.address());
    server.stderr_line(|line| line.starts_with("c1 joined"));
    let mut speaker = Ws::connect(&server.address());
    // More than the kernel holds, so that the room waits for c1.
    let message = speaker.encode(Frame::FIN | Frame::BINARY, &[0; 1 << 20]);
    let started = Instant::now();
    for _ in 0..20 {
        speaker.stream.write_all(&message).unwrap();
    }
    server.stderr_line(|line| line.starts_with("c1 left"));
    assert!(started.elapsed() < DEADLINE);
}

/// Each of the two waits for room in the other's queue, so that neither of them is read.
#[test]
fn two_peers_that_never_read_do_not_hold_up_a_room_for_ever() {
    let args = ["--slow", "block", "--queue", "1"];
    let ping = ["--ping-interval", "200ms", "--ping-timeout", "2s"];
    let server = Towline::serve(["ws://127.0.0.1:0", "hub:"].iter().chain(&args).chain(&ping));
    let address = server.address();
    let dead = [join(&server, &address, "c1"), join(&server, &address, "c2")];
    let mut listener = join(&server, &address, "c3");
    let listening = std::thread::spawn(move || {
        loop {
            let frame = listener.recv();
            match frame.opcode() {
                Frame::PING => listener.frame(Frame::FIN | Frame::PONG, &frame.payload),
                _ if frame.payload == b"still here?" => return,
                _ => {}
            }
        }
    });
    let talking = dead.map(|mut ws| {
        let message = ws.encode(Frame::FIN | Frame::BINARY, &[0; 1 << 20]);
        std::thread::spawn(move || while ws.stream.write_all(&message).is_ok() {})
    });
    server.stderr_line(|line| line.starts_with("c1 left"));
    server.stderr_line(|line| line.starts_with("c2 left"));
    Towline::connect([&address]).stdin("still here?\n").run().code(0);
    listening.join().unwrap();
    for talking in talking {
        talking.join().unwrap();
    }
}
