//! The terminal, shared between the editor, which blocks a thread of its own, and what is printed
//! above it, from another thread because the editor takes it one piece at a time.
//!
//! The editor cannot be told to return. When the console is done, the editor is parked where it
//! asks for its prompt, and the terminal's mode is put back from outside.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, Config, Editor, ExternalPrinter, Prompt};
use tokio::sync::mpsc;

use crate::error::{Error, Kind, Result, plain};
use crate::lock::lock;
use crate::report;

mod history;

/// How much text waits to be printed before senders have to wait.
const BACKLOG: usize = 64 << 10;

/// How long the end waits for the editor to have printed everything.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the person did.
pub(super) enum Input {
    /// Entered a line, or a paste of several.
    Line(String),
    /// Ended the input: Ctrl-D.
    End,
}

/// Lists what could stand where `line` ends, and where it would begin.
type Complete = Box<dyn Fn(&str) -> (usize, Vec<String>) + Send>;

/// The terminal while an editor runs on it; it is restored when this is dropped.
pub(super) struct Terminal {
    inputs: mpsc::UnboundedReceiver<Input>,
    screen: Arc<Screen>,
    /// The mode in which the terminal was found.
    found: Option<Termios>,
}

impl Terminal {
    /// Starts the editor.
    ///
    /// # Errors
    /// [`Kind::Local`] if the terminal refuses.
    pub(super) fn open(complete: Complete) -> Result<Self> {
        let unusable = |error: ReadlineError| {
            let why = match error {
                ReadlineError::Io(error) => plain(&error),
                other => other.to_string(),
            };
            Error::new(Kind::Local, why).at("terminal")
        };
        let color = if report::color() { ColorMode::Enabled } else { ColorMode::Disabled };
        let config = Config::builder()
            .auto_add_history(false)
            .history_ignore_space(true)
            .color_mode(color)
            .max_history_size(history::LONGEST)
            .map_err(unusable)?;
        let mut editor: Editor<Callbacks, DefaultHistory> =
            Editor::with_config(config.build()).map_err(unusable)?;
        let printer = editor.create_external_printer().map_err(unusable)?;
        let screen = Arc::new(Screen::default());
        editor.set_helper(Some(Callbacks { screen: screen.clone(), complete }));

        let found = rustix::termios::tcgetattr(io::stdin()).ok();
        if let Some(found) = &found {
            // The editor puts the terminal back between two lines, to what it is from here on. Were lines
            // made by the terminal then, a Ctrl-D that is typed ahead would be taken by that and be lost.
            let mut keys = found.clone();
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys);
        }
        let (sender, inputs) = mpsc::unbounded_channel();
        let edited = screen.clone();
        thread::spawn(move || edit(editor, &edited, &sender));
        let printed = screen.clone();
        thread::spawn(move || print(printer, &printed));
        let said = screen.clone();
        report::divert(Some(Box::new(move |line| said.add(line))));
        Ok(Self { inputs, screen, found })
    }

    /// What the person does next; none once the terminal is gone.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        self.inputs.poll_recv(cx)
    }

    /// Waits until what has been printed is not too far behind.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.screen.state();
        if state.text.len() < BACKLOG {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Prints lines above the editor.
    pub(super) fn print(&self, text: &str) {
        self.screen.add(text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A few milliseconds at the end of the run; everything is on the screen after it.
        report::divert(None);
        self.screen.finish();
        if let Some(found) = &self.found {
            let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, found);
        }
        // The editor may have been stopped in the middle of a synchronized update; no more
        // bracketed paste; what is left of the prompt goes away.
        write("\x1b[?2026l\x1b[?2004l\r\x1b[J");
    }
}

/// What is to be printed, and what the editor is at.
#[derive(Default)]
struct Screen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    writer: Option<Waker>,
    editor: At,
    /// Nothing more is printed after what is here.
    finishing: bool,
    /// The editor is to stop where it draws its prompt next.
    park: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Between two lines: printing now could overtake what was handed over before.
    #[default]
    Away,
    /// Waiting for a key.
    Reading,
    /// Parked or ended; it prints no more.
    Gone,
}

