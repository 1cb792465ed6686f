//! Transactions that are sent whole: one, or several in one message.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use actix::Handler;
use actix_wal::{AppendError, Durability, Lsn};

use super::{Answer, Several, TransactionCoordinator, Waiting, client};
use crate::commits::Ran;
use crate::error::TxnError;
use crate::fates::Fate;
use crate::later::{Later, Reply};
use crate::latest::Latest;
use crate::messages::{Each, Execute, ExecuteEach, Executed, Transaction};
use crate::snapshotting::file_thread::text_of;
use crate::tokens::Token;

impl TransactionCoordinator {
    /// Runs a transaction on the newest state.
    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Latest<'_>) -> Result<T, TxnError>,
    ) -> Ran<T, TxnError> {
        self.commits.run(self.limits.work, |latest| {
            // What it has written is thrown away, and it has nothing else of ours.
            catch_unwind(AssertUnwindSafe(|| work(latest)))
                .unwrap_or_else(|panic| Err(TxnError::Panicked { message: text_of(&*panic) }))
        })
    }

    /// What has run is put into the log, or its answer kept back until what it has seen is durable. One that is refused is
    /// given back.
    fn put_what_ran(
        &mut self,
        (ran, fate): (Ran<(), TxnError>, Fate),
        durability: Durability,
        token: Option<Token>,
        answer: Answer,
    ) -> Result<(), (Answer, TxnError)> {
        let Ran { writes, seen, watches, .. } = ran;
        if !writes.is_empty() {
            self.try_to_put(writes, durability, token, answer)?;
        } else if durability == Durability::Async {
            self.outcomes.count(fate);
            answer.give(Ok(None));
        } else {
            let waiting = Waiting::Client { since: None, fate: Some(fate), token: None, answer };
            match self.commits.keep_back(seen, waiting) {
                Err(Waiting::Client { answer, .. }) => {
                    self.outcomes.count(fate);
                    answer.give(Ok(None));
                }
                _ => self.kept_back += 1,
            }
        }
        self.commits.watch(watches);
        Ok(())
    }
}

/// What a transaction counts as that only reads, or has failed.
fn fate_of<T>(result: &Result<T, TxnError>) -> Fate {
    result.as_ref().map_or_else(Fate::of_failure, |_| Fate::ReadOnly)
}

impl<T: Send + 'static> Handler<Execute<T>> for TransactionCoordinator {
    type Result = Later<Result<Executed<T>, TxnError>>;

    fn handle(&mut self, execute: Execute<T>, _: &mut Self::Context) -> Self::Result {
        let Execute { work, durability, token } = execute;
        if let Err(contradiction) = self.commits.check() {
            return Later::now(Err(contradiction.into()));
        }
        let Ran { result, writes, seen, watches } = self.run(work);
        let fate = fate_of(&result);
        let (client, answer) = client(move |lsn| Ok(Executed { value: result?, lsn }));
        let ran = Ran { result: Ok(()), writes, seen, watches };
        if let Err((client, refused)) = self.put_what_ran((ran, fate), durability, token, client) {
            self.refuse(client, refused);
        }
        answer
    }
}

/// The answers of transactions that came in one message.
struct Batch<W: Transaction> {
    /// What each gave, and then what became of it.
    each: RefCell<Vec<Result<Executed<W::Output>, TxnError>>>,
    left: RefCell<Vec<W>>,
    /// How many are not settled yet, and one more until all have run.
    open: Cell<usize>,
    reply: Cell<Option<Reply<Each<W>>>>,
}

impl<W: Transaction> Batch<W> {
    fn new(transactions: usize) -> (Rc<Self>, Later<Each<W>>) {
        let (reply, answer) = Later::new(Each::gone as fn() -> Each<W>);
        let batch = Batch {
            each: RefCell::new(Vec::with_capacity(transactions)),
            left: RefCell::default(),
            open: Cell::new(1),
            reply: Cell::new(Some(reply)),
        };
        (Rc::new(batch), answer)
    }

    fn one_is_settled(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0
            && let Some(reply) = self.reply.take()
        {
            reply.give(Each { done: self.each.take(), left: self.left.take() });
        }
    }
}

impl<W: Transaction> Several for Batch<W> {
    fn settle(&self, at: usize, settled: Result<Option<Lsn>, TxnError>) {
        if let Some(each) = self.each.borrow_mut().get_mut(at) {
            match (settled, each) {
                (Ok(lsn), Ok(executed)) => executed.lsn = lsn,
                (Err(failed), each) => *each = Err(failed),
                (Ok(_), Err(_)) => {}
            }
        }
        self.one_is_settled();
    }
}

impl<W: Transaction> Handler<ExecuteEach<W>> for TransactionCoordinator {
    type Result = Later<Each<W>>;

    fn handle(&mut self, each: ExecuteEach<W>, _: &mut Self::Context) -> Self::Result {
        let ExecuteEach { transactions, durability } = each;
        let (batch, answer) = Batch::new(transactions.len());
        let clients: Rc<dyn Several> = batch.clone();
        let (mut rest, mut weight) = (transactions.into_iter(), 0_usize);
        while let Some(transaction) = rest.next() {
            if weight >= W::AT_ONCE {
                batch.left.borrow_mut().extend([transaction].into_iter().chain(rest));
                break;
            }
            let ran = match self.commits.check() {
                Ok(()) => self.run(|latest| transaction.run(latest)),
                Err(contradiction) => Ran::failed(contradiction.into()),
            };
            let Ran { result, writes, seen, watches } = ran;
            weight = weight.saturating_add(result.as_ref().map_or(0, W::weight));
            let fate = fate_of(&result);
            let at = batch.each.borrow().len();
            batch.each.borrow_mut().push(result.map(|value| Executed { value, lsn: None }));
            batch.open.set(batch.open.get() + 1);
            let ran = Ran { result: Ok(()), writes, seen, watches };
            let answer = Answer::OneOf(Rc::clone(&clients), at);
            match self.put_what_ran((ran, fate), durability, None, answer) {
                Ok(()) => {}
                // There will be room again, and those behind it must not overtake it.
                Err((_, TxnError::Refused(AppendError::Overloaded { .. }))) => {
                    batch.each.borrow_mut().pop();
                    batch.left.borrow_mut().extend([transaction].into_iter().chain(rest));
                    batch.one_is_settled();
                    break;
                }
                Err((answer, refused)) => self.refuse(answer, refused),
            }
        }
        batch.one_is_settled();
        answer
    }
}
