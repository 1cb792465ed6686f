//! Commands about keys, whatever their values are.

use super::arguments::{error, small_integer};
use super::{Command, command};
use crate::keyspace::{DATABASES, Database, Fault};
use crate::resp::{Reply, Request};

const WRITE: &str = "@keyspace @write @slow";
const WRITE_FAST: &str = "@keyspace @write @fast";
const READ_FAST: &str = "@keyspace @read @fast";

pub(super) const COMMANDS: &[Command] = &[
    command("del", -2, "write", (1, -1, 1), WRITE, del),
    command("unlink", -2, "write fast", (1, -1, 1), WRITE_FAST, del),
    command("exists", -2, "readonly fast", (1, -1, 1), READ_FAST, exists),
    command("type", 2, "readonly fast", (1, 1, 1), READ_FAST, kind),
    command("touch", -2, "readonly fast", (1, -1, 1), READ_FAST, touch),
    command("rename", 3, "write", (1, 2, 1), WRITE, |db, request| rename(db, request, false)),
    command("renamenx", 3, "write fast", (1, 2, 1), WRITE_FAST, |db, request| {
        rename(db, request, true)
    }),
    command("move", 3, "write fast", (1, 1, 1), WRITE_FAST, move_key),
];

/// For how many of the keys this holds. One that is there twice counts twice.
fn count(
    request: &Request,
    mut holds: impl FnMut(&[u8]) -> Result<bool, Fault>,
) -> Result<Reply, Fault> {
    let mut count = 0;
    for key in request.parts_from(1) {
        count += i64::from(holds(key)?);
    }
    Ok(Reply::Integer(count))
}

fn del(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    count(request, |key| Ok(db.remove(key)?.is_some()))
}

fn exists(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    count(request, |key| Ok(db.peek(key)?.is_some()))
}

fn touch(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    count(request, |key| Ok(db.get(key)?.is_some()))
}

fn kind(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let value = db.peek(request.part(1))?;
    Ok(Reply::Status(value.map_or("none", |_| "string")))
}

fn rename(db: &mut Database<'_, '_>, request: &Request, is_only_new: bool) -> Result<Reply, Fault> {
    let (from, to) = (request.part(1), request.part(2));
    let value = db.get(from)?.ok_or(error("ERR no such key"))?;
    let done = |is_done| if is_only_new { Reply::flag(is_done) } else { Reply::OK };
    if from == to {
        return Ok(done(false));
    }
    let before = db.get(to)?;
    if is_only_new && before.is_some() {
        return Ok(done(false));
    }
    db.remove(from)?;
    db.replace(to, before.as_ref(), value)?;
    Ok(done(true))
}

/// The number of a database.
pub(super) fn database(number: i32) -> Result<usize, Fault> {
    const OUT_OF_RANGE: Fault = error("ERR DB index is out of range");
    let number = usize::try_from(number).map_err(|_| OUT_OF_RANGE)?;
    if number < DATABASES { Ok(number) } else { Err(OUT_OF_RANGE) }
}

fn move_key(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let key = request.part(1);
    let to = database(small_integer(request.part(2), None)?)?;
    if to == db.index() {
        return Err(error("ERR source and destination objects are the same"));
    }
    let Some(value) = db.get(key)? else {
        return Ok(Reply::flag(false));
    };
    let mut other = db.other(to)?;
    if other.get(key)?.is_some() {
        return Ok(Reply::flag(false));
    }
    other.replace(key, None, value)?;
    db.remove(key)?;
    Ok(Reply::flag(true))
}
