//! Reads a directory: which of its segments are the log, and what is live of it.

use super::*;

/// A segment with a start frame.
struct Started<'a> {
    segment: Segment<'a>,
    start: Frame,
}

/// A segment without one, and how it ends.
struct Unused<'a> {
    segment: Segment<'a>,
    end: End,
}

struct Directory<'a> {
    started: Vec<Started<'a>>,
    unused: Vec<Unused<'a>>,
    /// The numbers of files that are being prepared.
    scratch: Vec<u64>,
}

/// Reads a directory.
pub fn read(files: &Files) -> Answer {
    if let Some(number) = sign(files) {
        return Answer::Refused(What::Sign, number, 0);
    }
    match survey(files).and_then(|directory| open(&directory)) {
        Ok(opened) => Answer::Opened(opened),
        Err((What::Missing, missing, _)) if stands_for(files, missing) => {
            Answer::Refused(What::Sign, missing, 0)
        }
        Err((what, segment, offset)) => Answer::Refused(what, segment, offset),
    }
}

/// The number in the name of a file.
fn number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let are_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if are_digits { digits.parse().ok() } else { None }
}

/// Whether this is what a salvage calls a segment that it sets aside, and its number.
fn set_aside(name: &str) -> Option<u64> {
    let (base, copy) = name.split_once(".damaged")?;
    let is_copy = |copy: &str| !copy.is_empty() && copy.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = copy.is_empty() || copy.strip_prefix('.').is_some_and(is_copy);
    if is_whole { number(base, ".wal") } else { None }
}

/// The number in a name that is like one of a log, those of a log among them.
fn like(name: &str) -> Option<u64> {
    let chars: Vec<char> = name.chars().collect();
    let is_digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    for begin in 0..chars.len() {
        let end = begin + 20;
        let is_run = (begin..end).all(is_digit) && !is_digit(end);
        if !is_run || (begin > 0 && is_digit(begin - 1)) {
            continue;
        }
        let behind: String = chars[end..].iter().take(4).collect();
        let is_bare = begin == 0 && !behind.starts_with(char::is_alphanumeric);
        if is_bare || behind.to_lowercase() == ".wal" {
            let digits: String = chars[begin..end].iter().collect();
            return Some(digits.parse().unwrap_or(u64::MAX));
        }
    }
    None
}

/// The first name that stands for a segment which the log is without.
fn sign(files: &Files) -> Option<u64> {
    // No segment ever has a number above 2^62.
    let possible = |number: u64| if number <= 1 << 62 { number } else { 0 };
    let newest = files.keys().filter_map(|name| number(name, ".wal")).map(possible).max();
    files.keys().find_map(|name| {
        let like = like(name)?;
        let is_missed = match (number(name, ".wal"), number(name, ".wal.tmp"), newest) {
            (Some(_), ..) => false,
            (_, Some(_), newest) => newest.is_none() && like > 1,
            (.., None) => true,
            (.., Some(newest)) => possible(like) > newest,
        };
        is_missed.then_some(like)
    })
}

/// Whether a missing segment lies there under another name.
fn stands_for(files: &Files, missing: u64) -> bool {
    files.keys().any(|name| {
        let is_ours = number(name, ".wal").or(number(name, ".wal.tmp")).or(set_aside(name));
        is_ours.is_none() && like(name) == Some(missing)
    })
}

fn survey(files: &Files) -> Result<Directory<'_>, Refusal> {
    let mut directory = Directory { started: Vec::new(), unused: Vec::new(), scratch: Vec::new() };
    let mut segments = Vec::new();
    for (name, bytes) in files {
        directory.scratch.extend(number(name, ".wal.tmp"));
        if let Some(number) = number(name, ".wal") {
            segments.push((number, segment(bytes)));
        }
    }
    for (number, segment) in &segments {
        if matches!(segment, Err(What::NewerVersion)) {
            return Err((What::NewerVersion, *number, 0));
        }
    }
    for (number, segment) in &mut segments {
        let Ok(found) = segment else { continue };
        if found.sequence != *number {
            *segment = Err(What::WrongName);
        } else if *number == 0 || *number > 1 << 62 {
            *segment = Err(What::Impossible);
        }
    }
    let ids: Vec<_> = segments.iter().filter_map(|(_, found)| found.as_ref().ok()).collect();
    let votes = |id| ids.iter().filter(|segment| segment.log_id == id).count();
    // The first of those with most votes, from the end; a draw goes to the id that was seen first later.
    let most = ids.iter().map(|segment| votes(segment.log_id)).max().unwrap_or(0);
    let mut log_id = [0; 16];
    for (at, segment) in ids.iter().enumerate() {
        let is_new = ids[..at].iter().all(|earlier| earlier.log_id != segment.log_id);
        if is_new && votes(segment.log_id) == most {
            log_id = segment.log_id;
        }
    }
    for (number, segment) in segments {
        let segment = segment.map_err(|what| (what, number, 0))?;
        if segment.log_id != log_id {
            return Err((What::Foreign, number, 0));
        }
        let mut walk = walk(&segment, None);
        if walk.frames.is_empty() {
            directory.unused.push(Unused { segment, end: walk.end });
        } else {
            directory.started.push(Started { segment, start: walk.frames.swap_remove(0) });
        }
    }
    Ok(directory)
}

