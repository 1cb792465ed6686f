//! A coordinator of two-phase commit and three participants, each with a log of its own; the transport between them; and
//! clients that move money from one to the other.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod transfers;
pub(crate) mod transport;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::Addr;
use actix_wal::{Lsn, Open, Wal};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::messages::{Execute, GetUsage, TakeSnapshot};
use actix_wal_txn::recovery::Recovery;
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::two_phase::coordinator_actor::{
    self, Decisions, GetDecisions, TwoPhaseCoordinator,
};
use actix_wal_txn::two_phase::decider::DeciderLimits;
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{Doubts, GetInDoubt, TwoPhase};
use actix_wal_txn::two_phase::{BackOff, GlobalId};
use bytes::Bytes;

use self::transfers::{State, Told, Transfer, judge, keys, number};
use self::transport::Transport;

/// The participants are the sides 0 to 2.
pub(crate) const PARTICIPANTS: usize = 3;
/// The side of the coordinator.
pub(crate) const COORDINATOR: usize = PARTICIPANTS;
pub(crate) const SIDES: usize = PARTICIPANTS + 1;

pub(crate) const BACK_OFF: BackOff =
    BackOff { first: Duration::from_millis(10), most: Duration::from_millis(50) };

/// Longer than anything takes that ends.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Looks again and again, until nothing is left.
pub(crate) async fn until_nothing_is_left(what: &str, left: impl AsyncFn() -> Option<String>) {
    let began = Instant::now();
    while let Some(left) = left().await {
        assert!(began.elapsed() < HANGS_AFTER, "{what}: it does not end: {left}");
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) type Participant = Addr<TransactionCoordinator>;

/// How the log of a side is opened, and where its snapshots are.
pub(crate) type Opening = Box<dyn Fn(usize) -> (Open, SnapshotPlan)>;

/// What a participant has found when it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) in_doubt: Vec<GlobalId>,
    /// Where the snapshot is that it began with: what is before that was not taken from the log.
    pub(crate) snapshot: Lsn,
}

/// All sides, at work.
pub(crate) struct Sites {
    opening: Opening,
    pub(crate) transport: Transport,
    /// None: it is down.
    wals: Vec<Option<Wal>>,
    pub(crate) found: Vec<Found>,
    /// How many decisions the coordinator has found when it began.
    pub(crate) decisions: usize,
}

impl Sites {
    /// Recovers all sides, and starts them.
    pub(crate) async fn start(opening: Opening) -> Sites {
        let (transport, wals) = (Transport::default(), vec![None; SIDES]);
        let found = vec![Found::default(); PARTICIPANTS];
        let mut sites = Sites { opening, transport, wals, found, decisions: 0 };
        for side in 0..SIDES {
            sites.begin(side).await;
        }
        sites
    }

    /// Recovers a side that is down, and starts it.
    pub(crate) async fn begin(&mut self, side: usize) {
        let (opening, plan) = (self.opening)(side);
        let wal = if side == COORDINATOR {
            self.begin_coordinator(opening).await
        } else {
            self.begin_participant(side, opening, plan).await
        };
        self.wals[side] = Some(wal);
    }

    async fn begin_participant(&mut self, side: usize, opening: Open, plan: SnapshotPlan) -> Wal {
        let (wal, recovered) = Recovery::new(opening).snapshots(plan).open().await.unwrap();
        let in_doubt = recovered.branches.in_doubt().map(|prepared| prepared.branch.id).collect();
        let snapshot = recovered.report.snapshot.map_or(Lsn::NONE, |snapshot| snapshot.lsn);
        self.found[side] = Found { in_doubt, snapshot };
        let limits = ParticipantLimits { back_off: BACK_OFF, ..ParticipantLimits::default() };
        let two_phase = TwoPhase { limits, transport: self.transport.recipient() };
        let bounds = CoordinatorLimits::default();
        let started =
            TransactionCoordinator::start_participant(&wal, recovered, bounds, two_phase).await;
        self.transport.routes().participants[side] = Some(started.unwrap());
        wal
    }

    async fn begin_coordinator(&mut self, opening: Open) -> Wal {
        let limits = DeciderLimits { back_off: BACK_OFF, ..DeciderLimits::default() };
        let address = transport::address(COORDINATOR);
        let (wal, decider) = coordinator_actor::open(opening, address, limits).await.unwrap();
        let recipient = self.transport.recipient();
        let started = TwoPhaseCoordinator::start(&wal, decider, recipient).await.unwrap();
        // Nothing gets to it before this.
        self.decisions = started.send(GetDecisions).await.unwrap().unacknowledged.len();
        self.transport.routes().coordinator = Some(started);
        wal
    }

