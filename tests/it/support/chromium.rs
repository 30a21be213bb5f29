//! Chromium without a window, commanded by the Chrome DevTools Protocol.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::browser::{Page, Process, Remote, expression};
use super::{port, wait_until};
use crate::site::Client;

/// A browser that shows one page.
pub(crate) struct Chromium {
    _process: Process,
    /// Where the page can be commanded.
    page: String,
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
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--remote-debugging-port=0"])
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url);
        let (process, address) = Process::start(&mut command, profile, "DevTools listening on ");
        let port = port(&address);
        let list = format!("GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}");
        let mut client = Client::new(port);
        let mut page = String::new();
        wait_until("the page is open", || {
            let tabs: Vec<Value> = serde_json::from_str(client.ask(&list).text()).unwrap();
            let tab = tabs.into_iter().find(|it| it["title"] == *title);
            let found = tab.and_then(|it| it["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            page = found.unwrap_or_default();
            !page.is_empty()
        });
        Self { _process: process, page }
    }

    /// Speaks to the page for longer than one command: some settings end with the connection.
    pub(crate) fn tab(&self) -> Tab {
        Tab(Remote::connect(&self.page))
    }
}

impl Page for Chromium {
    #[track_caller]
    fn run(&self, script: &str) -> Value {
        self.tab().run(script)
    }
}

/// A connection to the page.
pub(crate) struct Tab(Remote);

impl Tab {
    /// Gives a command, and returns what came of it.
    #[track_caller]
    pub(crate) fn command(&mut self, method: &str, params: Value) -> Value {
        self.0.command(method, params)
    }

    /// What the page has said by itself.
    pub(crate) fn events(&self) -> &[Value] {
        &self.0.events
    }

    /// Runs the body of an async function in the page.
    #[track_caller]
    pub(crate) fn run(&mut self, script: &str) -> Value {
        let params = json!({
            "expression": expression(script), "awaitPromise": true, "returnByValue": true,
        });
        let answer = self.command("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{answer:#}");
        answer["result"]["value"].clone()
    }
}
