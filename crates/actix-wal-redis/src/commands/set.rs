//! Commands that set strings, and the options of time that `SET` and `GETEX` share.

use super::arguments::{integer, invalid_expire, is, syntax, wrong_number};
use super::{Command, command};
use crate::keyspace::{Database, Fault, Value};
use crate::resp::{Reply, Request};

const STRING: &str = "@write @string @slow";
const FAST: &str = "@write @string @fast";

pub(super) const COMMANDS: &[Command] = &[
    command("set", -3, "write denyoom", (1, 1, 1), STRING, set),
    command("setnx", 3, "write denyoom fast", (1, 1, 1), FAST, setnx),
    command("setex", 4, "write denyoom", (1, 1, 1), STRING, setex),
    command("psetex", 4, "write denyoom", (1, 1, 1), STRING, psetex),
    command("getset", 3, "write denyoom fast", (1, 1, 1), FAST, getset),
    command("getex", -2, "write fast", (1, 1, 1), FAST, getex),
    command("mset", -3, "write denyoom", (1, -1, 2), STRING, mset),
    command("msetnx", -3, "write denyoom", (1, -1, 2), STRING, msetnx),
];

/// What the number of a time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    milliseconds: i64,
    is_absolute: bool,
}

const EX: Unit = Unit { milliseconds: 1000, is_absolute: false };
const PX: Unit = Unit { milliseconds: 1, is_absolute: false };
const EXAT: Unit = Unit { milliseconds: 1000, is_absolute: true };
const PXAT: Unit = Unit { milliseconds: 1, is_absolute: true };

/// A time as a client gives it.
#[derive(Clone, Copy, Debug)]
struct When<'r> {
    unit: Unit,
    text: &'r [u8],
}

impl When<'_> {
    /// In milliseconds since 1970.
    fn at(self, command: &str, now: u64) -> Result<u64, Fault> {
        let Unit { milliseconds, is_absolute } = self.unit;
        let number = integer(self.text)?;
        let span = number.checked_mul(milliseconds).filter(|span| *span > 0);
        let at = match (span, is_absolute) {
            (Some(span), false) => span.checked_add_unsigned(now),
            (span, _) => span,
        };
        at.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| invalid_expire(command))
    }
}

/// The options of `SET` and `GETEX`.
#[derive(Clone, Copy, Debug, Default)]
struct Options<'r> {
    /// Only if there is no such key.
    is_nx: bool,
    /// Only if there is such a key.
    is_xx: bool,
    /// The old value is the answer.
    is_get: bool,
    /// The time of the key stays.
    keeps: bool,
    /// The key does not expire any more.
    persists: bool,
    when: Option<When<'r>>,
}

impl<'r> Options<'r> {
    /// Those from this part on. `GETEX` has no others than a time and `PERSIST`.
    fn parse(request: &'r Request, from: usize, is_set: bool) -> Result<Self, Fault> {
        let mut options = Options::default();
        let mut at = from;
        while at < request.len() {
            let option = request.part(at);
            let is_timeless = options.when.is_none();
            if is_set && is(option, "NX") && !options.is_xx {
                options.is_nx = true;
            } else if is_set && is(option, "XX") && !options.is_nx {
                options.is_xx = true;
            } else if is_set && is(option, "GET") {
                options.is_get = true;
            } else if is_set && is(option, "KEEPTTL") && is_timeless {
                options.keeps = true;
            } else if !is_set && is(option, "PERSIST") && is_timeless {
                options.persists = true;
            } else {
                let unit = options.unit(option).filter(|_| at + 1 < request.len());
                at += 1;
                let when = |unit| When { unit, text: request.part(at) };
                options.when = Some(unit.map(when).ok_or(syntax())?);
            }
            at += 1;
        }
        Ok(options)
    }

    /// The unit with this name, unless another option contradicts it. The same one may come twice.
    fn unit(&self, name: &[u8]) -> Option<Unit> {
        let named = [("EX", EX), ("PX", PX), ("EXAT", EXAT), ("PXAT", PXAT)];
        let (_, unit) = named.into_iter().find(|(known, _)| is(name, known))?;
        let is_alone = self.when.is_none_or(|when| when.unit == unit);
        (is_alone && !self.keeps && !self.persists).then_some(unit)
    }
}

fn set(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let (key, bytes) = (request.part(1), request.part(2));
    if request.len() == 3 {
        db.set(key, Value::new(bytes))?;
        return Ok(Reply::OK);
    }
    let options = Options::parse(request, 3, true)?;
    let now = db.now();
    let mut expires = options.when.map(|when| when.at("set", now)).transpose()?;
    let before = db.get(key)?;
    let is_refused = if before.is_some() { options.is_nx } else { options.is_xx };
    if !is_refused {
        if options.keeps {
            expires = before.as_ref().and_then(Value::expires);
        }
        db.replace(key, before.as_ref(), Value::expiring(bytes, expires))?;
    }
    Ok(match (options.is_get, is_refused) {
        (true, _) => Reply::bulk_or_null(before.map(|before| before.bytes())),
        (false, true) => Reply::Null,
        (false, false) => Reply::OK,
    })
}

fn setnx(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let key = request.part(1);
    let is_new = db.get(key)?.is_none();
    if is_new {
        db.replace(key, None, Value::new(request.part(2)))?;
    }
    Ok(Reply::flag(is_new))
}

fn setex(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    set_with_time(db, request, "setex", EX)
}

fn psetex(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    set_with_time(db, request, "psetex", PX)
}

fn set_with_time(
    db: &mut Database<'_, '_>,
    request: &Request,
    command: &str,
    unit: Unit,
) -> Result<Reply, Fault> {
    let at = When { unit, text: request.part(2) }.at(command, db.now())?;
    db.set(request.part(1), Value::expiring(request.part(3), Some(at)))?;
    Ok(Reply::OK)
}

fn getset(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let before = db.set(request.part(1), Value::new(request.part(2)))?;
    Ok(Reply::bulk_or_null(before.map(|before| before.bytes())))
}

fn getex(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let (key, now) = (request.part(1), db.now());
    let options = Options::parse(request, 2, false)?;
    let Some(value) = db.get(key)? else {
        return Ok(Reply::Null);
    };
    let answer = value.bytes();
    if let Some(when) = options.when {
        let at = when.at("getex", now)?;
        if when.unit.is_absolute && at <= now {
            db.remove(key)?;
        } else {
            db.replace(key, Some(&value), value.expiring_at(Some(at)))?;
        }
    } else if options.persists && value.expires().is_some() {
        db.replace(key, Some(&value), value.expiring_at(None))?;
    }
    Ok(Reply::Bulk(answer))
}

/// The keys and values of a request: its name is followed by pairs.
fn pairs(request: &Request) -> impl Iterator<Item = (&[u8], &[u8])> {
    (1..request.len()).step_by(2).map(|at| (request.part(at), request.part(at + 1)))
}

fn mset(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    if request.len().is_multiple_of(2) {
        return Err(wrong_number("mset"));
    }
    for (key, bytes) in pairs(request) {
        db.set(key, Value::new(bytes))?;
    }
    Ok(Reply::OK)
}

fn msetnx(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    if request.len().is_multiple_of(2) {
        return Err(wrong_number("msetnx"));
    }
    for (key, _) in pairs(request) {
        if db.get(key)?.is_some() {
            return Ok(Reply::flag(false));
        }
    }
    for (key, bytes) in pairs(request) {
        db.set(key, Value::new(bytes))?;
    }
    Ok(Reply::flag(true))
}
