//! Without the feature `metrics`: values of no size, and functions that do nothing.

use std::sync::Arc;

use crate::config::WalConfig;
use crate::engine::recovery::RecoveryReport;
use crate::engine::state::shared::Shared;
use crate::error::OpenError;

/// Publishes nothing.
#[derive(Debug)]
pub(crate) struct Publisher;

impl Publisher {
    #[inline]
    pub(crate) fn new(_: &WalConfig, _: &Arc<Shared>, _: &RecoveryReport) -> Self {
        Publisher
    }

    #[inline]
    pub(crate) fn publish(&self, _: &Shared) {}

    #[inline]
    pub(crate) fn run_in_background(&self, _: &Arc<Shared>) {}
}

#[inline]
pub(crate) fn note_refused_open(_: &WalConfig, _: &Shared, _: &OpenError) {}
