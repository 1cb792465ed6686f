//! Guards P24, P25 and P19 in two-phase commit with real logs on real files: before each message one of the actors is
//! restarted, by a close of its log or by the mere drop of its handle, and the message comes late, to the next life. In
//! another mode all logs are released as far as they may be, just before. And each message is delivered once when all is over.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod two_phase_sites;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use actix_wal::{Lsn, Wal, WalConfig};
use actix_wal_txn::snapshotting::SnapshotPlan;
use two_phase_sites::transfers::{Told, Transfer};
use two_phase_sites::transport::{Holds, Said, Transport};
use two_phase_sites::{COORDINATOR, PARTICIPANTS, SIDES, Sites};

/// What happens before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Restart,
    /// Snapshots at all participants, a checkpoint at the coordinator, and then a restart.
    Release,
}

/// What was seen over all runs.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    runs: usize,
    /// Participants that were in doubt when they came back.
    in_doubt: usize,
    /// And a snapshot said so, not the log.
    in_snapshot: usize,
    /// Coordinators that had a decision when they came back.
    decided: usize,
    committed: usize,
    aborted: usize,
    unknown: usize,
}

impl Seen {
    fn add(&mut self, more: &Seen) {
        self.runs += more.runs;
        self.in_doubt += more.in_doubt;
        self.in_snapshot += more.in_snapshot;
        self.decided += more.decided;
        self.committed += more.committed;
        self.aborted += more.aborted;
        self.unknown += more.unknown;
    }
}

async fn sites(folder: PathBuf) -> Sites {
    let opening = move |side: usize| {
        let mut config = WalConfig::new(folder.join(format!("log {side}")));
        config.segment_size = 64 * 1024;
        let mut plan = SnapshotPlan::in_folder(folder.join(format!("snapshots {side}")));
        plan.after_log_bytes = None;
        (Wal::open(config), plan)
    };
    Sites::start(Box::new(opening)).await
}

fn transfers() -> Vec<Transfer> {
    vec![
        Transfer::alone(0, 2),
        Transfer::between(1, 0, 1).reading(2),
        Transfer::between(2, 2, 0).refused_at(1),
    ]
}

type AllTold = Arc<Mutex<BTreeMap<u64, Told>>>;

async fn client(over: Transport, told: AllTold) {
    for transfer in transfers() {
        let outcome = transfer.run(&over).await;
        told.lock().unwrap().insert(transfer.n, outcome);
    }
}

/// Returns up to where that is, at each participant.
async fn release(sites: &Sites) -> Vec<Lsn> {
    let before = (0..PARTICIPANTS).map(|side| sites.wal(side).status().durable).collect();
    sites.release().await;
    before
}

/// What was there when this side came back.
fn count(sites: &Sites, side: usize, released: &[Lsn], seen: &mut Seen) {
    seen.runs += 1;
    if side == COORDINATOR {
        seen.decided += usize::from(sites.decisions > 0);
    } else if !sites.found[side].in_doubt.is_empty() {
        seen.in_doubt += 1;
        let is_in_snapshot = |at: &Lsn| sites.found[side].snapshot >= *at;
        seen.in_snapshot += usize::from(released.get(side).is_some_and(is_in_snapshot));
    }
}

/// The side is restarted before the message with this number. Returns what was seen, and whether there is one.
async fn run(side: usize, before: usize, how: How) -> (Seen, bool) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    let mut seen = Seen::default();
    let mut sites = sites(folder.to_owned()).await;
    let stopped = sites.transport.stop_before(before, Holds::All);
    let told = AllTold::default();
    let mut client = actix::spawn(client(sites.transport.clone(), Arc::clone(&told)));
    let what = format!("side {side} before message {before}, {how:?}");
    let (is_done, mut released) = (Cell::new(false), Vec::new());
    let quiet = async {
        (&mut client).await.unwrap();
        is_done.set(true);
        sites.settle(&what).await;
    };
    let is_reached = tokio::select! {
        biased;
        reached = stopped => reached.is_ok(),
        () = quiet => false,
    };
    if is_reached {
        if how == How::Release {
            released = release(&sites).await;
        }
        // One of two has no time to close its log.
        if (side + before).is_multiple_of(2) {
            sites.abandon(side)
        } else {
            sites.end(side).await
        }
        sites.begin(side).await;
        count(&sites, side, &released, &mut seen);
        sites.transport.go_on();
        if !is_done.get() {
            client.await.unwrap();
        }
    }
    let mut told = told.lock().unwrap().clone();
    for outcome in told.values() {
        match outcome {
            Told::Committed => seen.committed += 1,
            Told::Aborted => seen.aborted += 1,
            Told::Unknown => seen.unknown += 1,
        }
    }
    told.extend(sites.check(&transfers(), &told, &what).await);
    sites.end_all().await;
    let sites = self::sites(folder.to_owned()).await;
    sites.check(&transfers(), &told, &format!("{what}, and all again")).await;
    sites.end_all().await;
    (seen, is_reached)
}

