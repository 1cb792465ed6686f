//! Without the feature `metrics`: values of no size, and methods that do nothing. They have braces, for a linter
//! takes unit structs and unit values for mistakes. The file `on.rs` says what each is for.

#![allow(missing_docs)]

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Fated, FlushCause, Refused};
use crate::engine::intake::entry::{Entry, Tally};
use crate::engine::write::batcher::Pending;
use crate::error::{Cause, IoFault};
use crate::lsn::Lsn;
use crate::runtime::clock::{Clock, Tick};
use crate::storage::Storage;

#[derive(Debug, Default)]
pub struct Meter {}

impl Meter {
    #[inline]
    pub fn handed_over(&self, _: Option<Tick>, _: usize) {}

    #[inline]
    pub fn refused(&self, _: impl FnOnce() -> Refused, _: u64) {}

    #[inline]
    pub fn begin(&self, _: &dyn Clock) -> Waiting {
        Waiting {}
    }

    #[inline]
    pub fn admitted(&self, _: Waiting, _: &dyn Clock) {}

    #[inline]
    pub fn settled(&self, _: Modes, _: usize, _: Fated) {}

    #[inline]
    pub fn flushed(&self, _: FlushCause) {}

    #[inline]
    pub fn io_fault(&self, _: impl FnOnce() -> IoFault) {}

    #[inline]
    pub fn io_error(&self, _: &Cause) {}

    #[inline]
    pub fn announced(&self, _: Lsn, _: &dyn Clock) {}

    #[inline]
    pub fn subscribers(&self, _: impl FnOnce() -> u64) {}

    #[inline]
    pub fn prepared(&self, _: impl FnOnce() -> usize) {}

    #[inline]
    pub fn state_changed(&self) {}

    #[inline]
    pub fn attach(&self, _: &Arc<dyn Storage>) {}

    #[inline]
    pub fn detach(&self) {}
}

#[derive(Debug)]
pub struct Waiting {}

#[derive(Clone, Copy, Debug)]
pub struct Modes {}

impl Modes {
    #[inline]
    pub(crate) fn of(_: &[Entry]) -> Self {
        Modes {}
    }
}

#[derive(Debug, Default)]
pub struct BatchMeter {}

impl BatchMeter {
    #[inline]
    pub fn saw(&self, _: &Meter, _: &Pending, _: Tick) {}

    #[inline]
    pub fn left(&self, _: &Meter, _: Option<Tick>) {}

    #[inline]
    pub fn decided(&self, _: impl FnOnce() -> FlushCause) {}

    #[inline]
    pub fn awaits_segment(&self) {}

    #[inline]
    pub fn rotated(&self, _: &Meter) {}

    #[inline]
    pub(crate) fn complete(&self, _: &Meter, _: &[Entry], _: Tally, _: Tick, _: &LapTimes) {}
}

#[derive(Debug)]
pub struct LapTimes {}

impl LapTimes {
    #[inline]
    pub fn of(_: &Arc<dyn Clock>) -> Self {
        LapTimes {}
    }

    #[inline]
    pub fn laps(&self) -> Laps<'_> {
        Laps(PhantomData)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Laps<'a>(PhantomData<&'a ()>);

impl Laps<'_> {
    #[inline]
    pub fn written(self) {}

    #[inline]
    pub fn synced(self) {}
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {}

impl Delivered {
    #[inline]
    pub fn through(_: Lsn) -> Self {
        Delivered {}
    }

    #[inline]
    pub fn raise(&mut self, _: Delivered) {}

    #[inline]
    pub fn behind(self, _: Lsn) -> u64 {
        0
    }
}

#[derive(Debug, Default)]
pub struct IoErrors {}

impl IoErrors {
    #[inline]
    pub fn count(&self, _: impl FnOnce() -> IoFault) {}
}
