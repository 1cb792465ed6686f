//! Guards P2, P6, P16, P19. An actor that commits by messages alone: the real log and an Appender that is told by
//! hand what happens, and everything that the actor receives, in the order in which it receives it.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use actix_wal::actors::Appender;
use actix_wal::error::Cause;
use actix_wal::messages::{Accepted, LogEvent, Permit, Ticket};
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::intake::entry::{Payload, QueueItem};
use actix_wal::testkit::internals::engine::intake::inbox::Inbox;
use actix_wal::testkit::internals::wire::{Collect, OwedAccepted, Reply, Submit};
use actix_wal::{
    AppendError, CommitError, Durability, Epoch, Lsn, Outbox, OverloadPolicy, Wal, WalConfig,
};
use bytes::Bytes;
use test_support::settings::segments_of;
use test_support::small_logs;
use tokio::sync::oneshot;

/// What an owner of an outbox receives.
#[derive(Debug)]
enum Received {
    Accepted(Accepted),
    Durable(Lsn),
}

/// Keeps everything that it receives.
struct Owner {
    log: Option<Outbox>,
    received: Vec<Received>,
}

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<Accepted> for Owner {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        self.received.push(Received::Accepted(accepted));
    }
}

impl Handler<LogEvent> for Owner {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        if let LogEvent::Durable { through, .. } = event {
            self.received.push(Received::Durable(through));
        }
    }
}

/// Do something with the outbox, and give the result.
struct Use<T>(fn(&mut Outbox) -> T);

impl<T: 'static> Message for Use<T> {
    type Result = T;
}

impl<T: Send + 'static> Handler<Use<T>> for Owner {
    type Result = actix::MessageResult<Use<T>>;

    fn handle(&mut self, Use(act): Use<T>, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(act(self.log.as_mut().expect("there is one")))
    }
}

/// What was received so far.
struct Tell;

impl Message for Tell {
    type Result = Vec<Received>;
}

impl Handler<Tell> for Owner {
    type Result = Vec<Received>;

    fn handle(&mut self, _: Tell, _: &mut Self::Context) -> Vec<Received> {
        std::mem::take(&mut self.received)
    }
}

fn owner(wal: &Wal) -> Addr<Owner> {
    Owner::create(|context| {
        let log = Some(wal.outbox(context.address().recipient()));
        Owner { log, received: Vec::new() }
    })
}

async fn act<T: Send + 'static>(owner: &Addr<Owner>, what: fn(&mut Outbox) -> T) -> T {
    owner.send(Use(what)).await.expect("alive")
}

fn config() -> WalConfig {
    segments_of(1 << 18)
}

async fn open(config: WalConfig) -> Wal {
    small_logs::open(&SimDisk::new(), config).await
}

#[actix::test]
async fn p6_appends_that_are_put_in_together_are_numbered_in_one_message_before_they_are_durable() {
    let wal = open(config()).await;
    let owner = owner(&wal);
    wal.subscribe(owner.clone().recipient()).await.expect("open");
    let tickets = act(&owner, |log| {
        let one = log.append("one").expect("room");
        let two = log.append("two").expect("room");
        let group = log.append_all(["three", "four"]).expect("room");
        let five = log.append_with("five", Durability::Synchronous).expect("room");
        [one, two, group, five]
    });
    assert_eq!(tickets.await, [0, 1, 2, 3].map(Ticket));
    assert_eq!(wal.flush().await.expect("durable"), Lsn::new(5));
    let received = owner.send(Tell).await.expect("alive");
    let mut numbered = Vec::new();
    let mut last = Lsn::NONE;
    for received in received {
        match received {
            Received::Accepted(Accepted { first, count, result }) => {
                let range = result.expect("accepted");
                numbered.push((first.0, count, range.first.get(), range.last.get()));
                last = range.last;
            }
            Received::Durable(through) => {
                assert!(through <= last, "{through} was durable before it was told");
            }
        }
    }
    // A group is told by itself: its one ticket has two LSNs.
    assert_eq!(numbered, [(0, 2, 1, 2), (2, 1, 3, 4), (3, 1, 5, 5)]);
    wal.close().await.expect("clean");
}

#[actix::test]
async fn p2_what_the_handle_and_an_outbox_append_keeps_its_order() {
    let wal = open(config()).await;
    let owner = owner(&wal);
    let mut outbox = wal.outbox(owner.clone().recipient());
    outbox.append("first").expect("room");
    let second = wal.append("second");
    let mut second = std::pin::pin!(second);
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(Future::poll(second.as_mut(), context).is_pending())
    });
    assert!(polled.await, "it is in the intake, behind the first");
    outbox.append("third").expect("room");
    assert_eq!(second.await.expect("accepted"), Lsn::new(2));
    wal.flush().await.expect("durable");
    let mut records = wal.read(Lsn::FIRST).await.expect("readable");
    for expected in ["first", "second", "third"] {
        let record = records.next().await.expect("there").expect("sound");
        assert_eq!(record.payload, expected);
    }
    wal.close().await.expect("clean");
}

