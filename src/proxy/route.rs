//! A route as it is written: conditions, and the backends of the requests that fit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::cli::value::{Backend, header_text, token};
use crate::http::Request;
use crate::site::normal_host;
use crate::ssh::pattern;

/// `host=a.example path=/chat/* -> ws://b:9000 ws://c:9000*2`, in the words of a shell.
///
/// Every kind of condition has to be met. One of a kind is enough, but of headers all are needed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// Patterns, in lower case.
    hosts: Vec<String>,
    /// Patterns, of decoded paths.
    paths: Vec<String>,
    subprotocols: Vec<String>,
    headers: Vec<Header>,
    strip: Option<String>,
    /// Where the requests go.
    pub backends: Vec<Backend>,
}

/// A header that has to be there, with a value of this pattern if there is one.
#[derive(Clone, Debug, PartialEq)]
struct Header {
    name: String,
    value: Option<String>,
}

/// What routes look at in a request, in the form in which they compare it.
pub(super) struct Asked<'a> {
    request: &'a Request,
    host: String,
    path: String,
}

impl Route {
    /// Whether a request is one of this route's.
    pub(super) fn fits(&self, asked: &Asked<'_>) -> bool {
        let fields = &asked.request.fields;
        let any = |patterns: &[String], text: &str| {
            patterns.is_empty() || patterns.iter().any(|it| pattern::matches(it, text))
        };
        let offered = |it: &String| fields.list("Sec-WebSocket-Protocol").any(|name| name == it);
        any(&self.hosts, &asked.host)
            && any(&self.paths, &asked.path)
            && (self.subprotocols.is_empty() || self.subprotocols.iter().any(offered))
            && self.headers.iter().all(|header| {
                let fits = |value: &str| match &header.value {
                    Some(wanted) => pattern::matches(wanted, value),
                    None => true,
                };
                fields.all(&header.name).any(fits)
            })
            && self.stripped(&asked.request.target).is_some()
    }

    /// The target that a backend is asked for; none if what is to be taken off is not there.
    pub(super) fn stripped<'a>(&self, target: &'a str) -> Option<Cow<'a, str>> {
        let Some(prefix) = &self.strip else { return Some(target.into()) };
        match target.strip_prefix(prefix.as_str())? {
            rest if rest.starts_with('/') => Some(rest.into()),
            rest if rest.is_empty() || rest.starts_with('?') => Some(format!("/{rest}").into()),
            _ => None,
        }
    }

    /// Its conditions, as they are written.
    pub(super) fn conditions(&self) -> String {
        let all = |key: &str, values: &[String]| -> Vec<String> {
            values.iter().map(|value| format!("{key}={value}")).collect()
        };
        let headers = self.headers.iter().map(|header| match &header.value {
            Some(value) => format!("header={}:{value}", header.name),
            None => format!("header={}", header.name),
        });
        let mut words = all("host", &self.hosts);
        words.extend(all("path", &self.paths));
        words.extend(all("subprotocol", &self.subprotocols));
        words.extend(headers);
        words.extend(self.strip.iter().map(|prefix| format!("strip={prefix}")));
        let words = words.iter().map(|word| quoted(word));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Whether it has the same conditions, so that the later one of the two is never reached.
    pub(crate) fn is_for_the_same(&self, other: &Self) -> bool {
        let backends = Vec::new();
        Self { backends: backends.clone(), ..self.clone() } == Self { backends, ..other.clone() }
    }

    fn condition(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("{key}= has no value"));
        }
        match key {
            "host" => self.hosts.push(host(value)?),
            "path" => self.paths.push(path(value)?),
            "subprotocol" => self.subprotocols.push(token(value)?),
            "header" => self.headers.push(value.parse()?),
            "strip" if self.strip.is_none() => self.strip = Some(prefix(value)?),
            "strip" => return Err("strip= can be said once".to_owned()),
            _ => return Err("it is none of host, path, subprotocol, header and strip".to_owned()),
        }
        Ok(())
    }
}

impl<'a> Asked<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        let host = normal_host(without_port(request.fields.get("Host").unwrap_or_default()));
        Self { request, host, path: plain(request.path()) }
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote is not closed")?;
        let arrow = words.iter().position(|word| word == "->");
        let arrow = arrow.ok_or("a route is written `CONDITION... -> BACKEND...`")?;
        let (conditions, backends) = (&words[..arrow], &words[arrow + 1..]);
        if conditions.is_empty() {
            return Err("there is no condition before `->`".to_owned());
        }
        if backends.is_empty() {
            return Err("there is no backend after `->`".to_owned());
        }
        let mut route = Self::default();
        for word in conditions {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is no condition, as host=a.example"))?;
            route.condition(key, value).map_err(|why| format!("`{key}=`: {why}"))?;
        }
        for (i, word) in backends.iter().enumerate() {
            // The address itself may hold a password.
            let backend = word.parse().map_err(|why| format!("backend {}: {why}", i + 1))?;
            route.backends.push(backend);
        }
        Ok(route)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ->", self.conditions())?;
        self.backends.iter().try_for_each(|it| write!(f, " {}", quoted(&it.to_string())))
    }
}

/// A word, in quotes where it would not be one without.
fn quoted(word: &str) -> String {
    match shlex::split(word) {
        Some(words) if words == [word] => word.to_owned(),
        _ => shlex::try_quote(word).unwrap_or_default().into_owned(),
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(header_text(value)?)),
            None => (text, None),
        };
        Ok(Self { name: token(name)?, value })
    }
}

