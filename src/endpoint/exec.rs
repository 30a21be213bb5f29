//! `exec:COMMAND ARGS`, `sh:LINE`, `pty:LINE`: a child process for each connection.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::ssh::far_program;
use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::{ByteStream, Duplex};
use crate::error::{Error, Kind, Result, plain};
use crate::framing::Framing;

mod cgi;
mod children;
mod complaints;
mod program;
mod terminal;

pub(crate) use children::{Children, said};
pub(crate) use complaints::pass_on_lines;

use program::Program;
use terminal::Terminal;

/// A child on pipes: a program with its arguments, or a line for the shell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exec {
    name: &'static str,
    line: String,
    words: Vec<String>,
}

impl Scheme for Exec {
    const NAMES: &'static [&'static str] = &["exec", "sh"];
    const USAGE: &'static str = "exec:COMMAND ARGS, sh:LINE";
    const HELP: &'static str = "a child process on pipes: a program, or a line for the shell";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Machine];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const SHAPE: Shape = Shape::Bytes;
    const FRAMING: Framing = Framing::Lines;

    fn parse(name: &str, rest: &str) -> Result<Self, String> {
        let line = written(rest, "a command is missing, as in exec:cat -n")?;
        if name == "sh" {
            return Ok(Self::line(&line));
        }
        let words = shlex::split(&line).ok_or("a quote is not closed")?;
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self { name: "exec", line, words }),
            _ => Err("a command is missing, as in exec:cat -n".into()),
        }
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        if let Some(session) = ground.machine() {
            let channel = session.run(Some(&self.far_line()), None, call.trace).await?;
            return Ok(Duplex::Bytes(ByteStream::other(channel)));
        }
        let permit = call.cx.children.admit()?;
        let program = &self.words[0];
        let mut command = Command::new(program);
        command.args(&self.words[1..]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that the signals that stop it reach what it has started, too.
        command.process_group(0);
        cgi::describe(call, &mut command);
        let mut child = command.spawn().map_err(|error| not_started(&error, program))?;
        let who = match self.name {
            "exec" => format!("exec {program}"),
            name => name.to_owned(),
        };
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let guarded = call.cx.children.guard(child, stderr, permit, who, self.to_string());
        let (stdin, stdout) = stdin.zip(stdout).expect("both are piped, as said above");
        Ok(Duplex::Bytes(ByteStream::other(Program::new(stdin, stdout, guarded, call.side))))
    }
}

impl Exec {
    /// Its program, if there is none of that name on this machine now.
    pub(super) fn missing(&self) -> Option<&str> {
        let program = self.words[0].as_str();
        // What execvp(3) searches where nothing else is said.
        let path = || std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
        let is_there = match program.contains('/') {
            true => Path::new(program).exists(),
            false => std::env::split_paths(&path()).any(|folder| folder.join(program).exists()),
        };
        (!is_there).then_some(program)
    }

    /// A line for the shell of this machine.
    pub(super) fn line(line: &str) -> Self {
        Self { name: "sh", words: shell(line), line: line.to_owned() }
    }

    /// The line for the shell of a far machine, which always gets one: the words of a program
    /// are quoted, so that it gets them as they are.
    fn far_line(&self) -> String {
        match self.name {
            "exec" => {
                let words = self.words.iter().map(String::as_str);
                shlex::try_join(words).unwrap_or_else(|_| self.line.clone())
            }
            _ => self.line.clone(),
        }
    }
}

/// A line for the shell, on a pseudo terminal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pty {
    line: String,
}

impl Scheme for Pty {
    const NAMES: &'static [&'static str] = &["pty"];
    const USAGE: &'static str = "pty:LINE";
    const HELP: &'static str = "a line for the shell, on a pseudo terminal";
    const STANDS_ON: &'static [Footing] = &[Footing::Here, Footing::Machine];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        Ok(Self { line: written(rest, "a line for the shell is missing, as in pty:bash -l")? })
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        if let Some(session) = ground.machine() {
            let terminal = call.terminal().unwrap_or_default();
            let channel = session.run(Some(&self.line), Some(terminal), call.trace).await?;
            return Ok(far_program(channel, call));
        }
        let permit = call.cx.children.admit()?;
        let words = shell(&self.line);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        cgi::describe(call, &mut command);
        let (child, terminal) =
            Terminal::spawn(command).map_err(|error| not_started(&error, &words[0]))?;
        let (input, output) = terminal.into_split();
        let guarded =
            call.cx.children.guard(child, None, permit, "pty".to_owned(), self.to_string());
        Ok(Duplex::Bytes(ByteStream::other(Program::new(input, output, guarded, call.side))))
    }
}

fn written(rest: &str, missing: &str) -> Result<String, String> {
    if rest.trim().is_empty() {
        return Err(missing.to_owned());
    }
    if rest.contains('\0') {
        return Err("a command has no zero bytes".to_owned());
    }
    Ok(rest.to_owned())
}

fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).into()
}

fn not_started(error: &io::Error, program: &str) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            Error::new(Kind::Local, "no such program")
        }
        io::ErrorKind::NotFound => Error::new(Kind::Local, "no such program")
            .hint(format!("`{program}` is not in PATH; a line for the shell is written sh:LINE")),
        io::ErrorKind::PermissionDenied => Error::new(Kind::Local, plain(error))
            .hint(format!("`{program}` has to be an executable file")),
        _ => Error::new(Kind::Local, format!("cannot start: {}", plain(error))),
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.line)
    }
}

impl fmt::Display for Pty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pty:{}", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_like_a_shell_does() {
        let exec = Exec::parse("exec", r#"awk '{ print $1 }'  "a b" c\ d"#).unwrap();
        assert_eq!(exec.words, ["awk", "{ print $1 }", "a b", "c d"]);
        assert_eq!(exec.to_string(), r#"exec:awk '{ print $1 }'  "a b" c\ d"#);
    }

    #[test]
    fn a_shell_line_stays_one_word() {
        let exec = Exec::parse("sh", "sort | uniq -c").unwrap();
        assert_eq!(exec.words, ["/bin/sh", "-c", "sort | uniq -c"]);
        assert_eq!(exec.to_string(), "sh:sort | uniq -c");
    }

    #[test]
    fn a_command_has_to_be_there() {
        for rest in ["", "  ", "''", "# comment", "echo 'open", "a\0b"] {
            assert!(Exec::parse("exec", rest).is_err(), "{rest:?}");
        }
        assert!(Exec::parse("sh", " ").is_err());
        assert!(Pty::parse("pty", "").is_err());
    }
}
