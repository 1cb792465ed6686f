//! One client: its database, its password, its transaction.
//!
//! A plain type without a socket. [`Session::take`] decides what becomes of a request: it is answered at once, or is a
//! [`Transaction`] for the coordinator, or has to wait for its turn. The order of answers is the business of the connection.

mod ask;
mod client;
mod command;
mod config;
mod connection;
mod failure;
mod info;
mod library;
mod memory;
mod multi;
mod replies;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

pub use self::ask::Ask;
pub(crate) use self::memory::parse as memory;
use self::multi::{Multi, Part};
use self::replies::Replies;
use self::transaction::Call;
pub(crate) use self::transaction::now;
pub use self::transaction::{Outcome, Output, Transaction};
use crate::commands::{Called, check};
use crate::keyspace::Watch;
use crate::resp::{Limits, Protocol, Reply, Request};
use crate::server::{Client, Registered, Server};

/// One client.
#[derive(Debug)]
pub struct Session {
    client: Registered,
    database: usize,
    protocol: Protocol,
    is_authenticated: bool,
    /// Between `MULTI` and `EXEC`.
    multi: Option<Multi>,
    /// The commands of the `EXEC` that is running, if it is not for the coordinator alone.
    executing: Vec<Part>,
    watched: HashMap<(usize, Bytes), Arc<Watch>>,
    /// A `WATCH` has failed: the next `EXEC` must not trust it.
    watch_failed: bool,
    replies: Replies,
    is_exec: bool,
    is_closing: bool,
    /// How many answered commits the coordinator had lost when this client asked last.
    lost: u64,
}

/// What a request becomes.
#[derive(Debug)]
pub enum Step {
    /// It is answered here. The answer takes its place among the others.
    Reply(Reply),
    /// It runs in the coordinator, together with others of its batch. [`Form::answer`] makes the answer.
    Transaction(Transaction),
    /// The same, but all before it must be answered first, and nothing after it be taken before it.
    /// [`Session::settle`] makes the answer.
    Alone(Transaction),
    /// [`Session::ask`] answers it, when all before it is answered. Nothing after it may be taken before.
    Ask(Ask),
    /// It has been carried out, and the client wants no answer.
    Nothing,
    /// It is answered here, if at all, and the client is disconnected behind that.
    Close(Option<Reply>),
}

/// How the answer to a request is given: later requests may change that for those behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// What the client speaks.
    pub protocol: Protocol,
    /// The client wants no answer to this request.
    pub is_muted: bool,
    is_exec: bool,
}

impl Form {
    /// The answer for what has become of a [`Step::Transaction`]. `None`: the client wants none.
    pub fn answer(self, done: Outcome) -> Option<Reply> {
        let reply = self.reply(done);
        (!self.is_muted).then_some(reply)
    }

    fn reply(self, done: Outcome) -> Reply {
        match done {
            Ok(Output::Reply(reply)) => reply,
            Ok(Output::Replies(replies)) => Reply::Array(replies),
            Ok(Output::NotExecuted) => Reply::NullArray,
            Ok(Output::Watching(_)) => Reply::OK,
            Err(error) => failure::reply(&error, self.is_exec),
        }
    }
}

/// What a command about the client or the server becomes.
enum Here {
    Reply(Reply),
    Ask(Ask),
}

impl From<Reply> for Here {
    fn from(reply: Reply) -> Self {
        Here::Reply(reply)
    }
}

impl From<Result<Reply, Reply>> for Here {
    fn from(reply: Result<Reply, Reply>) -> Self {
        Here::Reply(reply.unwrap_or_else(|error| error))
    }
}

impl Session {
    /// A client has come from this address to that one.
    ///
    /// # Errors
    /// There are as many as may be: it is told so and disconnected.
    pub fn begin(server: &Server, address: SocketAddr, local: SocketAddr) -> Result<Self, Reply> {
        server.counters.connections.add(1);
        if server.clients.len() >= server.settings.borrow().max_clients {
            server.counters.rejected.add(1);
            return Err(Reply::err("max number of clients reached"));
        }
        Ok(Session {
            client: server.clients.register(address, local),
            database: 0,
            protocol: Protocol::default(),
            is_authenticated: needs_no_password(server),
            multi: None,
            executing: Vec::new(),
            watched: HashMap::new(),
            watch_failed: false,
            replies: Replies::default(),
            is_exec: false,
            is_closing: false,
            lost: 0,
        })
    }

    /// The client has sent so many bytes.
    pub fn has_read(&self, bytes: usize, server: &Server) {
        self.client.active.set(Instant::now());
        server.counters.input.add(bytes as u64);
    }

    /// All that the client has sent is answered.
    pub fn is_answered(&self) {
        self.client.is_served.set(false);
        self.client.active.set(Instant::now());
    }

    /// Cancelled when another client disconnects this one.
    pub fn killed(&self) -> CancellationToken {
        self.client.killed.clone()
    }

