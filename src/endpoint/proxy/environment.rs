//! The proxies that the environment names: `HTTPS_PROXY` and its kin, and `NO_PROXY`.
//!
//! The variables, their order and `NO_PROXY` follow curl. One rule is Go's: this machine
//! (`localhost`, 127.0.0.0/8, ::1) is never asked for through a proxy, since a test server on
//! loopback is what a proxy cannot reach.

use std::net::IpAddr;

use super::{Protocol, Proxy};
use crate::endpoint::{Call, Ground, HostPort};
use crate::error::{Error, Kind, Result};
use crate::network::Network;

/// A proxy and the variable that named it.
#[derive(Debug, PartialEq)]
struct Found {
    variable: &'static str,
    proxy: Proxy,
}

/// What to stand on to reach `to`: the proxy that the environment names for it, or this machine.
/// `secure` is the difference between wss: and ws:.
///
/// # Errors
/// [`Kind::Usage`] for a variable that names no proxy; otherwise as a proxy written as a hop.
pub(crate) async fn from_environment(
    secure: bool,
    to: &HostPort,
    call: &Call<'_>,
) -> Result<Ground> {
    let get = |name: &str| std::env::var_os(name).map(|it| it.to_string_lossy().into_owned());
    if call.cx.shared.dial.no_proxy {
        return Ok(Ground::Here);
    }
    let Some(Found { variable, proxy }) = find(secure, to, get)? else {
        return Ok(Ground::Here);
    };
    let connect = async {
        let stream = Ground::Here.open(&proxy.at, call).await?;
        match proxy.protocol {
            Protocol::ConnectOverTls => {
                call.cx.tls.connect(stream, &proxy.at.host, &[], call).await
            }
            Protocol::Socks5 | Protocol::Socks | Protocol::Connect => Ok(stream),
        }
    };
    let stream = connect.await.map_err(|error| {
        let error = error.at(format_args!("{proxy:#}"));
        match error.advice() {
            Some(_) => error,
            None => error.hint(format!("{variable} names this proxy; --no-proxy ignores it")),
        }
    })?;
    Ok(proxy.over(stream))
}

fn find(
    secure: bool,
    to: &HostPort,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Option<Found>> {
    let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
    if is_local(&to.host)
        || get("no_proxy").or_else(|| get("NO_PROXY")).is_some_and(|list| exempts(&list, to))
    {
        return Ok(None);
    }
    let names: &[&str] = match secure {
        true => &["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        false => &["ws_proxy", "WS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    // In a CGI program, HTTP_PROXY is the client's header `Proxy:` (CVE-2016-5385, "httpoxy").
    let forged = |name: &str| name == "HTTP_PROXY" && get("REQUEST_METHOD").is_some();
    let named =
        names.iter().filter(|name| !forged(name)).find_map(|name| Some((*name, get(name)?)));
    let Some((variable, value)) = named else { return Ok(None) };
    let proxy = parse(value.trim()).map_err(|why| {
        // The value may hold a password and is not shown.
        Error::new(Kind::Usage, why).at(variable).hint("--no-proxy ignores the variables")
    })?;
    Ok(Some(Found { variable, proxy }))
}

/// `[SCHEME://][USER:PASSWORD@]HOST[:PORT]`.
fn parse(value: &str) -> Result<Proxy, String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let (protocol, port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Protocol::Connect, 80),
        "https" => (Protocol::ConnectOverTls, 443),
        // The h stands for names that the proxy resolves, which ours always are.
        "socks5" | "socks5h" => (Protocol::Socks5, 1080),
        scheme => {
            return Err(format!(
                "unknown kind of proxy `{scheme}:`; known are http: https: socks5: socks5h:"
            ));
        }
    };
    let proxy = Proxy::of(protocol, rest, Some(port))?;
    match proxy.at.host.is_empty() {
        true => Err("a host is missing".to_owned()),
        false => Ok(proxy),
    }
}

fn is_local(host: &str) -> bool {
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host.is_empty()
        || host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(loopback)
}

/// Whether a `NO_PROXY` list names `to`.
fn exempts(list: &str, to: &HostPort) -> bool {
    list.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| matches(entry, to))
}

/// One entry: `*`, a domain, an address or a network in CIDR notation, with or without a port.
fn matches(entry: &str, to: &HostPort) -> bool {
    if entry == "*" {
        return true;
    }
    let host = to.host.trim_end_matches('.');
    let ip: Option<IpAddr> = host.parse().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        return match (ip, network.parse(), bits.parse()) {
            (Some(ip), Ok(network), Ok(bits)) => {
                Network::around(network, bits).is_some_and(|it| it.contains(ip))
            }
            _ => false,
        };
    }
    let (name, port) = match entry.parse::<IpAddr>() {
        Ok(_) => (entry, None),
        Err(_) => with_port(entry),
    };
    if port.is_some_and(|port| port != to.port) {
        return false;
    }
    match (ip, name.parse::<IpAddr>()) {
        (Some(ip), Ok(named)) => ip.to_canonical() == named.to_canonical(),
        (Some(_), Err(_)) | (None, Ok(_)) => false,
        (None, Err(_)) => is_within(host, name.trim_matches('.')),
    }
}

