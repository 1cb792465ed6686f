//! How the coordinator has snapshots written: it puts pieces together, and another thread writes them.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, MessageResult, Recipient, WrapFuture};
use actix_wal::messages::Checkpoint;
use actix_wal::{Cause, CheckpointError, Lsn};

use super::TransactionCoordinator;
use crate::error::SnapshotFailure;
use crate::later::{Later, Reply};
use crate::messages::{GetSnapshots, SnapshotTaken, SnapshotsStatus, TakeSnapshot};
use crate::recovery::LoadedSnapshot;
use crate::snapshot_file::WrittenFile;
use crate::snapshotting::SnapshotFolder;
use crate::snapshotting::due::Due;
use crate::snapshotting::export::Export;
use crate::snapshotting::file_thread::{self, FileNews, FileOrder, Piece};

/// The snapshots of a coordinator.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: SnapshotFolder,
    due: Due,
    running: Option<Running>,
    checkpoint: Recipient<Checkpoint>,
    newest: Option<SnapshotTaken>,
    taken: u64,
    failed: u64,
    last_failure: Option<String>,
}

/// One that is being written.
#[derive(Debug)]
struct Running {
    /// `None` once all of it has been given away: its versions need not be kept any more.
    export: Option<Export>,
    lsn: Lsn,
    /// The thread wants another piece.
    wants_piece: bool,
    /// `None` once the thread is to end.
    to: Option<SyncSender<Piece>>,
    /// Why it was given up, where the thread does not know.
    given_up: Option<SnapshotFailure>,
    client: Option<Client>,
    began: Duration,
    /// How much the log had grown when it began.
    log_bytes: u64,
    /// The same at the last piece.
    log_bytes_at_piece: u64,
}

/// For so many times as long as a piece took there is no other one, while clients are at work: their share of the
/// coordinator's time stays above nine tenths.
const REST: u32 = 15;

type Taken = Result<SnapshotTaken, SnapshotFailure>;
type Client = Reply<Taken>;

impl Snapshots {
    pub(super) fn new(folder: SnapshotFolder, checkpoint: Recipient<Checkpoint>) -> Self {
        let newest = folder.newest.map(|LoadedSnapshot { lsn, rows, bytes }| SnapshotTaken {
            lsn,
            rows,
            bytes,
            took: Duration::ZERO,
            released: None,
        });
        let bytes = newest.map_or(0, |newest| newest.bytes);
        let due = Due::new(&folder.plan, bytes, folder.log_bytes);
        Snapshots {
            folder,
            due,
            running: None,
            checkpoint,
            newest,
            taken: 0,
            failed: 0,
            last_failure: None,
        }
    }

    fn note_failure(&mut self, now: Duration, failed: &SnapshotFailure) {
        self.failed += 1;
        self.last_failure = Some(failed.to_string());
        self.due.failed(now);
    }
}

