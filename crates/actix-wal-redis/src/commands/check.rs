//! Whether a request is one of a command, in Redis's words if it is not.

use bytes::{BufMut, Bytes, BytesMut};

use super::facts::{Subcommand, subcommands};
use super::{Command, find};
use crate::resp::{Reply, Request};

/// A command that a request calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called {
    pub(crate) command: &'static Command,
    /// Its second word, if the command has such.
    pub(crate) sub: Option<&'static Subcommand>,
}

impl Called {
    /// Its name as Redis writes it: `get`, `config|get`.
    pub(crate) fn name(&self) -> &'static str {
        self.sub.map_or(self.command.name, |sub| sub.name)
    }

    /// Its second word; empty if it has none.
    pub(crate) fn word(&self) -> &'static str {
        self.sub.map_or("", Subcommand::word)
    }
}

/// Which command a request calls, and with how many arguments that command allows.
///
/// # Errors
/// There is no such command, or it takes another number of arguments.
pub(crate) fn check(request: &Request) -> Result<Called, Reply> {
    let command = find(request.part(0)).ok_or_else(|| unknown(request))?;
    if request.len() > 1 && has_subcommands(command) {
        let word = request.part(1);
        let sub = subcommands(command.name)
            .find(|sub| sub.word().as_bytes().eq_ignore_ascii_case(word))
            .ok_or_else(|| unknown_subcommand(command, word))?;
        fits(sub.arity, request.len(), sub.name)?;
        return Ok(Called { command, sub: Some(sub) });
    }
    fits(command.arity, request.len(), command.name)?;
    Ok(Called { command, sub: None })
}

/// `COMMAND` is a command of its own too, without a second word.
fn has_subcommands(command: &Command) -> bool {
    matches!(command.name, "client" | "config" | "command" | "function" | "object")
}

fn fits(arity: i32, parts: usize, name: &str) -> Result<(), Reply> {
    if is_arity(arity, parts) { Ok(()) } else { Err(wrong_number(name)) }
}

/// Whether a command of this arity takes so many parts.
pub(crate) fn is_arity(arity: i32, parts: usize) -> bool {
    let least = arity.unsigned_abs() as usize;
    parts == least || (arity < 0 && parts > least)
}

pub(crate) fn wrong_number(name: &str) -> Reply {
    Reply::err(format_args!("wrong number of arguments for '{name}' command"))
}

/// As much of a text as Redis shows of it. A NUL ends it there.
const SHOWN: usize = 128;

fn shown(text: &[u8], most: usize) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    &text[..end.min(most)]
}

fn unknown(request: &Request) -> Reply {
    let mut arguments = BytesMut::new();
    for argument in request.parts_from(1) {
        if arguments.len() >= SHOWN {
            break;
        }
        let shown = shown(argument, SHOWN - arguments.len());
        arguments.put_u8(b'\'');
        arguments.put_slice(shown);
        arguments.put_slice(b"' ");
    }
    let mut text = BytesMut::from(&b"ERR unknown command '"[..]);
    text.put_slice(shown(request.part(0), SHOWN));
    text.put_slice(b"', with args beginning with: ");
    text.put_slice(&arguments);
    Reply::RawError(text.freeze())
}

fn unknown_subcommand(command: &Command, word: &[u8]) -> Reply {
    let help = command.name.to_ascii_uppercase();
    quoting("ERR unknown subcommand '", word, &format!("'. Try {help} HELP."))
}

/// An error that repeats what a client has sent, up to its first NUL.
pub(crate) fn quoting(before: &str, quoted: &[u8], behind: &str) -> Reply {
    let text = [before.as_bytes(), shown(quoted, SHOWN), behind.as_bytes()].concat();
    Reply::RawError(Bytes::from(text))
}
