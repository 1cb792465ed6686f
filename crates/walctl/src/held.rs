//! What keeps the segments of a log, and how each of it is freed.

use actix_wal::inspect::Overview;
use actix_wal::storage::ReadOnly;
use actix_wal_txn::snapshot_file::list;
use serde::Serialize;

use crate::branches::branches;
use crate::output::Failure;
use crate::place::Place;
use crate::words;

/// Something that keeps segments.
#[derive(Serialize)]
pub(crate) struct Holder {
    what: String,
    /// The first LSN that it keeps, where that can be told.
    from_lsn: Option<u64>,
    frees: String,
}

impl Holder {
    /// As a line for people.
    pub(crate) fn line(&self) -> String {
        let Holder { what, from_lsn, frees } = self;
        let from = from_lsn.map_or_else(String::new, |lsn| format!(" from LSN {lsn} on"));
        format!("kept{from}: {what}; freed by {frees}")
    }
}

/// What the headers tell, and the names of snapshots. Readers and holds are in the memory of the owner.
pub(crate) fn by_headers(place: &Place, overview: &Overview) -> Result<Vec<Holder>, Failure> {
    let mut held = Vec::new();
    if overview.last_lsn > overview.low_water {
        let (what, frees) = match newest_snapshot(place)? {
            Some(lsn) => (
                format!("the newest snapshot is of LSN {lsn}, and no checkpoint has released more"),
                "the next snapshot of the owner",
            ),
            None => (
                "no checkpoint has released its records".to_owned(),
                "a checkpoint of the host (Wal::checkpoint); with actix-wal-txn, a snapshot",
            ),
        };
        let from_lsn = Some(overview.low_water.next().get());
        held.push(Holder { what, from_lsn, frees: frees.to_owned() });
    }
    if place.files.owner().is_some() {
        held.push(Holder {
            what: "readers and holds of the owner, if it has any".to_owned(),
            from_lsn: None,
            frees: "ending them (wal_hold_age_seconds tells the age of the oldest)".to_owned(),
        });
    }
    Ok(held)
}

fn newest_snapshot(place: &Place) -> Result<Option<u64>, Failure> {
    let Some(folder) = &place.snapshots else { return Ok(None) };
    let at = |error| Failure::refused(format_args!("{}: {error}", folder.display()));
    let found = list(&ReadOnly::open(folder).map_err(at)?).map_err(at)?;
    Ok(found.into_iter().max().map(|lsn| lsn.get()))
}

/// Transactions that are prepared and not decided: for these the records are read.
///
/// # Errors
/// A record can not be read, or is none of a transaction.
pub(crate) fn by_transactions(place: &Place) -> Result<Vec<Holder>, Failure> {
    let branches = branches(place)?;
    let held = branches.in_doubt().map(|prepared| {
        let id = prepared.branch.id;
        let age = words::age(prepared.at.saturating_mul(1000));
        Holder {
            what: format!("transaction {id}, prepared {age} and in doubt"),
            from_lsn: None,
            frees: format!(
                "its coordinator {}; if that is gone for good: walctl txn {} --resolve {id} --outcome commit|abort",
                prepared.branch.coordinator,
                place.log.display()
            ),
        }
    });
    Ok(held.collect())
}
