//! What is done beside the commands of clients, in pieces, each of which is a transaction: keys are deleted whose time is over,
//! and keyspaces are emptied that no database shows any more.

use std::ops::Bound;

use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::store::{Budget, KeyRange, Write};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::database::{Fault, PREFIX, due, foreign, read_directory};
use super::directory::{DIRECTORY, DUE};
use super::host::Host;
use super::value::Value;

/// A piece looks at so many keys at most. Those that were deleted shortly before are among them: they stay in the store until
/// no snapshot shows them.
const LOOKS: usize = 1 << 15;
/// A piece deletes so many keys at most, whatever its caller wants.
const MOST: usize = 1 << 13;

/// Deletes keys whose time is over, oldest first, and at most this many. Whether it should be called again at once.
///
/// # Errors
/// What is stored is none of ours, or the transaction does too much.
pub fn expire_due(
    latest: &mut Latest<'_>,
    host: &Host,
    now: u64,
    at_most: usize,
) -> Result<bool, TxnError> {
    let mut end = BytesMut::with_capacity(PREFIX + 8);
    end.put_u32(DUE);
    end.put_u64(now);
    let range = KeyRange {
        from: Bound::Included(Bytes::copy_from_slice(&DUE.to_be_bytes())),
        to: Bound::Excluded(end.freeze()),
    };
    let piece = each(latest, range, at_most, |latest, entry, _| {
        let mut path = entry.slice(PREFIX..);
        let at = path.try_get_u64().map_err(|_| foreign(&entry))?;
        // The key may have got another time since, or is gone.
        if let Some(stored) = latest.get(&path)?
            && Value::from_stored(stored).ok_or_else(|| foreign(&path))?.expires() == Some(at)
        {
            host.count_expired(1);
            latest.write(Write { key: path, value: None })?;
        }
        Ok(latest.write(Write { key: entry, value: None })?)
    });
    piece.map(|piece| piece.is_more()).map_err(into_txn)
}

/// Deletes keys, at most this many, of keyspaces that no database shows any more. One that is empty then needs no more. Whether
/// it should be called again at once.
///
/// # Errors
/// As for [`expire_due`].
pub fn empty_flushed(latest: &mut Latest<'_>, at_most: usize) -> Result<bool, TxnError> {
    empty(latest, at_most).map_err(into_txn)
}

fn empty(latest: &mut Latest<'_>, at_most: usize) -> Result<bool, Fault> {
    let mut directory = read_directory(latest)?;
    let Some(id) = directory.flushed() else {
        return Ok(false);
    };
    let range = KeyRange::prefix(Bytes::copy_from_slice(&id.0.to_be_bytes()));
    let piece = each(latest, range, at_most, |latest, path, stored| {
        let value = Value::from_stored(stored).ok_or_else(|| foreign(&path))?;
        if let Some(at) = value.expires() {
            latest.write(Write { key: due(at, &path), value: None })?;
        }
        Ok(latest.write(Write { key: path, value: None })?)
    })?;
    if !piece.is_last {
        return Ok(piece.is_more());
    }
    directory.emptied(id);
    let stored = Some(directory.stored());
    latest.write(Write { key: Bytes::from_static(DIRECTORY), value: stored })?;
    Ok(directory.flushed().is_some())
}

struct Piece {
    rows: usize,
    /// Nothing is behind it.
    is_last: bool,
}

impl Piece {
    /// One that found nothing but deleted keys would find them again at once.
    fn is_more(&self) -> bool {
        !self.is_last && self.rows > 0
    }
}

/// Does something with each of the first keys of a range.
fn each(
    latest: &mut Latest<'_>,
    mut range: KeyRange,
    at_most: usize,
    mut with: impl FnMut(&mut Latest<'_>, Bytes, Bytes) -> Result<(), Fault>,
) -> Result<Piece, Fault> {
    let at_most = at_most.clamp(1, MOST);
    let (mut rows, mut looks) = (0, 0);
    loop {
        let keys = (at_most - rows).max(256);
        let found = latest.scan(&range, Budget { keys, bytes: usize::MAX })?;
        looks += keys;
        for (key, value) in found.rows {
            if rows == at_most {
                return Ok(Piece { rows, is_last: false });
            }
            rows += 1;
            with(latest, key, value)?;
        }
        let Some(next) = found.next else {
            return Ok(Piece { rows, is_last: true });
        };
        if rows == at_most || looks >= LOOKS {
            return Ok(Piece { rows, is_last: false });
        }
        range = range.behind(next);
    }
}

fn into_txn(fault: Fault) -> TxnError {
    match fault {
        Fault::Txn(error) => error,
        Fault::Error(reply) => TxnError::aborted(format!("{reply:?}")),
    }
}
