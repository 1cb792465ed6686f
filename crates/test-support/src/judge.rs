//! Recovers from images of a disk that lost its power, and holds what comes out against an
//! [`Oracle`](crate::oracle).

use std::sync::Arc;

use actix_wal::storage::Storage;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::format::segment::segment_name;
use actix_wal::testkit::{Cuts, ManualClock, Persist, Random, Recorder, SimDisk};
use actix_wal::{OpenError, RecoveryReport, WalConfig};

use crate::counts::Counts;
use crate::facts::Fact;
use crate::oracle::Oracle;
use crate::recovered::{Recovered, replayed};

/// Judges images of one history.
pub struct Judge {
    pub oracle: Oracle,
    pub random: Random,
    /// What was seen in images: a sweep that saw none of it proves little.
    pub seen: Counts,
    /// How many marks the oracle has learned from.
    learned: usize,
    config: WalConfig,
    /// In how many images recovery itself is cut: one of so many.
    cut_recovery_every: u64,
}

impl Judge {
    /// A judge of a history with these facts, who was told none of them yet.
    pub fn new(config: WalConfig, facts: &[Fact], seed: u64, cut_recovery_every: u64) -> Self {
        Judge {
            oracle: Oracle::new(facts),
            random: Random::new(seed),
            seen: Counts::default(),
            learned: 0,
            config,
            cut_recovery_every,
        }
    }

    /// Tells the oracle what clients knew at this cut. Whether they have learned anything since the last one.
    pub fn learn(&mut self, cuts: &Cuts, facts: &[Fact]) -> bool {
        let news = &cuts.marks()[self.learned..];
        news.iter().for_each(|mark| self.oracle.learn(facts[mark.value as usize]));
        self.learned += news.len();
        !news.is_empty()
    }

    /// P12: a process is killed, the next one recovers from the page cache, then the power fails.
    pub fn check_kill(&mut self, disk: &SimDisk) -> Result<(), String> {
        let first = self.recover_and_check(disk.mount().expect("free"))?;
        let seed = self.random.number();
        let persist = match seed % 3 {
            0 => Persist::Torn { seed },
            1 => Persist::Garbled { seed },
            _ => Persist::Dropped,
        };
        let later = disk.crash(persist);
        // A recovered log is not a closed one.
        let closed = std::mem::replace(&mut self.oracle.closed, false);
        let second = self.recover_and_check(later.mount().expect("free"))?;
        self.oracle.closed = closed;
        if second.records != first.records {
            return Err("P12: what was replayed was not durable".to_owned());
        }
        Ok(())
    }

    /// Recovers from an image, twice in a row, and now and then cuts the recovery itself.
    pub fn check_image(&mut self, disk: &SimDisk) -> Result<Recovered, String> {
        let first = if self.random.below(self.cut_recovery_every) == 0 {
            self.check_cut_recovery(disk, 2)?
        } else {
            self.recover_and_check(disk.mount().expect("free"))?
        };
        let again = self.recover(disk.mount().expect("free")).map_err(|e| format!("again: {e}"))?;
        if again.records != first.records {
            return Err("P11: the second recovery gives other records".to_owned());
        }
        if again.report.next_lsn < first.report.next_lsn {
            return Err("P9: the second recovery gives LSNs out again".to_owned());
        }
        Ok(first)
    }

    /// Recovers, and recovers from each state in which a crash of that recovery may leave the disk; of
    /// some of those recoveries the same again.
    fn check_cut_recovery(&mut self, disk: &SimDisk, depth: u32) -> Result<Recovered, String> {
        let recorder = Recorder::new(disk.mount().expect("free")).map_err(|e| e.to_string())?;
        let log = recorder.log();
        let recovered = self.recover_and_check(Arc::new(recorder))?;
        let closed = std::mem::replace(&mut self.oracle.closed, false);
        let mut cuts = log.cuts();
        while cuts.advance() {
            let seed = self.random.number();
            for persist in [Persist::Dropped, Persist::Torn { seed }, Persist::Garbled { seed }] {
                let disk = cuts.image(persist);
                let again = if depth > 1 && self.random.below(8) == 0 {
                    self.seen.count("recoveries that were cut twice", 1);
                    self.check_cut_recovery(&disk, depth - 1)
                } else {
                    self.recover_and_check(disk.mount().expect("free"))
                };
                self.seen.count("recoveries that were cut", 1);
                let op = cuts.last_op();
                let again =
                    again.map_err(|e| format!("recovery cut after {op:?}, {persist:?}: {e}"))?;
                if again.records != recovered.records {
                    return Err(format!("P11: recovery cut after {op:?} gives other records"));
                }
            }
        }
        self.oracle.closed = closed;
        Ok(recovered)
    }

    fn recover_and_check(&mut self, storage: Arc<dyn Storage>) -> Result<Recovered, String> {
        let recovered = self.recover(Arc::clone(&storage));
        let recovered = recovered.map_err(|error| format!("it does not open: {error}"))?;
        self.oracle.check(&recovered)?;
        self.note(&recovered.report);
        if let Some((sequence, torn)) = recovered.report.torn_tail {
            let files = storage.list().map_err(|error| error.to_string())?;
            let is_kept = files.iter().any(|file| file.name == segment_name(sequence));
            if torn.bytes == 0 || !is_kept {
                return Err(format!("P10: no evidence is kept of the torn tail: {torn:?}"));
            }
        }
        Ok(recovered)
    }

    fn note(&mut self, report: &RecoveryReport) {
        let seen = [
            ("recoveries", true),
            ("carried frames", report.carried > 0),
            ("torn tails", report.torn_tail.is_some()),
            ("gaps", !report.gaps.is_empty()),
            ("low-water marks", !report.low_water.is_none()),
            ("clean ends", report.clean),
            ("logs of two segments", report.segments > 1),
            ("logs of four segments", report.segments > 3),
        ];
        seen.into_iter().for_each(|(what, is_so)| self.seen.count(what, is_so.into()));
    }

    fn recover(&mut self, storage: Arc<dyn Storage>) -> Result<Recovered, OpenError> {
        let clock = ManualClock::seeded(self.random.number());
        let link = Parts::with_clock(&self.config, Arc::new(clock));
        replayed(storage, &self.config, &link, None)
    }
}
