//! Commands about the times at which keys expire.

use super::arguments::{error, integer, invalid_expire, is, word};
use super::{Command, command};
use crate::keyspace::{Database, Fault, Value};
use crate::resp::{Reply, Request};

const WRITE: &str = "@keyspace @write @fast";
const READ: &str = "@keyspace @read @fast";

pub(super) const COMMANDS: &[Command] = &[
    command("expire", -3, "write fast", (1, 1, 1), WRITE, |db, request| {
        let now = db.now();
        expire(db, request, "expire", 1000, now)
    }),
    command("pexpire", -3, "write fast", (1, 1, 1), WRITE, |db, request| {
        let now = db.now();
        expire(db, request, "pexpire", 1, now)
    }),
    command("expireat", -3, "write fast", (1, 1, 1), WRITE, |db, request| {
        expire(db, request, "expireat", 1000, 0)
    }),
    command("pexpireat", -3, "write fast", (1, 1, 1), WRITE, |db, request| {
        expire(db, request, "pexpireat", 1, 0)
    }),
    command("ttl", 2, "readonly fast", (1, 1, 1), READ, |db, request| {
        time(db, request, |at, now| seconds(at.saturating_sub(now)))
    }),
    command("pttl", 2, "readonly fast", (1, 1, 1), READ, |db, request| {
        time(db, request, u64::saturating_sub)
    }),
    command("expiretime", 2, "readonly fast", (1, 1, 1), READ, |db, request| {
        time(db, request, |at, _| seconds(at))
    }),
    command("pexpiretime", 2, "readonly fast", (1, 1, 1), READ, |db, request| {
        time(db, request, |at, _| at)
    }),
    command("persist", 2, "write fast", (1, 1, 1), WRITE, persist),
];

/// When a key may get another time.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// If it has none.
    is_nx: bool,
    /// If it has one.
    is_xx: bool,
    /// If the new one is later; never counts as the latest.
    is_gt: bool,
    /// If the new one is earlier.
    is_lt: bool,
}

impl Conditions {
    fn parse(request: &Request) -> Result<Self, Fault> {
        let mut conditions = Conditions::default();
        for option in request.parts_from(3) {
            let Conditions { is_nx, is_xx, is_gt, is_lt } = &mut conditions;
            let named = [("NX", is_nx), ("XX", is_xx), ("GT", is_gt), ("LT", is_lt)];
            match named.into_iter().find(|(name, _)| is(option, name)) {
                Some((_, is_set)) => *is_set = true,
                None => return Err(unsupported(option)),
            }
        }
        let Conditions { is_nx, is_xx, is_gt, is_lt } = conditions;
        if is_nx && (is_xx || is_gt || is_lt) {
            const TEXT: &str =
                "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(error(TEXT));
        }
        if is_gt && is_lt {
            return Err(error("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn hold(self, before: Option<i64>, after: i64) -> bool {
        match before {
            Some(before) => {
                let (is_later, is_earlier) = (after > before, after < before);
                !self.is_nx && (!self.is_gt || is_later) && (!self.is_lt || is_earlier)
            }
            None => !self.is_xx && !self.is_gt,
        }
    }
}

fn unsupported(option: &[u8]) -> Fault {
    let text = [b"ERR Unsupported option ", word(option)].concat();
    Fault::Error(Reply::RawError(text.into()))
}

/// Times are those that a client has given, and so at most 2^63.
fn signed(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn expire(
    db: &mut Database<'_, '_>,
    request: &Request,
    command: &str,
    milliseconds: i64,
    from: u64,
) -> Result<Reply, Fault> {
    let key = request.part(1);
    let conditions = Conditions::parse(request)?;
    let span = integer(request.part(2))?.checked_mul(milliseconds);
    let at = span.and_then(|span| span.checked_add_unsigned(from));
    let at = at.ok_or_else(|| invalid_expire(command))?;
    let Some(value) = db.get(key)? else {
        return Ok(Reply::flag(false));
    };
    if !conditions.hold(value.expires().map(signed), at) {
        return Ok(Reply::flag(false));
    }
    match u64::try_from(at) {
        Ok(at) if at > db.now() => db.replace(key, Some(&value), value.expiring_at(Some(at)))?,
        // It is over already.
        _ => drop(db.remove(key)?),
    }
    Ok(Reply::flag(true))
}

/// As Redis rounds.
fn seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

/// Something about the time at which the key expires.
fn time(
    db: &mut Database<'_, '_>,
    request: &Request,
    of: impl FnOnce(u64, u64) -> u64,
) -> Result<Reply, Fault> {
    const NO_KEY: i64 = -2;
    const NO_TIME: i64 = -1;
    let now = db.now();
    let expires = db.peek(request.part(1))?.map(|value| value.expires());
    Ok(Reply::Integer(match expires {
        None => NO_KEY,
        Some(None) => NO_TIME,
        Some(Some(at)) => signed(of(at, now)),
    }))
}

fn persist(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let key = request.part(1);
    let value = db.get(key)?.filter(|value: &Value| value.expires().is_some());
    if let Some(value) = &value {
        db.replace(key, Some(value), value.expiring_at(None))?;
    }
    Ok(Reply::flag(value.is_some()))
}
