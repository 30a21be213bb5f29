//! `tunnel` through OpenSSH's sshd, and OpenSSH, git and rsync through `tunnel`.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::support::sshd::Sshd;
use crate::support::{ClosedPort, DEADLINE, Running, Server, noise, peers, tcp_server, wait_until};

/// Answers a whole request, after its end, with the same bytes.
fn late_echo() -> Server {
    tcp_server(|mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    })
}

/// What a late echo says to a request.
#[track_caller]
fn ask(mut stream: impl Read + Write, end: impl FnOnce(), request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    end();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[track_caller]
fn dial(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[track_caller]
fn ask_port(port: u16, request: &[u8]) -> Vec<u8> {
    let stream = dial(port);
    let other = stream.try_clone().unwrap();
    ask(stream, || other.shutdown(Shutdown::Write).unwrap(), request)
}

#[track_caller]
fn ask_socket(path: &str, request: &[u8]) -> Vec<u8> {
    let stream = UnixStream::connect(path).unwrap();
    let other = stream.try_clone().unwrap();
    ask(stream, || other.shutdown(Shutdown::Write).unwrap(), request)
}

/// The port that a server chose for a remote forward: its address ends with it.
fn far_port(tunnel: &Running) -> u16 {
    tunnel.address().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn forwards_keep_half_closes_and_late_replies_on_all_kinds_of_sockets() {
    let sshd = Sshd::new();
    let echo = late_echo();
    let target = format!("127.0.0.1:{}", echo.port());
    let bytes = noise(3 << 20);
    for option in ["-L", "-R"] {
        let tunnel = sshd.tunnel(&[(option, &format!("0:{target}"))]);
        assert!(ask_port(far_port(&tunnel), &bytes) == bytes, "{option}");

        let socket = sshd.path(&format!("socket{option}"));
        let over_socket = sshd.tunnel(&[(option, &format!("{socket}:{target}"))]);
        assert!(ask_socket(&socket, &bytes) == bytes, "{option}");
        let onwards = sshd.tunnel(&[(option, &format!("0:{socket}"))]);
        assert!(ask_port(far_port(&onwards), &bytes) == bytes, "{option}");
        drop(over_socket);
    }
}

#[test]
fn socks_clients_go_out_on_the_side_that_was_asked_for() {
    let sshd = Sshd::new();
    let web = tcp_server(|mut stream| {
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthere\n").unwrap();
    });
    let url = format!("http://127.0.0.1:{}/", web.port());
    for option in ["-D", "-R"] {
        let tunnel = sshd.tunnel(&[(option, "0")]);
        let address = tunnel.address();
        let port = address.split(|it: char| !it.is_ascii_digit()).rfind(|it| it.len() > 3);
        let proxy = format!("socks5h://127.0.0.1:{}", port.unwrap());
        let curl = peers::program("curl").args(["-sS", "--noproxy", "", "-x", &proxy, &url]);
        curl.run().code(0).stdout("there\n");
    }
}

#[test]
fn openssh_jumps_through_a_tunnel_of_stdin_and_stdout() {
    let sshd = Sshd::new();
    let bytes = noise(20 << 20);
    let ssh = sshd.openssh("ssh").args(["-o", &through(&sshd)]);
    let run = ssh.args(["127.0.0.1", "cat; echo err >&2; exit 7"]).stdin(bytes.clone()).run();
    run.code(7).stdout_bytes(bytes).stderr_is("err\n");
}

/// The option that leads OpenSSH through `tunnel -W` to the same server once more.
fn through(sshd: &Sshd) -> String {
    format!(
        "ProxyCommand={} tunnel -F none -i {} --known-hosts {} -l %r -W %h:%p {}",
        env!("CARGO_BIN_EXE_towline"),
        sshd.path("key"),
        sshd.path("known_hosts"),
        sshd.address()
    )
}

#[test]
fn repositories_and_big_files_get_through_byte_by_byte() {
    let sshd = Sshd::new();
    let options = sshd.openssh_options().into_iter().chain(["-o".to_owned(), through(&sshd)]);
    let ssh = options.map(|it| format!(" '{it}'")).collect::<String>();
    let ssh = format!("ssh{ssh}");
    let git = |args: &[&str]| {
        let git = peers::program("git").env("GIT_SSH_COMMAND", &ssh).dir(sshd.path(""));
        git.args(["-c", "user.name=me", "-c", "user.email=me@example.com"]).args(args)
    };
    let big = noise(200 << 20);
    git(&["init", "-q", "-b", "main", "first"]).run().code(0);
    fs::write(sshd.path("first/file"), &big[..5 << 20]).unwrap();
    git(&["-C", "first", "add", "file"]).run().code(0);
    git(&["-C", "first", "commit", "-q", "-m", "A file"]).run().code(0);
    git(&["clone", "-q", &format!("ssh://127.0.0.1{}", sshd.path("first")), "second"])
        .run()
        .code(0);
    assert!(fs::read(sshd.path("second/file")).unwrap() == big[..5 << 20]);

    fs::write(sshd.path("big"), &big).unwrap();
    let far = format!("127.0.0.1:{}", sshd.path("scp"));
    let scp = sshd.openssh("scp").args(["-q", "-o", &through(&sshd), &sshd.path("big"), &far]);
    scp.run().code(0).stderr_is_empty();
    assert!(fs::read(sshd.path("scp")).unwrap() == big);
    let rsync = peers::program("rsync").args(["--whole-file", "-e", &ssh, &far]);
    rsync.arg(sshd.path("rsync")).run().code(0).stderr_is_empty();
    assert!(fs::read(sshd.path("rsync")).unwrap() == big);
}

#[test]
fn keys_that_change_all_the_time_corrupt_nothing() {
    let sshd = Sshd::with(|_| "RekeyLimit 1M".to_owned());
    let bytes = noise(32 << 20);
    sshd.connect(&[&sshd.then("exec:cat")])
        .stdin(bytes.clone())
        .run()
        .code(0)
        .stdout_bytes(&bytes)
        .stderr_is_empty();

    let echo = tcp_server(|mut stream| {
        let mut back = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut back).unwrap();
        back.shutdown(Shutdown::Write).unwrap();
    });
    let tunnel = sshd.tunnel(&[("-L", &format!("0:127.0.0.1:{}", echo.port()))]);
    let port = far_port(&tunnel);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let stream = dial(port);
                let mut writes = stream.try_clone().unwrap();
                let writer = scope.spawn({
                    let bytes = &bytes;
                    move || {
                        writes.write_all(bytes).unwrap();
                        writes.shutdown(Shutdown::Write).unwrap();
                    }
                });
                let mut back = Vec::new();
                { stream }.read_to_end(&mut back).unwrap();
                writer.join().unwrap();
                assert!(back == bytes);
            });
        }
    });
    assert!(!tunnel.stderr().contains("lost"), "{}", tunnel.stderr());
}

