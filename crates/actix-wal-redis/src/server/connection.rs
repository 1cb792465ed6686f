//! One connection: it reads requests, has them carried out a batch at a time, and writes the answers in their order.
//!
//! A batch is what a client has sent without waiting for answers. Its transactions go to the coordinator in one message, and
//! their syncs are shared. The next batch is read when this one is answered: what a client sends and what it does not read
//! both stay in the buffers of the kernel, so it takes no memory here.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::{Each, ExecuteEach, Executed};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::Server;
use super::replies::Replies;
use crate::resp::{Parser, Protocol, ProtocolError, Reply};
use crate::session::{Ask, Form, Outcome, Session, Step, Transaction};

/// So many requests are carried out at once, at most.
const BATCH: usize = 1024;

/// After this long the log is asked again whether it has room.
const NO_ROOM: Duration = Duration::from_millis(1);

/// An answer, or the place of one, and how it is given there.
#[derive(Debug)]
enum Slot {
    Ready(Reply, Protocol),
    /// The next one of the transactions gives it.
    Runs(Form),
}

/// Why a batch ends.
#[derive(Debug)]
enum Next {
    /// There is nothing more to carry out now.
    Read,
    /// It is full.
    Full,
    Alone(Transaction),
    Ask(Ask),
    Close(Option<Reply>),
    Broken(ProtocolError),
}