impl Screen {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn add(&self, text: &str) {
        let mut state = self.state();
        state.text.push_str(text);
        if !text.ends_with('\n') {
            state.text.push('\n');
        }
        drop(state);
        self.changed.notify_all();
    }

    fn set(&self, at: At) {
        let mut state = self.state();
        if state.editor != At::Gone {
            state.editor = at;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until everything is printed and the editor prints no more.
    fn finish(&self) {
        let mut state = self.state();
        state.finishing = true;
        self.changed.notify_all();
        let unfinished = |state: &mut State| state.editor != At::Gone;
        let waited = self.changed.wait_timeout_while(state, GOODBYE, unfinished);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let rest = std::mem::take(&mut state.text);
        drop(state);
        write(&rest);
    }
}

/// The editor's thread.
fn edit(
    mut editor: Editor<Callbacks, DefaultHistory>,
    screen: &Arc<Screen>,
    inputs: &mpsc::UnboundedSender<Input>,
) {
    let mut history = history::File::open(&mut editor);
    let mark = Mark { screen: screen.clone() };
    loop {
        let line = editor.readline(&mark);
        screen.set(At::Away);
        let sent = match line {
            Ok(line) => {
                history.add(&mut editor, &line);
                inputs.send(Input::Line(line))
            }
            Err(ReadlineError::Eof) => inputs.send(Input::End),
            // The editor takes Ctrl-C as a key; it means here what it means everywhere.
            Err(ReadlineError::Interrupted) => {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::INT,
                );
                Ok(())
            }
            Err(_) => break,
        };
        if sent.is_err() {
            break;
        }
    }
    screen.set(At::Gone);
}

/// The printer's thread.
fn print(mut printer: impl ExternalPrinter, screen: &Screen) {
    loop {
        let mut state = screen.state();
        while state.text.is_empty() && !state.finishing || state.editor == At::Away {
            state = screen.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let text = std::mem::take(&mut state.text);
        let (writer, finishing, gone) =
            (state.writer.take(), state.finishing, state.editor == At::Gone);
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        if gone {
            write(&text);
            if finishing {
                return;
            }
        } else {
            // A failure is the terminal's end, which the editor notices by itself.
            if !text.is_empty() {
                let _ = printer.print(text);
            }
            if finishing {
                return park(printer, screen);
            }
        }
    }
}

/// Parks the editor once it has printed everything.
fn park(mut printer: impl ExternalPrinter, screen: &Screen) {
    // A piece is handed over when the one before it has been taken, and is printed before the
    // editor draws its prompt again. So from here on, all that came before is as good as printed.
    let _ = printer.print(NOTHING.to_owned());
    screen.state().park = true;
    // Wakes the editor. It may be parked by now and never take this; then this thread ends with
    // the process, as the editor's does.
    let _ = printer.print(NOTHING.to_owned());
}

/// Moves up a line and down again: the editor ends each piece with a newline.
const NOTHING: &str = "\x1b[A\n";

/// The prompt, which the editor asks for whenever it draws: first of all when it is ready, and
/// after it has printed something above.
struct Mark {
    screen: Arc<Screen>,
}

impl Mark {
    fn drawn(&self) {
        if self.screen.state().park {
            self.screen.set(At::Gone);
            loop {
                thread::park();
            }
        }
        self.screen.set(At::Reading);
    }
}

impl Prompt for Mark {
    fn raw(&self) -> &str {
        self.drawn();
        "> "
    }

    fn styled(&self) -> &str {
        self.drawn();
        "\x1b[1;32m> \x1b[0m"
    }
}

/// What else the editor calls while a line is edited.
struct Callbacks {
    screen: Arc<Screen>,
    complete: Complete,
}

impl Validator for Callbacks {
    /// Called when a line is entered.
    fn validate(&self, _: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.screen.set(At::Away);
        Ok(ValidationResult::Valid(None))
    }
}

impl Completer for Callbacks {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        end: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((self.complete)(&line[..end]))
    }
}

impl Hinter for Callbacks {
    type Hint = String;
}

impl Highlighter for Callbacks {}

impl rustyline::Helper for Callbacks {}

fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    // A terminal that is gone shows nothing.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
