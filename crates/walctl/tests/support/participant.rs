//! A log with transactions of a coordinator that is elsewhere.

use std::path::Path;

use actix_wal::{Wal, WalConfig};
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::store::{Reads, Write};
use actix_wal_txn::two_phase::{Branch, GlobalId, Outcome};

/// A log of a participant: one transaction is in doubt, and of two an operator has decided one against its coordinator.
pub(crate) fn participant_log(directory: &Path) {
    let mut config = WalConfig::new(directory);
    config.segment_size = 1 << 20;
    let wal = Wal::open(config).blocking().expect("opens");
    let log = actix_wal::LogId(*b"coordinators log");
    let id = |number| GlobalId { log, epoch: 1, number };
    let write = |key: &'static str, value: Option<&'static str>| Write {
        key: key.into(),
        value: value.map(Into::into),
    };
    let prepare = |number, writes| TxnRecord::Prepare {
        branch: Branch {
            id: id(number),
            coordinator: "bank-a".into(),
            participant: "bank-b".into(),
        },
        at: 1_700_000_000_000,
        writes,
        reads: Reads::default(),
    };
    let (committed, aborted) = (Outcome::Committed, Outcome::Aborted);
    for record in [
        prepare(1, vec![write("alice", Some("10"))]),
        prepare(2, vec![write("bob", Some("20")), write("old", None)]),
        prepare(3, vec![write("carol", Some("30"))]),
        TxnRecord::Completed { id: id(1), outcome: committed },
        TxnRecord::Heuristic { id: id(3), outcome: aborted },
        TxnRecord::Compared { id: id(3), decided: committed },
    ] {
        wal.commit_blocking(record.encode().expect("encodes")).expect("durable");
    }
    wal.close_blocking().expect("closes");
}
