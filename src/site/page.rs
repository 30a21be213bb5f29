//! The page to try a WebSocket with: one file, no other resources.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Answer;

const PAGE: &str = include_str!("page.html");

/// Lets run what is written in the page and nothing else, and lets it talk to WebSockets only.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let text = PAGE.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once("</"));
        STANDARD.encode(digest(&SHA256, text.map_or("", |(text, _)| text).as_bytes()))
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src ws: wss:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("style"),
        hash("script")
    )
});

/// The page, with the paths to offer; the first is filled in.
pub(super) fn answer<'a>(paths: impl Iterator<Item = &'a str>) -> Answer {
    let options: String =
        paths.map(|path| format!("<option value=\"{}\">", escaped(path))).collect();
    Answer::new(200, "OK", "text/html; charset=utf-8", PAGE.replace("<!-- paths -->", &options))
        .with("Content-Security-Policy", POLICY.as_str())
        .with("Cache-Control", "no-cache")
        .with("Referrer-Policy", "no-referrer")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        for tag in ["<style>", "<script>", "<!-- paths -->"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
        for outside in ["src=", "href=", "@import", "url(", " style=", " onclick", "http:"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        assert!(PAGE.lines().count() <= 250);
    }

    #[test]
    fn a_path_cannot_become_markup() {
        assert_eq!(escaped("/a\"><b>&"), "/a&quot;>&lt;b>&amp;");
    }
}