impl TransactionCoordinator {
    /// Records of so many bytes go into the log.
    pub(crate) fn logged(&mut self, bytes: usize) {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.due.logged(bytes);
        }
    }

    /// Writes a snapshot if it is time for one.
    pub(super) fn look_at_snapshots(&mut self, context: &mut Context<Self>) {
        let (now, durable) = (self.now(), self.commits.store().durable_lsn());
        let is_due = self.snapshots.as_ref().is_some_and(|snapshots| {
            let newest = snapshots.folder.kept.newest();
            snapshots.running.is_none() && newest < Some(durable) && snapshots.due.is_due(now)
        });
        // What it refuses is noted there.
        if is_due && let Err((_, failed)) = self.begin_snapshot(None, context) {
            self.snapshots.iter_mut().for_each(|snapshots| snapshots.note_failure(now, &failed));
        }
    }

    /// Begins a snapshot of what is durable now.
    fn begin_snapshot(
        &mut self,
        client: Option<Client>,
        context: &mut Context<Self>,
    ) -> Result<(), (Option<Client>, SnapshotFailure)> {
        let now = self.now();
        let Some(snapshots) = &mut self.snapshots else {
            return Err((client, SnapshotFailure::NoFolder));
        };
        if let Some(Running { lsn, .. }) = snapshots.running {
            return Err((client, SnapshotFailure::Running { lsn }));
        }
        if let Err(contradiction) = self.commits.check() {
            return Err((client, contradiction.into()));
        }
        let lsn = self.commits.store().durable_lsn();
        if lsn.is_none() {
            return Err((client, SnapshotFailure::Nothing));
        }
        if let Some(newest) = snapshots.newest.filter(|newest| newest.lsn == lsn) {
            // To write it again would take away the one that is relied on.
            if let Some(client) = client {
                client.give(Ok(SnapshotTaken { took: Duration::ZERO, ..newest }));
            }
            return Ok(());
        }
        let SnapshotFolder { storage, log, plan, .. } = &snapshots.folder;
        let order = FileOrder { storage: Arc::clone(storage), log: *log, lsn };
        let to = match file_thread::start(order, context.address().recipient()) {
            Ok(to) => to,
            Err(error) => return Err((client, SnapshotFailure::NoThread(Arc::new(error)))),
        };
        let snapshot = self.commits.store_mut().snapshot_kept_for(now, plan.give_up_after);
        let export = Export::new(snapshot, self.part.participant.image());
        snapshots.running = Some(Running {
            lsn: export.lsn(),
            export: Some(export),
            to: Some(to),
            given_up: None,
            client,
            began: now,
            log_bytes: snapshots.due.log_bytes(),
            wants_piece: false,
            log_bytes_at_piece: snapshots.due.log_bytes(),
        });
        self.next_piece();
        Ok(())
    }

    fn running(&mut self) -> Option<&mut Running> {
        self.snapshots.as_mut()?.running.as_mut()
    }

    /// The thread wants another piece. It has it in the next turn, so that a fast disk does not keep all others waiting.
    fn piece_wanted(&mut self, context: &mut Context<Self>) {
        self.running().into_iter().for_each(|running| running.wants_piece = true);
        Self::in_next_turn(context, |this, _| {
            // Meanwhile this snapshot may have failed, and another one have begun.
            if this.running().is_some_and(|running| mem::take(&mut running.wants_piece)) {
                this.next_piece();
            }
        });
    }

    /// Gives the thread what it writes next.
    fn next_piece(&mut self) {
        let Some(Snapshots { running: Some(running), folder, due, .. }) = &mut self.snapshots
        else {
            return;
        };
        let (Some(export), Some(to)) = (&mut running.export, &running.to) else {
            return;
        };
        let grown = due.log_bytes();
        let has_grown = mem::replace(&mut running.log_bytes_at_piece, grown) != grown;
        // Commits that wait for the disk count too: the file shares it with them.
        let is_busy = has_grown || !self.commits.is_empty();
        let began = Instant::now();
        let piece = match export.next(self.commits.store(), &self.tokens) {
            Ok(Some(section)) => {
                let rest = if is_busy { REST * began.elapsed() } else { Duration::ZERO };
                Piece::Section { section, rest }
            }
            Ok(None) => Piece::End { keep: folder.kept.with(running.lsn).all() },
            Err(too_old) => {
                // The thread removes what it has written, and says so.
                (running.given_up, running.to) = (Some(SnapshotFailure::TooLong(too_old)), None);
                running.export = None;
                return;
            }
        };
        let is_end = matches!(piece, Piece::End { .. });
        // There is room, since it took the piece before. If it has ended, it says why.
        if to.try_send(piece).is_err() {
            running.to = None;
        }
        if is_end {
            running.export = None;
        }
    }

    /// The thread has ended.
    fn file_ended(
        &mut self,
        ended: Result<WrittenFile, SnapshotFailure>,
        context: &mut Context<Self>,
    ) {
        let now = self.now();
        let Some(snapshots) = &mut self.snapshots else {
            return;
        };
        let Some(running) = &mut snapshots.running else {
            return;
        };
        // The answer to the client waits for the checkpoint, and so does the next snapshot.
        let file = match (running.given_up.take(), ended) {
            (Some(failed), _) | (None, Err(failed)) => {
                snapshots.note_failure(now, &failed);
                return self.answer_snapshot(Err(failed));
            }
            (None, Ok(file)) => file,
        };
        snapshots.taken += 1;
        snapshots.folder.kept = snapshots.folder.kept.with(running.lsn);
        snapshots.due.written(now, file.bytes, running.log_bytes);
        let taken = SnapshotTaken {
            lsn: running.lsn,
            rows: file.rows,
            bytes: file.bytes,
            took: now.saturating_sub(running.began),
            released: None,
        };
        snapshots.newest = Some(taken);
        match snapshots.folder.kept.releases() {
            None => self.answer_snapshot(Ok(taken)),
            Some(through) => {
                let checkpoint = snapshots.checkpoint.send(Checkpoint(through)).into_actor(self);
                context.spawn(checkpoint.map(move |released, this, _| {
                    let gone = Cause::Stopped { actor: "Flusher" };
                    let released = released
                        .unwrap_or(Err(CheckpointError::Closed { cause: gone }))
                        .map(|released| SnapshotTaken { released: Some(released), ..taken });
                    let lsn = taken.lsn;
                    this.answer_snapshot(
                        released.map_err(|source| SnapshotFailure::NotReleased { lsn, source }),
                    );
                }));
            }
        }
    }

    fn answer_snapshot(&mut self, taken: Taken) {
        let running = self.snapshots.as_mut().and_then(|snapshots| snapshots.running.take());
        if let Some(client) = running.and_then(|running| running.client) {
            client.give(taken);
        }
    }
}

impl Handler<TakeSnapshot> for TransactionCoordinator {
    type Result = Later<Taken>;

    fn handle(&mut self, _: TakeSnapshot, context: &mut Self::Context) -> Self::Result {
        let (client, answer) = Later::new((|| Err(SnapshotFailure::Stopped)) as fn() -> Taken);
        match self.begin_snapshot(Some(client), context) {
            Err((_, refused)) => Later::now(Err(refused)),
            Ok(()) => answer,
        }
    }
}

impl Handler<FileNews> for TransactionCoordinator {
    type Result = ();

    fn handle(&mut self, news: FileNews, context: &mut Self::Context) {
        match news {
            FileNews::Took => self.piece_wanted(context),
            FileNews::Ended(ended) => self.file_ended(ended, context),
        }
    }
}

impl Handler<GetSnapshots> for TransactionCoordinator {
    type Result = MessageResult<GetSnapshots>;

    fn handle(&mut self, _: GetSnapshots, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.snapshots.as_ref().map(|snapshots| SnapshotsStatus {
            newest: snapshots.folder.kept.newest(),
            older: snapshots.folder.kept.releases(),
            running: snapshots.running.as_ref().map(|running| running.lsn),
            log_bytes: snapshots.due.log_bytes(),
            taken: snapshots.taken,
            failed: snapshots.failed,
            last_failure: snapshots.last_failure.clone(),
        }))
    }
}
