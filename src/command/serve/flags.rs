//! Flags that nothing in this run would heed. Who writes one counts on it, so they are refused.

use crate::cli::value::Compress;
use crate::cli::{EchoArgs, HttpArgs, HubArgs, ServeArgs, Slow, SshServerArgs, WsArgs};
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind, Result};

/// Checks that each flag of a group has an address to be about; `args` are left with those to
/// listen on.
///
/// # Errors
/// [`Kind::Usage`], naming the flag.
pub(super) fn check(args: &ServeArgs, target: &Endpoint) -> Result<()> {
    let listeners = &args.addresses;
    let targets = targets(args, target);
    let listens_to_websockets = listeners.iter().any(Endpoint::is_websocket);
    let listens_to_ssh = listeners.iter().any(|it| it.is_ssh() || it.is_any());
    let connects_websockets = targets.iter().any(|it| it.is_websocket());
    if args.server.inetd && listeners.len() > 1 {
        return Err(Error::new(Kind::Usage, "--inetd has one address and a target"));
    }
    for (heeded, given, needs, hint) in [
        (
            listens_to_websockets || listens_to_ssh,
            first(&[("--route", !args.http.route.is_empty())]),
            "a listener for WebSockets or SSH",
            "listen on ws:, wss: or ssh:",
        ),
        (
            listens_to_websockets,
            http(&args.http),
            "a listener for WebSockets",
            "listen on ws: or wss:",
        ),
        (listens_to_ssh, ssh(&args.ssh), "an SSH server", "listen on ssh:"),
        (targets.iter().any(|it| it.is_echo()), echo(&args.echo), "the target echo:", ""),
        (
            targets.iter().any(|it| it.has_names()),
            first(&[("--name-from", args.hub.name_from.is_some())]),
            "a hub",
            "the target of a hub is hub:, - or nats:",
        ),
        (
            targets.iter().any(|it| it.is_hub()),
            hub(&args.hub),
            "a hub",
            "the target of a hub is hub: or -",
        ),
        (
            connects_websockets,
            handshake(&args.shared.ws),
            "a WebSocket to connect to",
            "it is about the target, not about the listener",
        ),
        (
            connects_websockets || listens_to_websockets,
            first(&[("--subprotocol", !args.shared.ws.subprotocol.is_empty())]),
            "a WebSocket",
            "",
        ),
        (
            connects_websockets || listens_to_websockets,
            first(&[
                ("--compress", args.compression.compress != Compress::Off),
                ("--max-inflate", args.compression.max_inflate.is_some()),
            ]),
            "a WebSocket",
            "",
        ),
    ] {
        if let (false, Some(flag)) = (heeded, given) {
            let error = Error::new(Kind::Usage, format!("{flag} needs {needs}"));
            return Err(if hint.is_empty() { error } else { error.hint(hint) });
        }
    }
    Ok(())
}

/// Wherever peers may be joined to.
pub(super) fn targets<'a>(args: &'a ServeArgs, target: &'a Endpoint) -> Vec<&'a Endpoint> {
    args.http.route.iter().map(|route| &route.target).chain([target]).collect()
}

fn http(args: &HttpArgs) -> Option<&'static str> {
    first(&[
        ("--static", args.files.is_some()),
        ("--page", args.page),
        ("--no-page", args.no_page),
        ("--no-status", args.no_status),
        ("--allow-origin", !args.allow_origin.is_empty()),
        ("--allow-host", !args.allow_host.is_empty()),
        ("--basic-auth", args.basic_auth.is_some()),
        ("--bearer-auth", args.bearer_auth.is_some()),
    ])
}

fn ssh(args: &SshServerArgs) -> Option<&'static str> {
    first(&[
        ("--authorized-keys", !args.authorized_keys.is_empty()),
        ("--authorized-keys-dir", args.authorized_keys_dir.is_some()),
        ("--trusted-user-ca", args.trusted_user_ca.is_some()),
        ("--host-key", !args.host_key.is_empty()),
        ("--allow-open", !args.allow_open.is_empty()),
        ("--allow-listen", !args.allow_listen.is_empty()),
        ("--allow-peers", args.allow_peers),
        ("--banner", args.banner.is_some()),
    ])
}

fn echo(args: &EchoArgs) -> Option<&'static str> {
    first(&[
        ("--reply", !args.reply.is_empty()),
        ("--close-after", args.close_after.is_some()),
        ("--delay", !args.delay.is_zero()),
    ])
}

fn hub(args: &HubArgs) -> Option<&'static str> {
    first(&[
        ("--slow", args.slow != Slow::default()),
        ("--queue", args.queue != HubArgs::QUEUE),
        ("--history", args.history > 0),
    ])
}

/// The first flag about the handshake of a WebSocket to connect to.
pub(in crate::command) fn handshake(args: &WsArgs) -> Option<&'static str> {
    first(&[
        ("--header", !args.header.is_empty()),
        ("--origin", args.origin.is_some()),
        ("--host", args.host.is_some()),
        ("--user", args.user.is_some()),
        ("--bearer", args.bearer.is_some()),
        ("--cookie", !args.cookie.is_empty()),
        ("--max-redirects", args.max_redirects > 0),
        ("--http2", args.http2),
    ])
}

/// The first flag that is given.
fn first(flags: &[(&'static str, bool)]) -> Option<&'static str> {
    flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
}
