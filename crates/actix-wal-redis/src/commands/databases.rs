//! Commands about whole databases.

use super::arguments::{is, small_integer, syntax};
use super::keys::database;
use super::{Command, command};
use crate::keyspace::{DATABASES, Database, Fault};
use crate::resp::{Reply, Request};

const DANGEROUS: &str = "@keyspace @write @slow @dangerous";

pub(super) const COMMANDS: &[Command] = &[
    command("dbsize", 1, "readonly fast", (0, 0, 0), "@keyspace @read @fast", |db, _| {
        Ok(Reply::Integer(i64::try_from(db.count()?).unwrap_or(i64::MAX)))
    }),
    command("flushdb", -1, "write", (0, 0, 0), DANGEROUS, |db, request| {
        let index = db.index();
        flush(db, request, index..=index)
    }),
    command("flushall", -1, "write", (0, 0, 0), DANGEROUS, |db, request| {
        flush(db, request, 0..=DATABASES - 1)
    }),
    command("swapdb", 3, "write fast", (0, 0, 0), "@keyspace @write @fast @dangerous", swapdb),
];

/// `ASYNC` and `SYNC` make no difference: the keys are gone at once, and their memory is freed later.
fn flush(
    db: &mut Database<'_, '_>,
    request: &Request,
    databases: std::ops::RangeInclusive<usize>,
) -> Result<Reply, Fault> {
    let option = request.part(1);
    let is_known = is(option, "SYNC") || is(option, "ASYNC");
    if request.len() > 2 || (request.len() == 2 && !is_known) {
        return Err(syntax());
    }
    let mut directory = db.directory()?;
    let before = directory.clone();
    for database in databases {
        if db.other(database)?.count()? > 0 {
            directory.flush(database);
        }
    }
    if directory != before {
        db.set_directory(&directory)?;
    }
    Ok(Reply::OK)
}

fn swapdb(db: &mut Database<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let one = small_integer(request.part(1), Some("ERR invalid first DB index"))?;
    let other = small_integer(request.part(2), Some("ERR invalid second DB index"))?;
    let (one, other) = (database(one)?, database(other)?);
    if one != other {
        let mut directory = db.directory()?;
        directory.swap(one, other);
        db.set_directory(&directory)?;
    }
    Ok(Reply::OK)
}
