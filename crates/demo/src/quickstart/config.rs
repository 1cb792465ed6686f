//! What the parts of the quickstart have to know of the command line, and how a log is set up from it.

use std::path::Path;
use std::time::Duration;

use actix_wal::{FaultPolicy, FlushPolicy, WalConfig};

/// The settings of one run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Concurrent clients.
    pub clients: u64,
    /// Bytes of a payload.
    pub size: usize,
    /// How long part one lasts.
    pub time: Duration,
    /// How often part two kills.
    pub kills: u64,
    /// When batches are flushed.
    pub policy: FlushPolicy,
    /// What becomes of unacknowledged records at a fault.
    pub on_fault: FaultPolicy,
}

impl Settings {
    /// A log in this directory.
    pub fn config(&self, directory: &Path) -> WalConfig {
        let mut config = WalConfig::new(directory);
        config.flush_policy = self.policy;
        config.fault_policy = self.on_fault;
        config
    }

    /// The name of what happens at a fault, as on the command line.
    pub fn on_fault_name(&self) -> &'static str {
        match self.on_fault {
            FaultPolicy::Resend => "resend",
            FaultPolicy::FailFast => "failfast",
        }
    }

    /// What a child has to be told of them on its command line.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            format!("--clients={}", self.clients),
            format!("--size={}", self.size),
            format!("--policy={}", self.policy.name()),
            format!("--on-fault={}", self.on_fault_name()),
        ]
    }
}
