//! Commands that read strings, and change parts of them.

use super::arguments::{check_length, error, integer};
use super::{Command, command};
use crate::keyspace::{Database, Fault, Value};
use crate::resp::{Reply, Request};

const READ: &str = "@read @string @slow";
const READ_FAST: &str = "@read @string @fast";
const WRITE_FAST: &str = "@write @string @fast";

pub(super) const COMMANDS: &[Command] = &[
    command("get", 2, "readonly fast", (1, 1, 1), READ_FAST, get),
    command("getdel", 2, "write fast", (1, 1, 1), WRITE_FAST, getdel),
    command("getrange", 4, "readonly", (1, 1, 1), READ, getrange),
    command("substr", 4, "readonly", (1, 1, 1), READ, getrange),
    command("setrange", 4, "write denyoom", (1, 1, 1), "@write @string @slow", setrange),
    command("mget", -2, "readonly fast", (1, -1, 1), READ_FAST, mget),
    command("append", 3, "write denyoom fast", (1, 1, 1), WRITE_FAST, append),
    command("strlen", 2, "readonly fast", (1, 1, 1), READ_FAST, strlen),
];

fn get(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    Ok(Reply::bulk_or_null(db.get(request.part(1))?.map(|value| value.bytes())))
}

fn getdel(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    Ok(Reply::bulk_or_null(db.remove(request.part(1))?.map(|value| value.bytes())))
}

fn mget(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let each = request.parts_from(1).map(|key| {
        let value = db.get(key)?;
        Ok(Reply::bulk_or_null(value.map(|value| value.bytes())))
    });
    each.collect::<Result<_, Fault>>().map(Reply::Array)
}

fn strlen(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    Ok(length(db.get(request.part(1))?.map_or(0, |value| value.as_slice().len())))
}

/// A length is that of bytes in memory, and so below 2^63.
fn length(bytes: usize) -> Reply {
    Reply::Integer(bytes as i64)
}

fn getrange(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let (start, end) = (integer(request.part(2))?, integer(request.part(3))?);
    let bytes = db.get(request.part(1))?.map(|value| value.bytes()).unwrap_or_default();
    // Both would be cut to the first byte below.
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(""));
    }
    let length = bytes.len() as i64;
    let from_end = |at: i64| if at < 0 { (length + at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end {
        return Ok(Reply::bulk(""));
    }
    Ok(Reply::Bulk(bytes.slice(start as usize..=end as usize)))
}

fn setrange(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let (key, piece) = (request.part(1), request.part(3));
    let offset = usize::try_from(integer(request.part(2))?)
        .map_err(|_| error("ERR offset is out of range"))?;
    let before = db.get(key)?;
    let old = before.as_ref().map_or(&[][..], Value::as_slice);
    if piece.is_empty() {
        return Ok(length(old.len()));
    }
    let end = check_length(offset.checked_add(piece.len()), db.host().max_value())?;
    let (whole, expires) = (old.len().max(end), before.as_ref().and_then(Value::expires));
    let value = Value::laid_out(whole, &[(0, old), (offset, piece)], expires);
    db.replace(key, before.as_ref(), value)?;
    Ok(length(whole))
}

fn append(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let (key, piece) = (request.part(1), request.part(2));
    let Some(before) = db.get(key)? else {
        db.replace(key, None, Value::new(piece))?;
        return Ok(length(piece.len()));
    };
    let old = before.as_slice();
    let whole = check_length(old.len().checked_add(piece.len()), db.host().max_value())?;
    db.replace(key, Some(&before), Value::raw(&[old, piece], before.expires()))?;
    Ok(length(whole))
}
