use std::fs;

use crate::support::{Towline, folder_holds, matches_file};

/// The file names are those that the shells look for.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "towline.bash"),
    ("elvish", "towline.elv"),
    ("fish", "towline.fish"),
    ("powershell", "_towline.ps1"),
    ("zsh", "_towline"),
];

const MAN: &[(&str, &str)] = &[
    ("towline", "towline.1"),
    ("connect", "towline-connect.1"),
    ("serve", "towline-serve.1"),
    ("proxy", "towline-proxy.1"),
    ("tunnel", "towline-tunnel.1"),
    ("bench", "towline-bench.1"),
    ("addresses", "towline-addresses.7"),
    ("ssh", "towline-ssh.7"),
];

#[test]
fn generated_completions_are_fresh() {
    for (shell, file) in COMPLETIONS {
        let output = Towline::new().args(["completions", shell]).run();
        output.code(0).stderr_is_empty();
        matches_file(&format!("completions/{file}"), &output.stdout);
    }
    let names: Vec<&str> = COMPLETIONS.iter().map(|(_, file)| *file).collect();
    folder_holds("completions", &names);
}

#[test]
fn generated_man_pages_are_fresh() {
    for (page, file) in MAN {
        let output = Towline::new().args(["man", page]).run();
        output.code(0).stderr_is_empty();
        matches_file(&format!("man/{file}"), &output.stdout);
    }
    let names: Vec<&str> = MAN.iter().map(|(_, file)| *file).collect();
    folder_holds("man", &names);
}

#[test]
fn generated_man_pages_can_be_written_into_a_directory() {
    let home = tempfile::tempdir().unwrap();
    let kept = home.path().join("share/man");
    let run = Towline::new().args(["man", "--dir"]).arg(&kept).run();
    run.code(0).stdout("").stderr_is_empty();
    assert_eq!(fs::read_dir(&kept).unwrap().count(), MAN.len());
    for (page, file) in MAN {
        let printed = Towline::new().args(["man", page]).run();
        assert_eq!(fs::read(kept.join(file)).unwrap(), printed.stdout, "{file}");
    }
}

#[test]
fn an_unknown_shell_or_page_is_a_usage_error() {
    Towline::new().args(["completions", "cmd"]).run().code(2).stdout("").stderr_has("bash");
    Towline::new().args(["man", "nothing"]).run().code(2).stdout("").stderr_has("addresses");
}

#[test]
fn a_reader_that_goes_away_is_a_clean_end() {
    let run = Towline::new().args(["completions", "zsh"]).stdout_closes_after(1).run();
    run.code(0).stderr_is_empty();
}
