//! Guards P24, P25 and P19 in two-phase commit on the real log: a coordinator and three participants on four disks, whose power
//! is cut after each operation of any of them, while clients transfer money, snapshots are written and decisions are
//! checkpointed. From each state in which the four may be found, and again from each in which their recovery may be cut, all
//! of them come to one outcome of each transfer, which is the one that its client was told.
//!
//! That a process is killed in between is a state too: what it has written is there, and may still be lost with the power.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod power;
mod script;
#[path = "../two_phase_sites/mod.rs"]
mod two_phase_sites;

use std::sync::Arc;

use actix_wal::storage::Storage;
use actix_wal::testkit::{Persist, Random, SimDisk};
use actix_wal::{FlushPolicy, Wal, WalConfig};
use actix_wal_txn::snapshotting::SnapshotPlan;
use power::{Cut, Power};
use script::Script;
use two_phase_sites::transfers::Told;
use two_phase_sites::{PARTICIPANTS, SIDES, Sites};

fn config() -> WalConfig {
    let mut config = WalConfig::new("unused");
    (config.block_size, config.segment_size) = (512, 12 * 512);
    config.max_in_flight_entries = 32;
    config.flush_policy = FlushPolicy::Eager;
    config
}

/// All sides on these storages.
async fn sites(storages: Vec<Arc<dyn Storage>>) -> Sites {
    let opening = move |side: usize| {
        let storage: &Arc<dyn Storage> = &storages[side];
        let mut plan = SnapshotPlan::on_storage(Arc::clone(storage));
        plan.after_log_bytes = None;
        (Wal::open(config()).on_storage(Arc::clone(storage)), plan)
    };
    Sites::start(Box::new(opening)).await
}

/// What was seen over all images.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    images: usize,
    /// Images with a participant in doubt.
    in_doubt: usize,
    /// And a snapshot said so, not the log.
    in_snapshot: usize,
    /// And no decision was found, so that they are aborted.
    presumed: usize,
    /// Images with a decision that the coordinator has found.
    decided: usize,
    /// Transfers that have committed, and whose clients had no answer.
    untold: usize,
}

impl Seen {
    fn add(&mut self, more: &Seen) {
        self.images += more.images;
        self.in_doubt += more.in_doubt;
        self.in_snapshot += more.in_snapshot;
        self.presumed += more.presumed;
        self.decided += more.decided;
        self.untold += more.untold;
    }
}

/// All disks as they may be found after a cut.
type Image = (String, Vec<SimDisk>);

/// Each of them where they are few, and else some.
fn images(cut: &Cut, seed: u64) -> Vec<Image> {
    let counts: Vec<_> = cut.disks.iter().map(SimDisk::possible_images).collect();
    let all = counts.iter().fold(1, |all: u64, count| all.saturating_mul(*count));
    if all <= 4 {
        return (0..all).map(|number| chosen(cut, &counts, number)).collect();
    }
    let each = |how: &dyn Fn(u64) -> Persist| {
        let with_seed = cut.disks.iter().zip(seed * 10..);
        with_seed.map(|(disk, seed)| disk.crash(how(seed))).collect::<Vec<_>>()
    };
    vec![
        ("dropped".to_owned(), each(&|_| Persist::Dropped)),
        ("kept".to_owned(), each(&|_| Persist::Kept)),
        (format!("torn {seed}"), each(&|seed| Persist::Torn { seed })),
        (format!("mixed {seed}"), mixed(cut, seed)),
        ("killed".to_owned(), cut.disks.iter().map(SimDisk::fork).collect()),
    ]
}

fn chosen(cut: &Cut, counts: &[u64], number: u64) -> Image {
    let mut left = number;
    let disks = cut.disks.iter().zip(counts).map(|(disk, count)| {
        let number = left % count;
        left /= count;
        disk.crash(Persist::Chosen { number })
    });
    (format!("image {number}"), disks.collect())
}

/// Some machines lose their power, and of some only the process is killed.
fn mixed(cut: &Cut, seed: u64) -> Vec<SimDisk> {
    let mut random = Random::new(seed);
    let mut image = |disk: &SimDisk| match random.below(4) {
        0 => disk.crash(Persist::Dropped),
        1 => disk.crash(Persist::Kept),
        2 => disk.crash(Persist::Torn { seed: random.number() }),
        _ => disk.fork(),
    };
    cut.disks.iter().map(&mut image).collect()
}

