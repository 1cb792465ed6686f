//! A counter for each key in a program of plain threads: no actix, no runtime. It is rebuilt from the log when it is
//! opened, and every change is durable before it is seen.
//!
//! ```text
//! cargo run --example plain_threads
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use actix_wal::messages::Replay;
use actix_wal::{Lsn, Wal, WalConfig};

/// How often each key was counted.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<Vec<u8>, u64>>>);

impl Counts {
    fn count(&self, key: &[u8]) -> u64 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.to_vec()).or_default();
        *count += 1;
        *count
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let counts = Counts::default();
    let rebuilt = counts.clone();
    // The function is called with each batch of records, before anything can be appended.
    let replay = move |replay: Replay| {
        replay.records.iter().for_each(|(_, key)| {
            rebuilt.count(key);
        });
        Ok(())
    };
    // The log has a thread of its own.
    let wal = Wal::open(WalConfig::new("target/plain-threads-wal")).replay_with(None, replay);
    let wal = wal.blocking()?;
    println!("{} changes from earlier runs", wal.recovery_report().records);

    thread::scope(|scope| {
        for key in ["apples", "pears", "plums"] {
            let (wal, counts) = (&wal, &counts);
            scope.spawn(move || {
                for _ in 0..100 {
                    if let Err(error) = wal.commit_blocking(key) {
                        return eprintln!("{key}: {error}");
                    }
                    counts.count(key.as_bytes());
                }
            });
        }
    });

    let logged = wal.read_blocking(Lsn::FIRST)?.collect::<Result<Vec<_>, _>>()?;
    let counted: u64 = counts.0.lock().map_err(|_| "a thread panicked")?.values().sum();
    println!("{counted} changes counted, {} in the log", logged.len());
    assert_eq!(counted, logged.len() as u64);
    wal.close_blocking()?; // the thread of the log has ended, and the directory is free
    Ok(())
}
