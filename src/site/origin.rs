//! Which web sites' pages may open a WebSocket here.
//!
//! Browsers let every page connect anywhere and send cookies and passwords along; the Origin they
//! add is the only thing that tells whose page it is (RFC 6455 section 10.2). Programs send none.

use super::Answer;
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::http::Request;

/// The Origins of `--allow-origin`.
pub(crate) struct Origins(Vec<Rule>);

#[derive(Debug, PartialEq)]
enum Rule {
    Any,
    Exact(String),
    /// `https://` and `.example.com:8443` of `https://*.example.com:8443`.
    Below {
        scheme: String,
        domain: String,
    },
}

impl Origins {
    pub(crate) fn new(allowed: &[String]) -> Result<Self> {
        allowed.iter().map(|text| Rule::parse(text)).collect::<Result<_>>().map(Self)
    }

    /// Refuses the pages of other sites: those that are not listed or, without a list, all but
    /// those of this host where the target is more than a toy. `rebound` tells that the Host is a
    /// name by which this machine is not known, so that it proves nothing.
    pub(super) fn check(
        &self,
        request: &Request,
        target: &Endpoint,
        rebound: bool,
        tls: bool,
    ) -> Result<(), Answer> {
        let mut origins = request.fields.all("Origin");
        let Some(origin) = origins.next() else { return Ok(()) };
        let host = request.fields.get("Host").unwrap_or_default();
        let ok = match &self.0[..] {
            [] => target.is_open_to_all_sites() || (is_same(origin, host, tls) && !rebound),
            _ => self.lists(origin),
        };
        if ok && origins.next().is_none() {
            return Ok(());
        }
        let body = format!(
            "pages of the Origin {origin} may not connect here\n\
             hint: towline serve --allow-origin {origin} lets them\n"
        );
        Err(Answer::text(403, "Forbidden", body))
    }

    /// Whether a request comes from a page that is listed, or from a program. Without a list, it is
    /// somebody else's to look at that.
    pub(crate) fn admits(&self, request: &Request) -> bool {
        let mut origins = request.fields.all("Origin");
        match (origins.next(), origins.next()) {
            _ if self.0.is_empty() => true,
            (Some(origin), None) => self.lists(origin),
            (origin, _) => origin.is_none(),
        }
    }

    fn lists(&self, origin: &str) -> bool {
        self.0.iter().any(|rule| rule.allows(origin))
    }

    /// Whether pages of a host, over whichever scheme, are listed by name.
    pub(super) fn name(&self, host: &str) -> bool {
        let schemes = ["http", "https"].map(|scheme| format!("{scheme}://{host}"));
        let named = |rule: &Rule| *rule != Rule::Any && schemes.iter().any(|it| rule.allows(it));
        self.0.iter().any(named)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text == "null" {
            return Ok(Self::Exact(text.to_owned()));
        }
        let origin = normal(text.strip_suffix('/').unwrap_or(text));
        let wrong = || {
            let what = format!("--allow-origin: `{text}` is not an Origin");
            Error::new(Kind::Usage, what).hint(
                "write https://example.com, https://*.example.com, http://localhost:3000 or `*`",
            )
        };
        let (scheme, host) = origin.split_once("://").ok_or_else(wrong)?;
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        if scheme.is_empty() || name.is_empty() || name.contains(['/', '*', '@', ' ', '?', '#']) {
            return Err(wrong());
        }
        Ok(match below {
            true => Self::Below { scheme: format!("{scheme}://"), domain: format!(".{name}") },
            false => Self::Exact(origin),
        })
    }

    fn allows(&self, origin: &str) -> bool {
        let origin = normal(origin);
        match self {
            Self::Any => true,
            Self::Exact(exact) => origin == *exact,
            Self::Below { scheme, domain } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(domain.as_str()))
                .is_some_and(|label| !label.is_empty()),
        }
    }
}

/// In lower case, without the default port.
fn normal(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let port = match origin.split_once("://") {
        Some(("https" | "wss", _)) => ":443",
        Some(("http" | "ws", _)) => ":80",
        _ => return origin,
    };
    origin.strip_suffix(port).map(str::to_owned).unwrap_or(origin)
}

/// Whether a page came from the host and port that it now connects to.
fn is_same(origin: &str, host: &str, tls: bool) -> bool {
    let Some((scheme, _)) = origin.split_once("://") else { return false };
    // Where TLS ends at a proxy before us, the page's scheme tells which port was meant.
    let scheme = if tls { "https" } else { scheme };
    normal(origin) == normal(&format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, origin: &str) -> bool {
        Rule::parse(rule).unwrap().allows(origin)
    }

    #[test]
    fn origins_are_matched_whole() {
        assert!(allows("*", "null"));
        assert!(allows("https://example.com", "https://EXAMPLE.com:443"));
        assert!(allows("https://example.com:443/", "https://example.com"));
        assert!(allows("https://*.example.com", "https://a.b.example.com"));
        assert!(allows("http://*.example.com:81", "http://a.example.com:81"));
        for (rule, origin) in [
            ("https://example.com", "http://example.com"),
            ("https://example.com", "https://example.com.evil.org"),
            ("https://example.com", "https://example.com:8443"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://a.example.com:81"),
            ("https://*.example.com", "https://a.example.com.evil.org"),
            ("https://example.com", "null"),
        ] {
            assert!(!allows(rule, origin), "{rule} {origin}");
        }
    }

    #[test]
    fn a_list_holds_origins_only() {
        for text in
            ["example.com", "https://", "https://a/b", "https://*", "a*", "https://a.*.b", ""]
        {
            assert_eq!(Rule::parse(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }

    #[test]
    fn the_same_host_is_the_same_port_too() {
        assert!(is_same("http://a:8010", "a:8010", false));
        assert!(is_same("http://A", "a:80", false));
        assert!(is_same("https://a", "a", false), "TLS ended before us");
        assert!(is_same("https://a", "a", true));
        assert!(!is_same("http://a:3000", "a:8010", false));
        assert!(!is_same("http://a", "a", true), "a page without TLS");
        assert!(!is_same("null", "null", false));
    }
}
