//! `OBJECT`: how Redis would hold a value.

use super::arguments::{error, is, wrong_number};
use super::{Command, command, quoting};
use crate::keyspace::{Database, Encoding, Fault, Value};
use crate::resp::{Reply, Request, number};

pub(super) const COMMANDS: &[Command] = &[command("object", -2, "", (0, 0, 0), "@slow", object)];

/// What Redis answers, line by line.
const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
    that when switching between policies at runtime LRU and LFU data will take some time to adjust.";

/// What a subcommand answers for a value; the number is for how many seconds it is idle.
type Answer = fn(&Value, u32) -> Result<Reply, Fault>;

const SUBCOMMANDS: &[(&str, Answer)] = &[
    ("encoding", |value, _| {
        Ok(Reply::bulk(match value.encoding() {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
        }))
    }),
    ("freq", |_, _| Err(error(NO_FREQUENCY))),
    ("idletime", |_, idle| Ok(Reply::Integer(idle.into()))),
    ("refcount", |value, _| Ok(Reply::Integer(references(value)))),
];

fn object(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let subcommand = request.part(1);
    if is(subcommand, "help") {
        if request.len() != 2 {
            return Err(wrong_number("object|help"));
        }
        return Ok(Reply::Array(HELP.iter().map(|line| Reply::Status(line)).collect()));
    }
    let Some((name, answer)) = SUBCOMMANDS.iter().find(|(name, _)| is(subcommand, name)) else {
        return Err(unknown(subcommand));
    };
    if request.len() != 3 {
        return Err(wrong_number(&format!("object|{name}")));
    }
    let key = request.part(2);
    let idle = db.idle(key);
    db.peek(key)?.map_or(Ok(Reply::Null), |value| answer(&value, idle))
}

fn unknown(subcommand: &[u8]) -> Fault {
    Fault::Error(quoting("ERR unknown subcommand '", subcommand, "'. Try OBJECT HELP."))
}

/// Redis shares the objects of small numbers between all keys, and counts no references to those.
fn references(value: &Value) -> i64 {
    let is_number = value.encoding() == Encoding::Int;
    let is_shared = number(value.as_slice()).is_some_and(|number| (0..10_000).contains(&number));
    if is_number && is_shared { i32::MAX.into() } else { 1 }
}
