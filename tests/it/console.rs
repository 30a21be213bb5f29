//! The console of a person, on a pseudo terminal.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Command, Pts, Pty};
use rustix::process::{Pid, Signal};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;

use crate::support::ssh::{self, HOST, line};
use crate::support::{
    ClosedPort, DEADLINE, Frame, Towline, Ws, keys, port, tcp_server, wait_until, ws_server,
};

/// A run of the binary that a person looks at.
struct Person {
    child: Child,
    pty: Arc<Pty>,
    /// Keeps the terminal alive after the run, so that its mode can be looked at.
    pts: Pts,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen has been looked at.
    seen: usize,
    home: TempDir,
}

impl Person {
    fn run(args: &[&str]) -> Self {
        Self::run_in(TempDir::new().unwrap(), args, &[])
    }

    fn run_in(home: TempDir, args: &[&str], env: &[(&str, &str)]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_towline"))
            .args(args)
            .env_clear()
            .env("HOME", home.path())
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .envs(env.iter().copied())
            .current_dir(home.path());
        let child = command.spawn_borrowed(&pts).unwrap();
        let (pty, screen) = (Arc::new(pty), Arc::new(Mutex::new(Vec::new())));
        let (reader, shown) = (pty.clone(), screen.clone());
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = (&*reader).read(&mut buf) {
                shown.lock().unwrap().extend_from_slice(&buf[..n]);
            }
        });
        Self { child, pty, pts, screen, seen: 0, home }
    }

    /// Waits until the screen shows `text`, after what was waited for before.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen.lock().unwrap().clone();
            let new = String::from_utf8_lossy(&screen[self.seen..]).into_owned();
            if let Some(at) = new.find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(Instant::now() < end, "{text:?} is not on the screen: {new:?}");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn types(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// The address that a server says it listens on.
    #[track_caller]
    fn listens(&self) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
            let found = screen.split("listening on ").nth(1);
            if let Some((address, _)) = found.and_then(|rest| rest.split_once("\r\n")) {
                return address.to_owned();
            }
            assert!(Instant::now() < end, "{screen:?}");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits for the end; the terminal must be in the mode in which it was.
    #[track_caller]
    fn ends(&mut self, code: i32) {
        let child = &mut self.child;
        let mut status = None;
        wait_until("the end of the run", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
        assert_eq!(status.unwrap().code(), Some(code), "{screen:?}");
        let modes = tcgetattr(&*self.pty).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        self.sees("\x1b[?2004l");
    }

    fn history(&self) -> String {
        fs::read_to_string(self.home.path().join(".local/state/towline/history")).unwrap()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.pts;
    }
}

const PROMPT: &str = "> ";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

#[test]
fn what_is_typed_is_sent_and_what_comes_is_printed_above() {
    let server = ws_server(|mut ws| {
        let hello = ws.recv();
        assert_eq!((hello.opcode(), hello.text()), (Frame::TEXT, "hello"));
        ws.text("well\x1b[2Jcome");
        ws.binary([0, 1, 0xff]);
        let half = ws.recv();
        assert_eq!(half.text(), "half typed");
        assert_eq!(ws.until_close(), 1000);
    });
    let mut person = Person::run(&["connect", &server.ws("/")]);
    person.sees(PROMPT);
    person.types("hello\r");
    person.sees("< well\\u{1b}[2Jcome");
    person.sees("< binary, 3 bytes");
    person.sees("00000000  00 01 ff");
    person.types("half ");
    person.sees("half ");
    person.types("typed\r");
    person.types(CTRL_D);
    person.ends(0);
}

#[test]
fn typing_goes_on_below_what_is_printed() {
    let server = ws_server(|mut ws| {
        ws.recv();
        for n in 0..500 {
            ws.text(&format!("message {n}."));
        }
        assert_eq!(ws.recv().text(), "unharmed");
        ws.close(4001, "over quota");
        ws.until_close();
    });
    let mut person = Person::run(&["connect", &server.ws("/")]);
    person.sees(PROMPT);
    person.types("go\runhar");
    // All of them, in the order in which they came.
    for n in 0..500 {
        person.sees(&format!("< message {n}."));
    }
    person.sees("> unhar");
    person.types("med\r");
    person.sees("< closed by the peer with 4001 over quota");
    person.ends(10);
    person.sees("closed by the peer with 4001 over quota");
}

#[test]
fn a_paste_of_several_lines_is_one_message() {
    let server = ws_server(|mut ws| {
        let pasted = ws.recv();
        assert_eq!(pasted.text(), "{\n  \"a\": [1, 2]\n}");
        ws.text("{\"b\":[],\"a\":[1,{\"c\":null}]}");
        ws.until_close();
    });
    let mut person = Person::run(&["connect", "--pretty", "--timestamps", &server.ws("/")]);
    person.sees(PROMPT);
    person.types("\x1b[200~{\r  \"a\": [1, 2]\r}\x1b[201~\r");
    person.sees("Z < {");
    person.sees("<   \"b\": [],");
    person.sees("<       \"c\": null");
    person.types(CTRL_D);
    person.ends(0);
}

#[test]
fn slash_commands_send_control_messages() {
    let server = ws_server(|mut ws| {
        let ping = ws.recv();
        assert_eq!((ping.opcode(), &*ping.payload), (Frame::PING, &b"are you there"[..]));
        ws.frame(Frame::FIN | Frame::PONG, "are you there");
        assert_eq!(ws.recv().payload, [0xde, 0xad]);
        assert_eq!(ws.recv().text(), "/slash");
        let close = ws.recv();
        assert_eq!((close.code(), close.reason()), (3000, "so long"));
        ws.close(3000, "");
    });
    let mut person = Person::run(&["connect", "--show-control", &server.ws("/")]);
    person.sees(PROMPT);
    person.types("/ping are you there\r");
    person.sees("< pong are you there");
    person.types("/binary de ad\r");
    person.types("/nonsense\r");
    person.sees("no command is called /nonsense");
    person.types("/he\t\r");
    person.sees("/close [CODE [REASON]]");
    person.types("//slash\r");
    person.types("/close 3000 so long\r");
    wait_until("the end of the run", || person.child.try_wait().unwrap().is_some());
}

#[test]
fn ctrl_c_says_goodbye() {
    let server = ws_server(|mut ws| {
        ws.text("hi");
        assert_eq!(ws.until_close(), 1001);
    });
    let mut person = Person::run(&["connect", &server.ws("/")]);
    person.sees("< hi");
    person.types("half");
    person.sees("half");
    person.types(CTRL_C);
    person.ends(130);
}

#[test]
fn a_lost_connection_and_a_signal_leave_the_terminal_in_order() {
    let server = ws_server(|mut ws| {
        ws.recv();
        ws.reset();
    });
    let mut person = Person::run(&["connect", &server.ws("/")]);
    person.sees(PROMPT);
    person.types("go\r");
    person.ends(11);

    let server = ws_server(|mut ws| {
        ws.until_close();
    });
    let mut person = Person::run(&["connect", &server.ws("/")]);
    person.sees(PROMPT);
    rustix::process::kill_process(Pid::from_child(&person.child), Signal::TERM).unwrap();
    person.ends(143);
}

#[test]
fn what_was_entered_is_remembered_and_nobody_else_can_read_it() {
    let server = ws_server(Ws::echo);
    let mut person = Person::run(&["connect", &server.ws("/")]);
    person.sees(PROMPT);
    person.types("first\r");
    person.sees("< first");
    person.types(" secret\r");
    person.sees("<  secret");
    person.types(CTRL_D);
    person.ends(0);
    assert!(person.history().contains("first"));
    assert!(!person.history().contains("secret"));
    let mode = |path: &str| {
        let path = person.home.path().join(Path::new(".local/state/towline")).join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("history")), (0o700, 0o600));

    let home = std::mem::replace(&mut person.home, TempDir::new().unwrap());
    let mut person = Person::run_in(home, &["connect", &server.ws("/")], &[]);
    person.sees(PROMPT);
    person.types("\x1b[A");
    person.sees("first");
    person.types(" again\r");
    person.sees("< first again");
    person.types(CTRL_D);
    person.ends(0);
}

