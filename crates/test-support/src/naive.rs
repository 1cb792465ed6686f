//! A second reader of the format. Its first version was written from `docs/format.md` alone; where the page was
//! silent, the code was asked, and the page now says it. It shares no code with the crate, reads everything into
//! memory and prefers the plain loop. Where it and the crate disagree, one of them or the page is wrong.

use std::collections::BTreeMap;

/// The files of a directory by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the page says of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Opened(Opened),
    /// Not opened: what is wrong, in which segment, at which offset.
    Refused(What, u64, u64),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The live records behind the low water mark, in order.
    pub records: Vec<(u64, Vec<u8>)>,
    /// The highest LSN that a checkpoint has released.
    pub low_water: u64,
    /// The last LSN that is live.
    pub last_lsn: u64,
    /// The first LSN that the next life gives out.
    pub next_lsn: u64,
    /// The last life was closed, and nothing is torn.
    pub clean: bool,
    /// The segment with the torn tail, its offset, how many bytes it has, and whether it may hold records.
    pub torn: Option<(u64, u64, u64, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A name that is like one of the log's, and that the log is not without.
    Sign,
    NewerVersion,
    Header,
    Foreign,
    WrongName,
    Impossible,
    Missing,
    Shortened,
    Frame,
    Contradiction,
}

/// What is wrong, in which segment, at which offset.
type Refusal = (What, u64, u64);

/// A segment: its bytes, and what its header says.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    log_id: [u8; 16],
    pub sequence: u64,
    pub size: u64,
    block: u64,
    recycled: bool,
    growing: bool,
}

impl Segment<'_> {
    /// Where it ends.
    fn len(&self) -> u64 {
        let len = self.bytes.len() as u64;
        if self.growing { len } else { len.min(self.size) }
    }

    /// What the file holds from here on, to the end of the segment.
    fn from(&self, at: u64) -> &[u8] {
        let (at, end) = (at as usize, self.len() as usize);
        if at < end { &self.bytes[at..end] } else { &[] }
    }

    fn block_at(&self, at: u64) -> &[u8] {
        let rest = self.from(at);
        &rest[..rest.len().min(self.block as usize)]
    }
}

#[derive(Debug, Clone)]
pub struct Frame {
    pub offset: u64,
    start: bool,
    pub close: bool,
    sequence: u64,
    salt: u64,
    epoch: u64,
    pub first: u64,
    pub next: u64,
    pub count: u32,
    payload_len: u64,
    pub low_water: u64,
    pub cut: u64,
    limit: u64,
    chain: u32,
    pub checksum: u32,
    pub payloads: Vec<Vec<u8>>,
}

impl Frame {
    /// How many bytes it takes without its padding.
    pub fn size(&self) -> u64 {
        104 + self.payload_len + 4
    }

    /// Its last LSN; of a frame without records the one before its first.
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Clean,
    /// So many bytes, and whether they may hold records.
    Torn(u64, bool),
    /// Where the frame lies that proves it.
    Damage(Option<u64>),
}

/// A segment, read to its end.
#[derive(Debug, Clone)]
pub struct Walk {
    pub frames: Vec<Frame>,
    /// Behind the last good frame.
    pub offset: u64,
    /// The LSN that is expected there, 0 if there is no good frame.
    pub next: u64,
    pub end: End,
}

pub fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        crc = (crc >> 8) ^ CRC_OF_BYTE[(crc as u8 ^ byte) as usize];
    }
    !crc
}

/// Bit by bit this takes most of the time of the tests.
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    (0..4).map(|i| u32::from(bytes[at + i]) << (8 * i)).sum()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    (0..8).map(|i| u64::from(bytes[at + i]) << (8 * i)).sum()
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The header of a segment.
pub fn segment(bytes: &[u8]) -> Result<Segment<'_>, What> {
    if bytes.len() < 56 || &bytes[..8] != b"actixwal" {
        return Err(What::Header);
    }
    let (version, flags) = (u32_at(bytes, 8), u32_at(bytes, 12));
    if version > 1 {
        return Err(What::NewerVersion);
    }
    let size = u64_at(bytes, 40);
    let block = u64::from(u32_at(bytes, 48));
    let possible = version == 1
        && flags <= 3
        && block.is_power_of_two()
        && (512..=65_536).contains(&block)
        && size.is_multiple_of(block)
        && size >= block
        && size < 1 << 32;
    if u32_at(bytes, 52) != crc(&[&bytes[..52]]) || !possible {
        return Err(What::Header);
    }
    let mut log_id = [0; 16];
    log_id.copy_from_slice(&bytes[16..32]);
    Ok(Segment {
        bytes,
        log_id,
        sequence: u64_at(bytes, 32),
        size,
        block,
        recycled: flags & 1 == 1,
        growing: flags & 2 == 2,
    })
}

/// Why there is no header of a frame.
#[derive(PartialEq)]
enum No {
    Magic,
    /// A sound one, but for the sequence number of another life.
    EarlierLife,
    Other,
}

