//! What every test uses: the binary under a deadline, and peers that misbehave on purpose.
//!
//! Nothing here sleeps for a fixed time and nothing waits for ever: every wait is for a condition
//! and ends at [`DEADLINE`] with a panic that shows what was seen so far.

#![allow(dead_code, unused_imports, reason = "a toolbox: no subject needs all of it")]

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

pub(crate) mod browser;
pub(crate) mod certs;
pub(crate) mod chromium;
pub(crate) mod firefox;
pub(crate) mod keys;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod ssh;
pub(crate) mod sshd;

pub(crate) use peer::{
    ClosedPort, Frame, Server, Ws, answer_http, exchange, tcp_server, ws_server,
};

/// How long anything may take. Far more than it needs, since a loaded machine is no bug.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes without a pattern, so that whatever is lost, doubled or moved is noticed.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    (0..len as u32 / 4).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// Compares with a file of the repository; `UPDATE=1` rewrites the file instead.
#[track_caller]
pub(crate) fn matches_file(path: &str, actual: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, actual).unwrap();
    }
    let expected = std::fs::read(&file).unwrap_or_default();
    let (expected, actual) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(actual));
    let different = expected.lines().zip(actual.lines()).find(|(old, new)| old != new);
    assert!(
        expected == actual,
        "{path} is stale; `UPDATE=1 cargo test --test it` rewrites it. First difference: {different:?}"
    );
}

/// Holds the files of a folder to a list: a file that nothing makes any more is stale too.
#[track_caller]
pub(crate) fn folder_holds(folder: &str, names: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(names.contains(&name), "nothing makes {}", path.display());
    }
}

/// One run of the binary: in an empty home, with an environment of its own.
#[must_use]
pub(crate) struct Towline {
    command: Command,
    stdin: Input,
    /// How many bytes of stdout are read before its reader goes away.
    reads: usize,
    deadline: Duration,
    home: TempDir,
}

enum Input {
    Null,
    Open,
    Bytes(Vec<u8>),
}

impl Towline {
    /// `towline` without arguments; stdin is `/dev/null` unless something else is said.
    pub(crate) fn new() -> Self {
        Self::program(env!("CARGO_BIN_EXE_towline"))
    }

