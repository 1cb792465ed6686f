//! The thread that writes a snapshot file: it waits for the disk, so that no actor has to.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use actix_wal::Lsn;
use actix_wal::storage::Storage;

use crate::error::SnapshotFailure;
use crate::snapshot_file::{
    Section, SnapshotWriter, WrittenFile, remove_all_but, remove_unfinished,
};

/// One piece is on its way while the thread writes another; the end needs a place too.
const ON_THE_WAY: usize = 2;

/// What the thread is given.
#[derive(Debug)]
pub(crate) enum Piece {
    /// What comes next in the file.
    Section {
        /// It.
        section: Section,
        /// How long to rest before the next one is asked for.
        rest: Duration,
    },
    /// That was all. Once it is durable, all other snapshots but these are removed.
    End {
        /// Those that stay.
        keep: Vec<Lsn>,
    },
}

/// Sent by the thread to the coordinator.
#[derive(Debug)]
pub(crate) enum FileNews {
    /// It has taken a piece, and has room for the next.
    Took,
    /// It has ended: there is a new snapshot, durable, or nothing of it.
    Ended(Result<WrittenFile, SnapshotFailure>),
}

impl Message for FileNews {
    type Result = ();
}

/// What is written.
#[derive(Clone, Debug)]
pub(crate) struct FileOrder {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) log: [u8; 16],
    pub(crate) lsn: Lsn,
}

/// Starts the thread. If the sender is dropped before the end, it removes what it has written. It always ends with
/// [`FileNews::Ended`].
///
/// # Errors
/// The operating system gives no thread.
pub(crate) fn start(order: FileOrder, news: Recipient<FileNews>) -> io::Result<SyncSender<Piece>> {
    let (to, pieces) = sync_channel(ON_THE_WAY);
    let body = move || {
        let ended = run(&order, &pieces, &news);
        // Before the coordinator is told: the next one may begin at once, in the same folder.
        drop((order, pieces));
        news.do_send(FileNews::Ended(ended));
    };
    thread::Builder::new().name("wal-snapshot".into()).spawn(body)?;
    Ok(to)
}

fn run(
    order: &FileOrder,
    pieces: &Receiver<Piece>,
    news: &Recipient<FileNews>,
) -> Result<WrittenFile, SnapshotFailure> {
    let written = catch_unwind(AssertUnwindSafe(|| write(order, pieces, news)));
    written.unwrap_or_else(|panic| {
        // What it has written is in nobody's hands. That may panic as well.
        let _ = catch_unwind(AssertUnwindSafe(|| remove_unfinished(&*order.storage)));
        Err(SnapshotFailure::Panicked { message: text_of(&*panic) })
    })
}

fn write(
    order: &FileOrder,
    pieces: &Receiver<Piece>,
    news: &Recipient<FileNews>,
) -> Result<WrittenFile, SnapshotFailure> {
    // Left by an attempt that could not clean up. If that fails, creating the file tells why.
    let _ = remove_unfinished(&*order.storage);
    let mut writer = SnapshotWriter::begin(Arc::clone(&order.storage), order.log, order.lsn)?;
    match fill(&mut writer, pieces, news) {
        Ok((written, keep)) => {
            // What can not be removed now is removed after the next one.
            let _ = remove_all_but(&*order.storage, &keep);
            Ok(written)
        }
        Err(failed) => {
            writer.discard();
            Err(failed)
        }
    }
}

fn fill(
    writer: &mut SnapshotWriter,
    pieces: &Receiver<Piece>,
    news: &Recipient<FileNews>,
) -> Result<(WrittenFile, Vec<Lsn>), SnapshotFailure> {
    while let Ok(piece) = pieces.recv() {
        let (section, rest) = match piece {
            Piece::Section { section, rest } => (section, rest),
            Piece::End { keep } => return Ok((writer.finish()?, keep)),
        };
        let began = Instant::now();
        if rest.is_zero() {
            // The next piece is put together while this one is written.
            news.do_send(FileNews::Took);
        }
        match section {
            Section::Rows(rows) => writer.add(&rows)?,
            Section::Tokens { tokens, complete } => writer.add_tokens(&tokens, complete)?,
            Section::Branches(branches) => writer.add_branches(&branches)?,
        }
        if !rest.is_zero() {
            // A timer of the actor would starve while its mailbox is busy.
            thread::sleep(rest.saturating_sub(began.elapsed()));
            news.do_send(FileNews::Took);
        }
    }
    Err(SnapshotFailure::Stopped)
}

pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}
