//! Guards P25 at the root: an append that names the epoch that it builds on is not durable on top of one that the log has
//! given up, whatever fails and whatever is on its way meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;

use actix::Actor;
use actix_wal::actors::Appender;
use actix_wal::messages::{Append, LogEvent};
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::intake::entry::{Payload, QueueItem};
use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, errno};
use actix_wal::{
    AppendError, AppendOptions, Cause, CommitError, Epoch, FaultPolicy, Lsn, OverloadPolicy, Wal,
    WalConfig,
};
use test_support::logs::{World, config, on_segments, within};

const EIO: FaultEffect = FaultEffect::Fail(errno::EIO);
const FULL: FaultEffect = FaultEffect::Fail(errno::ENOSPC);

/// How many appends are on their way at once.
const AT_ONCE: usize = 8;

type Outcome = Result<Lsn, CommitError>;

fn on(epoch: Epoch) -> AppendOptions {
    AppendOptions { builds_on: Some(epoch), ..AppendOptions::default() }
}

/// A client that never waits for an answer before it builds on what it has put in. Each chain ends when one of its
/// links fails; then it begins again, on what is durable.
async fn chains(wal: &Wal) -> Vec<Vec<Outcome>> {
    let (mut chains, mut put_in) = (Vec::new(), 0);
    while put_in < 60 {
        let (epoch, mut chain, mut way) = (wal.status().epoch, Vec::new(), Vec::new());
        while put_in < 60 && chain.iter().all(Outcome::is_ok) {
            for _ in way.len()..AT_ONCE {
                let (wal, payload) = (wal.clone(), format!("{put_in} {}", "x".repeat(300)));
                put_in += 1;
                way.push(actix::spawn(async move { wal.commit_with(payload, on(epoch)).await }));
            }
            chain.push(within("commit", way.remove(0)).await.unwrap());
        }
        for link in way {
            chain.push(within("commit", link).await.unwrap());
        }
        chains.push(chain);
        // After a fault there may be nothing to build on yet.
        tokio::task::yield_now().await;
    }
    let last = async || loop {
        let last = wal.commit_with("last", on(wal.status().epoch)).await;
        if last.is_ok() {
            return last;
        }
        tokio::task::yield_now().await;
    };
    chains.push(vec![within("the log goes on", last()).await]);
    chains
}

/// What comes after a link that is not durable is not durable either.
fn check(chains: &[Vec<Outcome>], records: &BTreeMap<Lsn, Vec<u8>>, case: &str) {
    for chain in chains {
        let failed = chain.iter().position(Result::is_err).unwrap_or(chain.len());
        for (at, link) in chain.iter().enumerate() {
            assert_eq!(link.is_ok(), at < failed, "{case}: link {at} after {failed}: {link:?}");
        }
    }
    let durable: Vec<Lsn> = chains.iter().flatten().filter_map(|link| link.clone().ok()).collect();
    assert_eq!(records.keys().copied().collect::<Vec<_>>(), durable, "{case}");
}

#[actix::test]
async fn p25_nothing_is_durable_on_top_of_what_was_given_up_and_under_resend_nothing_is() {
    let mut ended = 0;
    for policy in [FaultPolicy::FailFast, FaultPolicy::Resend] {
        for overload in [OverloadPolicy::Wait, OverloadPolicy::Refuse] {
            for (op, effect) in
                [(FaultOp::Write, EIO), (FaultOp::Sync, EIO), (FaultOp::Write, FULL)]
            {
                for after in 0..12 {
                    let case = format!("{policy:?} {overload:?} {effect:?} at {op:?} {after}");
                    let mut config = config();
                    (config.fault_policy, config.overload) = (policy, overload);
                    let world = World::new();
                    let wal = world.open(config).await;
                    world.plan.add(on_segments(FaultRule::on(op, effect)).after(after).times(1));
                    let chains = chains(&wal).await;
                    within("close", wal.close()).await.expect("clean");
                    check(&chains, &world.records().await, &case);
                    let is_ended = |link: &&Outcome| {
                        matches!(
                            link,
                            Err(CommitError::Refused(AppendError::EpochEnded { .. })
                                | CommitError::NotDurable { .. })
                        )
                    };
                    let refused = chains.iter().flatten().filter(is_ended).count();
                    ended += refused;
                    let resends = (policy, overload) == (FaultPolicy::Resend, OverloadPolicy::Wait);
                    assert!(!resends || effect == FULL || refused == 0, "{case}: {refused}");
                }
            }
        }
    }
    assert!(ended > 0, "nothing was ever given up");
}