#[actix::test]
async fn p16_an_outbox_never_waits_for_room_and_a_refusal_takes_no_ticket() {
    let mut config = config();
    config.max_in_flight_entries = 2;
    config.overload = OverloadPolicy::Wait;
    let wal = open(config).await;
    let owner = owner(&wal);
    let answers = act(&owner, |log| [log.append("a"), log.append("b"), log.append("c")]).await;
    assert!(matches!(answers, [Ok(Ticket(0)), Ok(Ticket(1)), Err(AppendError::Overloaded { .. })]));
    let empty = act(&owner, |log| log.append_all(Vec::<Bytes>::new())).await;
    assert!(matches!(empty, Err(AppendError::EmptyGroup)));
    wal.flush().await.expect("durable");
    assert!(matches!(act(&owner, |log| log.append("d")).await, Ok(Ticket(2))));
    wal.close().await.expect("clean");
    assert!(matches!(act(&owner, |log| log.append("e")).await, Err(AppendError::Closed { .. })));
}

/// A record on its way to the Appender, answered like this.
fn submit(link: &Parts, reply: Reply) -> Submit {
    let payload = Payload::One(Bytes::from_static(b"x"));
    let permit = link.shared.admission.try_acquire(1, payload.encoded_len()).expect("room");
    Submit { payload, durability: Durability::GroupCommit, builds_on: None, permit, reply }
}

#[actix::test]
async fn p6_appends_that_are_refused_after_they_were_put_in_are_told_so_one_by_one_and_in_order() {
    let link = Parts::new(&WalConfig::new("unused"));
    let appender = Appender::new(&link.public(), OverloadPolicy::Refuse).start();
    let owner = Owner { log: None, received: Vec::new() }.start();
    let to = Arc::new(owner.clone().recipient());
    link.shared.begin_epoch(Epoch::new(1));
    let ready = LogEvent::Ready { epoch: Epoch::new(1), next_lsn: Lsn::FIRST };
    appender.send(ready).await.expect("alive");
    let intake = Arc::default();
    let put = |ticket| {
        let owed = OwedAccepted::new(to.clone(), Ticket(ticket));
        Inbox::push(&*intake, submit(&link, Reply::Message(owed)))
    };
    assert!(put(0) && !put(1));
    appender.send(Collect::new(&intake)).await.expect("alive");
    appender.do_send(LogEvent::Unavailable { cause: Cause::Closed });
    assert!(put(2) && !put(3));
    appender.send(Collect::new(&intake)).await.expect("alive");
    let received = owner.send(Tell).await.expect("alive");
    let told: Vec<_> = received
        .iter()
        .map(|received| match received {
            Received::Accepted(accepted) => {
                (accepted.first.0, accepted.count, accepted.result.is_ok())
            }
            Received::Durable(_) => panic!("nobody said so"),
        })
        .collect();
    assert_eq!(told, [(0, 2, true), (2, 1, false), (3, 1, false)]);
    let queued: usize =
        link.queue.try_iter().map(QueueItem::into_entries).map(|entries| entries.len()).sum();
    assert_eq!(queued, 2);
    assert_eq!(link.shared.admission.entries_in_flight(), 2, "a refusal gives its permit back");
}

#[actix::test]
async fn p6_whoever_is_in_the_intake_of_a_dead_appender_hears_that_nobody_knows() {
    let link = Parts::new(&WalConfig::new("unused"));
    let intake = Arc::default();
    let (reply, answer) = oneshot::channel();
    assert!(Inbox::push(&*intake, submit(&link, Reply::Outcome(reply))));
    // What happens to a message when its receiver is gone.
    drop(Collect::new(&intake));
    let answered = tokio::time::timeout(Duration::from_secs(20), answer).await;
    assert!(answered.expect("nobody waits for ever").is_err(), "nobody can have answered");
    assert_eq!(link.shared.admission.entries_in_flight(), 0);
}

#[actix::test]
async fn p6_a_ticket_that_a_dead_appender_never_handled_is_answered_once() {
    let link = Parts::new(&WalConfig::new("unused"));
    let owner = Owner { log: None, received: Vec::new() }.start();
    let to = Arc::new(owner.clone().recipient());
    let intake = Arc::default();
    for ticket in [0, 1].map(Ticket) {
        let owed = OwedAccepted::new(Arc::clone(&to), ticket);
        let _ = Inbox::push(&*intake, submit(&link, Reply::Message(owed)));
    }
    // What happens to a message when its receiver is gone.
    drop(Collect::new(&intake));
    let received = owner.send(Tell).await.expect("alive");
    let told: Vec<_> = received
        .iter()
        .map(|received| match received {
            Received::Accepted(Accepted {
                first,
                count: 1,
                result: Err(AppendError::Unknown { .. }),
            }) => first.0,
            other => panic!("nobody said so: {other:?}"),
        })
        .collect();
    assert_eq!(told, [0, 1]);
}

