//! What clients and hosts do while it is recorded.

use std::collections::BTreeMap;

use actix_wal::Lsn;
use actix_wal_txn::two_phase::GlobalId;
use tokio::task::JoinHandle;

use super::power::Power;
use super::two_phase_sites::transfers::{Told, Transfer};
use super::two_phase_sites::{COORDINATOR, PARTICIPANTS, SIDES, Sites, other};

/// What has been done.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) transfers: Vec<Transfer>,
    /// The transactions that were in doubt at a participant while it wrote snapshots, each with an LSN that its record
    /// is not behind.
    pub(crate) prepared: BTreeMap<(usize, GlobalId), Lsn>,
}

/// A script that is being played.
struct Play {
    power: Power,
    sites: Sites,
    script: Script,
}

/// Plays all of it, and ends all sides.
pub(crate) async fn run(power: &Power, sites: Sites) -> Script {
    let mut play = Play { power: power.clone(), sites, script: Script::default() };
    play.sites.transport.routes().doubles = true;
    power.slow_down(0..PARTICIPANTS);
    play.one_after_the_other().await;
    power.slow_down(COORDINATOR..SIDES);
    play.at_once().await;
    play.prepared_in_snapshots().await;
    play.decided_and_not_acknowledged().await;
    play.sites.settle("the script").await;
    let Play { sites, script, .. } = play;
    sites.end_all().await;
    script
}

impl Play {
    fn next(&self) -> u64 {
        self.script.transfers.len() as u64
    }

    /// A client begins this. What it is told is recorded.
    fn begin(&mut self, transfer: Transfer) -> JoinHandle<Told> {
        self.script.transfers.push(transfer.clone());
        let (power, over) = (self.power.clone(), self.sites.transport.clone());
        actix::spawn(async move {
            let told = transfer.run(&over).await;
            power.tell(transfer.n, told);
            told
        })
    }

    async fn whole(&mut self, transfer: Transfer) -> Told {
        self.begin(transfer).await.unwrap()
    }

    async fn one_after_the_other(&mut self) {
        let all = [
            (Transfer::between(0, 0, 1), Told::Committed),
            (Transfer::between(1, 1, 2).reading(0), Told::Committed),
            (Transfer::between(2, 2, 0).refused_at(1), Told::Aborted),
            (Transfer::alone(3, 1), Told::Committed),
            (Transfer::local(4, 2), Told::Committed),
            (Transfer::between(5, 2, 1), Told::Committed),
        ];
        for (transfer, told) in all {
            assert_eq!(self.whole(transfer).await, told);
            // What is not durable yet would be a conflict.
            self.sites.settle("one after the other").await;
        }
    }

    /// Some of these refuse each other.
    async fn at_once(&mut self) {
        let n = self.next();
        let all = [
            Transfer::between(n, 0, 1),
            Transfer::between(n + 1, 1, 2),
            Transfer::between(n + 2, 2, 0).reading(1),
            Transfer::local(n + 3, 0),
        ];
        let clients: Vec<_> = all.map(|transfer| self.begin(transfer)).into_iter().collect();
        self.sites.snapshot(0).await;
        self.sites.checkpoint().await;
        for client in clients {
            client.await.unwrap();
        }
        self.sites.settle("clients at once").await;
    }

    /// The record of what is prepared is released, so that only snapshots have it.
    async fn snapshots_of_prepared(&mut self, side: usize) {
        let id = self.sites.until_in_doubt(side).await;
        let accepted = self.sites.wal(side).status().accepted;
        self.script.prepared.insert((side, id), accepted);
        for n in 0..2 {
            self.sites.participant(side).send(other(n)).await.unwrap().unwrap();
            self.sites.snapshot(side).await;
        }
        assert!(self.sites.wal(side).status().low_water >= accepted);
    }

    /// One participant is not reached, so that the other one stays in doubt.
    async fn prepared_in_snapshots(&mut self) {
        let n = self.next();
        let all = [
            (Transfer::between(n, 0, 2), Told::Committed),
            (Transfer::between(n + 1, 1, 0).refused_at(2), Told::Aborted),
        ];
        for (transfer, told) in all {
            self.sites.transport.routes().away.insert(2);
            let client = self.begin(transfer);
            self.snapshots_of_prepared(0).await;
            self.sites.participant(0).send(other(2)).await.unwrap().unwrap();
            self.sites.transport.routes().away.clear();
            assert_eq!(client.await.unwrap(), told);
        }
        self.sites.settle("what is in snapshots").await;
    }

    /// Commits do not reach their participants, while all logs are released as far as they may be.
    async fn decided_and_not_acknowledged(&mut self) {
        let n = self.next();
        self.sites.transport.routes().loses_commits = true;
        assert_eq!(self.whole(Transfer::between(n, 2, 1)).await, Told::Committed);
        self.snapshots_of_prepared(1).await;
        self.sites.checkpoint().await;
        // With its next decision the log would lose what is not held.
        let next = Transfer::alone(n + 1, 0).reading(1);
        assert_eq!(self.whole(next).await, Told::Committed);
        self.sites.transport.routes().loses_commits = false;
        self.sites.settle("what was decided").await;
        self.sites.checkpoint().await;
        for side in 0..PARTICIPANTS {
            self.sites.snapshot(side).await;
        }
        // A client that is gone: what it has been told is not recorded.
        let gone = Transfer::between(n + 2, 1, 0);
        self.script.transfers.push(gone.clone());
        assert_eq!(gone.run(&self.sites.transport).await, Told::Committed);
    }
}
