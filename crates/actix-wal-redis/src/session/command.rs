//! `COMMAND`: which commands there are.

use std::collections::HashSet;

use super::library::lines;
use crate::commands::{
    self, Called, Command, Subcommand, facts_of, is_arity, matches_any_case, subcommands,
};
use crate::resp::{Reply, Request};

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn command(called: Called, request: &Request) -> Result<Reply, Reply> {
    match called.word() {
        "" => Ok(Reply::Array(commands::all().map(|command| command.details()).collect())),
        "count" => Ok(Reply::Integer(i64::try_from(commands::all().count()).unwrap_or(i64::MAX))),
        "info" => Ok(info(request)),
        "list" => list(request),
        "docs" => Ok(docs(request)),
        "getkeys" => {
            let (_, keys) = keys(request)?;
            Ok(Reply::Array(
                keys.into_iter().map(|(key, _)| super::connection::bulk(key)).collect(),
            ))
        }
        "getkeysandflags" => {
            let (kinds, keys) = keys(request)?;
            let each = keys.into_iter().map(|(key, at)| {
                let kind = kinds.get(at.min(kinds.len().saturating_sub(1))).copied();
                Reply::Array(vec![super::connection::bulk(key), words(kind.unwrap_or_default())])
            });
            Ok(Reply::Array(each.collect()))
        }
        _ => Ok(lines(HELP)),
    }
}

/// A command, or one that is called by two words.
#[derive(Clone, Copy)]
enum Any {
    Command(&'static Command),
    Sub(&'static Subcommand),
}

impl Any {
    /// The one with this name: `get`, `config|get`.
    fn find(name: &[u8]) -> Option<Self> {
        let bar = memchr::memchr(b'|', name);
        let command = commands::find(&name[..bar.unwrap_or(name.len())])?;
        if bar.is_none() {
            return Some(Any::Command(command));
        }
        let mut subs = subcommands(command.name);
        subs.find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name)).map(Any::Sub)
    }

    fn all() -> impl Iterator<Item = Self> {
        commands::all().flat_map(|command| {
            std::iter::once(Any::Command(command)).chain(subcommands(command.name).map(Any::Sub))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Any::Command(command) => command.name,
            Any::Sub(sub) => sub.name,
        }
    }

    fn categories(self) -> &'static str {
        match self {
            Any::Command(command) => command.categories,
            Any::Sub(sub) => sub.categories,
        }
    }
}

/// Words that are separated by spaces, as Redis sends flags.
fn words(text: &'static str) -> Reply {
    Reply::Set(text.split_ascii_whitespace().map(Reply::Status).collect())
}

fn number(number: i32) -> Reply {
    Reply::Integer(number.into())
}

