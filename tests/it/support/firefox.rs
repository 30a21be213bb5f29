//! Firefox without a window, commanded by WebDriver BiDi.

use std::cell::RefCell;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::browser::{Page, Process, Remote, expression};

/// What keeps it from speaking to anybody but the page it is sent to.
const QUIET: [&str; 7] = [
    r#""app.normandy.enabled", false"#,
    r#""browser.safebrowsing.malware.enabled", false"#,
    r#""browser.safebrowsing.phishing.enabled", false"#,
    r#""datareporting.policy.dataSubmissionEnabled", false"#,
    r#""network.captive-portal-service.enabled", false"#,
    r#""network.connectivity-service.enabled", false"#,
    r#""services.settings.server", """#,
];

/// A browser that shows one page.
pub(crate) struct Firefox {
    _process: Process,
    remote: RefCell<Remote>,
    /// Which page is commanded.
    context: Value,
}

impl Firefox {
    /// Opens a page; any certificate will do.
    pub(crate) fn open_insecure(url: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let prefs: String = QUIET.iter().map(|it| format!("user_pref({it});\n")).collect();
        fs::write(profile.path().join("user.js"), prefs).unwrap();
        let mut command = Command::new("firefox-esr");
        command
            .args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"])
            .arg(profile.path());
        let (process, address) =
            Process::start(&mut command, profile, "WebDriver BiDi listening on ");
        let mut remote = Remote::connect(&format!("{address}/session"));
        let wanted = json!({ "capabilities": { "alwaysMatch": { "acceptInsecureCerts": true } } });
        remote.command("session.new", wanted);
        let tree = remote.command("browsingContext.getTree", json!({}));
        let context = tree["contexts"][0]["context"].clone();
        let page = json!({ "context": context, "url": url, "wait": "complete" });
        remote.command("browsingContext.navigate", page);
        Self { _process: process, remote: RefCell::new(remote), context }
    }
}

impl Page for Firefox {
    #[track_caller]
    fn run(&self, script: &str) -> Value {
        // What comes back is a description of a value, unless it is a string.
        let text = format!("{}.then(JSON.stringify)", expression(script));
        let params = json!({
            "expression": text, "target": { "context": self.context }, "awaitPromise": true,
        });
        let answer = self.remote.borrow_mut().command("script.evaluate", params);
        let text = answer["result"]["value"].as_str();
        serde_json::from_str(text.unwrap_or_else(|| panic!("{answer:#}"))).unwrap()
    }
}
