//! A second reader of the format. Its first version was written from `docs/format.md` alone; where the page was
//! silent, the code was asked, and the page now says it. It shares no code with the crate, reads everything into
//! memory and prefers the plain loop. Where it and the crate disagree, one of them or the page is wrong.

mod directory;

use std::collections::BTreeMap;

pub use directory::read;

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

/// The last LSN that is live, by the frames of the last segment.
pub fn last_live(frames: &[Frame]) -> u64 {
    frames.iter().rfind(|frame| frame.count > 0).map_or(frames[0].cut, Frame::last)
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
