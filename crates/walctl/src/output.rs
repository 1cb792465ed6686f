//! What a command prints: words for people, or JSON for programs.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use actix_wal::inspect::Severity;
use serde::Serialize;

use crate::exit::Exit;

/// The version of all JSON that this program prints. It rises when a field is renamed, removed or gets another meaning;
/// a new field does not raise it.
pub(crate) const SCHEMA: u32 = 1;

/// Where a command prints its result. Progress and errors go to standard error.
pub(crate) struct Output {
    is_json: bool,
    has_colours: bool,
    to: BufWriter<io::Stdout>,
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for is refused, or did not work; the text says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// Nobody reads the output any more.
    #[error("the reader of the output is gone")]
    NobodyReads,
}

impl Failure {
    /// A refusal with this reason.
    pub(crate) fn refused(reason: impl std::fmt::Display) -> Self {
        Failure::Refused(reason.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::NobodyReads,
            _ => Failure::Refused(format!("writing the output: {error}")),
        }
    }
}

/// One object of JSON, with what all of them begin with.
#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: u32,
    command: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct ErrorBody {
    error: String,
    exit: u8,
}

impl Output {
    /// Standard output.
    pub(crate) fn stdout(is_json: bool) -> Self {
        let stdout = io::stdout();
        // The convention of https://no-color.org.
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_colours = stdout.is_terminal() && !is_plain;
        Output { is_json, has_colours, to: BufWriter::with_capacity(1 << 18, stdout) }
    }

    /// Whether a person reads it.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal() && io::stdin().is_terminal()
    }

    /// How bad something is, as one word, in colour on a terminal.
    pub(crate) fn word(&self, severity: Severity) -> String {
        let (word, colour) = match severity {
            Severity::Damage => ("damage", AnsiColor::Red),
            Severity::Attention => ("attention", AnsiColor::Yellow),
            _ => ("note", AnsiColor::Cyan),
        };
        if !self.has_colours {
            return word.to_owned();
        }
        let style = Style::new().bold().fg_color(Some(colour.into()));
        format!("{style}{word}{style:#}")
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Prints a line for people; nothing where JSON is wanted.
    pub(crate) fn say(&mut self, line: impl std::fmt::Display) -> io::Result<()> {
        if self.is_json { Ok(()) } else { writeln!(self.to, "{line}") }
    }

    /// Prints an object for programs; nothing where words are wanted.
    pub(crate) fn json(&mut self, command: &str, body: &impl Serialize) -> io::Result<()> {
        if !self.is_json {
            return Ok(());
        }
        let envelope = Envelope { schema: SCHEMA, command, body };
        serde_json::to_writer(&mut self.to, &envelope).map_err(io::Error::from)?;
        self.to.write_all(b"\n")
    }

    /// Where a command writes what is neither.
    pub(crate) fn raw(&mut self) -> &mut dyn Write {
        &mut self.to
    }

    /// Hands on what was printed so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Ends a command: prints why it could not be carried out, and says how the program ends.
    pub(crate) fn end(mut self, command: &str, result: Result<Exit, Failure>) -> Exit {
        let result = result.and_then(|exit| Ok(self.flush().map(|()| exit)?));
        let reason = match result {
            Ok(exit) => return exit,
            // As with `| head`: who has read enough is content.
            Err(Failure::NobodyReads) => return Exit::Fine,
            Err(Failure::Refused(reason)) => reason,
        };
        eprintln!("walctl {command}: {reason}");
        let body = ErrorBody { error: reason, exit: Exit::Refused.code() };
        let _ = self.json(command, &body).and_then(|()| self.flush());
        Exit::Refused
    }
}
