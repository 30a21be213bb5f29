//! What all browsers have in common: a process with a profile, and a WebSocket that takes commands,
//! which `towline connect` speaks to.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Running, Towline};

/// A page in which scripts can be run.
pub(crate) trait Page {
    /// Runs the body of an async function in the page, once it is complete.
    fn run(&self, script: &str) -> Value;
}

/// A browser's process; it and its children are killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    _profile: TempDir,
}

impl Process {
    /// Starts it, and returns what stands behind `said` on stderr, too.
    pub(crate) fn start(command: &mut Command, profile: TempDir, said: &str) -> (Self, String) {
        let child = command
            // What it keeps beside its profile goes with that.
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        // From here on, a panic ends the browser too.
        let mut process = Self { child, _profile: profile };
        let stderr = process.child.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
        let found = lines
            .find_map(|line| line.strip_prefix(said).map(str::to_owned))
            .unwrap_or_else(|| panic!("{command:?} does not say where it listens"));
        // Read on, since a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        (process, found)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A connection over which a browser takes commands.
pub(crate) struct Remote {
    connection: Running,
    commands: u64,
    /// What the browser has said by itself.
    pub(crate) events: Vec<Value>,
}

impl Remote {
    pub(crate) fn connect(address: &str) -> Self {
        let connection = Towline::connect([address]).stdin_open().spawn();
        Self { connection, commands: 0, events: Vec::new() }
    }

    /// Gives a command, and returns what came of it.
    #[track_caller]
    pub(crate) fn command(&mut self, method: &str, params: Value) -> Value {
        self.commands += 1;
        let command = json!({ "id": self.commands, "method": method, "params": params });
        self.connection.write(format!("{command}\n"));
        loop {
            let line = self.connection.read_until("\n");
            let said: Value = serde_json::from_slice(&line).unwrap();
            if said["id"] == self.commands {
                assert!(said["error"].is_null(), "{said:#}");
                return said["result"].clone();
            }
            self.events.push(said);
        }
    }
}

/// An expression that is what the script returns.
pub(super) fn expression(script: &str) -> String {
    format!(
        "(async () => {{
            while (document.readyState !== 'complete')
                await new Promise(resolve => setTimeout(resolve, 5));
            {script}
        }})()"
    )
}
