//! `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`.

use std::mem;

use super::transaction::{Call, Outcome, Output, Transaction};
use super::{Here, Session, Step, failure};
use crate::commands::Called;
use crate::resp::{Reply, Request};
use crate::server::Server;

/// The commands that wait for an `EXEC`.
#[derive(Debug, Default)]
pub(super) struct Multi {
    queue: Vec<(Called, Request)>,
    /// What they take, in bytes.
    bytes: usize,
    /// One of them was refused, so all are.
    is_refused: bool,
}

/// A command of an `EXEC` that is not for the coordinator alone.
#[derive(Debug)]
pub(super) enum Part {
    /// The coordinator gives its reply.
    Data,
    /// It is carried out here, when the data are durable.
    Here(Called, Request),
}

/// So many keys one client may watch: its `EXEC` looks at all of them.
const WATCHED: usize = 50_000;

/// What a command costs that waits, beside the bytes of its arguments.
const EACH: usize = size_of::<(Called, Request)>() + 64;

impl Session {
    pub(super) fn begin_multi(&mut self) -> Reply {
        if self.multi.is_some() {
            return Reply::err("MULTI calls can not be nested");
        }
        self.multi = Some(Multi::default());
        self.client.queued.set(Some(0));
        Reply::OK
    }

    pub(super) fn queue(&mut self, called: Called, request: Request, server: &Server) -> Reply {
        let most = server.settings.borrow().max_query;
        let Some(multi) = &mut self.multi else {
            return Reply::err("QUEUED without MULTI");
        };
        let bytes: usize = request.parts_from(0).map(<[u8]>::len).sum();
        multi.bytes = multi.bytes.saturating_add(bytes).saturating_add(EACH);
        if multi.bytes > most {
            // No more is kept of a transaction that can not be executed.
            multi.queue = Vec::new();
            multi.is_refused = true;
            return Reply::err("the transaction is larger than 'client-query-buffer-limit'");
        }
        if !multi.is_refused {
            // As it came it keeps all in memory that was read together with it, and only its own bytes are counted.
            multi.queue.push((called, request.detached()));
        }
        self.client.queued.set(Some(multi.queue.len()));
        Reply::Status("QUEUED")
    }

    /// A command is refused before it is carried out, and with it the transaction that it was for.
    pub(super) fn reject(&mut self, name: &[u8], error: Reply) -> Reply {
        if name.eq_ignore_ascii_case(b"exec") {
            self.end_multi();
            let Reply::Error(text) = &error else { return error };
            return failure::exec_abort(text);
        }
        if let Some(multi) = &mut self.multi {
            multi.is_refused = true;
        }
        error
    }

    pub(super) fn discard(&mut self) -> Reply {
        if self.multi.is_none() {
            return Reply::err("DISCARD without MULTI");
        }
        self.end_multi();
        Reply::OK
    }

    pub(super) fn unwatch(&mut self) -> Reply {
        self.watched.clear();
        self.watch_failed = false;
        self.client.watched.set(0);
        Reply::OK
    }

    /// Neither a transaction nor a watched key is left.
    pub(super) fn end_multi(&mut self) {
        self.multi = None;
        self.client.queued.set(None);
        self.unwatch();
    }

    pub(super) fn watch(&mut self, request: Request, server: &Server) -> Step {
        if self.multi.is_some() {
            return Step::Reply(Reply::err("WATCH inside MULTI is not allowed"));
        }
        if self.watched.len() + request.len() > WATCHED {
            self.watch_failed = true;
            let error = format_args!("more than {WATCHED} keys are watched by one client");
            return Step::Reply(Reply::err(error));
        }
        Step::Alone(Transaction::watch(&server.host, self.database, request))
    }

    pub(super) fn exec(&mut self, server: &Server) -> Step {
        let Some(Multi { queue, is_refused, .. }) = self.multi.take() else {
            return Step::Reply(Reply::err("EXEC without MULTI"));
        };
        let (watched, watch_failed) = (mem::take(&mut self.watched), self.watch_failed);
        self.end_multi();
        if is_refused {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            return Step::Reply(Reply::Error(text.into()));
        }
        if watch_failed {
            return Step::Reply(Reply::NullArray);
        }
        if queue.is_empty() && watched.is_empty() {
            return Step::Reply(Reply::Array(Vec::new()));
        }
        self.is_exec = true;
        let (calls, parts) = self.plan(queue);
        let is_alone =
            !watched.is_empty() || parts.iter().any(|part| matches!(part, Part::Here(..)));
        let watched = watched.into_values().collect();
        let transaction = Transaction::exec(&server.host, calls, watched);
        if is_alone {
            self.executing = parts;
            Step::Alone(transaction)
        } else {
            Step::Transaction(transaction)
        }
    }

    /// What the coordinator carries out, and the place of what is carried out here.
    fn plan(&self, queue: Vec<(Called, Request)>) -> (Vec<Call>, Vec<Part>) {
        let (mut calls, mut database) = (Vec::new(), self.database);
        let parts = queue.into_iter().map(|(called, request)| {
            let Some(run) = called.command.run else {
                if called.command.name == "select" {
                    // The client selects it when all has run; the commands behind it run on it.
                    database = super::connection::database(request.part(1)).unwrap_or(database);
                }
                return Part::Here(called, request);
            };
            calls.push(Call { command: called.command, run, database, request });
            Part::Data
        });
        let parts = parts.collect();
        (calls, parts)
    }

    /// What has become of a [`Step::Alone`], and its answer. `None`: the client wants none.
    pub async fn settle(&mut self, done: Outcome, server: &Server) -> Option<Reply> {
        let reply = self.settled(done, server).await;
        self.wanted(reply)
    }

    async fn settled(&mut self, done: Outcome, server: &Server) -> Reply {
        let parts = mem::take(&mut self.executing);
        match done {
            Ok(Output::Replies(replies)) if !parts.is_empty() => {
                Reply::Array(self.carry_out(parts, replies, server).await)
            }
            Ok(Output::Watching(keys)) => {
                // One that is watched already may have been changed since: that stays known.
                for watch in keys {
                    self.watched.entry(watch.place()).or_insert(watch);
                }
                self.client.watched.set(self.watched.len());
                Reply::OK
            }
            done => {
                // It was a `WATCH`: what depends on it must not be executed.
                self.watch_failed |= done.is_err() && !self.is_exec;
                self.form().reply(done)
            }
        }
    }

    /// The replies of all commands of an `EXEC`, in their order.
    async fn carry_out(
        &mut self,
        parts: Vec<Part>,
        data: Vec<Reply>,
        server: &Server,
    ) -> Vec<Reply> {
        let (mut all, mut data) = (Vec::with_capacity(parts.len()), data.into_iter());
        let before = self.replies;
        for part in parts {
            all.extend(match part {
                Part::Data => data.next(),
                Part::Here(called, request) => match self.here(called, &request, server) {
                    Here::Reply(reply) => Some(reply),
                    Here::Ask(ask) => self.carry_out_ask(ask, server).await,
                },
            });
        }
        self.replies = self.replies.answering_as(before);
        all
    }
}
