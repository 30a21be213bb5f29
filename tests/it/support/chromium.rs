//! A headless browser, which is driven over its own WebSocket by `towline connect`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Running, Towline, port, wait_until};
use crate::site::Client;

/// A browser that shows one page; it is killed when this is dropped.
pub(crate) struct Chromium {
    child: Child,
    /// Where the page can be commanded (Chrome DevTools Protocol).
    page: String,
    _profile: TempDir,
}

impl Chromium {
    /// Opens a page, which is there once it has its title.
    pub(crate) fn open(url: &str, title: &str) -> Self {
        Self::open_with(url, title, &[])
    }

    /// The same, and any certificate will do.
    pub(crate) fn open_insecure(url: &str, title: &str) -> Self {
        Self::open_with(url, title, &["--ignore-certificate-errors"])
    }

    fn open_with(url: &str, title: &str, flags: &[&str]) -> Self {
        // As the browser's list has it.
        let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let profile = TempDir::new().unwrap();
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--remote-debugging-port=0"])
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        // From here on, a panic ends the browser too.
        let mut browser = Self { child, page: String::new(), _profile: profile };
        let stderr = browser.child.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
        let address = lines
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
            .expect("chromium says where it listens");
        // Read on, since a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port(&address);
        let list = format!("GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}");
        let mut client = Client::new(port);
        wait_until("the page is open", || {
            let tabs: Vec<Value> = serde_json::from_str(client.ask(&list).text()).unwrap();
            let tab = tabs.into_iter().find(|it| it["title"] == *title);
            let page = tab.and_then(|it| it["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            browser.page = page.unwrap_or_default();
            !browser.page.is_empty()
        });
        browser
    }

    /// Runs the body of an async function in the page.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        Tab::new(self).run(script)
    }

    /// Speaks to the page for longer than one command: some settings end with the connection.
    pub(crate) fn tab(&self) -> Tab {
        Tab::new(self)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A connection to the page.
pub(crate) struct Tab {
    connection: Running,
    commands: u64,
    /// What the page has said by itself.
    pub(crate) events: Vec<Value>,
}

impl Tab {
    fn new(browser: &Chromium) -> Self {
        let connection = Towline::connect([&browser.page]).stdin_open().spawn();
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

    /// Runs the body of an async function in the page.
    #[track_caller]
    pub(crate) fn run(&mut self, script: &str) -> Value {
        let expression = format!(
            "(async () => {{
                while (document.readyState !== 'complete')
                    await new Promise(resolve => setTimeout(resolve, 5));
                {script}
            }})()"
        );
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.command("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{answer:#}");
        answer["result"]["value"].clone()
    }
}
