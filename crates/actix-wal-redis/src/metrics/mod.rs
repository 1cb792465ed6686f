//! What operators see: the metrics of the log, of its transactions and of this server; and whether the server is alive
//! and ready.
//!
//! * [`TABLE`] lists the metrics `txn_*` and `redis_*`; those of the log are in [`actix_wal::metrics::TABLE`].
//! * [`Endpoint`] answers `/metrics`, `/healthz` and `/readyz` on a thread of its own: a scrape takes no time of the
//!   thread that serves clients.
//! * [`Readiness`] is what the two threads share.
//!
//! The thread of the server publishes its own figures once a second. The log publishes by itself, and once more for each
//! scrape.

mod endpoint;
mod publish;
mod readiness;
mod recorder;
mod table;

use actix_wal::metrics::{Kind, Unit};

pub use self::endpoint::Endpoint;
pub(crate) use self::publish::Publisher;
pub use self::readiness::Readiness;
pub use self::recorder::Exporter;
pub use self::table::TABLE;

/// What the log is called in the label `log`: a server has one.
pub const LOG: &str = "redis";

/// A row of the [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is to a recorder.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Its labels, each with its values; that of `log` is [`LOG`].
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// What it says.
    pub meaning: &'static str,
    /// What it is in a server that works as it should.
    pub normal: &'static str,
    /// The alerts that use it.
    pub alerts: &'static [&'static str],
}
