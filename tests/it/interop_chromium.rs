//! The test page in a real browser, which is driven over its own WebSocket by `towline connect`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::Client;
use crate::support::{Running, Towline, port, wait_until};

/// What every script may use.
const PRELUDE: &str = "
    const at = id => document.getElementById(id);
    const until = async done => {
        while (!done()) await new Promise(resolve => setTimeout(resolve, 5));
    };
    const send = (kind, text) => {
        document.querySelector(`[value=${kind}]`).click();
        at('text').value = text;
        at('send').click();
    };
    const rows = () => Array.from(at('rows').rows, row =>
        Array.from(row.cells, cell => cell.textContent).slice(1).join('|'));
";

/// A headless browser that shows one page; it is killed when this is dropped.
struct Chromium {
    child: Child,
    /// Where the page can be commanded (Chrome DevTools Protocol).
    page: String,
    _profile: TempDir,
}

impl Chromium {
    fn open(url: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--remote-debugging-port=0"])
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
            let tab = tabs.into_iter().find(|it| it["title"] == "towline: try this WebSocket");
            let page = tab.and_then(|it| it["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            browser.page = page.unwrap_or_default();
            !browser.page.is_empty()
        });
        browser
    }

    /// Runs the body of an async function in the page.
    #[track_caller]
    fn run(&self, script: &str) -> Value {
        let expression = format!(
            "(async () => {{
                while (document.readyState !== 'complete')
                    await new Promise(resolve => setTimeout(resolve, 5));
                {PRELUDE} {script}
            }})()"
        );
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let command = json!({ "id": 1, "method": "Runtime.evaluate", "params": params });
        let mut run = Towline::connect([&self.page]).stdin_open().spawn();
        run.write(format!("{command}\n"));
        let answer: Value = serde_json::from_slice(&run.read_until("\n")).unwrap();
        let value = &answer["result"]["result"]["value"];
        assert!(answer["result"]["exceptionDetails"].is_null(), "{answer:#}");
        value.clone()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn http(server: &Running) -> String {
    format!("http://127.0.0.1:{}/", server.port())
}

#[test]
fn the_page_talks_to_the_server_it_came_from() {
    let server = Towline::serve(["ws://127.0.0.1:0/echo", "echo:you said "]);
    let browser = Chromium::open(&http(&server));
    let address = format!("ws://127.0.0.1:{}/echo", server.port());
    let seen = browser.run(
        "
        const url = at('url').value;
        at('connect').click();
        await until(() => at('state').className === 'open');
        send('text', 'hello');
        await until(() => rows().length === 3);
        send('binary', '00 ff');
        await until(() => rows().length === 5);
        send('binary', '0');
        at('connect').click();
        await until(() => at('connect').textContent === 'Connect');
        return {
            url, rows: rows(), state: at('state').textContent, counts: at('counts').textContent,
            styled: getComputedStyle(document.body).display,
        };
        ",
    );
    assert_eq!(seen["url"], *address);
    assert_eq!(
        seen["rows"],
        json!([
            format!("|open||connected to {address}"),
            "↑ sent|text|5|hello",
            "↓ received|text|14|you said hello",
            "↑ sent|binary|2|00 ff",
            "↓ received|binary|11|79 6f 75 20 73 61 69 64 20 00 ff",
            "|error||hex digits come in pairs, as 68 65 6c",
            "|close||code 1000",
        ])
    );
    assert_eq!(seen["state"], "closed with 1000");
    assert_eq!(seen["counts"], "2 sent, 2 received");
    assert_eq!(seen["styled"], "flex", "the policy lets the style in");
}

#[test]
fn a_page_of_another_site_reaches_no_program() {
    let (foreign, own) = (
        Towline::serve(["ws://127.0.0.1:0", "echo:"]),
        Towline::serve(["ws://127.0.0.1:0", "exec:cat", "--page"]),
    );
    let connect = |server: &Running| {
        let script = format!(
            "
            at('url').value = 'ws://127.0.0.1:{}/';
            at('connect').click();
            await until(() => rows().length > 0);
            return rows()[0].split('|')[1];
            ",
            server.port()
        );
        move |browser: &Chromium| browser.run(&script)
    };
    assert_eq!(connect(&own)(&Chromium::open(&http(&foreign))), "close");
    assert_eq!(connect(&own)(&Chromium::open(&http(&own))), "open");
}