#[actix::test]
async fn p6_an_actor_that_subscribes_after_its_records_are_durable_receives_the_watermark() {
    let wal = open(config()).await;
    let owner = owner(&wal);
    act(&owner, |log| log.append("x")).await.expect("room");
    assert_eq!(wal.flush().await.expect("durable"), Lsn::FIRST);
    assert_eq!(wal.subscribe(owner.clone().recipient()).await.expect("open"), Lsn::FIRST);
    let received = owner.send(Tell).await.expect("alive");
    assert!(
        matches!(received[..], [Received::Accepted(_), Received::Durable(Lsn::FIRST)]),
        "{received:?}"
    );
    wal.close().await.expect("clean");
}

#[actix::test]
async fn p6_commits_that_are_on_their_way_when_the_arbiter_of_the_log_ends_are_answered() {
    for round in 0..20 {
        let arbiter = actix::Arbiter::new();
        let disk = SimDisk::new();
        let open = Wal::open(config()).on_storage(disk.mount().expect("free"));
        let wal = open.in_arbiter(arbiter.handle()).await.expect("opens");
        let commits: Vec<_> = (0..50)
            .map(|_| {
                let wal = wal.clone();
                actix::spawn(async move { wal.commit("x").await })
            })
            .collect();
        if round % 2 == 1 {
            tokio::task::yield_now().await;
        }
        arbiter.stop();
        for commit in commits {
            let answered = tokio::time::timeout(Duration::from_secs(20), commit).await;
            let outcome = answered.expect("nobody waits for ever").expect("no panic");
            let known = matches!(
                &outcome,
                Ok(_) | Err(CommitError::Unknown { .. } | CommitError::Refused { .. })
            );
            assert!(known, "{outcome:?}");
        }
        arbiter.join().expect("ends");
    }
}

#[actix::test]
async fn p19_what_an_actor_appends_is_held_before_it_has_an_lsn() {
    let wal = open(config()).await;
    let owner = owner(&wal);
    let before = wal.commit("before").await.expect("durable");
    let hold = act(&owner, |log| {
        let hold = log.hold("prepare");
        log.append("held").expect("room");
        hold
    });
    let hold = hold.await;
    let last = wal.commit("behind it").await.expect("durable");
    assert_eq!(wal.checkpoint(last).await.expect("durable"), before, "the record behind it stays");
    assert_eq!(wal.holds()[0].from, before.next().get());
    // Now its LSN is known, and that of others before it would not be held.
    hold.raise(last);
    assert_eq!(wal.status().low_water, before.next());
    drop(hold);
    assert_eq!(wal.checkpoint(last).await.expect("durable"), last);
}

#[actix::test]
async fn p16_a_permit_that_was_kept_lets_its_record_in_when_nothing_else_is() {
    let mut few = config();
    few.max_in_flight_entries = 2;
    let (wal, other) = (open(few.clone()).await, open(few).await);
    let (owner, stranger) = (owner(&wal), owner(&other));
    let kept = act(&owner, |log| {
        let kept = log.permit(8).expect("room");
        log.append("fills it up").expect("room");
        assert!(matches!(log.append("decision"), Err(AppendError::Overloaded { .. })));
        assert!(matches!(log.permit(8), Err(AppendError::Overloaded { .. })));
        let put_in = log.append_permitted("decision", Durability::Synchronous, kept);
        put_in.expect("there is room for this one");
        log.outcome(Lsn::FIRST)
    });
    assert!(kept.await.is_none(), "it has no LSN yet");
    assert_eq!(wal.flush().await.expect("durable"), Lsn::new(2));
    assert!(matches!(act(&owner, |log| log.outcome(Lsn::new(2))).await, Some(Ok(()))));
    assert_eq!(wal.status().entries_in_flight, 0);
    // One that is too small, and one of another log.
    let small = act(&owner, |log| {
        let kept = log.permit(3).expect("room");
        log.append_permitted("decision", Durability::Synchronous, kept)
    });
    assert!(matches!(small.await, Err(AppendError::WrongPermit { .. })));
    let foreign = act(&stranger, |log| log.permit(8).expect("room")).await;
    let appended = owner.send(Spend(foreign)).await.expect("alive");
    assert!(matches!(appended, Err(AppendError::WrongPermit { .. })), "{appended:?}");
    assert_eq!((wal.status().entries_in_flight, other.status().entries_in_flight), (0, 0));
}

/// Append with this permit.
struct Spend(Permit);

impl Message for Spend {
    type Result = Result<Ticket, AppendError>;
}

impl Handler<Spend> for Owner {
    type Result = Result<Ticket, AppendError>;

    fn handle(&mut self, Spend(permit): Spend, _: &mut Self::Context) -> Self::Result {
        let log = self.log.as_mut().expect("there is one");
        log.append_permitted("decision", Durability::Synchronous, permit)
    }
}