#[test]
fn a_reader_that_stalls_holds_up_nobody_and_is_given_up() {
    // Far more than may pile up.
    const SAID: usize = 256 << 20;
    let sshd = Sshd::new();
    let (sender, given_up) = mpsc::channel();
    let flood = tcp_server(move |mut stream| {
        let piece = noise(1 << 20);
        let _ = sender.send((0..SAID >> 20).any(|_| stream.write_all(&piece).is_err()));
    });
    let echo = late_echo();
    let tunnel = sshd.tunnel(&[
        ("-L", &format!("0:127.0.0.1:{}", flood.port())),
        ("-L", &format!("0:127.0.0.1:{}", echo.port())),
    ]);
    let ports: Vec<u16> = tunnel.listeners(2).iter().map(|it| crate::support::port(it)).collect();
    let mut quick: Vec<TcpStream> = (0..200).map(|_| dial(ports[1])).collect();
    for stream in &mut quick {
        stream.write_all(b"before ").unwrap();
    }
    let mut stalled = dial(ports[0]);
    // Its connection is there, and it reads no more.
    stalled.read_exact(&mut [0; 1]).unwrap();
    for mut stream in quick {
        stream.write_all(b"after").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, "before after");
    }
    // It has the session to itself now, and does not keep others from coming.
    assert_eq!(ask_port(ports[1], b"later"), b"later");
    let other = dial(ports[1]);
    assert_eq!(given_up.recv_timeout(DEADLINE), Ok(true));
    drop(other);
    let mut rest = Vec::new();
    assert!(stalled.read_to_end(&mut rest).is_err(), "truncated to {} bytes", rest.len());
    tunnel.stderr_line(|line| line.contains("MiB were waiting to be read"));
    assert!(tunnel.memory("VmHWM") < 200 << 10, "{} KiB", tunnel.memory("VmHWM"));
    assert_eq!(ask_port(ports[1], b"still there"), b"still there");
    assert!(!tunnel.stderr().contains("session is lost"), "{}", tunnel.stderr());
}