/// V1 to V4.
fn header(segment: &Segment<'_>, at: u64) -> Result<Frame, No> {
    let bytes = segment.block_at(at);
    if bytes.len() < 104 {
        return Err(No::Other);
    }
    if &bytes[..4] != b"awf1" {
        return Err(No::Magic);
    }
    if u32_at(bytes, 100) != crc(&[&segment.log_id, &at.to_le_bytes(), &bytes[..100]]) {
        return Err(No::Other);
    }
    let flags = u32_at(bytes, 4);
    let frame = Frame {
        offset: at,
        start: flags & 1 == 1,
        close: flags & 2 == 2,
        sequence: u64_at(bytes, 8),
        salt: u64_at(bytes, 16),
        epoch: u64_at(bytes, 24),
        first: u64_at(bytes, 32),
        next: u64_at(bytes, 40),
        count: u32_at(bytes, 48),
        payload_len: u64::from(u32_at(bytes, 52)),
        low_water: u64_at(bytes, 72),
        cut: u64_at(bytes, 80),
        limit: u64_at(bytes, 88),
        chain: u32_at(bytes, 96),
        checksum: 0,
        payloads: Vec::new(),
    };
    let behind = frame.first.checked_add(u64::from(frame.count)).ok_or(No::Other)?;
    let may_gap = frame.start || frame.close;
    let possible = flags <= 3
        && frame.first != 0
        && (!frame.start || frame.first > frame.cut)
        && (frame.next == behind || may_gap && frame.next > behind);
    if !possible {
        return Err(No::Other);
    }
    if frame.sequence != segment.sequence {
        return Err(No::EarlierLife);
    }
    if at + len_of(&frame, segment) > segment.len() { Err(No::Other) } else { Ok(frame) }
}

/// The length of a frame with its padding.
fn len_of(frame: &Frame, segment: &Segment<'_>) -> u64 {
    frame.size().div_ceil(segment.block) * segment.block
}

/// V5.
fn checksum_matches(segment: &Segment<'_>, frame: &mut Frame) -> bool {
    let bytes = segment.from(frame.offset);
    let end = 104 + frame.payload_len as usize;
    frame.checksum = u32_at(bytes, end);
    frame.checksum == crc(&[&bytes[..100], &bytes[104..end]])
}

/// V6.
fn read_records(segment: &Segment<'_>, frame: &mut Frame) -> bool {
    let mut rest = &segment.from(frame.offset)[104..104 + frame.payload_len as usize];
    while rest.len() >= 5 && rest[4] == 0 {
        let end = 5 + u32_at(rest, 0) as usize;
        if rest.len() < end {
            return false;
        }
        frame.payloads.push(rest[5..end].to_vec());
        rest = &rest[end..];
    }
    rest.is_empty() && frame.payloads.len() == frame.count as usize
}

/// V7, within a segment.
fn follows(frame: &Frame, before: &[Frame]) -> bool {
    let Some(last) = before.last() else { return frame.start };
    let with_records = before.iter().rfind(|frame| frame.count > 0);
    let chain = with_records.map_or(before[0].chain, |frame| frame.checksum);
    !frame.start
        && !last.close
        && frame.salt == last.salt
        && frame.epoch == last.epoch
        && frame.first == last.next
        && frame.chain == chain
}

/// Walks a segment to its live end, or to its tail.
pub fn walk(segment: &Segment<'_>, live_end: Option<u64>) -> Walk {
    let mut walk = Walk { frames: Vec::new(), offset: segment.block, next: 0, end: End::Clean };
    loop {
        let is_reached = live_end.is_some_and(|end| walk.next > end) && !walk.frames.is_empty();
        if is_reached {
            return walk;
        }
        let found = header(segment, walk.offset);
        if let (Ok(frame), Some(end), true) = (&found, live_end, walk.frames.is_empty())
            && frame.start
            && frame.count > 0
            && frame.first > end
        {
            return walk;
        }
        let (sound_header, sound) = match found {
            Err(_) => (None, false),
            Ok(mut frame) => {
                let matches = checksum_matches(segment, &mut frame);
                let crosses = frame.count > 0 && live_end.is_some_and(|end| frame.last() > end);
                let holds = matches && read_records(segment, &mut frame);
                if holds && follows(&frame, &walk.frames) && !crosses {
                    walk.offset += len_of(&frame, segment);
                    walk.next = frame.next;
                    walk.frames.push(frame);
                    continue;
                }
                (Some(frame), matches)
            }
        };
        walk.end = match live_end {
            Some(_) => End::Damage(None),
            None => tail(segment, &walk, sound_header, sound),
        };
        return walk;
    }
}

/// The table of verdicts, for the last segment.
fn tail(
    segment: &Segment<'_>,
    walk: &Walk,
    sound_header: Option<Frame>,
    out_of_order: bool,
) -> End {
    let at = walk.offset;
    let len = segment.len();
    let salt = walk.frames.first().map(|start| start.salt);
    let is_ours = |frame: &Frame| salt.is_none_or(|salt| salt == frame.salt);
    let taken = sound_header.as_ref().map_or(segment.block, |frame| len_of(frame, segment));
    let behind = at + taken;
    let mut later = behind;
    while later < len {
        if header(segment, later).is_ok_and(|frame| is_ours(&frame)) {
            return End::Damage(Some(later));
        }
        later += segment.block;
    }
    if out_of_order {
        return End::Damage(None);
    }
    let here = segment.block_at(at);
    let carries_salt = here.len() >= 104 && salt == Some(u64_at(here, 16));
    let earlier_life = segment.recycled
        && match header(segment, at) {
            Err(No::EarlierLife) => true,
            Err(No::Magic) => salt.is_some() && !carries_salt,
            _ => false,
        };
    let mut end = if earlier_life || is_zero(here) { at } else { behind.min(len) };
    // A file that was filled with zeros holds nothing but this life.
    let mut later = behind;
    while !segment.recycled && later < len {
        let block = segment.block_at(later);
        if !is_zero(block) {
            end = later + block.len() as u64;
        }
        later += segment.block;
    }
    if end > at {
        End::Torn(end - at, sound_header.is_none_or(|frame| frame.count > 0))
    } else {
        End::Clean
    }
}

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

/// The last LSN that is live, by the frames of the last segment.
pub fn last_live(frames: &[Frame]) -> u64 {
    frames.iter().rfind(|frame| frame.count > 0).map_or(frames[0].cut, Frame::last)
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