fn map<const N: usize>(pairs: [(&'static str, Reply); N]) -> Reply {
    Reply::Map(pairs.map(|(key, value)| (Reply::bulk(key), value)).into())
}

impl Command {
    fn details(&self) -> Reply {
        let facts = facts_of(self.name);
        let tips = facts.map_or("", |facts| facts.tips);
        let (kinds, notes) = facts.map_or(("", ""), |facts| (facts.keys, facts.notes));
        let specs = specs(self.keys, kinds, notes);
        let subs = subcommands(self.name).map(Subcommand::details).collect();
        let Command { name, arity, flags, keys, categories, .. } = *self;
        details(name, (arity, flags, keys), categories, (tips, specs, subs))
    }
}

impl Subcommand {
    fn details(&self) -> Reply {
        let Subcommand { name, arity, flags, keys, categories, tips } = *self;
        // Those that have a key only read it.
        details(name, (arity, flags, keys), categories, (tips, specs(keys, "RO", ""), Vec::new()))
    }
}

type Called3 = (i32, &'static str, (i32, i32, i32));

fn details(
    name: &'static str,
    (arity, flags, (first, last, step)): Called3,
    categories: &'static str,
    (tips, specs, subs): (&'static str, Vec<Reply>, Vec<Reply>),
) -> Reply {
    let tips = tips.split_ascii_whitespace().map(Reply::bulk).collect();
    Reply::Array(vec![
        Reply::bulk(name),
        number(arity),
        words(flags),
        number(first),
        number(last),
        number(step),
        words(categories),
        Reply::Set(tips),
        Reply::Set(specs),
        Reply::Set(subs),
    ])
}

/// Where the keys are and what happens to them. If there are several kinds of them, each is one key.
fn specs(
    (first, last, step): (i32, i32, i32),
    kinds: &'static str,
    notes: &'static str,
) -> Vec<Reply> {
    if first == 0 {
        return Vec::new();
    }
    let kinds: Vec<&str> = kinds.split('|').map(str::trim).collect();
    let is_one = kinds.len() == 1;
    let spec = |(kind, index): (&&'static str, i32)| {
        // Counted from the first one, unless from the end.
        let last = if last < 0 { last } else { last - first };
        let last = if is_one { last } else { 0 };
        let begin = map([("index", number(index))]);
        let range =
            map([("lastkey", number(last)), ("keystep", number(step)), ("limit", number(0))]);
        let spec = [
            ("flags", words(kind)),
            ("begin_search", map([("type", Reply::bulk("index")), ("spec", begin)])),
            ("find_keys", map([("type", Reply::bulk("range")), ("spec", range)])),
        ];
        let notes = Some(("notes", Reply::bulk(notes))).filter(|_| !notes.is_empty());
        let pairs = notes.into_iter().chain(spec);
        Reply::Map(pairs.map(|(key, value)| (Reply::bulk(key), value)).collect())
    };
    kinds.iter().zip(first..).map(spec).collect()
}

fn info(request: &Request) -> Reply {
    if request.len() == 2 {
        return Reply::Array(commands::all().map(Command::details).collect());
    }
    let details = |name| match Any::find(name) {
        Some(Any::Command(command)) => command.details(),
        Some(Any::Sub(sub)) => sub.details(),
        None => Reply::Null,
    };
    Reply::Array(request.parts_from(2).map(details).collect())
}

fn list(request: &Request) -> Result<Reply, Reply> {
    let names = |is_wanted: &dyn Fn(Any) -> bool| {
        let wanted = Any::all().filter(|any| is_wanted(*any));
        Ok(Reply::Array(wanted.map(|any| Reply::bulk(any.name())).collect()))
    };
    let is = |at, word: &str| request.part(at).eq_ignore_ascii_case(word.as_bytes());
    let value = request.part(4);
    match request.len() {
        2 => names(&|_| true),
        // There are no modules.
        5 if is(2, "FILTERBY") && is(3, "MODULE") => names(&|_| false),
        5 if is(2, "FILTERBY") && is(3, "ACLCAT") => names(&|any| {
            let mut all = any.categories().split(' ').filter_map(|of| of.strip_prefix('@'));
            all.any(|of| of.as_bytes().eq_ignore_ascii_case(value))
        }),
        5 if is(2, "FILTERBY") && is(3, "PATTERN") => {
            names(&|any| matches_any_case(value, any.name().as_bytes()))
        }
        _ => Err(Reply::err("syntax error")),
    }
}

fn docs(request: &Request) -> Reply {
    let mut wanted: Vec<&str> =
        request.parts_from(2).filter_map(commands::find).map(|command| command.name).collect();
    if request.len() == 2 {
        wanted = commands::all().map(|command| command.name).collect();
    }
    let mut seen = HashSet::new();
    wanted.retain(|name| seen.insert(*name));
    let docs = wanted.into_iter().filter_map(facts_of).map(|facts| {
        let text = |text: &'static str| Reply::bulk(text);
        let about = map([
            ("summary", text(facts.summary)),
            ("since", text(facts.since)),
            ("group", text(facts.group)),
        ]);
        (text(facts.name), about)
    });
    Reply::Map(docs.collect())
}

type Keys<'r> = Vec<(&'r [u8], usize)>;

/// The kinds of the keys of the command that begins behind `COMMAND GETKEYS`, and its keys with their numbers.
fn keys(request: &Request) -> Result<(Vec<&'static str>, Keys<'_>), Reply> {
    let inner = Request::of(request.parts_from(2));
    let no_keys = || Reply::err("The command has no key arguments");
    let command = commands::find(inner.part(0));
    let command = command.ok_or_else(|| Reply::err("Invalid command specified"))?;
    let sub = subcommands(command.name)
        .find(|sub| sub.word().as_bytes().eq_ignore_ascii_case(inner.part(1)));
    if subcommands(command.name).next().is_some() && sub.is_none() && command.name != "command" {
        return Err(Reply::err("Invalid command specified"));
    }
    let (arity, (first, last, step)) =
        sub.map_or((command.arity, command.keys), |sub| (sub.arity, sub.keys));
    if first == 0 {
        return Err(no_keys());
    }
    if !is_arity(arity, inner.len()) {
        return Err(Reply::err("Invalid number of arguments specified for command"));
    }
    let parts = i32::try_from(inner.len()).unwrap_or(i32::MAX);
    let last = if last < 0 { parts.saturating_add(last) } else { last };
    let step = usize::try_from(step).unwrap_or(1).max(1);
    let at = (first..=last).step_by(step).filter_map(|at| usize::try_from(at).ok());
    // Two words stand before the command.
    let keys = at.enumerate().map(|(nth, at)| (request.part(at + 2), nth)).collect();
    let kinds = facts_of(command.name).map_or("", |facts| facts.keys);
    let kinds = if sub.is_some() { "RO" } else { kinds };
    Ok((kinds.split('|').map(str::trim).collect(), keys))
}
