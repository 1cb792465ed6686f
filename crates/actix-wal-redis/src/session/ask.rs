//! What needs the server: it has its turn when all before it is answered, and may wait.

use std::time::Duration;

use actix_wal::Durability;
use actix_wal_txn::messages::{Execute, GetUsage};

use super::{Session, config, failure, info};
use crate::resp::{Reply, Request, number};
use crate::server::Server;

/// What a command asks of the server.
#[derive(Debug)]
pub enum Ask {
    /// `INFO`: these sections.
    Info(Vec<&'static str>),
    /// `WAITAOF`: until all that was put in before is durable.
    WaitAof {
        /// Whether it waits for the log here.
        is_local: bool,
        /// How many replicas it waits for; there are none.
        replicas: i64,
        /// For so long at most. `None`: for as long as it takes.
        timeout: Option<Duration>,
    },
    /// `SHUTDOWN`.
    Shutdown,
    /// `CONFIG SET`, with all of its values.
    Configure(Request),
}

fn syntax() -> Reply {
    Reply::err("syntax error")
}

/// As Redis 7.2 reads it.
pub(super) fn wait_aof(request: &Request) -> Result<Ask, Reply> {
    let integer = |at| {
        number(request.part(at))
            .ok_or_else(|| Reply::err("value is not an integer or out of range"))
    };
    let is_local = match integer(1)? {
        0 => false,
        1 => true,
        _ => return Err(Reply::err("value is out of range, value must between 0 and 1")),
    };
    let replicas = integer(2)?;
    if replicas < 0 {
        return Err(Reply::err("value is out of range, must be positive"));
    }
    let timeout = number(request.part(3))
        .ok_or_else(|| Reply::err("timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| Reply::err("timeout is negative"))?;
    let timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
    Ok(Ask::WaitAof { is_local, replicas, timeout })
}

/// The log is synced at each end, so that the options make no difference; and an end is not called off.
pub(super) fn shutdown(request: &Request) -> Result<Ask, Reply> {
    let is_one = |option: &[u8]| {
        let known = ["NOSAVE", "SAVE", "NOW", "FORCE", "ABORT"];
        known.iter().any(|word| option.eq_ignore_ascii_case(word.as_bytes()))
    };
    let has = |word: &[u8]| request.parts_from(1).any(|option| option.eq_ignore_ascii_case(word));
    let is_abort = has(b"ABORT");
    let others = request.parts_from(1).any(|option| !option.eq_ignore_ascii_case(b"ABORT"));
    if !request.parts_from(1).all(is_one)
        || (is_abort && others)
        || (has(b"SAVE") && has(b"NOSAVE"))
    {
        return Err(syntax());
    }
    if is_abort { Err(Reply::err("No shutdown in progress.")) } else { Ok(Ask::Shutdown) }
}

impl Session {
    /// The answer to what a command asks of the server. `None`: there is none.
    pub async fn ask(&mut self, ask: Ask, server: &Server) -> Option<Reply> {
        let reply = self.carry_out_ask(ask, server).await?;
        self.wanted(reply)
    }

    pub(super) async fn carry_out_ask(&mut self, ask: Ask, server: &Server) -> Option<Reply> {
        match ask {
            Ask::Info(sections) => Some(info::info(&sections, server).await),
            Ask::WaitAof { is_local, replicas, timeout } => {
                server.counters.blocked.set(server.counters.blocked.get() + 1);
                let _blocked = Blocked(server);
                let waited = wait(is_local, replicas, timeout, server).await;
                if is_local && self.has_lost(server).await {
                    return Some(Reply::err(LOST));
                }
                Some(waited)
            }
            Ask::Shutdown => {
                server.stop.cancel();
                self.is_closing = true;
                None
            }
            Ask::Configure(request) => Some(configure(&request, server)),
        }
    }
}

const LOST: &str = "changes that were answered before they were durable are lost, perhaps some of this client: \
    read what there is";

impl Session {
    /// Whether something has been lost since this client asked last that was answered before it was durable. A client that has
    /// never asked gets all since the start: it may be warned for nothing.
    async fn has_lost(&mut self, server: &Server) -> bool {
        let usage = server.coordinator.send(GetUsage).await;
        let lost = usage.map_or(self.lost, |usage| usage.lost);
        std::mem::replace(&mut self.lost, lost) != lost
    }
}

/// One client more that waits, until this is dropped: a client may go away meanwhile.
struct Blocked<'s>(&'s Server);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        let blocked = &self.0.counters.blocked;
        blocked.set(blocked.get().saturating_sub(1));
    }
}

async fn wait(is_local: bool, replicas: i64, timeout: Option<Duration>, server: &Server) -> Reply {
    let wait = async {
        if is_local {
            let mut all = Execute::new(|latest| {
                latest.see_all();
                Ok(())
            });
            all.durability = Durability::Synchronous;
            match server.coordinator.send(all).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(failure::reply(&error, false)),
                Err(_) => return Err(gone()),
            }
        }
        Ok(())
    };
    let acknowledged = |here: bool| Reply::Array(vec![Reply::flag(here), Reply::Integer(0)]);
    let begun = tokio::time::Instant::now();
    let done = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, wait).await,
        None => Ok(wait.await),
    };
    match done {
        Err(_) => return acknowledged(false),
        Ok(Err(error)) => return error,
        Ok(Ok(())) => {}
    }
    if replicas > 0 {
        // There are none, so nothing but the time ends it, or the server.
        match timeout {
            Some(timeout) => tokio::select! {
                () = tokio::time::sleep_until(begun + timeout) => {}
                () = server.stop.cancelled() => {}
            },
            None => server.stop.cancelled().await,
        }
    }
    acknowledged(is_local)
}

fn gone() -> Reply {
    Reply::err("the server ends, and what is durable is not known here")
}

/// Another client's commands must see all of it or nothing, and those of this one that came before must see nothing of it.
fn configure(request: &Request, server: &Server) -> Reply {
    let after = match config::set(request, &server.settings.borrow()) {
        Ok(after) => after,
        Err(error) => return error,
    };
    server.host.apply(after.max_value, after.max_memory);
    server.settings.replace(after);
    Reply::OK
}