/// How many runs go on at a time, for each side: most of the time they wait for messages and ticks.
const AT_A_TIME: usize = 6;

async fn all_messages(how: How) -> Seen {
    let mut seen = Seen::default();
    for first in (1..).step_by(AT_A_TIME) {
        let numbers = first..first + AT_A_TIME;
        let all = numbers.flat_map(|before| (0..SIDES).map(move |side| (side, before)));
        let runs: Vec<_> = all.map(|(side, before)| actix::spawn(run(side, before, how))).collect();
        let mut is_end = true;
        for run in runs {
            let (of_run, is_reached) = run.await.unwrap();
            seen.add(&of_run);
            is_end &= !is_reached;
        }
        if is_end {
            break;
        }
    }
    println!("{how:?}: {seen:?}");
    seen
}

#[actix::test]
async fn p24_p25_an_actor_that_is_restarted_before_any_message_leaves_one_outcome_of_each_transfer()
{
    let seen = all_messages(How::Restart).await;
    assert!(seen.runs >= 60 && seen.in_doubt >= 8 && seen.decided >= 4, "{seen:?}");
    assert!(seen.committed >= seen.runs && seen.unknown >= 4, "{seen:?}");
}

#[actix::test]
async fn p24_p19_a_restart_after_snapshots_and_a_checkpoint_before_any_message_loses_no_decision() {
    let seen = all_messages(How::Release).await;
    assert!(seen.runs >= 60 && seen.in_snapshot >= 8 && seen.decided >= 4, "{seen:?}");
    assert!(seen.committed >= seen.runs && seen.unknown >= 4, "{seen:?}");
}

/// The message with this number is delivered when all is over. Returns what it says.
async fn run_late(number: usize) -> Option<Said> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sites = sites(folder.path().to_owned()).await;
    let mut stopped = sites.transport.stop_before(number, Holds::One);
    let told = AllTold::default();
    client(sites.transport.clone(), Arc::clone(&told)).await;
    let (told, what) = (told.lock().unwrap().clone(), format!("message {number} is late"));
    sites.check(&transfers(), &told, &what).await;
    let is_late = stopped.try_recv().is_ok();
    sites.transport.go_on();
    for side in 0..PARTICIPANTS {
        let in_doubt = sites.doubts(side).await.in_doubt;
        assert!(in_doubt.is_empty(), "{what}: participant {side} takes it: {in_doubt:?}");
    }
    sites.check(&transfers(), &told, &what).await;
    let said = sites.transport.routes().said.get(number - 1).copied();
    sites.end_all().await;
    said.filter(|_| is_late)
}

#[actix::test]
async fn p24_a_message_that_all_others_have_overtaken_changes_nothing() {
    let mut late = Vec::new();
    for first in (1..).step_by(AT_A_TIME) {
        let before = late.len();
        let numbers = first..first + AT_A_TIME;
        let runs: Vec<_> = numbers.map(|number| actix::spawn(run_late(number))).collect();
        for run in runs {
            late.extend(run.await.unwrap());
        }
        if late.len() == before {
            break;
        }
    }
    println!("{late:?}");
    for said in [Said::Prepare, Said::Prepared, Said::Commit, Said::Abort] {
        assert!(late.contains(&said), "{said:?} was never late: {late:?}");
    }
}