/// `name:port`, `[v6]:port`, or either without a port.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
        _ => (entry, None),
    };
    (name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name), port)
}

/// Whether `host` is `domain` or a name below it.
fn is_within(host: &str, domain: &str) -> bool {
    let Some(cut) = host.len().checked_sub(domain.len()) else { return false };
    let (sub, tail) = (host.as_bytes().get(..cut), host.as_bytes().get(cut..));
    !domain.is_empty()
        && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(domain.as_bytes()))
        && sub.is_some_and(|sub| sub.is_empty() || sub.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> HostPort {
        HostPort::parse(text, Some(443)).unwrap()
    }

    /// What is found for a host where the environment is `variables`: the variable and the proxy.
    fn found(secure: bool, host: &str, variables: &[(&str, &str)]) -> Option<String> {
        let get = |name: &str| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        };
        let found = find(secure, &to(host), get).unwrap()?;
        Some(format!("{} {}", found.variable, found.proxy))
    }

    #[test]
    fn the_scheme_of_the_address_chooses_the_variable() {
        let all = [("http_proxy", "a:1"), ("HTTPS_PROXY", "b:2"), ("ALL_PROXY", "socks5h://c")];
        assert_eq!(found(false, "x", &all).unwrap(), "http_proxy http://a:1");
        assert_eq!(found(true, "x", &all).unwrap(), "HTTPS_PROXY http://b:2");
        assert_eq!(found(true, "x", &all[2..]).unwrap(), "ALL_PROXY socks5://c:1080");
        assert_eq!(found(true, "x", &all[..1]), None);
        let lower = [("HTTPS_PROXY", "b"), ("https_proxy", "https://u:p%40@c/")];
        assert_eq!(found(true, "x", &lower).unwrap(), "https_proxy https://u:p%40@c:443");
        let own = [("HTTPS_PROXY", "b"), ("WSS_PROXY", "c:3")];
        assert_eq!(found(true, "x", &own).unwrap(), "WSS_PROXY http://c:3");
        let empty = [("https_proxy", ""), ("ALL_PROXY", "c:3")];
        assert_eq!(found(true, "x", &empty).unwrap(), "ALL_PROXY http://c:3");
    }

    #[test]
    fn a_cgi_program_does_not_trust_its_client() {
        let mut variables = vec![("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(found(false, "x", &variables), None);
        variables.push(("http_proxy", "good:1"));
        assert_eq!(found(false, "x", &variables).unwrap(), "http_proxy http://good:1");
    }

    #[test]
    fn this_machine_needs_no_proxy() {
        let variables = [("ALL_PROXY", "p:1")];
        for local in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]", ":80"] {
            assert_eq!(found(true, local, &variables), None, "{local}");
        }
        assert!(found(true, "localhost.example", &variables).is_some());
        assert!(found(true, "128.0.0.1", &variables).is_some());
    }

    #[test]
    fn no_proxy_lists_hosts_domains_and_networks() {
        for (list, host, exempt) in [
            ("*", "a.example", true),
            ("example", "a.example", true),
            ("example", "example", true),
            ("example", "notexample", false),
            (".example", "a.example", true),
            (".example", "example", true),
            ("EXAMPLE.", "a.Example.", true),
            ("a.example", "example", false),
            ("b.test, example", "x.example", true),
            ("b.test c.test", "c.test", true),
            ("example:443", "example", true),
            ("example:443", "example:80", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "110.0.0.1", false),
            ("0.1", "10.0.0.1", false),
            ("10.0.0.1:80", "10.0.0.1:80", true),
            ("10.0.0.1:80", "10.0.0.1:81", false),
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.9.8.7", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "a.example", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("2001:db8::1", "[2001:db8::1]", true),
            ("[2001:db8::1]", "[2001:DB8::1]", true),
            ("[2001:db8::1]:443", "[2001:db8::1]", true),
            ("[2001:db8::1]:80", "[2001:db8::1]", false),
            ("2001:db8::/32", "[2001:db8:9::1]", true),
            ("2001:db8::/32", "[2001:db9::1]", false),
            ("é.example", "x.example", false),
            (" , ,", "example", false),
            ("", "example", false),
        ] {
            assert_eq!(exempts(list, &to(host)), exempt, "`{list}` and {host}");
            let variables = [("https_proxy", "p:1"), ("NO_PROXY", list)];
            assert_eq!(found(true, host, &variables).is_none(), exempt, "`{list}` and {host}");
        }
    }

    #[test]
    fn a_variable_without_a_proxy_in_it_is_an_error_that_hides_the_value() {
        for value in
            ["ftp://u:secret@p:1", "http://u:secret@p:x", "http://u:secret@", "u:secret@[p"]
        {
            let get = |name: &str| (name == "https_proxy").then(|| value.to_owned());
            let error = find(true, &to("x"), get).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().starts_with("https_proxy: "), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