    /// A line for the shell, which finds `towline` in its path.
    pub(crate) fn shell(line: &str) -> Self {
        let bin = Path::new(env!("CARGO_BIN_EXE_towline")).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path)));
        Self::program("sh").env("PATH", path.unwrap()).args(["-c", line])
    }

    /// `WRAPPER towline`, where the wrapper is a program that becomes another one: strace, nsenter.
    pub(crate) fn under(wrapper: &[&str]) -> Self {
        Self::program(wrapper[0]).args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_towline"))
    }

    /// Another program, run in the same way.
    pub(crate) fn program(program: impl AsRef<OsStr>) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(program);
        command.env_clear().env("HOME", home.path()).current_dir(home.path());
        command.env("COLUMNS", "100").env("NO_COLOR", "1");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        Self { command, stdin: Input::Null, reads: usize::MAX, deadline: DEADLINE, home }
    }

    /// `towline connect ARGS`.
    pub(crate) fn connect(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::new().arg("connect").args(args)
    }

    /// Starts `towline serve ARGS` and waits until it listens.
    #[track_caller]
    pub(crate) fn serve(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        let running = Self::new().arg("serve").args(args).spawn();
        running.ready();
        running
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds a variable to the environment, which is empty but for `PATH`, `HOME`, `COLUMNS` and
    /// `NO_COLOR`.
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs in a directory other than the empty home.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The empty directory that is the home and the current directory of the run; it is removed
    /// after it.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// stdin says this and ends.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// stdin is a pipe that stays open; see [`Running::write`] and [`Running::close_stdin`].
    pub(crate) fn stdin_open(mut self) -> Self {
        self.stdin = Input::Open;
        self
    }

    /// stdin is `/dev/null`, as in a cron job.
    pub(crate) fn stdin_null(mut self) -> Self {
        self.stdin = Input::Null;
        self
    }

    /// Closes the reading end of stdout once that many bytes have come, as `| head -c` does.
    pub(crate) fn stdout_closes_after(mut self, bytes: usize) -> Self {
        self.reads = bytes;
        self
    }

    /// How long the run may take.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs to the end.
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts, for servers and long runs.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Running {
        let piped = !matches!(self.stdin, Input::Null);
        self.command.stdin(if piped { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that children of children end with it.
        self.command.process_group(0);
        let words = [self.command.get_program()].into_iter().chain(self.command.get_args());
        let args: Vec<OsString> = words.map(OsStr::to_owned).collect();
        let mut child = self.command.spawn().unwrap();
        let mut stdin = child.stdin.take();
        if let Input::Bytes(bytes) = self.stdin {
            let mut stdin = stdin.take().unwrap();
            // In a thread, since the pipe may be full before anybody reads; a process that ends
            // early closes it, which is no error here.
            thread::spawn(move || drop(stdin.write_all(&bytes)));
        }
        Running {
            stdout: Tap::on(child.stdout.take().unwrap(), self.reads),
            stderr: Tap::on(child.stderr.take().unwrap(), usize::MAX),
            child,
            stdin,
            args,
            read: 0,
            deadline: self.deadline,
            started: Instant::now(),
            _home: self.home,
        }
    }
}

/// A process that runs; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Tap,
    stderr: Tap,
    args: Vec<OsString>,
    /// How much of stdout `read_until` has handed out.
    read: usize,
    deadline: Duration,
    started: Instant,
    _home: TempDir,
}

impl Running {
    /// The address of each `listening on …` line so far, at least one.
    #[track_caller]
    pub(crate) fn ready(&self) -> Vec<String> {
        self.listeners(1)
    }

    /// Waits until `count` listeners have said where they listen.
    #[track_caller]
    pub(crate) fn listeners(&self, count: usize) -> Vec<String> {
        let addresses = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes);
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            let lines = complete.lines().filter_map(|line| line.strip_prefix("listening on "));
            lines.map(str::to_owned).collect()
        };
        let found = self.stderr.wait(self.deadline, |bytes| {
            let found = addresses(bytes);
            (found.len() >= count).then_some(found)
        });
        found.unwrap_or_else(|| self.fail(&format!("{count} listeners did not come up")))
    }

    /// Where the first listener listens, as `ws://127.0.0.1:45123/`.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        self.ready().swap_remove(0)
    }

    /// The port of the first listener.
    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        port(&self.address())
    }

    /// Waits for a line of stderr, past or future.
    #[track_caller]
    pub(crate) fn stderr_line(&self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let found = self.stderr.wait(self.deadline, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            complete.lines().find(|line| wanted(line)).map(str::to_owned)
        });
        found.unwrap_or_else(|| self.fail("the line did not come on stderr"))
    }

    /// Everything said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Everything said on stdout so far.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Waits until stdout says `needle`, and returns what it said up to and with it since the
    /// last call.
    #[track_caller]
    pub(crate) fn read_until(&mut self, needle: impl AsRef<[u8]>) -> Vec<u8> {
        let (needle, from) = (needle.as_ref(), self.read);
        let found = self.stdout.wait(self.deadline, |bytes| {
            let at = bytes[from..].windows(needle.len()).position(|window| window == needle)?;
            Some(bytes[from..from + at + needle.len()].to_vec())
        });
        let found = found.unwrap_or_else(|| {
            self.fail(&format!("stdout did not say {:?}", String::from_utf8_lossy(needle)))
        });
        self.read += found.len();
        found
    }

    /// Writes to a stdin that was opened with [`Towline::stdin_open`].
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("stdin is not open");
        stdin.write_all(bytes.as_ref()).unwrap();
        stdin.flush().unwrap();
    }

    /// Ends stdin.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A figure of its memory in `/proc/PID/status`, in KiB: `VmRSS` is what it holds now, `VmHWM`
    /// the most it has ever held.
    #[track_caller]
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
    }

    /// Sends a signal to the process, not to its children.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal again and again, as an impatient user does, until the process has ended.
    #[track_caller]
    pub(crate) fn signal_until_it_ends(mut self, signal: Signal) -> Output {
        wait_until("the process has ended", || {
            let runs = self.runs();
            if runs {
                self.signal(signal);
            }
            !runs
        });
        self.wait()
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the process to end by itself. A stdin left open by [`Towline::stdin_open`] stays
    /// open meanwhile.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let end = self.started.max(Instant::now()) + self.deadline;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                self.fail("the process did not end");
            }
            thread::sleep(Duration::from_millis(2));
        };
        for (name, tap) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !tap.wait_end(self.deadline) {
                self.fail(&format!("the process ended with {status}, but a child holds {name}"));
            }
        }
        Output {
            args: self.args.clone(),
            code: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
            stdout: self.stdout.bytes(),
            stderr: self.stderr(),
        }
    }

    /// Kills the process and panics with all that is known.
    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
        panic!("{what}\n{}", describe(&self.args, &self.stdout.bytes(), &self.stderr()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Output {
    args: Vec<OsString>,
    /// The exit code; minus the signal if one killed the process.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert!(self.code == code, "exit code {}, not {code}\n{self}", self.code);
        self
    }

    #[track_caller]
    pub(crate) fn stdout(&self, text: &str) -> &Self {
        self.stdout_bytes(text)
    }

    #[track_caller]
    pub(crate) fn stdout_bytes(&self, bytes: impl AsRef<[u8]>) -> &Self {
        let bytes = bytes.as_ref();
        assert!(
            self.stdout == bytes,
            "stdout is {} bytes, not these {}: {:?}\n{self}",
            self.stdout.len(),
            bytes.len(),
            clip(bytes),
        );
        self
    }

    #[track_caller]
    pub(crate) fn stdout_has(&self, text: &str) -> &Self {
        let stdout = String::from_utf8_lossy(&self.stdout);
        assert!(stdout.contains(text), "stdout lacks {text:?}\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn stderr_has(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn stderr_lacks(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "stderr has {text:?}\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn stderr_is(&self, text: &str) -> &Self {
        assert!(self.stderr == text, "stderr is not {text:?}\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn stderr_is_empty(&self) -> &Self {
        self.stderr_is("")
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit code: {}", self.code)?;
        f.write_str(&describe(&self.args, &self.stdout, &self.stderr))
    }
}

fn describe(args: &[OsString], stdout: &[u8], stderr: &str) -> String {
    let args = args.iter().map(|arg| format!(" {arg:?}")).collect::<String>();
    format!("command:{args}\nstdout: {}\nstderr:\n{}", clip(stdout), clip(stderr.as_bytes()))
}

/// Enough to see what is wrong; a test over a gigabyte must not print it.
fn clip(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
    if bytes.len() > 4096 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

/// The port of `scheme://host:port/path`.
pub(crate) fn port(address: &str) -> u16 {
    let authority = address.split_once("://").and_then(|(_, rest)| rest.split(['/', ',']).next());
    let port = authority.and_then(|authority| authority.rsplit_once(':')?.1.parse().ok());
    port.unwrap_or_else(|| panic!("{address} has no port"))
}

/// What a pipe has said so far, read by a thread of its own so that it never fills up.
#[derive(Clone)]
struct Tap(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    ended: bool,
}

impl Tap {
    fn on(pipe: impl Read + Send + 'static, limit: usize) -> Self {
        let tap = Self(Arc::default());
        let writer = tap.clone();
        thread::spawn(move || {
            let mut pipe = pipe.take(limit as u64);
            let mut buf = vec![0; 64 * 1024];
            loop {
                let n = pipe.read(&mut buf).unwrap_or(0);
                let (heard, changed) = &*writer.0;
                let mut heard = heard.lock().unwrap();
                heard.bytes.extend_from_slice(&buf[..n]);
                heard.ended = n == 0;
                changed.notify_all();
                if n == 0 {
                    break;
                }
            }
            // Here the reading end is closed.
        });
        tap
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().bytes.clone()
    }

    /// Waits until `look` finds something; none at the end of the pipe or of the time.
    fn wait<T>(&self, time: Duration, mut look: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + time;
        let mut heard = self.0.0.lock().unwrap();
        loop {
            if let Some(found) = look(&heard.bytes) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if heard.ended || left.is_zero() {
                return None;
            }
            heard = self.0.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    fn wait_end(&self, time: Duration) -> bool {
        let heard = self.0.0.lock().unwrap();
        let (heard, _) = self.0.1.wait_timeout_while(heard, time, |heard| !heard.ended).unwrap();
        heard.ended
    }
}
