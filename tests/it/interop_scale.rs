//! Thousands of peers, what the kernel is asked to do, links that are cut, disks that are full.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use regex::Regex;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::support::{Running, Towline, Ws, tcp_server, wait_until};

/// The figure of `key` in `/proc/PID/status`.
fn status(server: &Running, key: &str) -> u64 {
    let status = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn descriptors(server: &Running) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid().as_raw_nonzero())).unwrap().count()
}

/// Lets this process, and those that it starts, have as many descriptors as it may.
fn raise_descriptors(at_least: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(20_000, |maximum| maximum.min(20_000));
    assert!(wanted >= at_least, "this needs {at_least} descriptors (ulimit -n)");
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

#[test]
fn five_thousand_quiet_peers_are_cheap_and_stay_served() {
    const PEERS: u64 = 5000;
    raise_descriptors(PEERS + 1000);
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
    let address = server.address();
    let echo = |ws: &mut Ws| {
        ws.text("hello");
        assert_eq!(ws.recv().text(), "hello");
    };
    let before = status(&server, "VmRSS");
    let mut peers: Vec<Ws> = Vec::new();
    for _ in 0..PEERS {
        let mut ws = Ws::connect(&address);
        echo(&mut ws);
        peers.push(ws);
    }
    // In a release build it is 9 KiB (benches/README.md); this binary is not optimized.
    let each = status(&server, "VmRSS").saturating_sub(before) / PEERS;
    assert!(each <= 16, "{each} KiB a peer");
    peers.iter_mut().for_each(echo);
}

#[test]
fn ten_thousand_handshakes_that_are_broken_off_leave_nothing_behind() {
    const BATCH: usize = 500;
    raise_descriptors(2 * BATCH as u64);
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:"]);
    let mut stayed = Ws::connect(&server.address());
    let mut echo = |text: &str| {
        stayed.text(text);
        assert_eq!(stayed.recv().text(), text);
    };
    echo("before");
    let before = (descriptors(&server), status(&server, "Threads"));
    let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    for batch in 0..10_000 / BATCH {
        let rude: Vec<TcpStream> = (0..BATCH)
            .map(|round| {
                let mut rude = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
                // From nothing at all to a head whose answer is not waited for.
                let part = head.len() * round / (BATCH - 1);
                rude.write_all(&head.as_bytes()[..part]).unwrap();
                rude
            })
            .collect();
        echo(&format!("during {batch}"));
        drop(rude);
    }
    wait_until("all descriptors are closed again", || descriptors(&server) <= before.0);
    wait_until("all threads have ended", || status(&server, "Threads") <= before.1);
    echo("after");
    Ws::connect(&server.address());
}

/// What is sent each way under strace.
const MANY: usize = 8 << 20;

/// Bytes that system calls have moved, each byte counted on its way in and on its way out.
#[derive(Debug)]
struct Moved {
    spliced: usize,
    copied: usize,
    /// How many splices were refused.
    refused: usize,
}

/// Joins TCP to TCP under strace, which may tamper with system calls, and sends noise both ways
/// at once. It arrives as it was.
fn strace_tcp_to_tcp(tamper: &[&str]) -> Moved {
    let target = tcp_server(|tcp| swap_noise(tcp, 2, 1));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let calls = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,sendfile,splice";
    // With -D it is towline that is our child, not strace.
    let mut strace = vec!["strace", "-D", "-f", "-s0", "-o", log.to_str().unwrap(), "-e", calls];
    strace.extend(tamper);
    let address = format!("tcp://{}", target.address());
    let server = Towline::under(&strace).args(["serve", "tcp://127.0.0.1:0", &address]).spawn();
    swap_noise(TcpStream::connect(("127.0.0.1", server.port())).unwrap(), 1, 2);
    server.signal(Signal::TERM);
    server.wait().code(0);

    let mut moved = Moved { spliced: 0, copied: 0, refused: 0 };
    let log = fs::read_to_string(log).unwrap();
    // A call that another thread's interrupts takes two lines.
    let call = Regex::new(r"(?m)(\w+)(?:\(| resumed).* = (\d+|-1 EINVAL)").unwrap();
    for (_, [call, result]) in call.captures_iter(&log).map(|found| found.extract()) {
        match (call, result.parse::<usize>()) {
            ("splice", Ok(bytes)) => moved.spliced += bytes,
            (_, Ok(bytes)) => moved.copied += bytes,
            (_, Err(_)) => moved.refused += 1,
        }
    }
    moved
}

/// Says one kind of noise and hears another.
fn swap_noise(mut tcp: TcpStream, says: u64, hears: u64) {
    fn noise(seed: u64) -> Vec<u8> {
        let mut noise = vec![0; MANY];
        fastrand::Rng::with_seed(seed).fill(&mut noise);
        noise
    }
    let mut speaker = tcp.try_clone().unwrap();
    let speaking = thread::spawn(move || {
        speaker.write_all(&noise(says)).unwrap();
        speaker.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    tcp.read_to_end(&mut heard).unwrap();
    speaking.join().unwrap();
    assert!(heard == noise(hears), "{} bytes, not those that were sent", heard.len());
}

#[test]
fn tcp_to_tcp_is_spliced_once_it_is_warm() {
    let moved = strace_tcp_to_tcp(&[]);
    // Short connections are copied, since a kernel pipe costs more than it gains there.
    assert!(moved.copied < 1 << 20, "{moved:?}");
    assert!(moved.spliced + moved.copied >= 4 * MANY, "{moved:?}");
}

#[test]
fn tcp_to_tcp_is_copied_where_splice_is_refused() {
    let moved = strace_tcp_to_tcp(&["-e", "inject=splice:error=EINVAL"]);
    // Each direction has tried it once.
    assert!(moved.spliced == 0 && (1..=2).contains(&moved.refused), "{moved:?}");
    assert!(moved.copied >= 4 * MANY, "{moved:?}");
}

#[test]
fn what_is_in_the_pipe_when_splice_is_refused_is_not_lost() {
    let moved = strace_tcp_to_tcp(&["-e", "inject=splice:error=EINVAL:when=2+"]);
    assert!(moved.refused > 0, "{moved:?}");
    assert!(moved.spliced + moved.copied >= 4 * MANY, "{moved:?}");
}

/// A network namespace of its own, without a name. It is gone with the process that holds it, and
/// that ends when this test does, however it does.
struct Namespace {
    holder: Child,
    pid: String,
}

impl Namespace {
    /// With the loopback alone. `unshare` is the command that makes it.
    fn new(unshare: &[&str]) -> Self {
        let hold = format!("{PATH} ip link set lo up && echo up && exec cat");
        let mut child = Command::new(unshare[0])
            .args(&unshare[1..])
            .args(["sh", "-c", &hold])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        assert_eq!((said.unwrap(), &*line), (3, "up\n"), "{unshare:?} makes a namespace");
        let pid = child.id().to_string();
        Self { holder: child, pid }
    }

    /// Two of them, joined by a cable from `near`, 10.0.0.1, to `far`, 10.0.0.2.
    fn pair() -> (Self, Self) {
        // In a user namespace nobody has to be root for this.
        let near = Self::new(&["unshare", "--user", "--map-root-user", "--net"]);
        let far = Self::new(&[&near.enter()[..], &["unshare", "--net"]].concat());
        near.run(&format!("ip link add near type veth peer name far netns {}", far.pid));
        near.run("ip address add 10.0.0.1/24 dev near && ip link set near up");
        far.run("ip address add 10.0.0.2/24 dev far && ip link set far up");
        (near, far)
    }

    /// The command that runs another one in here.
    fn enter(&self) -> [&str; 6] {
        ["nsenter", "--user", "--net", "--preserve-credentials", "--target", &self.pid]
    }

    fn towline(&self) -> Towline {
        Towline::under(&self.enter())
    }

    fn run(&self, script: &str) {
        let enter = self.enter();
        let mut command = Command::new(enter[0]);
        command.args(&enter[1..]).args(["sh", "-c", &format!("{PATH} {script}")]);
        assert!(command.status().unwrap().success(), "{script}");
    }

    /// Bytes received and sent by an interface.
    fn traffic(&self, interface: &str) -> (u64, u64) {
        let interfaces = fs::read_to_string(format!("/proc/{}/net/dev", self.pid)).unwrap();
        let mut lines = interfaces.lines().filter_map(|line| line.split_once(':'));
        let (_, counts) = lines.find(|(name, _)| name.trim() == interface).unwrap();
        let counts: Vec<u64> = counts.split_whitespace().map(|n| n.parse().unwrap()).collect();
        (counts[0], counts[8])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Where `ip` is on some systems.
const PATH: &str = "PATH=$PATH:/usr/sbin:/sbin;";

#[test]
fn peers_that_vanish_in_the_middle_of_a_message_are_noticed() {
    let (near, far) = Namespace::pair();
    let patience = ["--ping-interval", "500ms", "--ping-timeout", "2s"];
    let server = near
        .towline()
        .args(["serve", "ws://0.0.0.0:0", "null:", "--route", "/talker=exec:yes"])
        .args(["--route", "/echo=echo:", "--access-log"])
        .args(patience)
        .spawn();
    let port = server.port();
    let other = format!("ws://127.0.0.1:{port}/echo");
    let mut other = near.towline().args(["connect", &other]).stdin_open().spawn();
    let mut echo = |line: &str| {
        other.write(line);
        other.read_until(line);
    };
    echo("before\n");
    let before = descriptors(&server);
    let dead = [["exec:yes", "/"], ["null:", "/talker"]].map(|[near, path]| {
        let address = format!("ws://10.0.0.1:{port}{path}");
        far.towline().args(["connect", near, &address, "--frame", "raw"]).args(patience).spawn()
    });
    wait_until("megabytes have gone both ways", || {
        let (received, sent) = far.traffic("far");
        received.min(sent) > 4 << 20
    });
    far.run("ip link set far down");
    echo("meanwhile\n");
    for dead in dead {
        dead.wait().code(11).stderr_has("connection lost: no answer to a Ping");
    }
    wait_until("the server has noticed both", || {
        server.stderr().matches("connection lost: no answer to a Ping").count() == 2
    });
    wait_until("all descriptors are closed again", || descriptors(&server) <= before);
    echo("after\n");
}

/// A run of towline that sees a disk of 64 KiB as `disk`; the disk is gone with it.
fn with_small_disk() -> Towline {
    let script = "mkdir disk && mount -t tmpfs -o size=64k none disk && exec \"$0\" \"$@\"";
    Towline::under(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script])
}

#[test]
fn a_full_disk_ends_a_run_with_14() {
    let out = with_small_disk().args(["connect", "-", "file:disk/out"]).stdin(vec![b'x'; 1 << 20]);
    out.run().code(14).stderr_has("no space left");
}

#[test]
fn a_full_disk_is_a_1011_for_its_peers_and_nothing_for_others() {
    let server = with_small_disk()
        .args(["serve", "ws://127.0.0.1:0", "file:disk/out", "--route", "/echo=echo:"])
        .spawn();
    let address = server.address();
    let mut other = Ws::connect(&format!("{address}/echo"));
    for _ in 0..2 {
        let mut ws = Ws::connect(&address);
        // In pieces, since the server does not read on once it has failed.
        for _ in 0..16 {
            ws.binary(vec![b'x'; 8 << 10]);
        }
        assert_eq!(ws.until_close(), 1011);
        other.text("still here");
        assert_eq!(other.recv().text(), "still here");
    }
}
