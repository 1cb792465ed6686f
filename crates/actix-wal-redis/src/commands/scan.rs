//! Commands that look for keys.

use std::ops::Bound;

use bytes::Bytes;

use super::arguments::{error, integer, is, syntax, word};
use super::{Command, command, glob};
use crate::keyspace::{Database, Fault};
use crate::resp::{Reply, Request};

const CATEGORIES: &str = "@keyspace @read @slow";

pub(super) const COMMANDS: &[Command] = &[
    command("keys", 2, "readonly", (0, 0, 0), "@keyspace @read @slow @dangerous", keys),
    command("scan", -2, "readonly", (0, 0, 0), CATEGORIES, scan),
    command("randomkey", 1, "readonly", (0, 0, 0), CATEGORIES, randomkey),
];

/// `KEYS` looks at so many keys at once.
const PIECE: usize = 1024;
/// `SCAN` looks at so many at most, whatever its `COUNT` is: other clients wait meanwhile.
const COUNT: usize = 10_000;

fn keys(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let pattern = request.part(1);
    let (is_all, prefix) = (pattern == b"*", glob::prefix(pattern));
    let (mut keys, mut behind) = (Vec::new(), None::<Bytes>);
    loop {
        let from = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = db.scan_prefix(prefix, from, PIECE)?;
        let rows = found.rows.into_iter().map(|(key, _)| key);
        let matching = rows.filter(|key| is_all || glob::matches(pattern, key));
        keys.extend(matching.map(Reply::Bulk));
        behind = found.next;
        if behind.is_none() {
            return Ok(Reply::Array(keys));
        }
    }
}

/// A cursor as C's `strtoul` reads it.
fn cursor(part: &[u8]) -> Option<u64> {
    let (is_negative, digits) = match word(part) {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

/// What a scan looks for.
struct Wanted<'r> {
    pattern: Option<&'r [u8]>,
    count: usize,
    /// All values are strings.
    is_type: bool,
}

impl<'r> Wanted<'r> {
    fn parse(request: &'r Request) -> Result<Self, Fault> {
        let mut wanted = Wanted { pattern: None, count: 10, is_type: true };
        for at in (2..request.len()).step_by(2) {
            let (option, argument) = (request.part(at), request.part(at + 1));
            if at + 1 == request.len() {
                return Err(syntax());
            } else if is(option, "COUNT") {
                let count = integer(argument)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                wanted.count = count.ok_or(syntax())?;
            } else if is(option, "MATCH") {
                wanted.pattern = Some(argument).filter(|pattern| *pattern != b"*");
            } else if is(option, "TYPE") {
                wanted.is_type = is(argument, "string");
            } else {
                return Err(syntax());
            }
        }
        Ok(wanted)
    }

    fn has(&self, key: &[u8]) -> bool {
        self.is_type && self.pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }
}

fn scan(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let cursor = cursor(request.part(1)).ok_or(error("ERR invalid cursor"))?;
    let wanted = Wanted::parse(request)?;
    // One that is not known begins again: that gives keys twice, and misses none.
    let behind = db.host().cursors().place(cursor);
    let found = db.scan(behind.as_deref(), wanted.count.min(COUNT))?;
    let next = found.next.map_or(0, |next| db.host().cursors().add(next));
    let keys = found.rows.into_iter().map(|(key, _)| key).filter(|key| wanted.has(key));
    let keys = keys.map(Reply::Bulk).collect();
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(keys)]))
}

/// `RANDOMKEY` looks for so many keys at most, then it takes one of the next [`NEXT`].
const LOOKS: usize = 4096;
const NEXT: usize = 128;

/// A key by chance. Where keys differ, each of the bytes that come next is as likely as the others: so keys of one length
/// with digits at their end come equally often, and others do not, but each of them can come.
fn randomkey(db: &mut Database<'_, '_>, _: &Request) -> Result<Reply, Fault> {
    let (mut prefix, mut looks) = (Vec::new(), 0);
    loop {
        let mut chosen = None;
        let mut from = Bound::Included(Bytes::copy_from_slice(&prefix));
        let mut ways = 0;
        while let Some(key) = first(db, &prefix, from.as_ref().map(|from| &from[..]))? {
            (ways, looks) = (ways + 1, looks + 1);
            if db.host().random_below(ways) == 0 {
                chosen = Some(key.clone());
            }
            match behind_all_like(&key, prefix.len()) {
                Some(next) if looks < LOOKS => from = Bound::Included(next),
                _ => break,
            }
        }
        let Some(key) = chosen else {
            return Ok(Reply::Null);
        };
        if looks >= LOOKS {
            let found = db.scan_prefix(&prefix, Bound::Included(&key), NEXT)?;
            let at = db.host().random_below(found.rows.len());
            let key = found.rows.into_iter().nth(at).map_or(key, |(key, _)| key);
            return Ok(Reply::Bulk(key));
        }
        match key.get(prefix.len()) {
            Some(next) => prefix.push(*next),
            None => return Ok(Reply::Bulk(key)),
        }
    }
}

/// The first key from there on that begins so.
fn first(
    db: &mut Database<'_, '_>,
    prefix: &[u8],
    from: Bound<&[u8]>,
) -> Result<Option<Bytes>, Fault> {
    let mut found = db.scan_prefix(prefix, from, 1)?;
    while found.rows.is_empty()
        && let Some(next) = found.next
    {
        found = db.scan_prefix(prefix, Bound::Excluded(&next), NEXT)?;
    }
    Ok(found.rows.into_iter().next().map(|(key, _)| key))
}

/// Where the keys begin that differ from this one at this place or before; `None` if none can.
fn behind_all_like(key: &[u8], at: usize) -> Option<Bytes> {
    match key.get(at) {
        // The key itself ends there. Longer ones are other ones.
        None => Some([key, b"\0"].concat().into()),
        Some(&u8::MAX) => None,
        Some(byte) => Some([&key[..at], &[byte + 1]].concat().into()),
    }
}
