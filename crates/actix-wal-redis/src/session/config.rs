//! `CONFIG`.

use std::collections::HashSet;

use actix_wal::Durability;
use rustix::process::{Resource, getrlimit};

use super::ask::Ask;
use super::library::lines;
use super::{Here, memory};
use crate::commands::{matches_any_case, quoting};
use crate::keyspace::DATABASES;
use crate::resp::{Reply, Request, number};
use crate::server::{Server, Settings};

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
    "HELP",
    "    Prints this help.",
];

/// How a parameter is set.
#[derive(Clone, Copy)]
enum Set {
    /// Only at the start.
    Never,
    /// As for [`Never`](Self::Never), in the words for what could do harm.
    Protected,
    /// To a number from this one to that one.
    Number(i64, i64, fn(&mut Settings, i64) -> Result<(), String>),
    /// To a number of bytes, from this one on.
    Memory(u64, fn(&mut Settings, u64)),
    /// To one of these words.
    Word(&'static [&'static str], fn(&mut Settings, &str)),
    /// To a text.
    Text(fn(&mut Settings, &str) -> Result<(), String>),
}

/// A parameter.
struct Parameter {
    name: &'static str,
    get: fn(&Settings) -> String,
    set: Set,
}

const fn parameter(name: &'static str, get: fn(&Settings) -> String, set: Set) -> Parameter {
    Parameter { name, get, set }
}

/// The most that a number of 32 bits with a sign can be: Redis's bound for many parameters.
const INT: i64 = i32::MAX as i64;
/// The least that a buffer may be.
const BUFFER: u64 = 1 << 20;

const PARAMETERS: &[Parameter] = &[
    // What is written is always in the log, and there is no other file.
    parameter("appendonly", |_| "yes".into(), Set::Word(&["yes"], |_, _| {})),
    parameter("appendfsync", fsync, Set::Word(&["everysec", "always"], set_fsync)),
    parameter("save", |_| String::new(), Set::Text(no_snapshots)),
    parameter("dir", |settings| settings.directory.display().to_string(), Set::Protected),
    parameter("databases", |_| DATABASES.to_string(), Set::Never),
    parameter("bind", |settings| settings.address.ip().to_string(), Set::Never),
    parameter("port", |settings| settings.address.port().to_string(), Set::Never),
    parameter("requirepass", |settings| settings.password.clone(), Set::Text(set_password)),
    parameter("maxclients", |settings| settings.max_clients.to_string(), {
        Set::Number(1, u32::MAX as i64, set_max_clients)
    }),
    parameter("maxmemory", |settings| settings.max_memory.to_string(), {
        Set::Memory(0, |settings, bytes| settings.max_memory = clamped(bytes))
    }),
    parameter("maxmemory-policy", |_| "noeviction".into(), Set::Word(&["noeviction"], |_, _| {})),
    parameter("proto-max-bulk-len", |settings| settings.max_value.to_string(), {
        Set::Memory(BUFFER, |settings, bytes| settings.max_value = clamped(bytes))
    }),
    parameter("client-query-buffer-limit", |settings| settings.max_query.to_string(), {
        Set::Memory(BUFFER, |settings, bytes| settings.max_query = clamped(bytes))
    }),
    parameter("timeout", |settings| settings.timeout.to_string(), {
        Set::Number(0, INT, |settings, seconds| {
            settings.timeout = seconds as u32;
            Ok(())
        })
    }),
    parameter("tcp-keepalive", |settings| settings.keepalive.to_string(), {
        Set::Number(0, INT, |settings, seconds| {
            settings.keepalive = seconds as u32;
            Ok(())
        })
    }),
];

/// Redis's sizes are numbers of 64 bits with a sign, and so are those that it shows.
fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn fsync(settings: &Settings) -> String {
    let is_later = settings.durability == Durability::Async;
    if is_later { "everysec".into() } else { "always".into() }
}

fn set_fsync(settings: &mut Settings, word: &str) {
    match (word, settings.durability) {
        ("everysec", _) => settings.durability = Durability::Async,
        // Both others sync before each answer.
        (_, Durability::Async) => settings.durability = Durability::GroupCommit,
        _ => {}
    }
}

fn no_snapshots(_: &mut Settings, text: &str) -> Result<(), String> {
    let is_none = text.is_empty();
    is_none.then_some(()).ok_or_else(|| "the log takes snapshots by itself, as it grows".into())
}

