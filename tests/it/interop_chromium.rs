//! The test page in a real browser.

use serde_json::{Value, json};

use crate::support::browser::Page as _;
use crate::support::chromium::Chromium;
use crate::support::{Running, Towline};

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

/// A browser that shows the test page.
struct Page(Chromium);

impl Page {
    fn open(url: &str) -> Self {
        Self(Chromium::open(url, "towline: try this WebSocket"))
    }

    /// Runs the body of an async function in the page.
    #[track_caller]
    fn run(&self, script: &str) -> Value {
        self.0.run(&format!("{PRELUDE} {script}"))
    }
}

fn http(server: &Running) -> String {
    format!("http://127.0.0.1:{}/", server.port())
}

#[test]
fn the_page_talks_to_the_server_it_came_from() {
    let server = Towline::serve(["ws://127.0.0.1:0/echo", "echo:you said "]);
    let browser = Page::open(&http(&server));
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
        move |browser: &Page| browser.run(&script)
    };
    assert_eq!(connect(&own)(&Page::open(&http(&foreign))), "close");
    assert_eq!(connect(&own)(&Page::open(&http(&own))), "open");
}