/// What is carried out at once.
struct Batch {
    slots: Vec<Slot>,
    transactions: Vec<Transaction>,
    next: Next,
}

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    server: Rc<Server>,
    session: Session,
    parser: Parser,
    /// What has been read and not been understood yet; it takes no memory while the client is silent.
    input: BytesMut,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, server: Rc<Server>, session: Session) -> Self {
        Connection { stream, server, session, parser: Parser::default(), input: BytesMut::new() }
    }

    /// Serves the client until it goes away, is to go, or the server ends. A batch that has begun is answered.
    pub(super) async fn serve(mut self) {
        let (stop, killed) = (self.server.stop.clone(), self.session.killed());
        // They are asked at each turn, and made once: to make one takes a lock.
        let mut ends = pin!(async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = killed.cancelled() => {}
            }
        });
        while let Ok(true) = self.read(ends.as_mut()).await {
            self.session.client().is_served.set(true);
            match self.carry_out().await {
                Ok(true) => self.session.is_answered(),
                Ok(false) | Err(_) => break,
            }
        }
    }

    /// Reads what has come. Whether the connection goes on.
    async fn read(&mut self, mut ends: Pin<&mut impl Future<Output = ()>>) -> io::Result<bool> {
        let bytes = tokio::select! {
            biased;
            () = &mut ends => return Ok(false),
            bytes = poll_fn(|context| self.poll_read(context)) => bytes?,
        };
        self.session.has_read(bytes, &self.server);
        Ok(bytes > 0)
    }

    /// All connections read into the same memory, one after the other. It reads once: what is shorter than that memory is all
    /// that there was, and the runtime knows it without a second look.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.server.scratch.borrow_mut();
        let mut read = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.input.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Carries out all requests that have come whole. Whether the connection goes on.
    async fn carry_out(&mut self) -> io::Result<bool> {
        loop {
            let Batch { slots, transactions, next } = self.take();
            self.answer(slots, transactions).await?;
            let last = match next {
                Next::Full => continue,
                Next::Read => {
                    if self.input.is_empty() {
                        // Its memory goes back: thousands of silent clients would keep as many buffers.
                        self.input = BytesMut::new();
                    }
                    self.session.client().input.set(self.input.len());
                    return Ok(true);
                }
                Next::Alone(transaction) => {
                    let outcome = run(&self.server, vec![transaction]).await.0.pop();
                    let outcome = outcome.unwrap_or_else(|| Err(TxnError::gone()));
                    self.session.settle(outcome, &self.server).await
                }
                Next::Ask(ask) => self.session.ask(ask, &self.server).await,
                Next::Close(last) => last,
                Next::Broken(error) => Some(error.reply()),
            };
            let protocol = self.session.protocol();
            let slots = last.map(|reply| Slot::Ready(reply, protocol));
            self.answer(slots.into_iter().collect(), Vec::new()).await?;
            if self.session.is_closing() {
                return Ok(false);
            }
        }
    }

    /// Takes requests out of what has been read.
    fn take(&mut self) -> Batch {
        let (mut slots, mut transactions) = (Vec::new(), Vec::new());
        let next = loop {
            if slots.len() >= BATCH {
                break Next::Full;
            }
            let limits = self.session.limits(&self.server);
            let request = match self.parser.next(&mut self.input, &limits) {
                Ok(Some(request)) => request,
                Ok(None) => break Next::Read,
                Err(error) => {
                    self.session.close();
                    break Next::Broken(error);
                }
            };
            match self.session.take(request, &self.server) {
                Step::Nothing => {}
                Step::Reply(reply) => slots.push(Slot::Ready(reply, self.session.protocol())),
                Step::Transaction(transaction) => {
                    transactions.push(transaction);
                    slots.push(Slot::Runs(self.session.form()));
                }
                Step::Alone(transaction) => break Next::Alone(transaction),
                Step::Ask(ask) => break Next::Ask(ask),
                Step::Close(reply) => break Next::Close(reply),
            }
        };
        Batch { slots, transactions, next }
    }

    /// Has the transactions run, and writes the answers.
    async fn answer(&mut self, slots: Vec<Slot>, transactions: Vec<Transaction>) -> io::Result<()> {
        let (mut slots, mut transactions) = (slots.into_iter().peekable(), transactions);
        // Answers that weigh much come in several rounds, each of which is written before the next one runs.
        while slots.peek().is_some() {
            let (outcomes, left) = run(&self.server, transactions).await;
            let mut outcomes = outcomes.into_iter();
            transactions = left;
            let mut replies = Replies::default();
            let is_last = transactions.is_empty();
            while let Some(slot) = slots
                .next_if(|slot| is_last || outcomes.len() > 0 || matches!(slot, Slot::Ready(..)))
            {
                match slot {
                    Slot::Ready(reply, protocol) => replies.push(reply, protocol),
                    Slot::Runs(form) => {
                        let outcome = outcomes.next().unwrap_or_else(|| Err(TxnError::gone()));
                        if let Some(reply) = form.answer(outcome) {
                            replies.push(reply, form.protocol);
                        }
                    }
                }
            }
            while let Some(piece) = replies.next() {
                self.server.counters.output.add(piece.len() as u64);
                self.write(&piece).await?;
            }
        }
        Ok(())
    }

    /// Writes a piece of the answers. Mostly the kernel takes it at once.
    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let written = match self.stream.try_write(piece) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            written => written?,
        };
        if written == piece.len() {
            return Ok(());
        }
        let killed = self.session.killed();
        self.session.client().output.set(piece.len() - written);
        tokio::select! {
            biased;
            () = killed.cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
            all = self.stream.write_all(&piece[written..]) => all?,
        }
        self.session.client().output.set(0);
        Ok(())
    }
}

/// Runs transactions, each for itself, in their order, and at least one of them. The second ones have not run yet.
async fn run(
    server: &Server,
    mut transactions: Vec<Transaction>,
) -> (Vec<Outcome>, Vec<Transaction>) {
    let mut outcomes = Vec::new();
    while outcomes.is_empty() && !transactions.is_empty() {
        let (sent, durability) = (transactions.len(), server.settings.borrow().durability);
        let each = ExecuteEach { transactions, durability };
        let Ok(Each { done, left }) = server.coordinator.send(each).await else {
            outcomes.extend((0..sent).map(|_| Err(TxnError::gone())));
            return (outcomes, Vec::new());
        };
        let missing = sent - done.len() - left.len();
        if done.is_empty() && missing == 0 {
            // Others have filled the log.
            tokio::time::sleep(NO_ROOM).await;
        }
        outcomes.extend(done.into_iter().map(|done| done.map(|Executed { value, .. }| value)));
        outcomes.extend((0..missing).map(|_| Err(TxnError::gone())));
        transactions = left;
    }
    (outcomes, transactions)
}

#[cfg(test)]
mod tests;
