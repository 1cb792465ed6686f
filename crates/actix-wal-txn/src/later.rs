//! Answers that are given later, and cost no future and no task each: there may be thousands on their way.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};

enum State<R> {
    /// Neither the answer is there, nor the way to the client.
    Open,
    /// The client waits.
    Asked(OneshotSender<R>),
    /// The answer waits for the way to the client.
    Given(R),
    /// The client has it, or wants none.
    Done,
}

/// What a handler of this crate returns: the answer, as soon as it may be given.
pub struct Later<R>(Rc<Cell<State<R>>>);

impl<R> fmt::Debug for Later<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

impl<R> Later<R> {
    pub(crate) fn now(answer: R) -> Self {
        Later(Rc::new(Cell::new(State::Given(answer))))
    }

    /// One for later, and what gives it. If nobody does, because the actor is gone, it is `gone`.
    pub(crate) fn new<G: FnOnce() -> R>(gone: G) -> (Reply<R, G>, Self) {
        let state = Rc::new(Cell::new(State::Open));
        (Reply { state: Rc::clone(&state), gone: Some(gone) }, Later(state))
    }
}

/// Gives an answer, once.
pub(crate) struct Reply<R, G: FnOnce() -> R = fn() -> R> {
    state: Rc<Cell<State<R>>>,
    /// None once it is given.
    gone: Option<G>,
}

impl<R, G: FnOnce() -> R> Reply<R, G> {
    pub(crate) fn give(mut self, answer: R) {
        self.gone = None;
        self.set(answer);
    }

    fn set(&self, answer: R) {
        let next = match self.state.replace(State::Done) {
            State::Open => State::Given(answer),
            State::Asked(client) => {
                // A client that is gone needs no answer.
                drop(client.send(answer));
                State::Done
            }
            other => other,
        };
        self.state.set(next);
    }
}

impl<R, G: FnOnce() -> R> Drop for Reply<R, G> {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            self.set(gone());
        }
    }
}

impl<R, G: FnOnce() -> R> fmt::Debug for Reply<R, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl<A, M> MessageResponse<A, M> for Later<M::Result>
where
    A: Actor,
    M: Message,
{
    fn handle(self, _: &mut A::Context, client: Option<OneshotSender<M::Result>>) {
        match (self.0.replace(State::Done), client) {
            (State::Given(answer), Some(client)) => drop(client.send(answer)),
            (State::Open, Some(client)) => self.0.set(State::Asked(client)),
            // It was sent by one who wants no answer.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::{Context, Handler, MailboxError};

    use super::*;

    /// Keeps what it has to answer until it is asked for.
    #[derive(Default)]
    struct Keeper(Vec<Reply<u32>>);

    impl Actor for Keeper {
        type Context = Context<Self>;
    }

    #[derive(Clone, Copy)]
    enum Order {
        Keep,
        Now(u32),
        Give(u32),
        Drop,
    }

    impl Message for Order {
        type Result = u32;
    }

    impl Handler<Order> for Keeper {
        type Result = Later<u32>;

        fn handle(&mut self, order: Order, _: &mut Self::Context) -> Later<u32> {
            match order {
                Order::Keep => {
                    let (reply, later) = Later::new((|| 0) as fn() -> u32);
                    self.0.push(reply);
                    return later;
                }
                Order::Give(answer) => self.0.drain(..).for_each(|reply| reply.give(answer)),
                Order::Drop => self.0.clear(),
                Order::Now(answer) => {
                    // Before there is a way to the client.
                    let (reply, later) = Later::new(|| 0);
                    reply.give(answer);
                    return later;
                }
            }
            Later::now(100)
        }
    }

    #[actix::test]
    async fn an_answer_is_given_once_whenever_that_is_and_a_lost_one_says_so()
    -> Result<(), MailboxError> {
        let keeper = Keeper::default().start();
        for (order, expected) in [(Order::Give(7), 7), (Order::Drop, 0)] {
            // They are in the mailbox before the order comes.
            let (first, second) = (keeper.send(Order::Keep), keeper.send(Order::Keep));
            drop(keeper.send(Order::Keep));
            keeper.do_send(Order::Keep);
            assert_eq!(keeper.send(order).await?, 100);
            assert_eq!((first.await?, second.await?), (expected, expected));
        }
        assert_eq!(keeper.send(Order::Now(5)).await?, 5);
        Ok(())
    }
}
