//! What towline-proxy(1) says beyond its flags: routes, and the file that can hold it all.

use super::page::Part;
use crate::cli::examples;

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::Section("ROUTES"),
        Part::text(
            "A route is written `CONDITION... -> BACKEND...`, in words as a shell has them. Routes \
             are looked at in their order, and the first one that fits takes the request; what none \
             fits goes to the backends of no route, or is answered 404 where there are none. Kinds \
             of conditions are all needed; of several of one kind, one is enough, but of headers \
             all are needed. In patterns `*` stands for anything and `?` for one character.",
        ),
        Part::Terms(vec![
            ("host=PATTERN".into(), "The Host, without its port.".into()),
            (
                "path=PATTERN".into(),
                "The path without the query, decoded, and after `..` has been followed.".into(),
            ),
            ("subprotocol=NAME".into(), "One of those that a WebSocket offers.".into()),
            ("header=NAME[:PATTERN]".into(), "A header, whatever its value or of this one.".into()),
            (
                "strip=/PREFIX".into(),
                "The path begins so, and this is taken off before a backend sees it.".into(),
            ),
        ]),
        Part::Section("CONFIGURATION FILE"),
        Part::text(
            "The file of `--config` is TOML and says what flags say, in their words: its keys are \
             their long names, a flag that can be repeated is a list, one without a value is true. \
             `listen` and `backend` are what the addresses are on the command line. A route is a \
             string, or a table whose keys are its conditions. Flags on the command line take the \
             place of those in the file.",
        ),
        Part::Code(examples::PROXY_CONFIG.to_owned()),
        Part::text(
            "`--check` says what is wrong with it and where, or that it is fine. It is read again \
             when it changes and on SIGHUP: backends, routes, certificates and most limits are \
             those of the file from then on, also for connections that are kept, while requests and \
             WebSockets that are under way go on as they are. Backends that stay keep what is known \
             of them. A file that is not fine is refused, and what it said before still holds. What \
             takes a new start (where to listen, threads, what is about SSH or WebSockets as such) \
             is named.",
        ),
    ]
}