fn open(directory: &Directory<'_>) -> Result<Opened, Refusal> {
    let mut opened = Opened { next_lsn: 1, ..Opened::default() };
    let last = directory.started.last();
    let last_number = last.map_or(0, |last| last.segment.sequence);
    let mut closed = last.is_none();
    let mut all = None;
    if let Some(last) = last {
        let walk = walk(&last.segment, None);
        match walk.end {
            End::Damage(_) => return Err((What::Frame, last_number, walk.offset)),
            End::Torn(bytes, records) => {
                opened.torn = Some((last_number, walk.offset, bytes, records));
            }
            End::Clean => {}
        }
        closed = walk.frames.last().is_some_and(|frame| frame.close);
        opened.low_water = walk.frames.iter().map(|frame| frame.low_water).max().unwrap_or(0);
        opened.last_lsn = last_live(&walk.frames);
        let gap = if closed { 0 } else { last.start.limit };
        opened.next_lsn = walk.next.saturating_add(gap);
        all = Some((last, walk));
    }
    let torn_start = behind_the_end(directory, last_number)?;
    if let Some((last, walk)) = &all {
        let len = last.segment.bytes.len() as u64;
        // A whole block behind the good frames that holds none: nothing was ever durable there.
        let ends_here = walk.end == End::Clean && len >= walk.offset + last.segment.block;
        let is_short = len < last.segment.size && !ends_here;
        if is_short && !last.segment.growing && !closed {
            return Err(match torn_start {
                Some((number, block, ..)) => (What::Frame, number, block),
                None => (What::Shortened, last_number, walk.offset),
            });
        }
    }
    opened.torn = torn_start.or(opened.torn);
    opened.clean = closed && opened.torn.is_none();
    if let Some((_, walk)) = &all {
        opened.records = live_records(directory, &walk.frames, opened.low_water)?;
    }
    Ok(opened)
}

/// What stands behind the last segment with a start frame.
fn behind_the_end(
    directory: &Directory<'_>,
    last: u64,
) -> Result<Option<(u64, u64, u64, bool)>, Refusal> {
    let mut torn = None;
    let behind = || directory.unused.iter().filter(|unused| unused.segment.sequence > last);
    for Unused { segment, end } in behind() {
        match end {
            End::Clean => {}
            End::Torn(bytes, records) => {
                torn = Some((segment.sequence, segment.block, *bytes, *records));
            }
            End::Damage(_) => return Err((What::Frame, segment.sequence, segment.block)),
        }
    }
    let mut expected = last + 1;
    for Unused { segment, end } in behind() {
        let left_out = |number: &u64| !directory.scratch.contains(number);
        if let Some(missing) = (expected..segment.sequence).find(left_out) {
            return Err((What::Missing, missing, 0));
        }
        let is_short = (segment.bytes.len() as u64) < segment.size && !segment.growing;
        if matches!(end, End::Clean) && !is_short {
            break;
        }
        expected = segment.sequence + 1;
    }
    Ok(torn)
}

/// Walks the live segments in order.
fn live_records(
    directory: &Directory<'_>,
    tail: &[Frame],
    low_water: u64,
) -> Result<Vec<(u64, Vec<u8>)>, Refusal> {
    let mut records = Vec::new();
    // The chain behind what was walked, once anything was.
    let mut chain = None;
    for (index, Started { segment, start }) in directory.started.iter().enumerate() {
        let later = &directory.started[index + 1..];
        let live_end = later.iter().map(|later| later.start.cut).min();
        // Of the last segment everything is live.
        let is_live = live_end.is_none_or(|end| end > start.cut && end > low_water);
        if !is_live {
            continue;
        }
        let number = segment.sequence;
        if chain.is_none() && start.cut > low_water {
            return Err(missing_before(directory, number));
        }
        let walked = live_end.map(|end| walk(segment, Some(end)));
        let frames = walked.as_ref().map_or(tail, |walk| &walk.frames);
        if !frames.is_empty() && chain.is_some_and(|chain| chain != start.chain) {
            return Err((What::Contradiction, number, segment.block));
        }
        if let Some(Walk { end: End::Damage(_), offset, .. }) = walked {
            return Err(shortfall(directory, segment, offset));
        }
        if frames.is_empty() {
            continue;
        }
        for frame in frames {
            let numbered = (frame.first..).zip(&frame.payloads);
            records.extend(numbered.map(|(lsn, payload)| (lsn, payload.clone())));
        }
        let with_records = frames.iter().rfind(|frame| frame.count > 0);
        chain = Some(with_records.map_or(start.chain, |frame| frame.checksum));
    }
    records.retain(|(lsn, _)| *lsn > low_water);
    Ok(records)
}

/// The records before the first live segment are not there.
fn missing_before(directory: &Directory<'_>, first: u64) -> Refusal {
    let before = first.saturating_sub(1);
    let unused = directory.unused.iter().find(|unused| unused.segment.sequence == before);
    match unused {
        Some(unused) => (What::Frame, before, unused.segment.block),
        None => (What::Missing, before, 0),
    }
}

/// A segment does not reach its live end.
fn shortfall(directory: &Directory<'_>, segment: &Segment<'_>, offset: u64) -> Refusal {
    let next = segment.sequence + 1;
    let started = directory.started.iter().any(|one| one.segment.sequence == next);
    let unused = directory.unused.iter().find(|one| one.segment.sequence == next);
    let len = segment.bytes.len() as u64;
    if !started && unused.is_none() {
        return (What::Missing, next, 0);
    }
    if offset >= len && len < segment.size {
        return (What::Shortened, segment.sequence, offset);
    }
    match unused {
        Some(unused) if unused.end != End::Clean => (What::Frame, next, unused.segment.block),
        _ => (What::Frame, segment.sequence, offset),
    }
}
