//! What each command does with the data, as plain functions on a [`Database`], and the table of all commands.

mod arguments;
mod check;
mod connection;
mod databases;
mod expiry;
mod facts;
mod glob;
mod keys;
mod long_double;
mod numbers;
mod object;
mod scan;
mod set;
mod strings;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::keyspace::{Database, Fault};
use crate::resp::{Reply, Request};

pub(crate) use self::check::{Called, check, is_arity, quoting, wrong_number};
pub(crate) use self::facts::{Subcommand, of as facts_of, subcommands};

/// What a command does with the data. It checks its arguments before it writes: an error of its own undoes nothing.
pub type Run = fn(&mut Database<'_, '_>, &Request) -> Result<Reply, Fault>;

/// A command, as `COMMAND INFO` describes it.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// In small letters.
    pub name: &'static str,
    /// How many parts a request has, with the name; if it is negative, at least as many.
    pub arity: i32,
    /// In Redis's words, separated by spaces: `write denyoom fast`.
    pub flags: &'static str,
    /// The first and the last part that is a key, and the step between two; the last counts from the end if it is negative.
    pub keys: (i32, i32, i32),
    /// Its categories in Redis's words.
    pub categories: &'static str,
    /// What it does with the data; `None` if it is about the client or the server.
    pub run: Option<Run>,
}

/// A command about the data.
const fn command(
    name: &'static str,
    arity: i32,
    flags: &'static str,
    keys: (i32, i32, i32),
    categories: &'static str,
    run: Run,
) -> Command {
    Command { name, arity, flags, keys, categories, run: Some(run) }
}

static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Command>> =
    LazyLock::new(|| all().map(|command| (command.name.as_bytes(), command)).collect());

/// All commands.
pub fn all() -> impl Iterator<Item = &'static Command> {
    table::TABLES.iter().copied().flatten()
}

/// The command with this name, in small or large letters.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut small = [0; 16];
    let small = small.get_mut(..name.len())?;
    small.copy_from_slice(name);
    small.make_ascii_lowercase();
    BY_NAME.get(&*small).copied()
}

/// Whether a text matches a pattern, in small or large letters.
pub(crate) fn matches_any_case(pattern: &[u8], text: &[u8]) -> bool {
    glob::matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}