/// Recovers all sides from an image, and waits until they agree. Returns the cuts of that, if they are wanted.
async fn look(image: ToLook, script: Arc<Script>) -> (Seen, Vec<Cut>) {
    let ToLook { cut, image: (what, disks), is_recorded } = image;
    let power = Power::new(disks, cut.told);
    let sites = sites(power.storages(is_recorded)).await;
    let mut seen = Seen { images: 1, ..Seen::default() };
    let (found, is_decided) = (&sites.found, sites.decisions > 0);
    let is_in_doubt = found.iter().any(|found| !found.in_doubt.is_empty());
    seen.decided += usize::from(is_decided);
    seen.in_doubt += usize::from(is_in_doubt);
    seen.presumed += usize::from(is_in_doubt && !is_decided);
    let is_in_snapshot = |side: usize| {
        let at = |id| script.prepared.get(&(side, id));
        let is_before = |id| at(id).is_some_and(|at| *at <= found[side].snapshot);
        found[side].in_doubt.iter().any(|id| is_before(*id))
    };
    seen.in_snapshot += usize::from((0..PARTICIPANTS).any(is_in_snapshot));
    // While it is settled, what may go from the logs goes.
    sites.checkpoint().await;
    if is_recorded {
        sites.release().await;
    }
    let told = power.told();
    let is = sites.check(&script.transfers, &told, &what).await;
    for (n, outcome) in &is {
        seen.untold += usize::from(*outcome == Told::Committed && !told.contains_key(n));
        // It is so from now on.
        power.tell(*n, *outcome);
    }
    sites.end_all().await;
    (seen, power.cuts())
}

/// An image, and whether the operations of its recovery are recorded.
struct ToLook {
    cut: Cut,
    image: Image,
    is_recorded: bool,
}

/// How many images are recovered at a time: most of the time they wait for messages and ticks.
const AT_A_TIME: usize = 48;

/// Looks at all of these. Returns the cuts of recoveries.
async fn look_at(script: &Arc<Script>, images: Vec<ToLook>, seen: &mut Seen) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut images = images.into_iter().peekable();
    while images.peek().is_some() {
        let some = images.by_ref().take(AT_A_TIME);
        let some: Vec<_> =
            some.map(|image| actix::spawn(look(image, Arc::clone(script)))).collect();
        for look in some {
            let (of_image, of_recovery) = look.await.unwrap();
            seen.add(&of_image);
            cuts.extend(of_recovery);
        }
    }
    cuts
}

/// All of them after these cuts; the recovery of one in so many is recorded.
fn first_images(cuts: &[Cut], recorded: usize) -> Vec<ToLook> {
    let mut first = Vec::new();
    for (at, cut) in cuts.iter().enumerate() {
        for (how, disks) in images(cut, at as u64) {
            let image = (format!("cut {at}, after {}, {how}", cut.after), disks);
            let is_recorded = first.len() % recorded == recorded / 2;
            first.push(ToLook { cut: cut.clone(), image, is_recorded });
        }
    }
    first
}

/// One of them after each cut of a recovery.
fn second_images(cuts: &[Cut]) -> Vec<ToLook> {
    let one = |(at, cut): (usize, &Cut)| {
        let mut images = images(cut, at as u64);
        let (how, disks) = images.swap_remove(at % images.len());
        let image = (format!("second cut {at}, after {}, {how}", cut.after), disks);
        ToLook { cut: cut.clone(), image, is_recorded: false }
    };
    cuts.iter().enumerate().map(one).collect()
}

#[actix::test]
async fn p24_p25_power_cuts_at_any_operation_and_in_recovery_leave_one_outcome_of_each_transfer() {
    let disks: Vec<_> = (0..SIDES).map(|_| SimDisk::new()).collect();
    let power = Power::new(disks, Arc::default());
    // The logs begin.
    sites(power.storages(false)).await.end_all().await;
    let script = Arc::new(script::run(&power, sites(power.storages(true)).await).await);
    let cuts = power.cuts();

    let mut seen = Seen::default();
    let second = look_at(&script, first_images(&cuts, 97), &mut seen).await;
    println!("{} operations, {seen:?}", cuts.len());
    // A run in which nothing happens would show nothing.
    assert!(seen.images > 800 && seen.in_doubt > 200 && seen.in_snapshot > 30, "{seen:?}");
    assert!(seen.presumed > 100 && seen.decided > 100 && seen.untold > 10, "{seen:?}");
    let mut again = Seen::default();
    look_at(&script, second_images(&second), &mut again).await;
    println!("{} operations of recoveries, {again:?}", second.len());
    assert!(again.images > 1000 && again.in_doubt > 200 && again.in_snapshot > 20, "{again:?}");
    assert!(again.presumed > 100 && again.decided > 50, "{again:?}");
}
