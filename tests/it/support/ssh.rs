//! Our SSH server, and what our client needs to log in to it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Running, Towline, keys};

/// The number of the server's own key, in all tests.
pub(crate) const HOST: u8 = 100;

/// A server, and the files of those who know it.
pub(crate) struct Server {
    pub(crate) run: Running,
    pub(crate) dir: TempDir,
}

impl Server {
    /// `towline serve ssh:` that lets the keys of these lines in.
    #[track_caller]
    pub(crate) fn new(lines: &[String], args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("keys"), lines.concat()).unwrap();
        let file = dir.path().join("keys");
        let args = [&["--authorized-keys", file.to_str().unwrap()], args].concat();
        Self::with(dir, &args)
    }

    #[track_caller]
    pub(crate) fn with(dir: TempDir, args: &[&str]) -> Self {
        let host = keys::write(HOST, dir.path());
        let run = Towline::new().args(["-v", "serve", "ssh://127.0.0.1:0", "--host-key"]).arg(host);
        let run = run.args(args).stdin_open().spawn();
        run.ready();
        Self { run, dir }
    }

    pub(crate) fn port(&self) -> u16 {
        self.run.port()
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// The address for a user.
    pub(crate) fn ssh(&self, user: &str) -> String {
        format!("ssh://{user}@127.0.0.1:{}", self.port())
    }

    /// What a client with this key needs besides the address.
    pub(crate) fn flags(&self, key: u8) -> Vec<String> {
        flags(self.dir.path(), self.port(), key)
    }

    /// `towline connect - ssh://USER@…REST`.
    pub(crate) fn connect(&self, key: u8, user: &str, rest: &str) -> Towline {
        Towline::connect(["-", &format!("{}{rest}", self.ssh(user))]).args(self.flags(key))
    }

    #[track_caller]
    pub(crate) fn said(&self, what: &str) -> String {
        self.run.stderr_line(|line| line.contains(what))
    }
}

pub(crate) fn flags(dir: &Path, port: u16, key: u8) -> Vec<String> {
    let known = dir.join("known_hosts");
    fs::write(&known, format!("[127.0.0.1]:{port} {}\n", keys::public(HOST))).unwrap();
    let key = keys::write(key, dir);
    let [key, known] = [key, known].map(|path| path.display().to_string());
    ["-F", "none", "-i", &key, "--known-hosts", &known].map(str::to_owned).to_vec()
}

/// A line for a key, with options.
pub(crate) fn line(options: &str, key: u8) -> String {
    let gap = if options.is_empty() { "" } else { " " };
    format!("{options}{gap}{}\n", keys::public(key))
}