/// An Appender that is told by hand what happens to the log.
struct Bench {
    parts: Parts,
    appender: actix::Addr<Appender>,
}

impl Bench {
    fn new(overload: OverloadPolicy) -> Bench {
        let parts = Parts::new(&WalConfig::new("unused"));
        let appender = Appender::new(&parts.public(), overload).start();
        Bench { parts, appender }
    }

    async fn event(&self, event: LogEvent) {
        self.appender.send(event).await.unwrap();
    }

    async fn begin(&self, epoch: u64, next_lsn: u64) {
        let (epoch, next_lsn) = (Epoch::new(epoch), Lsn::new(next_lsn));
        self.parts.shared.begin_epoch(epoch);
        self.event(LogEvent::Ready { epoch, next_lsn }).await;
    }

    fn append(&self, builds_on: u64) -> actix::dev::Request<Appender, Append> {
        let mut append = Append::try_new(&self.parts.shared.admission, "record").unwrap();
        append.options = on(Epoch::new(builds_on));
        self.appender.send(append)
    }

    fn queued(&self) -> usize {
        let items = self.parts.queue.try_iter().flat_map(QueueItem::into_entries);
        items.filter(|entry| matches!(entry.payload, Payload::One(_))).count()
    }
}

#[actix::test]
async fn p25_one_that_is_refused_takes_those_with_it_that_build_on_the_same_epoch() {
    let bench = Bench::new(OverloadPolicy::Refuse);
    bench.begin(3, 1).await;
    assert_eq!(bench.append(2).await.unwrap().unwrap(), Lsn::FIRST, "nothing was given up");
    bench.parts.shared.stop_accepting();
    bench.event(LogEvent::Unavailable { cause: Cause::Closed }).await;
    let refused = bench.append(3).await.unwrap();
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    // The fault has passed, and everything that has an LSN is written again.
    bench.begin(4, 2).await;
    for (epoch, is_taken) in [(3, false), (2, false), (4, true)] {
        let answer = bench.append(epoch).await.unwrap();
        assert_eq!(answer.is_ok(), is_taken, "{epoch}: {answer:?}");
        let is_ended = matches!(&answer, Err(error @ AppendError::EpochEnded { epoch: named })
            if named.get() == epoch && error.to_string().contains("begin again"));
        assert!(is_taken || is_ended, "{answer:?}");
    }
    assert_eq!(bench.queued(), 2);
}

#[actix::test]
async fn p25_one_that_waits_for_the_next_epoch_is_refused_if_its_own_has_ended() {
    let bench = Bench::new(OverloadPolicy::Wait);
    bench.begin(3, 1).await;
    bench.parts.shared.stop_accepting();
    bench.event(LogEvent::Unavailable { cause: Cause::Closed }).await;
    let parked = actix::spawn(bench.append(3));
    tokio::task::yield_now().await;
    bench.parts.shared.watermark.end_epoch(Epoch::new(3));
    bench.begin(4, 2).await;
    let answer = parked.await.unwrap().unwrap();
    assert!(matches!(answer, Err(AppendError::EpochEnded { .. })), "{answer:?}");
    assert_eq!(bench.queued(), 0);
}

#[actix::test]
async fn p6_p25_an_epoch_is_named_to_nobody_before_appends_are_taken_in_it() {
    let bench = Bench::new(OverloadPolicy::Refuse);
    bench.begin(3, 1).await;
    let named = || bench.parts.shared.watermark.open().get();
    bench.parts.shared.stop_accepting();
    bench.event(LogEvent::Unavailable { cause: Cause::Closed }).await;
    // The flush thread writes again, and the Appender has yet to be told. What it refuses ends its epoch.
    bench.parts.shared.begin_epoch(Epoch::new(4));
    assert_eq!(named(), 3);
    let refused = bench.append(named()).await.unwrap();
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    bench.event(LogEvent::Ready { epoch: Epoch::new(4), next_lsn: Lsn::FIRST }).await;
    assert_eq!(named(), 4);
    bench.append(named()).await.unwrap().unwrap();
}

#[actix::test]
async fn p6_p25_an_append_that_is_wrong_in_itself_does_not_end_an_epoch_that_goes_on() {
    let bench = Bench::new(OverloadPolicy::Refuse);
    bench.begin(3, 1).await;
    let mut wrong = Append::try_new(&bench.parts.shared.admission, "record").unwrap();
    (wrong.payload, wrong.options) = ("a longer record".into(), on(Epoch::new(3)));
    let refused = bench.appender.send(wrong).await.unwrap();
    assert!(matches!(refused, Err(AppendError::WrongPermit { .. })), "{refused:?}");
    bench.append(3).await.unwrap().unwrap();
}
