//! Text that is read both by man(1) and, as plain lines, on a terminal.

use clap_mangen::roff::{Inline, Roff, bold, roman};

use crate::error::Kind;

/// A page that is not made from flags.
pub(in crate::command) struct Page {
    pub(super) name: &'static str,
    pub(super) section: &'static str,
    pub(super) about: &'static str,
    pub(super) parts: Vec<Part>,
}

/// What a page consists of. Text may hold `literals` in backticks.
pub(super) enum Part {
    /// A heading.
    Section(&'static str),
    /// A paragraph.
    Text(String),
    /// Lines that are not filled.
    Code(String),
    /// Terms, each with its meaning.
    Terms(Vec<(String, String)>),
}

/// The table of exit codes.
pub(super) fn exit_codes() -> Part {
    codes(Kind::TABLE)
}

/// The table of the exit codes of `bench`.
pub(super) fn bench_exit_codes() -> Part {
    codes(Kind::BENCH_TABLE)
}

fn codes(table: &[(u8, &str)]) -> Part {
    let row = |(code, meaning): &(u8, &str)| (code.to_string(), (*meaning).to_owned());
    Part::Terms(table.iter().map(row).collect())
}

impl Page {
    /// For man(1).
    pub(in crate::command) fn roff(&self) -> Vec<u8> {
        let mut name = Roff::new();
        name.control("SH", ["NAME"]);
        name.text([roman(format!("{} - {}", self.name, self.about))]);
        roff(self.name, self.section, name.to_roff().as_bytes(), &self.parts)
    }

    /// For a terminal: at most 80 columns.
    pub(in crate::command) fn text(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Section(title) => {
                    let gap = if out.is_empty() { "" } else { "\n" };
                    out += &format!("{gap}{title}\n");
                }
                Part::Text(text) => out += &format!("{}\n", fill(text, 4)),
                Part::Code(code) => {
                    out.extend(code.lines().map(|line| format!("        {line}\n")));
                    out.push('\n');
                }
                Part::Terms(terms) => {
                    let width = terms.iter().map(|(term, _)| term.chars().count()).max();
                    let width = width.unwrap_or_default();
                    for (term, meaning) in terms {
                        if width <= HANGING {
                            let filled = fill(meaning, width + 6);
                            out += &format!("    {term:<width$}{}", &filled[width + 4..]);
                        } else {
                            out += &format!("    {term}\n{}", fill(meaning, 10));
                        }
                    }
                    out.push('\n');
                }
            }
        }
        let mut out = out.replace("\n\n\n", "\n\n");
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

/// Terms up to this width have their meaning beside them, others below.
const HANGING: usize = 12;

/// What the roff crate puts before everything it renders: how an apostrophe is written.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// A whole page for man(1): title, what clap has rendered, the other parts.
pub(super) fn roff(name: &str, section: &str, rendered: &[u8], parts: &[Part]) -> Vec<u8> {
    let rendered = String::from_utf8_lossy(rendered).replace(PREAMBLE, "");
    // No date: a page made twice from the same source is the same page.
    let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let head = format!(".TH {title} {section} \"\" \"towline {version}\" \"towline manual\"\n");
    format!("{PREAMBLE}{head}{rendered}{}", body(parts)).into_bytes()
}

/// Parts, for man(1).
pub(super) fn body(parts: &[Part]) -> String {
    let mut roff = Roff::new();
    for part in parts {
        match part {
            Part::Section(title) => {
                roff.control("SH", [*title]);
            }
            Part::Text(text) => {
                roff.control("PP", []).text(inlines(text));
            }
            Part::Code(code) => {
                roff.control("PP", []).control("RS", ["4"]).control("nf", []);
                for line in code.lines() {
                    roff.text([roman(line)]);
                }
                roff.control("fi", []).control("RE", []);
            }
            Part::Terms(terms) => {
                for (term, meaning) in terms {
                    roff.control("TP", []).text([bold(term)]).text(inlines(meaning));
                }
            }
        }
    }
    roff.to_roff()
}

/// `Literals` become bold.
fn inlines(text: &str) -> Vec<Inline> {
    let inline = |(i, part)| if i % 2 == 0 { roman(part) } else { bold(part) };
    text.split('`').enumerate().map(inline).collect()
}

/// Breaks a paragraph into lines of at most 80 columns, indented.
fn fill(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if indent + line.chars().count() + 1 + word.chars().count() > 80 && !line.is_empty() {
            out += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out + &format!("{:indent$}{line}\n", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_on_a_terminal_and_in_man() {
        let page = Page {
            name: "towline-x",
            section: "7",
            about: "x",
            parts: vec![
                Part::Section("ONE"),
                Part::Text("Say `a b`. ".repeat(12)),
                Part::Terms(vec![("0".into(), "fine".into()), ("10".into(), "not".into())]),
            ],
        };
        let text = page.text();
        assert!(text.starts_with("ONE\n    Say `a b`."), "{text}");
        assert!(text.ends_with("    0   fine\n    10  not\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let roff = String::from_utf8(page.roff()).expect("UTF-8");
        assert!(roff.contains("Say \\fBa b\\fR."), "{roff}");
    }
}
