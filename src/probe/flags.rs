//! The flags that are steps and checks, and the order in which they were written.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use super::handshake::Check;
use super::pattern::Pattern;
use super::script::{Options, Script};
use super::step::{Action, Step, Written};
use crate::cli::value::duration;

/// How long an expectation waits where `--within` does not say.
const WITHIN: Duration = Duration::from_secs(5);

/// What a flag of the table becomes.
#[derive(Clone, Debug)]
enum Item {
    Step(Action),
    Check(Check),
    Reject(Pattern),
    Within(Duration),
}

/// A row of the table.
struct Flag {
    long: &'static str,
    /// `[VALUE]` can be left out, and takes an equals sign where it is not.
    value: &'static str,
    help: &'static str,
    parse: fn(&str) -> Result<Item, String>,
}

/// The flags that can be repeated, in the order of the help. Clap cannot derive them, since what
/// counts is the order in which the user mixes them.
const FLAGS: &[Flag] = &[
    Flag {
        long: "send",
        value: "TEXT",
        help: "Send a message; ${NAME} in it is what a --capture before it has found, $${NAME} is itself",
        parse: |text| Action::send(text).map(Item::Step),
    },
    Flag {
        long: "send-bin",
        value: "HEX|@FILE",
        help: "Send a binary message",
        parse: |text| Action::send_bytes(text).map(Item::Step),
    },
    Flag {
        long: "send-file",
        value: "FILE",
        help: "Send all of a file as one message: text if it is UTF-8, unless --binary says otherwise",
        parse: |text| Action::send_file(text).map(Item::Step),
    },
    Flag {
        long: "ping",
        value: "[DATA]",
        help: "Send a Ping",
        parse: |text| Action::ping(text).map(Item::Step),
    },
    Flag {
        long: "sleep",
        value: "DUR",
        help: "Wait; what arrives meanwhile is kept for the next --expect",
        parse: |text| Action::sleep(text).map(Item::Step),
    },
    Flag {
        long: "expect",
        value: "PATTERN",
        help: "Wait for a message that contains the text, is it (=TEXT) or matches (~REGEX)",
        parse: |text| Action::expect(text).map(Item::Step),
    },
    Flag {
        long: "expect-json",
        value: "JSON|/POINTER[=VALUE]",
        help: "Wait for a JSON message with these members, or with this value at a pointer",
        parse: |text| Action::expect_json(text).map(Item::Step),
    },
    Flag {
        long: "expect-bin",
        value: "HEX|~HEX",
        help: "Wait for a message of these bytes, or that contains them",
        parse: |text| Action::expect_bytes(text).map(Item::Step),
    },
    Flag {
        long: "expect-none",
        value: "DUR",
        help: "Fail if a message arrives within this time",
        parse: |text| Action::expect_none(text).map(Item::Step),
    },
    Flag {
        long: "expect-pong",
        value: "[DATA]",
        help: "Wait for a Pong",
        parse: |text| Action::expect_pong(text).map(Item::Step),
    },
    Flag {
        long: "capture",
        value: "NAME=/POINTER|NAME=~REGEX",
        help: "Keep a value of the message just matched, for ${NAME} in later steps",
        parse: |text| Action::capture(text).map(Item::Step),
    },
    Flag {
        long: "close",
        value: "[CODE[:REASON]]",
        help: "Send a Close",
        parse: |text| Action::close(text).map(Item::Step),
    },
    Flag {
        long: "expect-close",
        value: "CODES[:PATTERN]",
        help: "Wait for a Close with such a code (1000, 1000-1001, 4xxx; 1005 is none, 1006 a lost connection) and reason",
        parse: |text| Action::expect_close(text).map(Item::Step),
    },
    Flag {
        long: "within",
        value: "DUR",
        help: "How long each of the steps after this may wait [default: 5s]",
        parse: |text| duration(text).map(Item::Within),
    },
    Flag {
        long: "reject",
        value: "PATTERN",
        help: "Fail if any message matches, at any time",
        parse: |text| Pattern::text(text).map(Item::Reject),
    },
    Flag {
        long: "expect-status",
        value: "CODES",
        help: "The HTTP status of the handshake must be such (101, 401, 3xx); if it refuses the WebSocket, the run ends well there",
        parse: |text| Check::status(text).map(Item::Check),
    },
    Flag {
        long: "expect-header",
        value: "NAME[: PATTERN]",
        help: "The answer to the handshake must have this header",
        parse: |text| Check::header(text).map(Item::Check),
    },
    Flag {
        long: "expect-no-header",
        value: "NAME",
        help: "The answer to the handshake must not have this header",
        parse: |text| Check::no_header(text).map(Item::Check),
    },
    Flag {
        long: "expect-subprotocol",
        value: "NAME|none",
        help: "This subprotocol must have been granted",
        parse: |text| Check::subprotocol(text).map(Item::Check),
    },
    Flag {
        long: "expect-extension",
        value: "NAME|none",
        help: "This extension must have been granted",
        parse: |text| Check::extension(text).map(Item::Check),
    },
    Flag {
        long: "expect-tls",
        value: "VERSION",
        help: "The TLS version must be this (1.3), or at least this (>=1.2)",
        parse: |text| Check::tls(text).map(Item::Check),
    },
    Flag {
        long: "expect-cert-days",
        value: "N",
        help: "The server's certificate must be valid for N more days",
        parse: |text| Check::cert_days(text).map(Item::Check),
    },
];

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.id())
            .long(self.long)
            .help(self.help)
            .help_heading("Probe")
            .action(ArgAction::Append)
            .value_parser(self.parse)
            .allow_negative_numbers(true);
        let arg = match self.value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
            Some(value) => {
                arg.value_name(value).num_args(0..=1).require_equals(true).default_missing_value("")
            }
            None => arg.value_name(self.value),
        };
        let arg = if self.long == "send-file" { arg.value_hint(ValueHint::FilePath) } else { arg };
        match self.long {
            "send" | "expect" => arg.short(self.long.chars().next()),
            _ => arg,
        }
    }

    fn id(&self) -> &'static str {
        match self.long {
            // `ping` is the id of --ping-interval.
            "ping" => "send-ping",
            long => long,
        }
    }

    /// What was given for this flag, with its place in the command line.
    fn items(&self, matches: &ArgMatches) -> Vec<(usize, Written, Item)> {
        let id = self.id();
        let (Some(indices), Some(items), Some(raw)) =
            (matches.indices_of(id), matches.get_many::<Item>(id), matches.get_raw(id))
        else {
            return Vec::new();
        };
        let written = raw.map(|value| value.to_string_lossy().into_owned());
        let written = written.map(|value| Written { flag: self.long, value });
        let items = indices.zip(written).zip(items);
        items.map(|((index, written), item)| (index, written, item.clone())).collect()
    }
}

