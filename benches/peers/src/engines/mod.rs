//! The engines, each in a file that shows its settings and one commit.

pub mod actix_coordinator;
pub mod actix_wal;
pub mod bare;
mod fjall;
mod leader_follower;
mod okaywal;
mod raft_engine;
mod sqlite;
mod wal_db;
mod writeahead;

use std::path::Path;

use crate::error::EngineError;
use crate::load::Load;
use crate::meter::Measured;

/// Something that makes records durable.
pub trait Engine: Sync {
    /// Its name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// How it gets on with so many committers, in a new directory of its own.
    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError>;
}

/// All of them, in the order of reports.
pub static ENGINES: &[&dyn Engine] = &[
    &bare::Bare,
    &leader_follower::LeaderFollower,
    &raft_engine::Raft,
    &okaywal::Okaywal,
    &writeahead::Writeahead,
    &wal_db::WalDb,
    &fjall::Fjall,
    &sqlite::Sqlite,
    &actix_wal::Futures,
    &actix_coordinator::Coordinators { name: "actix-wal-coordinator", actors: 1 },
    &actix_coordinator::Coordinators { name: "actix-wal-coordinators-16", actors: 16 },
    &actix_wal::Threads,
];

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENGINES.iter().map(|engine| engine.name())
}

/// The engine of this name.
pub fn find(name: &str) -> Option<&'static dyn Engine> {
    ENGINES.iter().copied().find(|engine| engine.name() == name)
}
