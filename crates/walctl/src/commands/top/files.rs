//! What `top` shows of a directory: how its files grow.

use std::time::Duration;

use actix_wal::inspect::{Outline, Overview};

use crate::output::Failure;
use crate::place::Place;
use crate::words;

/// One look at the files of a log.
pub(super) struct Look {
    name: String,
    owner: Option<String>,
    overview: Overview,
}

impl Look {
    pub(super) fn at(place: &Place) -> Result<Self, Failure> {
        let overview = place.files.overview().map_err(Failure::refused)?;
        let owner = place.files.owner().map(crate::commands::owner);
        Ok(Look { name: place.log.display().to_string(), owner, overview })
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// The frames of the newest segment, and its number.
    fn newest(&self) -> Option<(u64, Outline)> {
        let mut started = self.overview.segments.iter().rev();
        started.find_map(|segment| Some((segment.sequence, segment.started()?.outline?)))
    }
}

/// A log between two looks.
pub(super) struct FileSpan<'a> {
    pub(super) before: &'a Look,
    pub(super) now: &'a Look,
    pub(super) time: Duration,
}

impl FileSpan<'_> {
    pub(super) fn lines(&self) -> Vec<String> {
        let (before, now) = (&self.before.overview, &self.now.overview);
        let owner = self.now.owner.as_deref().unwrap_or("nobody has it open");
        let (last, released, epoch) = (now.last_lsn, now.low_water, now.epoch);
        let records = last.get().saturating_sub(before.last_lsn.get());
        let rate = |count: u64| count as f64 / self.time.as_secs_f64();
        let live = words::bytes(now.live_bytes());
        let free = now.free_bytes.map_or_else(|| "unknown".to_owned(), words::bytes);
        let count = now.segments.len();
        vec![
            format!("{}  {owner}  epoch {epoch}", self.now.name),
            format!("{:.0} LSNs/s  {}", rate(records), self.frames()),
            format!("LSN {last} last  {released} released"),
            format!("{count} segments, {live} live  {free} free"),
        ]
    }

    fn frames(&self) -> String {
        match (self.before.newest(), self.now.newest()) {
            (Some((one, before)), Some((other, now))) if one == other => {
                let seconds = self.time.as_secs_f64();
                let frames = now.frames.saturating_sub(before.frames);
                let bytes = now.end.saturating_sub(before.end) as f64 / seconds;
                let bytes = words::bytes(bytes as u64);
                format!("{:.0} frames/s  {bytes}/s", frames as f64 / seconds)
            }
            _ => "in another segment than before".to_owned(),
        }
    }
}