impl FromArgMatches for Script {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut items: Vec<_> = FLAGS.iter().flat_map(|flag| flag.items(matches)).collect();
        items.sort_by_key(|(index, ..)| *index);
        let options = Options::from_arg_matches(matches)?;
        let mut script = Self { options, ..Self::default() };
        // The last `--within`, while no step has followed it.
        let mut idle = None;
        for (_, written, item) in items {
            match item {
                Item::Step(action) => {
                    idle = None;
                    let within = script.within.unwrap_or(WITHIN);
                    script.steps.push(Step { written, within, action });
                }
                Item::Check(check) => script.checks.push((written, check)),
                Item::Reject(pattern) => script.rejects.push((written, pattern)),
                Item::Within(within) => (script.within, idle) = (Some(within), Some(written)),
            }
        }
        let unusable = |what| clap::Error::raw(ErrorKind::ValueValidation, what);
        if let Some(within) = idle.filter(|_| script.options.count.is_none()) {
            let what = format!("{within}: no step stands after it; it is for those that do");
            return Err(unusable(what));
        }
        check_captures(&script.steps).map_err(unusable)?;
        Ok(script)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Script {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command.args(FLAGS.iter().map(Flag::arg)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// A capture needs a message, and what it names is used after it.
fn check_captures(steps: &[Step]) -> Result<(), String> {
    let mut defined: Vec<&str> = Vec::new();
    let mut has_message = false;
    for step in steps {
        if let Some(name) = step.action.names().iter().find(|it| !defined.contains(&it.as_str())) {
            return Err(format!(
                "{}: no --capture before it finds `{name}`; $${{{name}}} is the text itself",
                step.written
            ));
        }
        match &step.action {
            Action::Capture { .. } if !has_message => {
                return Err(format!("{}: no --expect stands right before it", step.written));
            }
            Action::Capture { name, .. } => defined.push(name),
            action => has_message = matches!(action, Action::Expect(_)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        script: Script,
        #[arg(long = "ping-interval")]
        ping: Option<String>,
        address: Vec<String>,
    }

    fn parse(args: &[&str]) -> Result<Script, String> {
        let args = ["x"].iter().chain(args);
        Line::try_parse_from(args).map(|line| line.script).map_err(|error| error.to_string())
    }

    #[test]
    fn steps_keep_their_order() {
        let script = parse(&[
            "-s",
            "a",
            "--ping",
            "--expect-pong",
            "-e",
            "=b",
            "--within=1s",
            "ws://x",
            "-s=c",
            "--ping=d",
            "--close",
            "--expect-close",
            "4xxx:quota",
            "-s",
            "-1",
        ])
        .unwrap();
        let steps: Vec<_> = script.steps.iter().map(|step| step.written.to_string()).collect();
        assert_eq!(
            steps,
            [
                "--send 'a'",
                "--ping",
                "--expect-pong",
                "--expect '=b'",
                "--send 'c'",
                "--ping 'd'",
                "--close",
                "--expect-close '4xxx:quota'",
                "--send '-1'",
            ]
        );
        let within: Vec<_> = script.steps.iter().map(|step| step.within.as_secs()).collect();
        assert_eq!(within, [5, 5, 5, 5, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_wrong_value_names_its_flag() {
        for (args, says) in [
            (&["--expect", "~("][..], "'~(' for '--expect <PATTERN>': unclosed group"),
            (&["--send-bin", "0"], "'--send-bin <HEX|@FILE>'"),
            (&["--send-bin", "@/nowhere"], "no such file or directory"),
            (&["--expect-status", "x"], "'--expect-status <CODES>'"),
            (&["--close=1006"], "1006 cannot be sent"),
            (&["--count", "0"], "--count"),
            (&["--report", "xml"], "json, or json=FILE"),
            (&["-e", "a", "--capture", "a=b"], "--capture"),
            (&["-e", "a", "--within", "1s"], "--within '1s': no step stands after it"),
            (&["--capture", "a=/a"], "--capture 'a=/a': no --expect stands right before it"),
            (&["-e", "a", "-s", "x", "--capture", "a=/a"], "no --expect stands right before it"),
            (
                &["-e", "a", "--capture", "a=/a", "-s", "${b}"],
                "--send '${b}': no --capture before it finds `b`",
            ),
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(
            parse(&["-e", "a", "--capture", "a=/a", "--capture", "b=/b", "-s", "${a}"]).is_ok()
        );
        assert!(parse(&["-s", "${HOME}"]).is_err());
        assert!(parse(&["-s", "$${HOME}"]).is_ok());
    }

    #[test]
    fn what_ends_the_run() {
        for (args, empty, sends, decides) in [
            (&[][..], true, false, false),
            (&["--strict"], true, false, false),
            (&["-s", "a"], false, true, false),
            (&["-s", "a", "-e", "b"], false, true, true),
            (&["--expect-status", "101"], false, false, true),
            (&["--expect-status", "101", "-s", "a"], false, true, false),
            (&["--count", "1"], false, false, true),
            (&["--report", "json"], false, false, false),
            (&["--reject", "a"], false, false, false),
        ] {
            let script = parse(args).unwrap();
            let got = (script.is_empty(), script.sends(), script.decides());
            assert_eq!(got, (empty, sends, decides), "{args:?}");
        }
    }
}
