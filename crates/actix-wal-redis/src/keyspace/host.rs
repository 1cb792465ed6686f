//! What commands know beside the data. Nothing of it is durable, and nothing of it decides what the data are.

/// Shared by all connections. Commands run on the thread of the coordinator; its locks are held for moments, by one at a time.
#[derive(Debug, Default)]
pub struct Host {}
