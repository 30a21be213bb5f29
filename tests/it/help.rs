use clap::Command;
use towline::cli;
use towline::error::Kind;

use crate::support::{Towline, folder_holds, matches_file};

/// Every text that explains the program, and the arguments that print it.
const TEXTS: &[(&str, &[&str])] = &[
    ("towline.txt", &["--help"]),
    ("towline-short.txt", &["-h"]),
    ("connect.txt", &["connect", "--help"]),
    ("connect-short.txt", &["connect", "-h"]),
    ("serve.txt", &["serve", "--help"]),
    ("serve-short.txt", &["serve", "-h"]),
    ("bench-compare.txt", &["bench", "compare", "--help"]),
    ("bench-merge.txt", &["bench", "merge", "--help"]),
    ("completions.txt", &["completions", "--help"]),
    ("man.txt", &["man", "--help"]),
    ("help.txt", &["help", "--help"]),
    ("addresses.txt", &["help", "addresses"]),
    ("exit-codes.txt", &["help", "exit-codes"]),
];

#[test]
fn the_help_is_as_it_was_generated() {
    for (file, args) in TEXTS {
        let output = Towline::new().args(*args).run();
        output.code(0).stderr_is_empty();
        matches_file(&format!("tests/it/snapshots/help/{file}"), &output.stdout);
    }
    let names: Vec<&str> = TEXTS.iter().map(|(file, _)| *file).collect();
    folder_holds("tests/it/snapshots/help", &names);
}

#[test]
fn help_fits_its_columns() {
    for (file, args) in TEXTS {
        // Pages of text are for any terminal, the tables of flags for a common wide one.
        let limit = if args[0] == "help" && args[1] != "--help" { 80 } else { 100 };
        // Wider than both, to show that it is not the terminal that limits.
        let output = Towline::new().env("COLUMNS", "200").args(*args).run();
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= limit, "{file}: over {limit} columns: {line}");
        }
    }
}

#[test]
fn help_of_a_verb_is_a_topic_too() {
    let verbs: Vec<String> =
        cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let flag = Towline::new().args([verb, "--help"]).run();
        let topic = Towline::new().args(["help", verb]).run();
        topic.code(0).stdout_bytes(flag.stdout).stderr_is_empty();
    }
    let overview = Towline::new().arg("--help").run();
    Towline::new().arg("help").run().code(0).stdout_bytes(overview.stdout);
}

#[test]
fn every_flag_says_what_it_does() {
    fn check(command: &Command) {
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let who = format!("{} {}", command.get_name(), arg.get_id());
            assert!(!help.is_empty(), "{who}: no help");
            assert!(!help.ends_with('.'), "{who}: the first line ends with a full stop");
            assert!(help.starts_with(|c: char| !c.is_lowercase()), "{who}: starts in lower case");
        }
        assert!(command.get_about().is_some(), "{}: no description", command.get_name());
        command.get_subcommands().for_each(check);
    }
    let mut command = cli::command();
    command.build();
    check(&command);
    command.debug_assert();
}

#[test]
fn exit_codes_are_listed_in_full() {
    let output = Towline::new().args(["help", "exit-codes"]).run();
    let addresses = Towline::new().args(["help", "addresses"]).run();
    let text = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<(u8, String)> = text
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .filter_map(|(code, meaning)| Some((code.parse().ok()?, meaning.to_owned())))
        .collect();
    let tables = Kind::TABLE.iter().chain(Kind::BENCH_TABLE);
    let table: Vec<(u8, String)> =
        tables.map(|(code, meaning)| (*code, (*meaning).to_owned())).collect();
    assert_eq!(listed, table);
    for (_, meaning) in Kind::TABLE {
        addresses.stdout_has(meaning);
    }
}