    /// Ends a side. Its clients have no answer, unless they have it already.
    pub(crate) async fn end(&mut self, side: usize) {
        self.transport.routes().gone(side);
        if let Some(wal) = self.wals[side].take() {
            wal.close().await.unwrap();
        }
    }

    /// The same without a close: the handle is dropped, and the log ends by itself.
    pub(crate) fn abandon(&mut self, side: usize) {
        self.transport.routes().gone(side);
        self.wals[side] = None;
    }

    pub(crate) async fn end_all(mut self) {
        for side in 0..SIDES {
            self.end(side).await;
        }
    }

    pub(crate) fn wal(&self, side: usize) -> &Wal {
        self.wals[side].as_ref().unwrap()
    }

    pub(crate) fn participant(&self, side: usize) -> Participant {
        self.transport.participant(side).unwrap()
    }

    pub(crate) async fn decisions(&self) -> Decisions {
        self.transport.coordinator().unwrap().send(GetDecisions).await.unwrap()
    }

    pub(crate) async fn doubts(&self, side: usize) -> Doubts {
        self.participant(side).send(GetInDoubt).await.unwrap()
    }

    /// Waits until this participant has prepared a transaction and knows no decision.
    pub(crate) async fn until_in_doubt(&self, side: usize) -> GlobalId {
        loop {
            if let [one] = &self.doubts(side).await.in_doubt[..] {
                return one.branch.id;
            }
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
    }

    /// All logs are released as far as they may be. Twice, since only what two snapshots have is released.
    pub(crate) async fn release(&self) {
        for n in 0..2 {
            for side in 0..PARTICIPANTS {
                self.participant(side).send(other(n)).await.unwrap().unwrap();
                self.snapshot(side).await;
            }
        }
        self.checkpoint().await;
    }

    pub(crate) async fn snapshot(&self, side: usize) {
        self.participant(side).send(TakeSnapshot).await.unwrap().unwrap();
    }

    /// As the host of the coordinator does from time to time, without a look at what is needed.
    pub(crate) async fn checkpoint(&self) {
        let wal = self.wal(COORDINATOR);
        wal.checkpoint(wal.status().durable).await.unwrap();
    }

    /// What is not settled: a text for a test that waits for it in vain.
    async fn left(&self) -> Option<String> {
        let decisions = self.decisions().await;
        if decisions != Decisions::default() {
            return Some(format!("{decisions:?}"));
        }
        for side in 0..PARTICIPANTS {
            let doubts = self.doubts(side).await;
            if doubts != Doubts::default() {
                return Some(format!("participant {side}: {doubts:?}"));
            }
            let usage = self.participant(side).send(GetUsage).await.unwrap();
            if usage.on_the_way > 0 {
                return Some(format!("participant {side}: {usage:?}"));
            }
        }
        let holds: Vec<_> = (0..SIDES).flat_map(|side| self.wal(side).holds()).collect();
        (!holds.is_empty()).then(|| format!("{holds:?}"))
    }

    /// Waits until nothing is in doubt, held or on its way anywhere.
    pub(crate) async fn settle(&self, what: &str) {
        until_nothing_is_left(what, async || self.left().await).await;
    }

    async fn state(&self, side: usize, transfers: &[Transfer]) -> State {
        let keys = keys(transfers);
        let read = Execute::new(move |latest| {
            let mut state = State::new();
            for key in keys {
                if let Some(value) = latest.get(&key)? {
                    state.insert(key, number(Some(&value)));
                }
            }
            Ok(state)
        });
        self.participant(side).send(read).await.unwrap().unwrap().value
    }

    /// What all participants show, once it is settled, agrees with each other and with what clients have been told.
    /// Returns which transfers are there.
    pub(crate) async fn check(
        &self,
        transfers: &[Transfer],
        told: &BTreeMap<u64, Told>,
        what: &str,
    ) -> BTreeMap<u64, Told> {
        self.settle(what).await;
        let mut states = Vec::new();
        for side in 0..PARTICIPANTS {
            states.push(self.state(side, transfers).await);
        }
        judge(transfers, told, &states, what)
    }
}

/// Writes nothing that anybody looks at.
pub(crate) fn other(n: u64) -> Execute<()> {
    let value = Some(Bytes::from(n.to_string()));
    let write = actix_wal_txn::store::Write { key: "other".into(), value };
    Execute::new(move |latest| Ok(latest.write(write)?))
}
