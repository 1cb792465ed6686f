//! Those who use the log by its handle, and read it. What they are told becomes facts; what the log may never do
//! to them is noticed here.

use std::sync::Arc;
use std::time::Duration;

use actix_wal::messages::Read;
use actix_wal::testkit::internals::engine::read::cursor::Cursor;
use actix_wal::{AppendError, Cause, CommitError, Durability, Lsn, ReadError, Status, Wal};

use super::world::World;
use crate::facts::{Fact, Key, assigned, payload};

/// Nobody waits longer than this for an answer, whatever happens (promise P6).
const PATIENCE: Duration = Duration::from_secs(3600);

/// One client, and what it says is broken.
pub(crate) struct Client {
    number: u32,
    next: u32,
    wal: Wal,
    world: Arc<World>,
    /// How long an answer may take while nothing goes wrong.
    in_time: Option<Duration>,
    /// Records that nobody waits for.
    unwatched: Vec<(Key, Lsn)>,
}

impl Client {
    pub(crate) fn new(
        number: u32,
        next: u32,
        wal: &Wal,
        world: &Arc<World>,
        in_time: Option<Duration>,
    ) -> Self {
        let (wal, world) = (wal.clone(), Arc::clone(world));
        Client { number, next, wal, world, in_time, unwatched: Vec::new() }
    }