fn set_password(settings: &mut Settings, password: &str) -> Result<(), String> {
    if password.is_empty() && !settings.address.ip().is_loopback() {
        return Err(
            "the server listens beyond this machine, which it does not without a password".into()
        );
    }
    settings.password = password.into();
    Ok(())
}

/// Files that are open beside the sockets: the log, its directory, snapshots.
const OTHER_FILES: u64 = 32;

fn set_max_clients(settings: &mut Settings, clients: i64) -> Result<(), String> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = files.saturating_sub(OTHER_FILES);
    if clients.unsigned_abs() > most {
        return Err(format!(
            "The operating system is not able to handle the specified number of clients, try with {most}"
        ));
    }
    settings.max_clients = clients as usize;
    Ok(())
}

pub(super) fn config(word: &str, request: &Request, server: &Server) -> Here {
    match word {
        "get" => get(request, &server.settings.borrow()).into(),
        "set" if !request.len().is_multiple_of(2) => Reply::err("syntax error").into(),
        "set" => Here::Ask(Ask::Configure(request.clone())),
        "resetstat" => {
            server.counters.reset();
            server.host.reset_expired();
            Reply::OK.into()
        }
        "rewrite" => Reply::err("The server is running without a config file").into(),
        _ => lines(HELP).into(),
    }
}

fn get(request: &Request, settings: &Settings) -> Reply {
    let mut found: Vec<(Reply, Reply)> = Vec::new();
    let mut names = HashSet::new();
    for pattern in request.parts_from(2) {
        let is_pattern = pattern.iter().any(|byte| b"[*?".contains(byte));
        for parameter in PARAMETERS {
            let name = parameter.name;
            let is_found = if is_pattern {
                matches_any_case(pattern, name.as_bytes())
            } else {
                pattern.eq_ignore_ascii_case(name.as_bytes())
            };
            if is_found && names.insert(name) {
                // As Redis does, a name is repeated as the client writes it.
                let shown = if is_pattern { name.as_bytes() } else { pattern };
                found
                    .push((super::connection::bulk(shown), Reply::bulk((parameter.get)(settings))));
            }
        }
    }
    Reply::Map(found)
}

/// The settings after a `CONFIG SET`: all that it says, or an error and nothing of it.
pub(super) fn set(request: &Request, before: &Settings) -> Result<Settings, Reply> {
    let mut after = before.clone();
    let parts: Vec<&[u8]> = request.parts_from(2).collect();
    let pairs: Vec<_> = parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let parameter = PARAMETERS.iter().find(|of| of.name.as_bytes().eq_ignore_ascii_case(name));
        let unknown = "ERR Unknown option or number of arguments for CONFIG SET - '";
        let parameter = parameter.ok_or_else(|| quoting(unknown, name, "'"))?;
        match parameter.set {
            Set::Never => return Err(failed(name, "can't set immutable config")),
            Set::Protected => return Err(failed(name, "can't set protected config")),
            _ => {}
        }
        if !seen.insert(parameter.name) {
            return Err(failed(name, "duplicate parameter"));
        }
        all.push((name, parameter, value));
    }
    for (name, parameter, value) in all {
        parameter.set.apply(&mut after, value).map_err(|why| failed(name, &why))?;
    }
    Ok(after)
}

fn failed(name: &[u8], why: &str) -> Reply {
    let before = "ERR CONFIG SET failed (possibly related to argument '";
    quoting(before, name, &format!("') - {why}"))
}

impl Set {
    fn apply(self, settings: &mut Settings, value: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(value);
        match self {
            Set::Never | Set::Protected => Err("can't set immutable config".into()),
            Set::Number(least, most, set) => {
                let number = number(value).ok_or("argument couldn't be parsed into an integer")?;
                if !(least..=most).contains(&number) {
                    return Err(format!("argument must be between {least} and {most} inclusive"));
                }
                set(settings, number)
            }
            Set::Memory(least, set) => {
                let bytes = text.ok().and_then(memory::parse);
                let bytes = bytes.ok_or("argument must be a memory value")?;
                if bytes < least {
                    let most = i64::MAX;
                    return Err(format!("argument must be between {least} and {most} inclusive"));
                }
                set(settings, bytes);
                Ok(())
            }
            Set::Word(words, set) => {
                let word = words.iter().find(|word| word.as_bytes().eq_ignore_ascii_case(value));
                let word = word.ok_or_else(|| {
                    format!("argument(s) must be one of the following: {}", words.join(", "))
                })?;
                set(settings, word);
                Ok(())
            }
            Set::Text(set) => set(settings, text.map_err(|_| "argument must be UTF-8")?),
        }
    }
}
