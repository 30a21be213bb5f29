//! `man`: the manual, made from the same types as `--help`.

use std::fs;
use std::io;
use std::path::Path;

use clap_mangen::Man;

use crate::cli::{self, ManPage, examples};
use crate::console;
use crate::error::{Error, Kind, Result};
use crate::report;

use page::Part;

pub(super) mod addresses;
mod bench;
mod page;
mod proxy;
pub(super) mod ssh;

/// The pages by their file names.
const PAGES: &[(&str, ManPage)] = &[
    ("towline.1", ManPage::Towline),
    ("towline-connect.1", ManPage::Connect),
    ("towline-serve.1", ManPage::Serve),
    ("towline-proxy.1", ManPage::Proxy),
    ("towline-tunnel.1", ManPage::Tunnel),
    ("towline-bench.1", ManPage::Bench),
    ("towline-addresses.7", ManPage::Addresses),
    ("towline-ssh.7", ManPage::Ssh),
];

/// Prints one page, or writes all of them into a directory.
///
/// # Errors
/// stdout or the directory cannot be written.
pub(super) fn run(page: ManPage, dir: Option<&Path>) -> Result<()> {
    let Some(dir) = dir else {
        return report::page(&roff(page));
    };
    fs::create_dir_all(dir).map_err(|error| unwritable(dir, error))?;
    for (name, page) in PAGES {
        let path = dir.join(name);
        fs::write(&path, roff(*page)).map_err(|error| unwritable(&path, error))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::from_io(error, Kind::Local).at(path.display())
}

fn roff(page: ManPage) -> Vec<u8> {
    match page {
        ManPage::Towline => of_flags(None, &overview()),
        ManPage::Connect => {
            of_flags(Some("connect"), &verb(examples::CONNECT, console::client_commands()))
        }
        ManPage::Serve => of_flags(Some("serve"), &verb(examples::SERVE, console::host_commands())),
        ManPage::Proxy => {
            let mut parts = proxy::parts();
            parts.append(&mut verb(examples::PROXY, std::iter::empty()));
            of_flags(Some("proxy"), &parts)
        }
        ManPage::Tunnel => of_flags(Some("tunnel"), &verb(examples::TUNNEL, std::iter::empty())),
        ManPage::Bench => of_flags(Some("bench"), &bench::parts()),
        ManPage::Addresses => addresses::page().roff(),
        ManPage::Ssh => ssh::page().roff(),
    }
}

/// A page that begins with what the flags say of themselves and ends with `rest`.
fn of_flags(verb: Option<&str>, rest: &[Part]) -> Vec<u8> {
    let mut command = cli::command();
    command.build();
    let (name, command) = match verb {
        None => ("towline".to_owned(), command),
        Some(verb) => {
            let verb = command.find_subcommand(verb).expect("a page names a verb");
            (format!("towline-{}", verb.get_name()), verb.clone())
        }
    };
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command);
    let mut flags = Vec::new();
    let rendered = man.render_name_section(&mut flags).and_then(|()| {
        // Not clap_mangen's: it would list every flag of a verb.
        flags.extend(page::body(&[Part::Section("SYNOPSIS"), Part::Code(usage)]).bytes());
        man.render_description_section(&mut flags)?;
        man.render_options_section(&mut flags)
    });
    rendered.expect("a vector takes all that is written");
    page::roff(&name, "1", &flags, rest)
}

/// What towline(1) says beyond its flags.
fn overview() -> Vec<Part> {
    let command = cli::command();
    let verbs = command.get_subcommands().map(|verb| {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        (verb.get_name().to_owned(), format!("{about}."))
    });
    vec![
        Part::Section("COMMANDS"),
        Part::Terms(verbs.collect()),
        Part::Section("EXIT STATUS"),
        page::exit_codes(),
        Part::Section("ENVIRONMENT"),
        Part::Terms(vec![
            ("NO_COLOR".into(), "Set and not empty: no colours, unless `--color always`.".into()),
            (
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY".into(),
                "The proxy to dial ws: and wss: through; `--no-proxy` ignores them.".into(),
            ),
            ("SSLKEYLOGFILE".into(), "Where to write TLS session keys, for Wireshark.".into()),
            (
                "LISTEN_FDS, LISTEN_PID".into(),
                "Sockets that systemd hands over to `towline serve`.".into(),
            ),
        ]),
        Part::Section("SEE ALSO"),
        Part::text("towline-connect(1), towline-serve(1), towline-addresses(7)"),
    ]
}

/// What the page of a verb says beyond its flags.
fn verb(
    examples: &[examples::Example],
    commands: impl Iterator<Item = (String, &'static str)>,
) -> Vec<Part> {
    let commands = commands.map(|(command, meaning)| (command, format!("{meaning}.")));
    let commands: Vec<_> = commands.collect();
    let mut parts = Vec::new();
    if !commands.is_empty() {
        parts.push(Part::Section("CONSOLE"));
        parts.push(Part::text(
            "Where stdin and stdout are a terminal, a line that begins with a slash is a command:",
        ));
        parts.push(Part::Terms(commands));
    }
    parts.append(&mut of_examples(examples));
    parts.extend([
        Part::Section("EXIT STATUS"),
        page::exit_codes(),
        Part::Section("SEE ALSO"),
        Part::text("towline(1), towline-addresses(7)"),
    ]);
    parts
}

fn of_examples(examples: &[examples::Example]) -> Vec<Part> {
    let mut parts = vec![Part::Section("EXAMPLES")];
    for example in examples {
        parts.push(Part::text(format!("{}:", example.what)));
        parts.push(Part::Code(example.line.to_owned()));
    }
    parts
}

impl Part {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_file_name_and_its_title() {
        for (name, page) in PAGES {
            let text = String::from_utf8(roff(*page)).expect("UTF-8");
            let title = format!(".TH {} ", name.replace('.', " ").to_uppercase());
            assert!(text.contains(&title), "{name}: {text}");
        }
    }
}