#[test]
fn a_byte_stream_gets_lines() {
    let server = tcp_server(|mut tcp| {
        let mut all = String::new();
        tcp.read_to_string(&mut all).unwrap();
        assert_eq!(all, "GET /\n\n");
        tcp.write_all(b"one\ntwo").unwrap();
    });
    let address = format!("tcp://127.0.0.1:{}", server.port());
    let mut person = Person::run(&["connect", &address]);
    person.sees(PROMPT);
    person.types("GET /\r\r");
    person.types(CTRL_D);
    person.sees("< one");
    person.sees("< two");
    person.ends(0);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let server = ws_server(Ws::echo);
    let home = TempDir::new().unwrap();
    let mut person = Person::run_in(home, &["connect", &server.ws("/")], &[("TERM", "dumb")]);
    person.types("plain\n");
    person.sees("plain\r\nplain\r\n");
    assert!(!person.screen.lock().unwrap().contains(&0x1b));
}

#[test]
fn the_server_of_a_hub_is_typed_into() {
    let mut person =
        Person::run(&["serve", "ws://127.0.0.1:0/", "--name-from=query", "--access-log=text"]);
    let address = person.listens();
    person.sees(PROMPT);
    person.types("half");
    let mut anna = Ws::connect(&format!("{address}?name=anna"));
    person.sees("anna joined from 127.0.0.1:");
    let mut nameless = Ws::connect(&address);
    person.sees("c1 joined");
    anna.text("one\nanna: two");
    person.sees("anna: one");
    person.sees("anna: anna: two");
    person.sees("> half");
    person.types(" way\r");
    assert_eq!(anna.recv().text(), "half way");
    assert_eq!(nameless.recv().text(), "half way");
    person.types("@an\tjust you\r");
    assert_eq!(anna.recv().text(), "just you");
    person.types("@bob who\r");
    person.sees("nobody is called bob");
    person.types("/who\r");
    person.sees("anna c1");
    person.types("/kick c1\r");
    assert_eq!(nameless.until_close(), 1008);
    person.sees("c1 left");
    // Its answer was read, and the Close is what ended it.
    person.sees(" close 1008 ");
    person.types(CTRL_D);
    person.sees("/quit ends the server");
    person.types("/quit\r");
    assert_eq!(anna.until_close(), 1001);
    person.ends(0);
}

