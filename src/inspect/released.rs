//! What no open reads: the segments that a checkpoint has released and that are still there. What is damaged in one is no
//! loss, and shows what the disk is worth.

use std::io::ErrorKind;

use super::LogFiles;
use super::check::{Findings, Problem};
use super::frames::damage;
use super::overview::{self, Overview, SegmentOverview, Started};
use super::walk::{SegmentWalk, Step};
use crate::engine::recovery::Progress;
use crate::error::IoFault;
use crate::format::scan::Until;
use crate::storage::Storage;

/// Adds to `findings` what is wrong in segments that are released, and counts the bytes that were read.
pub(super) fn check(
    files: &LogFiles,
    findings: &mut Findings,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), IoFault> {
    let storage = &**files.storage();
    let overview = overview::take(storage)?;
    let released = || released(&overview);
    let total = released().map(|(segment, _)| segment.file_bytes).sum();
    let (mut done, mut count) = (0, 0);
    for (segment, started) in released() {
        let problems = match problems_of(storage, segment, started) {
            // An owner may take the file at any moment of this.
            Err(fault) if fault.source.kind() == ErrorKind::NotFound => continue,
            problems => problems?,
        };
        if problems.is_empty() || is_still_there(storage, segment, started)? {
            problems.into_iter().for_each(|problem| findings.add(problem));
            findings.bytes += segment.file_bytes;
            count += 1;
        }
        done += segment.file_bytes;
        progress(Progress { done, total });
    }
    findings.released_segments = Some(count);
    findings.sort();
    Ok(())
}

/// The newest segment is read by every open.
fn released(overview: &Overview) -> impl Iterator<Item = (&SegmentOverview, &Started)> {
    let newest = overview.started().next_back().map(|(newest, _)| newest.sequence);
    let started = overview.started().filter(move |(one, _)| Some(one.sequence) != newest);
    started.filter(|(_, started)| overview.is_released(started))
}

/// What is damaged in one.
fn problems_of(
    storage: &dyn Storage,
    segment: &SegmentOverview,
    started: &Started,
) -> Result<Vec<Problem>, IoFault> {
    let mut problems = Vec::new();
    let Some(header) = segment.header else { return Ok(problems) };
    let (until, salt) = (Until::LiveEnd(started.live_end), Some(started.start.salt));
    let mut walk = SegmentWalk::new(storage, &segment.name, header, until, salt)?;
    loop {
        match walk.next(storage)? {
            Step::Frame => {}
            Step::Damage(part) => {
                problems.push(Problem::released(&damage(segment.sequence, &part)));
            }
            Step::End(_) => return Ok(problems),
        }
    }
}

/// An owner removes released segments at any time, and makes new ones of their files.
fn is_still_there(
    storage: &dyn Storage,
    segment: &SegmentOverview,
    started: &Started,
) -> Result<bool, IoFault> {
    let now = overview::take(storage)?;
    let is_same = |other: &Started| other.start.salt == started.start.salt;
    Ok(now.started().any(|(one, other)| one.sequence == segment.sequence && is_same(other)))
}