#[test]
fn connections_come_in_beside_a_reader_that_stalls() {
    let sshd = Sshd::new();
    let (sender, stalled) = mpsc::channel();
    let place = tcp_server(move |mut stream| {
        let mut wish = [0];
        stream.read_exact(&mut wish).unwrap();
        match wish[0] {
            b's' => sender.send(stream).unwrap(),
            _ => stream.write_all(&wish).unwrap(),
        }
    });
    let tunnel = sshd.tunnel(&[("-R", &format!("0:127.0.0.1:{}", place.port()))]);
    let mut flood = dial(far_port(&tunnel));
    flood.write_all(b"s").unwrap();
    let stalled = stalled.recv_timeout(DEADLINE).unwrap();
    // All that goes out on the way to the one that reads nothing.
    flood.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while flood.write(&[0; 64 << 10]).is_ok() {}
    let mut beside = dial(far_port(&tunnel));
    beside.write_all(b"b").unwrap();
    beside.read_exact(&mut [0]).unwrap();
    drop(stalled);
}

#[test]
fn a_session_that_is_killed_is_an_error_and_no_end() {
    let sshd = Sshd::new();
    let half = tcp_server(|mut stream| {
        stream.write_all(b"half of it").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let target = format!("127.0.0.1:{}", half.port());
    let mut connect = sshd.connect(&[&sshd.then(&format!("tcp://{target}"))]).stdin_open().spawn();
    connect.read_until("half of it");
    let tunnel = sshd.tunnel(&[("-L", &format!("0:{target}"))]);
    let mut near = dial(far_port(&tunnel));
    near.read_exact(&mut [0; 10]).unwrap();

    sshd.cut();
    connect.wait().code(11).stdout("half of it");
    let lost = near.read(&mut [0]).expect_err("no end, but a reset");
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
    tunnel.stderr_line(|line| line.contains("connected again"));
    let mut near = dial(far_port(&tunnel));
    near.read_exact(&mut [0; 10]).unwrap();
}

#[test]
fn a_remote_forward_comes_back_after_its_session_and_after_the_server() {
    let mut sshd = Sshd::new();
    let echo = late_echo();
    let there = ClosedPort::new();
    let forward = format!("127.0.0.1:{}:127.0.0.1:{}", there.port, echo.port());
    let tunnel = sshd.tunnel(&[("-R", &forward)]);
    let answers = || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", there.port)) else { return false };
        let asked = stream.write_all(b"there?").and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        asked.is_ok() && stream.read_to_end(&mut answer).is_ok() && answer == b"there?"
    };
    assert!(answers());

    let [session] = sshd.sessions()[..] else { panic!("{:?}", sshd.sessions()) };
    kill_process(session, Signal::KILL).unwrap();
    wait_until("it is served by another session", || sshd.sessions() != [session] && answers());

    sshd.stop();
    // As if the old session held the port a while longer than the server is away.
    let mut holder = None;
    wait_until("the old session has let go of the port", || {
        holder = TcpListener::bind(("127.0.0.1", there.port)).ok();
        holder.is_some()
    });
    sshd.start();
    tunnel.stderr_line(|line| line.contains("does not listen there for us"));
    drop(holder);
    wait_until("it is served by the new server", answers);
    assert!(tunnel.stderr().matches("listening again on").count() == 2, "{}", tunnel.stderr());
}

#[test]
fn a_server_that_says_nothing_is_tried_again_and_waited_for_only_so_long() {
    let mut sshd = Sshd::new();
    let echo = late_echo();
    let tunnel = sshd.verb("tunnel").args(["-i", &sshd.path("key"), "--drain", "0s", "-v"]);
    let tunnel = tunnel.args(["--connect-timeout", "5s", "--queue-timeout", "1s"]);
    let forward = format!("0:127.0.0.1:{}", echo.port());
    let tunnel = tunnel.args(["-L", &forward]).arg(sshd.address()).spawn();
    let port = far_port(&tunnel);

    sshd.stop();
    let mut deaf = None;
    wait_until("the port is free", || {
        deaf = TcpListener::bind(("127.0.0.1", sshd.port())).ok();
        deaf.is_some()
    });
    let deaf = deaf.unwrap();
    let first = deaf.accept().unwrap();
    let lost = dial(port).read(&mut [0]).expect_err("no end, but a reset");
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
    tunnel.stderr_line(|line| line.ends_with("the session is not back after 1s"));
    let second = deaf.accept().unwrap();
    drop((deaf, first, second));
    sshd.start();
    tunnel.stderr_line(|line| line.contains("connected again"));
    assert_eq!(ask_port(port, b"still there"), b"still there");
}
