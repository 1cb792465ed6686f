//! Commands that count.

use super::arguments::{error, integer};
use super::long_double::LongDouble;
use super::{Command, command};
use crate::keyspace::{Database, Fault, Value};
use crate::resp::{Reply, Request};

const FLAGS: &str = "write denyoom fast";
const CATEGORIES: &str = "@write @string @fast";

pub(super) const COMMANDS: &[Command] = &[
    command("incr", 2, FLAGS, (1, 1, 1), CATEGORIES, |db, request| add(db, request, 1)),
    command("decr", 2, FLAGS, (1, 1, 1), CATEGORIES, |db, request| add(db, request, -1)),
    command("incrby", 3, FLAGS, (1, 1, 1), CATEGORIES, |db, request| {
        add(db, request, integer(request.part(2))?)
    }),
    command("decrby", 3, FLAGS, (1, 1, 1), CATEGORIES, |db, request| {
        let less = integer(request.part(2))?.checked_neg();
        add(db, request, less.ok_or(error("ERR decrement would overflow"))?)
    }),
    command("incrbyfloat", 3, FLAGS, (1, 1, 1), CATEGORIES, incrbyfloat),
];

fn add(db: &mut Database<'_, '_>, request: &Request, more: i64) -> Result<Reply, Fault> {
    const OVERFLOW: Fault = error("ERR increment or decrement would overflow");
    let key = request.part(1);
    let before = db.get(key)?;
    let old = before.as_ref().map_or(Ok(0), |before| integer(before.as_slice()))?;
    let new = old.checked_add(more).ok_or(OVERFLOW)?;
    let expires = before.as_ref().and_then(Value::expires);
    let mut digits = itoa::Buffer::new();
    let value = Value::expiring(digits.format(new).as_bytes(), expires);
    db.replace(key, before.as_ref(), value)?;
    Ok(Reply::Integer(new))
}

fn incrbyfloat(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    const NOT_FLOAT: Fault = error("ERR value is not a valid float");
    const INFINITE: Fault = error("ERR increment would produce NaN or Infinity");
    let key = request.part(1);
    let float = |bytes: &[u8]| LongDouble::parse(bytes).ok_or(NOT_FLOAT);
    let before = db.get(key)?;
    let old = before.as_ref().map_or(Ok(LongDouble::ZERO), |before| float(before.as_slice()))?;
    let new = old.add(&float(request.part(2))?).to_text().ok_or(INFINITE)?;
    let expires = before.as_ref().and_then(Value::expires);
    db.replace(key, before.as_ref(), Value::text(new.as_bytes(), expires))?;
    Ok(Reply::bulk(new))
}