#[test]
fn ssh_peers_are_listed_and_shown_the_door() {
    let dir = TempDir::new().unwrap();
    let (host, file) = (keys::write(HOST, dir.path()), dir.path().join("keys"));
    let lines =
        [line("environment=\"TOWLINE_NAME=anna\"", 1), line("environment=\"TOWLINE_NAME=bob\"", 2)];
    fs::write(&file, lines.concat()).unwrap();
    let (host, file) = (host.display().to_string(), file.display().to_string());
    let server = ["serve", "ssh://127.0.0.1:0", "-", "--host-key", &host, "--authorized-keys"];
    let mut person = Person::run(&[&server[..], &[&file]].concat());
    let address = person.listens().replace("ssh://", "ssh://me@");
    let join = |key| {
        let flags = ssh::flags(dir.path(), port(&address), key);
        Towline::connect(["-", &address]).args(flags).stdin_open().spawn()
    };
    let mut anna = join(1);
    person.sees("anna joined");
    let bob = join(2);
    person.sees("bob joined");
    person.types("/who\r");
    person.sees("anna bob");
    person.types("/kick bob\r");
    person.sees("bob left");
    bob.wait().code(14).stderr_has("removed");
    person.types("still here\r");
    anna.read_until("still here\n");
}

#[test]
fn pipes_never_get_an_editor() {
    let server = ws_server(Ws::echo);
    let run = Towline::connect([&server.ws("/")]).stdin("a\n").run();
    run.code(0).stdout("a\n").stderr_is_empty();
}

#[test]
fn who_runs_a_proxy_sees_how_its_backends_are() {
    let (server, away) = (tcp_server(drop), ClosedPort::new());
    let there = format!("ws://127.0.0.1:{}", server.port());
    let away = format!("ws://127.0.0.1:{}", away.port);
    let flags = ["--health=tcp", "--health-interval=10ms"];
    let args = [&["proxy", "127.0.0.1:0", &there, &away], &flags[..]].concat();
    let mut person = Person::run(&args);
    person.sees(&format!("  {there}  up, 0 live"));
    person.sees(&format!("  {away}  down, 0 live"));
    rustix::process::kill_process(Pid::from_child(&person.child), Signal::TERM).unwrap();
    wait_until("the end of the run", || person.child.try_wait().unwrap().is_some());
}
