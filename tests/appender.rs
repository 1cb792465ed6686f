//! Guards P6, P9, P15.
//!
//! The Appender alone, told by hand what happens to the log.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use actix::{Actor, Addr};
use actix_wal::actors::Appender;
use actix_wal::error::{AppendError, Cause};
use actix_wal::messages::{Append, LogEvent, WaitForLsn};
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::intake::entry::{Payload, QueueItem};
use actix_wal::{Durability, Epoch, Lsn, OverloadPolicy, WalConfig};
use bytes::Bytes;

fn appender() -> (Parts, Addr<Appender>) {
    let link = Parts::new(&WalConfig::new("unused"));
    let appender = Appender::new(&link.public(), OverloadPolicy::Wait).start();
    (link, appender)
}

fn append(link: &Parts, text: &'static str) -> Append {
    let payload = Bytes::from_static(text.as_bytes());
    let bytes = Payload::One(payload.clone()).encoded_len();
    let permit = link.shared.admission.try_acquire(1, bytes).expect("room");
    Append { payload, options: Durability::GroupCommit.into(), permit }
}

fn ready(link: &Parts, epoch: u64, next_lsn: u64) -> LogEvent {
    link.shared.begin_epoch(Epoch::new(epoch));
    LogEvent::Ready { epoch: Epoch::new(epoch), next_lsn: Lsn::new(next_lsn) }
}

/// The records in the queue, in order.
fn queued(link: &Parts) -> Vec<(u64, Bytes)> {
    let entries = link.queue.try_iter().flat_map(QueueItem::into_entries);
    entries.map(|entry| (entry.first_lsn.get(), entry.payload.records()[0].clone())).collect()
}

#[actix::test]
async fn p15_nothing_has_an_lsn_before_the_log_is_ready() {
    let (link, appender) = appender();
    let early = appender.send(append(&link, "early"));
    let early = actix::spawn(early);
    tokio::task::yield_now().await;
    assert!(queued(&link).is_empty());
    appender.do_send(ready(&link, 1, 7));
    assert_eq!(early.await.expect("joins").expect("alive").expect("accepted"), Lsn::new(7));
}

#[actix::test]
async fn appends_of_one_client_keep_their_order_through_a_fault() {
    let (link, appender) = appender();
    appender.send(ready(&link, 1, 1)).await.expect("alive");
    // A fault that the Appender has not heard of: the first append is parked, ...
    link.shared.stop_accepting();
    appender.do_send(append(&link, "first"));
    appender.send(LogEvent::Stalled { seconds: 1 }).await.expect("alive, and has seen the append");
    // ... and the next epoch has begun, of which it has not heard either.
    let news = ready(&link, 2, 1);
    appender.do_send(append(&link, "second"));
    appender.send(news).await.expect("alive");
    let expected = [(1, Bytes::from("first")), (2, Bytes::from("second"))];
    assert_eq!(queued(&link), expected);
}

#[actix::test]
async fn a_log_that_closes_takes_nothing_more_although_an_epoch_begins() {
    let (link, appender) = appender();
    appender.send(ready(&link, 1, 1)).await.expect("alive");
    appender.send(LogEvent::Closing).await.expect("alive");
    appender.send(ready(&link, 2, 1)).await.expect("alive");
    assert!(!link.shared.is_accepting());
    let refused = appender.send(append(&link, "late")).await.expect("alive");
    assert!(matches!(refused, Err(AppendError::Closed { .. })), "{refused:?}");
    assert!(queued(&link).is_empty());
}

#[actix::test]
async fn p9_an_epoch_never_takes_lsns_back() {
    let (link, appender) = appender();
    appender.send(ready(&link, 1, 5)).await.expect("alive");
    appender.send(append(&link, "five")).await.expect("alive").expect("accepted");
    appender.send(LogEvent::Unavailable { cause: Cause::Closed }).await.expect("alive");
    appender.send(ready(&link, 2, 3)).await.expect("alive");
    let lsn = appender.send(append(&link, "six")).await.expect("alive").expect("accepted");
    assert_eq!(lsn, Lsn::new(6));
}

#[actix::test]
async fn p6_a_wait_that_comes_while_the_log_closes_is_answered_with_the_outcome() {
    let (link, appender) = appender();
    appender.send(ready(&link, 1, 1)).await.expect("alive");
    let lsn = appender.send(append(&link, "accepted")).await.expect("alive").expect("accepted");
    appender.send(LogEvent::Closing).await.expect("alive");
    let waiting = actix::spawn(appender.send(WaitForLsn(lsn)));
    tokio::task::yield_now().await;
    // What was accepted before a close is flushed.
    link.shared.watermark.raise_durable(lsn);
    let durable = LogEvent::Durable { epoch: Epoch::new(1), through: lsn, failed: Vec::new() };
    appender.send(durable).await.expect("alive");
    waiting.await.expect("joins").expect("alive").expect("durable");
}