    /// What other clients may know of it.
    pub fn client(&self) -> &Rc<Client> {
        &self.client
    }

    /// What the next request may have.
    pub fn limits(&self, server: &Server) -> Limits {
        if !self.is_authenticated {
            return Limits::STRANGER;
        }
        let settings = server.settings.borrow();
        // The lengths of a request are 32 bits wide.
        let request = settings.max_query.min(u32::MAX as usize);
        Limits {
            arguments: i32::MAX as usize,
            bulk: settings.max_value,
            request,
            is_stranger: false,
        }
    }

    /// What the client speaks now. The answer to a request is written in what it speaks when the request has been
    /// [taken](Self::take), [settled](Self::settle) or [asked](Self::ask).
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How the answer to the request is given that was taken last.
    pub fn form(&self) -> Form {
        let (protocol, is_exec) = (self.protocol, self.is_exec);
        Form { protocol, is_muted: self.replies.is_muted(), is_exec }
    }

    /// The client has sent what is no request: it is to be disconnected.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether the client is to be disconnected behind the answer.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    fn wanted(&self, reply: Reply) -> Option<Reply> {
        (!self.replies.is_muted()).then_some(reply)
    }

    /// What becomes of a request.
    pub fn take(&mut self, request: Request, server: &Server) -> Step {
        match self.step(request, server) {
            Step::Reply(_) if self.replies.is_muted() => Step::Nothing,
            Step::Close(reply) => Step::Close(reply.and_then(|reply| self.wanted(reply))),
            step => step,
        }
    }

    fn step(&mut self, request: Request, server: &Server) -> Step {
        server.counters.commands.add(1);
        self.replies.next();
        self.is_exec = false;
        let called = match check(&request) {
            Ok(called) => called,
            Err(error) => return Step::Reply(self.reject(request.part(0), error)),
        };
        self.client.command.set(called.name());
        if let Err(error) = self.allows(called) {
            return Step::Reply(self.reject(request.part(0), error));
        }
        match called.command.name {
            "multi" => Step::Reply(self.begin_multi()),
            "exec" => self.exec(server),
            "discard" => Step::Reply(self.discard()),
            "watch" => self.watch(request, server),
            "quit" => self.close_with(Reply::OK),
            "reset" => Step::Reply(self.reset(server)),
            _ if self.multi.is_some() => Step::Reply(self.queue(called, request, server)),
            _ => match called.command.run {
                Some(run) => {
                    let (command, database) = (called.command, self.database);
                    let call = Call { command, run, database, request };
                    Step::Transaction(Transaction::one(&server.host, call))
                }
                None => match self.here(called, &request, server) {
                    Here::Reply(reply) if self.is_closing => Step::Close(Some(reply)),
                    Here::Reply(reply) => Step::Reply(reply),
                    Here::Ask(ask) => Step::Ask(ask),
                },
            },
        }
    }

    fn close_with(&mut self, reply: Reply) -> Step {
        self.close();
        Step::Close(Some(reply))
    }

    /// Whether the client may call the command now. The order is Redis's.
    fn allows(&self, called: Called) -> Result<(), Reply> {
        let has = |flag| called.command.flags.split(' ').any(|of| of == flag);
        if called.command.name == "debug" {
            return Err(Reply::Error(NO_DEBUG.into()));
        }
        if !self.is_authenticated && !has("no_auth") {
            return Err(Reply::Error("NOAUTH Authentication required.".into()));
        }
        if self.multi.is_some() && has("no_multi") {
            return Err(Reply::err("Command not allowed inside a transaction"));
        }
        Ok(())
    }

    /// Carries out a command about the client or the server.
    fn here(&mut self, called: Called, request: &Request, server: &Server) -> Here {
        match called.command.name {
            "ping" => connection::ping(request).into(),
            "echo" => connection::bulk(request.part(1)).into(),
            "select" => self.select(request).into(),
            "hello" => self.hello(request, server).into(),
            "auth" => self.auth(request, server).into(),
            "time" => connection::time().into(),
            "unwatch" => self.unwatch().into(),
            "client" => self.about_clients(called.word(), request, server).into(),
            "command" => command::command(called, request).into(),
            "config" => config::config(called.word(), request, server),
            "function" => library::function(called.word(), request).into(),
            "info" => Here::Ask(Ask::Info(info::sections(request))),
            "waitaof" => ask::wait_aof(request).map_or_else(Here::Reply, Here::Ask),
            "shutdown" => ask::shutdown(request).map_or_else(Here::Reply, Here::Ask),
            // All commands of the table stand above; `debug` is refused before.
            other => Reply::err(format_args!("'{other}' is not carried out here")).into(),
        }
    }
}

const NO_DEBUG: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
    from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";

fn needs_no_password(server: &Server) -> bool {
    server.settings.borrow().password.is_empty()
}