    /// Uses the log until the world has seen enough.
    pub(crate) async fn run(mut self, steps: u32) -> Result<(), String> {
        let patience = self.world.weather().rest.as_millis() as u64;
        for _ in 0..steps {
            self.step().await?;
            self.look()?;
            if patience > 0 {
                self.pause(patience).await;
            }
        }
        for (key, lsn) in std::mem::take(&mut self.unwatched) {
            self.wait(key, lsn).await?;
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), String> {
        match self.world.below(24) {
            0..=6 => self.commit(Durability::GroupCommit).await,
            7..=9 => self.commit(Durability::Synchronous).await,
            10..=11 => self.commit(Durability::Async).await,
            12..=13 => self.group().await,
            14..=15 => self.flood().await,
            16 => self.give_up_soon().await,
            17 => self.checkpoint().await,
            18 => self.flush().await,
            19..=20 => self.read().await,
            _ => {
                self.pause(2000).await;
                Ok(())
            }
        }
    }

    /// P6, P21: once nothing goes wrong any more, the log takes appends again by itself, unless it is poisoned.
    pub(crate) async fn commits_in_the_end(mut self) -> Result<(), String> {
        let mut told = String::new();
        for _ in 0..PATIENCE.as_secs() {
            let key = self.key(1);
            let record = self.record(key, 0, 1);
            let committed = in_time(self.wal.commit(record)).await?;
            told = format!("{committed:?}");
            let is_served = committed.is_ok();
            self.committed(key, committed)?;
            if is_served || self.wal.status().state.is_final() || self.world.has_crashed() {
                return Ok(());
            }
            actix::clock::sleep(Duration::from_secs(1)).await;
        }
        Err(format!("P21: all has been well for an hour, but: {told}"))
    }

    async fn pause(&self, at_most: u64) {
        actix::clock::sleep(Duration::from_millis(self.world.below(at_most))).await;
    }

    /// P5, P16, P20: what anybody may see at any time.
    fn look(&mut self) -> Result<(), String> {
        for (key, lsn) in std::mem::take(&mut self.unwatched) {
            match self.wal.outcome(lsn) {
                None => self.unwatched.push((key, lsn)),
                Some(outcome) => self.ended(key, outcome)?,
            }
        }
        let status = self.wal.status();
        self.world.fact(Fact::Watermark(status.durable));
        if status.entries_in_flight > self.wal.admission().max_entries() {
            return Err(format!("P16: {} entries in flight", status.entries_in_flight));
        }
        if self.world.disk().mount().is_ok() {
            return Err("P20: the disk of an open log was free".to_owned());
        }
        Ok(())
    }

    fn key(&mut self, count: u32) -> Key {
        self.next += 1;
        let key = Key { client: self.number, sequence: self.next };
        self.world.fact(Fact::Submitted { key, count });
        key
    }

    fn record(&self, key: Key, index: u32, count: u32) -> Vec<u8> {
        let limit = if self.world.once_in(12) { 4000 } else { 300 };
        payload(key, index, count, self.world.below(limit) as u32)
    }

    async fn commit(&mut self, durability: Durability) -> Result<(), String> {
        let key = self.key(1);
        let record = self.record(key, 0, 1);
        let committed = in_time(self.wal.commit_with(record, durability)).await?;
        if let (Ok(first), Durability::Async) = (&committed, durability) {
            self.world.fact(Fact::Assigned { key, first: *first });
            self.unwatched.push((key, *first));
            self.watch(*first);
            return Ok(());
        }
        self.committed(key, committed)
    }

    /// P4: what nobody waits for is durable as soon as everything else.
    fn watch(&self, lsn: Lsn) {
        let Some(soon) = self.in_time else { return };
        let (wal, world) = (self.wal.clone(), Arc::clone(&self.world));
        actix::spawn(async move {
            actix::clock::sleep(soon).await;
            if wal.outcome(lsn).is_none() && !world.has_crashed() {
                world.fail(format!("P4: LSN {lsn} is not durable after {soon:?}"));
            }
        });
    }

    fn committed(&self, key: Key, committed: Result<Lsn, CommitError>) -> Result<(), String> {
        if let Some(first) = assigned(&committed) {
            self.world.fact(Fact::Assigned { key, first });
        }
        self.ended(key, committed.map(drop))
    }

    fn ended(&self, key: Key, outcome: Result<(), CommitError>) -> Result<(), String> {
        match outcome {
            Ok(()) => {
                self.world.fact(Fact::Acknowledged { key });
                Ok(())
            }
            Err(error) => self.failed(key, &error),
        }
    }

    fn failed(&self, key: Key, error: &CommitError) -> Result<(), String> {
        if matches!(error, CommitError::NeverAssigned { .. }) {
            return Err(format!("P9: {key:?}: {error}"));
        }
        self.world.no_defect(error)?;
        if !matches!(error, CommitError::Refused(AppendError::Overloaded { .. })) {
            self.world.not_for_nothing("P6: an append", error)?;
        }
        if error.is_not_durable() {
            self.world.fact(Fact::NotDurable { key });
        }
        Ok(())
    }

    async fn group(&mut self) -> Result<(), String> {
        let count = 2 + self.world.below(4) as u32;
        let key = self.key(count);
        let records: Vec<_> = (0..count).map(|index| self.record(key, index, count)).collect();
        match in_time(self.wal.append_all(records)).await? {
            Ok(range) => {
                self.world.fact(Fact::Assigned { key, first: range.first });
                self.wait(key, range.last).await
            }
            Err(error) => self.failed(key, &error.into()),
        }
    }

    async fn wait(&self, key: Key, lsn: Lsn) -> Result<(), String> {
        self.ended(key, in_time(self.wal.wait_for_lsn(lsn)).await?)
    }

    /// More commits at once than may be in flight.
    async fn flood(&mut self) -> Result<(), String> {
        self.world.count("flood");
        let keys: Vec<_> = (0..10 + self.world.below(30)).map(|_| self.key(1)).collect();
        let commits: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let (wal, record) = (self.wal.clone(), self.record(key, 0, 1));
                let commit = async move { in_time(wal.commit(record)).await };
                (key, actix::spawn(commit))
            })
            .collect();
        for (key, commit) in commits {
            let committed = commit.await.map_err(|error| format!("P6: {error}"))??;
            self.committed(key, committed)?;
        }
        Ok(())
    }

    /// Drops the future of a commit: it withdraws nothing, and its outcome is not reported.
    async fn give_up_soon(&mut self) -> Result<(), String> {
        self.world.count("dropped future");
        let key = self.key(1);
        let record = self.record(key, 0, 1);
        let soon = Duration::from_millis(self.world.below(40));
        match tokio::time::timeout(soon, self.wal.commit(record)).await {
            Ok(committed) => self.committed(key, committed),
            Err(_) => Ok(()),
        }
    }

    async fn checkpoint(&self) -> Result<(), String> {
        let durable = self.wal.durable_lsn().get();
        let lsn = Lsn::new(durable.saturating_sub(self.world.below(60)));
        if !lsn.is_none() {
            self.world.fact(Fact::Checkpoint(lsn));
            match in_time(self.wal.checkpoint(lsn)).await? {
                Ok(released) if released < lsn => {
                    return Err(format!("P19: a checkpoint of {lsn} has released {released}"));
                }
                Ok(_) => {}
                Err(error) => self.world.not_for_nothing("P19: a checkpoint", &error)?,
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), String> {
        let last = self.wal.status().accepted;
        match in_time(self.wal.flush()).await? {
            Ok(through) if through < last && !self.earlier_life_took(last) => {
                return Err(format!("P6: a flush of {last} ended at {through}"));
            }
            Ok(through) => self.world.fact(Fact::Watermark(through)),
            Err(error) => self.world.not_for_nothing("P6: a flush", &error)?,
        }
        Ok(())
    }

    fn earlier_life_took(&self, lsn: Lsn) -> bool {
        let outcome = self.wal.outcome(lsn);
        matches!(outcome, Some(Err(CommitError::NotDurable { cause: Cause::EarlierLife, .. })))
    }

    /// Reads some of the log back.
    async fn read(&self) -> Result<(), String> {
        let Status { low_water, accepted, .. } = self.wal.status();
        let from = low_water.plus(1 + self.world.below(20));
        let asked = in_time(self.wal.recipients().read.send(Read { from })).await?;
        let mut cursor = match asked {
            Ok(Ok(cursor)) => cursor,
            // Somebody else has released it meanwhile.
            Ok(Err(ReadError::Released { released })) if released >= from => return Ok(()),
            // The log had not come so far when the reader asked.
            Ok(Err(ReadError::BeyondEnd { next, .. })) if from > accepted.next().max(next) => {
                return Ok(());
            }
            other => return self.world.not_for_nothing("P2: a reader", &other),
        };
        for _ in 0..1 + self.world.below(3) {
            self.read_on(&mut cursor)?;
            self.pause(300).await;
        }
        Ok(())
    }

    /// Whatever is wrong with the disk, a reader never sees a record that is not the one it should be, and
    /// leaves none out.
    fn read_on(&self, cursor: &mut Cursor) -> Result<(), String> {
        let (from, durable) = (cursor.next_lsn(), self.wal.durable_lsn());
        let records = match cursor.read() {
            Ok(Some(records)) => records,
            Ok(None) if from <= durable => {
                return Err(format!("P2: a reader gets nothing from {from} on, of {durable}"));
            }
            Ok(None) => return Ok(()),
            Err(error) => return self.world.not_for_nothing("P2: a reader", &error),
        };
        let mut last = from.previous();
        for (lsn, bytes) in records.iter() {
            if lsn <= last {
                return Err(format!("P2: a reader got {lsn} after {last}"));
            }
            if let Some(missing) = self.missing_between(last, lsn) {
                return Err(format!("P2: a reader got {lsn} after {last}, without {missing}"));
            }
            if lsn > self.wal.durable_lsn() {
                return Err(format!("P5: a reader got {lsn} before it was durable"));
            }
            last = lsn;
            self.world.fact(Fact::Read { lsn, digest: crate::facts::digest(bytes) });
        }
        if cursor.next_lsn() != last.next() {
            return Err(format!("P2: a reader goes on at {} after {last}", cursor.next_lsn()));
        }
        Ok(())
    }

    /// The first LSN between these that is neither in a declared gap nor released.
    fn missing_between(&self, last: Lsn, lsn: Lsn) -> Option<Lsn> {
        let mut between = (last.get() + 1..lsn.get()).map(Lsn::new);
        let low_water = self.wal.status().low_water;
        let is_gap =
            |lsn| matches!(self.wal.outcome(lsn), Some(Err(CommitError::NotDurable { .. })));
        between.find(|lsn| *lsn > low_water && !is_gap(*lsn))
    }
}

/// P6: everyone is answered, some time.
async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, String> {
    let answered = tokio::time::timeout(PATIENCE, answer).await;
    answered.map_err(|_| "P6: nobody answered within an hour".to_owned())
}
