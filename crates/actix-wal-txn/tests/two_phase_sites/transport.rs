//! The transport between the sides of two-phase commit: in order, and without loss unless a test wants it otherwise.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient};
use actix_wal_txn::two_phase::Address;
use actix_wal_txn::two_phase::coordinator_actor::TwoPhaseCoordinator;
use actix_wal_txn::two_phase::messages::{Order, Outgoing, ToCoordinator, ToParticipant, Word};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{COORDINATOR, PARTICIPANTS, Participant};

pub(crate) fn address(side: usize) -> Address {
    Address(Bytes::from(vec![b'0' + side as u8]))
}

/// What a message says, without the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Prepare,
    Commit,
    Abort,
    Prepared,
    Acknowledged,
    InDoubt,
    Other,
}

#[derive(Debug)]
enum Packet {
    Down(Outgoing<ToParticipant>),
    Up(Outgoing<ToCoordinator>),
}

impl Packet {
    fn says(&self) -> Said {
        match self {
            Packet::Down(Outgoing { message, .. }) => match message.order {
                Order::Prepare(_) => Said::Prepare,
                Order::Commit => Said::Commit,
                Order::Abort => Said::Abort,
                Order::CommitAlone(_) | Order::EndAlone => Said::Other,
            },
            Packet::Up(Outgoing { message, .. }) => match message.word {
                Word::Prepared => Said::Prepared,
                Word::Acknowledged => Said::Acknowledged,
                Word::InDoubt => Said::InDoubt,
                Word::ReadOnly | Word::Refused(_) | Word::Alone(_) => Said::Other,
            },
        }
    }
}

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// One message and all behind it.
    All,
    /// Only that one: the others overtake it.
    One,
}

/// Stops before a message.
#[derive(Debug)]
struct Stop {
    before: usize,
    holds: Holds,
    reached: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) participants: [Option<Participant>; PARTICIPANTS],
    pub(crate) coordinator: Option<Addr<TwoPhaseCoordinator>>,
    /// Nothing gets to these participants.
    pub(crate) away: BTreeSet<usize>,
    /// Each message comes twice.
    pub(crate) doubles: bool,
    /// No commit gets to a participant.
    pub(crate) loses_commits: bool,
    /// All messages that have been sent.
    pub(crate) said: Vec<Said>,
    stop: Option<Stop>,
    is_stopped: bool,
    held: VecDeque<Packet>,
}

impl Routes {
    pub(crate) fn gone(&mut self, side: usize) {
        if side == COORDINATOR {
            self.coordinator = None;
        } else {
            self.participants[side] = None;
        }
    }

    fn carry(&mut self, packet: Packet) {
        self.said.push(packet.says());
        let number = self.said.len();
        if let Some(stop) = self.stop.take_if(|stop| stop.before == number) {
            self.is_stopped = stop.holds == Holds::All;
            // A test that does not wait for it needs no answer.
            let _ = stop.reached.send(());
            self.held.push_back(packet);
        } else if self.is_stopped {
            self.held.push_back(packet);
        } else {
            self.deliver(&packet);
            if self.doubles {
                self.deliver(&packet);
            }
        }
    }

    fn deliver(&self, packet: &Packet) {
        match packet {
            Packet::Down(Outgoing { to, message }) => {
                let side = (0..PARTICIPANTS).find(|side| address(*side) == *to).unwrap();
                let is_lost = self.loses_commits && message.order == Order::Commit;
                if let Some(participant) = &self.participants[side]
                    && !is_lost
                    && !self.away.contains(&side)
                {
                    participant.do_send(message.clone());
                }
            }
            Packet::Up(Outgoing { message, .. }) => {
                self.coordinator.iter().for_each(|to| to.do_send(message.clone()));
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Transport(Arc<Mutex<Routes>>);

impl Transport {
    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap()
    }

    /// One that loses nothing by a mailbox that is full.
    pub(crate) fn recipient<M>(&self) -> Recipient<Outgoing<M>>
    where
        M: Send + 'static,
        Outgoing<M>: actix::Message<Result = ()>,
        Transport: Handler<Outgoing<M>>,
    {
        let this = self.clone();
        Transport::create(|context| {
            context.set_mailbox_capacity(10_000);
            let _ = context.address();
            this
        })
        .recipient()
    }

    pub(crate) fn participant(&self, side: usize) -> Option<Participant> {
        self.routes().participants[side].clone()
    }

    pub(crate) fn coordinator(&self) -> Option<Addr<TwoPhaseCoordinator>> {
        self.routes().coordinator.clone()
    }

    /// Holds back the message with this number, and perhaps all behind it. The future ends when it is sent.
    pub(crate) fn stop_before(&self, before: usize, holds: Holds) -> oneshot::Receiver<()> {
        let (reached, wait) = oneshot::channel();
        self.routes().stop = Some(Stop { before, holds, reached });
        wait
    }

    /// Delivers what has been held back, to those who are there now.
    pub(crate) fn go_on(&self) {
        let mut routes = self.routes();
        (routes.stop, routes.is_stopped) = (None, false);
        while let Some(packet) = routes.held.pop_front() {
            routes.deliver(&packet);
        }
    }
}

impl Actor for Transport {
    type Context = Context<Self>;
}

impl Handler<Outgoing<ToParticipant>> for Transport {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToParticipant>, _: &mut Context<Self>) {
        self.routes().carry(Packet::Down(sent));
    }
}

impl Handler<Outgoing<ToCoordinator>> for Transport {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToCoordinator>, _: &mut Context<Self>) {
        self.routes().carry(Packet::Up(sent));
    }
}
