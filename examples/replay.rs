//! A key-value map that lives in memory and comes back from the log: typed records, replay with progress.
//!
//! ```text
//! cargo run --example replay
//! ```

use std::collections::BTreeMap;
use std::error::Error;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult};
use actix_wal::codec::{Bincode, Codec};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::{Lsn, Wal, WalConfig};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// What a record says.
#[derive(Serialize, Deserialize)]
enum Change {
    Put { key: String, value: u64 },
    Delete { key: String },
}

/// The host: rebuilds its map from the records that Recovery sends, one batch after the other.
struct Host {
    map: BTreeMap<String, u64>,
    records: u64,
    bar: ProgressBar,
}

impl Host {
    fn new() -> Host {
        // Draws nothing where there is no terminal.
        let bar = ProgressBar::new(0).with_message("replay");
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Host { map: BTreeMap::new(), records: 0, bar }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put { key, value } => drop(self.map.insert(key, value)),
            Change::Delete { key } => drop(self.map.remove(&key)),
        }
    }
}

impl Actor for Host {
    type Context = Context<Self>;
}

impl Handler<Replay> for Host {
    type Result = Result<(), ReplayRefused>;

    fn handle(&mut self, replay: Replay, _: &mut Self::Context) -> Self::Result {
        self.bar.set_length(replay.progress.total);
        self.bar.set_position(replay.progress.done);
        for (lsn, payload) in replay.records.iter() {
            let change = Bincode.decode(payload);
            self.apply(change.map_err(|error| ReplayRefused(format!("LSN {lsn}: {error}")))?);
            self.records += 1;
        }
        Ok(())
    }
}

/// The map as it stands, and from how many records.
struct State;

impl Message for State {
    type Result = (u64, BTreeMap<String, u64>);
}

impl Handler<State> for Host {
    type Result = MessageResult<State>;

    fn handle(&mut self, _: State, _: &mut Self::Context) -> Self::Result {
        self.bar.finish_and_clear();
        MessageResult((self.records, self.map.clone()))
    }
}

/// Opens the log; the host has everything when this returns.
async fn open() -> Result<(Wal, Addr<Host>), Box<dyn Error>> {
    let host = Host::new().start();
    let replay = host.clone().recipient();
    let wal = Wal::open(WalConfig::new("target/replay-wal")).replay_to(replay, None).await?;
    Ok((wal, host))
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (wal, host) = open().await?;
    let (records, before) = host.send(State).await?;
    println!("first open:  {} keys out of {records} records: {before:?}", before.len());

    let runs = before.get("runs").copied().unwrap_or_default() + 1;
    let changes = [
        Change::Put { key: "runs".into(), value: runs },
        Change::Put { key: format!("run {runs}"), value: runs * runs },
        Change::Delete { key: format!("run {}", runs.saturating_sub(3)) },
    ];
    let mut last = Lsn::NONE;
    for change in &changes {
        last = wal.append_record(change).await?;
    }
    wal.wait_for_lsn(last).await?; // in order, so the last one vouches for all
    wal.close().await?;

    let (wal, host) = open().await?;
    let (records, after) = host.send(State).await?;
    println!("second open: {} keys out of {records} records: {after:?}", after.len());
    assert_eq!(after.get("runs"), Some(&runs), "what was durable is there");
    wal.close().await?;
    Ok(())
}