fn host(text: &str) -> Result<String, String> {
    if without_port(text) != text {
        return Err("it is compared without the port".to_owned());
    }
    let name = normal_host(text);
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '@');
    match name.is_empty() || name.ends_with('.') || name.contains(odd) {
        true => Err(format!("`{text}` is not a host name")),
        false => Ok(name),
    }
}

fn path(text: &str) -> Result<String, String> {
    match text {
        _ if !text.starts_with(['/', '*']) => Err("a path starts with a slash".to_owned()),
        _ if text.contains('%') => Err("it is compared with decoded paths: no %".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    if !prefix.starts_with('/') || prefix.contains(['*', '?', '#']) {
        return Err("it is the beginning of a path, as /chat, without * and ?".to_owned());
    }
    Ok(prefix.to_owned())
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    }
}

/// A path as backends read it: decoded, and without `.` and `..` (RFC 3986 section 5.2.4). What is
/// passed on stays as it was.
fn plain(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    if !decoded.contains("/.") {
        return decoded.into_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = decoded.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                // The first one is the nothing before the first slash.
                if segment == ".." && kept.len() > 1 {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::parse_request;

    fn route(text: &str) -> Route {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn fits(route: &Route, target: &str, fields: &str) -> bool {
        let head = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
        let request = parse_request(head.as_bytes()).unwrap().unwrap().0;
        route.fits(&Asked::of(&request))
    }

    #[test]
    fn every_kind_of_condition_has_to_be_met() {
        let route = route("host=a.example host=*.b.example path=/chat/* -> :1");
        for (target, host, want) in [
            ("/chat/x", "a.example", true),
            ("/chat/x?y", "A.Example.:8080", true),
            ("/chat/x", "c.b.example", true),
            ("/chat/x", "b.example", false),
            ("/chat", "a.example", false),
            ("/other", "a.example", false),
            ("/%63hat/x", "a.example", true),
            ("/x/../chat/y", "a.example", true),
            ("/chat/../x", "a.example", false),
            ("/chat/%2e%2e/x", "a.example", false),
            ("/../../chat/./x/..", "a.example", true),
            ("/chat/x", "a.example.evil", false),
        ] {
            assert_eq!(fits(&route, target, &format!("Host: {host}\r\n")), want, "{target} {host}");
        }
    }

    #[test]
    fn subprotocols_and_headers() {
        let by_protocol = route("subprotocol=graphql-ws subprotocol=v2 -> :1");
        assert!(fits(&by_protocol, "/", "Sec-WebSocket-Protocol: x, v2\r\n"));
        assert!(!fits(&by_protocol, "/", "Sec-WebSocket-Protocol: x\r\n"));
        let by_header = route("header=X-Beta:1 'header=Cookie:*a=b*' header=X-There -> :1");
        assert!(fits(&by_header, "/", "x-beta: 1\r\nCookie: c; a=b\r\nX-There: z\r\n"));
        assert!(!fits(&by_header, "/", "X-Beta: 1\r\nCookie: c; a=b\r\n"));
        assert!(!fits(&by_header, "/", "X-Beta: 12\r\nCookie: a=b\r\nX-There: z\r\n"));
    }

    #[test]
    fn what_is_stripped_has_to_be_there() {
        let route = route("strip=/chat/ -> :1");
        for (target, want) in [
            ("/chat/x?y", Some("/x?y")),
            ("/chat", Some("/")),
            ("/chat?y", Some("/?y")),
            ("/chatter", None),
            ("/x/chat/", None),
        ] {
            assert_eq!(route.stripped(target).as_deref(), want, "{target}");
            assert_eq!(fits(&route, target, ""), want.is_some(), "{target}");
        }
    }

    #[test]
    fn a_port_is_no_part_of_a_host() {
        for (host, want) in [("a:1", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(without_port(host), want);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, want) in [
            ("ws://a", "a route is written `CONDITION... -> BACKEND...`"),
            ("-> ws://a", "there is no condition before `->`"),
            ("host=a ->", "there is no backend after `->`"),
            ("host=a 'x -> b", "a quote is not closed"),
            ("hots=a -> :1", "`hots=`: it is none of host, path, subprotocol, header and strip"),
            ("chat -> :1", "`chat` is no condition, as host=a.example"),
            ("host= -> :1", "`host=`: host= has no value"),
            ("host=. -> :1", "`host=`: `.` is not a host name"),
            ("host=a:80 -> :1", "`host=`: it is compared without the port"),
            ("path=chat -> :1", "`path=`: a path starts with a slash"),
            ("path=/%20 -> :1", "`path=`: it is compared with decoded paths: no %"),
            ("strip=/a* -> :1", "`strip=`: it is the beginning of a path"),
            ("strip=/ -> :1", "`strip=`: it is the beginning of a path"),
            ("host=a -> :1 :2*0", "backend 2: a weight is 1 to 1000"),
        ] {
            let why = text.parse::<Route>().unwrap_err();
            assert!(why.starts_with(want), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_written_back(
            conditions in "((host|path|subprotocol|header|strip)=(['\"/*a:. -]|é){1,8} ){1,3}",
            backends in "( (ws://[ab]|:1|'echo:\\PC{1,3}')(\\*[1-9])?){1,3}",
        ) {
            let text = format!("{conditions}->{backends}");
            if let Ok(route) = text.parse::<Route>() {
                let written = route.to_string();
                prop_assert_eq!(written.parse(), Ok(route), "{} became {}", text, written);
            }
        }

        #[test]
        fn a_plain_path_has_no_way_up(path in "/([a/.]|%2[eEfF]){0,12}") {
            let plain = plain(&path);
            prop_assert!(plain.starts_with('/'), "{}", plain);
            prop_assert!(!plain.split('/').any(|it| matches!(it, "." | "..")), "{}", plain);
        }
    }
}
