//! What befalls a log while nobody has it open: rot, files that go missing or come from elsewhere, bytes of another
//! life. It is done to a copy; the log goes on from the original. Where the damage lies is read from the
//! bytes by the [second reader](crate::naive) of the format.

use std::ops::{Range, RangeInclusive};

use actix_wal::error::Damage;
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::format::segment::{FileKind, file_kind};

use super::world::World;
use crate::mend::{mend_header, sign};
use crate::naive::{self, Frame, u32_at};

const BLOCK: usize = 512;
const HEADER: usize = 104;
/// Where it stands in the header of a segment.
const LOG_ID: Range<usize> = 16..32;

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// The log is refused, and says where it is damaged.
    BeRefused,
    /// The log opens as if nothing had been done.
    BeIgnored,
    /// One of the two.
    NotBeBelieved,
}

/// What was done to the log, and where a refusal has to say that it is damaged, if only one place is right.
pub struct Damaged {
    pub disk: SimDisk,
    pub place: Option<Place>,
}

/// A place by segment, offset and the LSNs that may be named as the first that is gone.
#[derive(Debug)]
pub struct Place {
    segment: u64,
    offset: u64,
    lsns: RangeInclusive<u64>,
}

impl Place {
    /// P10: whether the damage is said to lie here.
    pub fn is_meant_by(&self, said: &Damage) -> bool {
        (said.segment, said.offset) == (self.segment, self.offset)
            && self.lsns.contains(&said.lsn.get())
    }
}

impl From<SimDisk> for Damaged {
    fn from(disk: SimDisk) -> Self {
        Damaged { disk, place: None }
    }
}

/// What can happen, and under which name it is counted.
type Kind = (&'static str, Must, fn(&Directory, &World) -> Option<Damaged>);

const KINDS: &[Kind] = &[
    ("damage: rot", Must::BeRefused, Directory::rot),
    ("damage: rot", Must::BeRefused, Directory::rot),
    ("damage: rot in an earlier segment", Must::BeRefused, Directory::rot_early),
    ("damage: lost segment", Must::BeRefused, Directory::lose),
    ("damage: shortened segment", Must::BeRefused, Directory::shorten),
    ("damage: foreign segment", Must::BeRefused, Directory::swap_in_a_foreign_one),
    ("damage: stale place, next", Must::BeIgnored, |directory, _| directory.misdirect(0)),
    ("damage: stale place, later", Must::BeIgnored, |directory, world| {
        directory.misdirect(1 + world.below(4) as usize)
    }),
    ("damage: stale life, next", Must::NotBeBelieved, |directory, _| directory.another_life(0)),
    ("damage: stale life, later", Must::BeIgnored, |directory, _| directory.another_life(1)),
];

/// The kinds, as they are counted.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, ..)| *name).chain([SPOILED, HALF_A_COPY])
}

/// Draws what happens to a copy of this disk, if it can.
pub fn draw(disk: &SimDisk, world: &World) -> Option<(&'static str, Must, Damaged)> {
    let (name, must, damage) = KINDS[world.below(KINDS.len() as u64) as usize];
    let damaged = damage(&Directory::read(disk), world)?;
    world.count(name);
    world.event(name);
    Some((name, must, damaged))
}

/// Changes bytes that nobody needs any more, in the log itself: it goes on, and nobody may notice, also where
/// the file is used again.
pub fn spoil_what_is_released(disk: &SimDisk, world: &World) {
    for name in Directory::read(disk).released() {
        let at = BLOCK as u64 + world.below(HEADER as u64);
        if disk.rot(&name, at, world.below(8) as u8) {
            world.count(SPOILED);
            world.event(format_args!("{SPOILED}: {name}"));
        }
    }
}

/// Done while the log runs, and not to it.
pub const HALF_A_COPY: &str = "damage: half a copy";

/// As it is counted.
const SPOILED: &str = "damage: rot of what is released";

/// The segments that have begun, in order.
struct Directory {
    disk: SimDisk,
    /// How many segments there are in all.
    files: usize,
    /// The one with the highest number, begun or not.
    last_file: String,
    segments: Vec<Segment>,
    low_water: u64,
}

struct Segment {
    name: String,
    number: u64,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

impl Directory {
    fn read(disk: &SimDisk) -> Self {
        let disk = disk.fork();
        let is_segment = |name: &String| matches!(file_kind(name), FileKind::Segment(_));
        let names: Vec<_> = disk.names().into_iter().filter(is_segment).collect();
        let read = |name: &String| Segment::read(name, disk.read_file(name)?);
        let segments: Vec<_> = names.iter().filter_map(read).collect();
        let last = segments.last().map_or(&[][..], |segment| &segment.frames);
        let low_water = last.iter().map(|frame| frame.low_water).max().unwrap_or(0);
        let last_file = names.last().cloned().unwrap_or_default();
        Directory { files: names.len(), last_file, segments, low_water, disk }
    }

    /// Live frames that some later frame vouches for: where they are, by segment and frame.
    fn proven(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let later = &self.segments[at + 1..];
            let live_end = later.iter().map(|later| later.frames[0].cut).min().unwrap_or(u64::MAX);
            for (index, frame) in segment.frames.iter().enumerate() {
                let is_last = later.is_empty() && index + 1 == segment.frames.len();
                let is_live =
                    frame.count > 0 && frame.first > self.low_water && frame.last() <= live_end;
                if is_live && !is_last {
                    found.push((at, index));
                }
            }
        }
        found
    }

    /// Segments of which no record is needed. What says so must be durable: the last frame may not be.
    fn released(&self) -> Vec<String> {
        let Some((last, before)) = self.segments.split_last() else { return Vec::new() };
        let [vouched @ .., _] = &last.frames[..] else { return Vec::new() };
        let low_water = vouched.iter().map(|frame| frame.low_water).max().unwrap_or(0);
        let live_end =
            |at: usize| self.segments[at + 1..].iter().map(|one| one.frames[0].cut).min();
        let released = before.iter().enumerate().filter(|(at, _)| {
            !vouched.is_empty() && live_end(*at).is_some_and(|end| end <= low_water)
        });
        released.map(|(_, segment)| segment.name.clone()).collect()
    }

    /// The disk with other bytes in one of the segments.
    fn with(&self, segment: &Segment, bytes: Vec<u8>) -> Damaged {
        self.disk.write_file(&segment.name, bytes);
        self.disk.clone().into()
    }

    /// A bit of a live frame turns over.
    fn rot(&self, world: &World) -> Option<Damaged> {
        self.rot_in(one_of(&self.proven(), world)?, world)
    }

    /// The same, with segments behind it that are sound.
    fn rot_early(&self, world: &World) -> Option<Damaged> {
        let mut proven = self.proven();
        proven.retain(|(segment, frame)| *segment + 1 < self.segments.len() && *frame > 0);
        self.rot_in(one_of(&proven, world)?, world)
    }

    fn rot_in(&self, (at, index): (usize, usize), world: &World) -> Option<Damaged> {
        let segment = &self.segments[at];
        let frame = &segment.frames[index];
        let mut bytes = segment.bytes.clone();
        bytes[(frame.offset + world.below(frame.size())) as usize] ^= 1 << world.below(8);
        Some(Damaged { place: self.place_of(at, index), ..self.with(segment, bytes) })
    }

    /// Where damage to this frame has to be found. That to a start frame is known by what it leaves without
    /// an end; and where the next number is not there, that is named first.
    fn place_of(&self, at: usize, index: usize) -> Option<Place> {
        let segment = &self.segments[at];
        let next = self.segments.get(at + 1);
        if index == 0 || next.is_some_and(|next| next.number != segment.number + 1) {
            return None;
        }
        let (before, frame) = (&segment.frames[..index], &segment.frames[index]);
        let lsns = naive::last_live(before) + 1..=frame.first;
        Some(Place { segment: segment.number, offset: frame.offset, lsns })
    }

    /// A segment with live records that are vouched for is gone.
    fn lose(&self, world: &World) -> Option<Damaged> {
        let (at, _) = one_of(&self.proven(), world)?;
        let segment = &self.segments[at];
        // What is left must not look like an older copy of the log: with a prepared segment behind it, and before it
        // none that somebody could have begun in instead.
        if self.segments.last()?.name == segment.name
            && (self.last_file == segment.name || self.could_begin_before(segment))
        {
            return None;
        }
        self.disk.remove_file(&segment.name);
        Some(self.disk.clone().into())
    }

    /// Whether a whole file stands between the last segment that has begun and the one before it.
    fn could_begin_before(&self, last: &Segment) -> bool {
        let before = self.segments.iter().rev().nth(1).map_or("", |before| &before.name);
        let names = self.disk.names().into_iter();
        let mut between = names.filter(|name| *before < **name && *name < last.name);
        between.any(|name| {
            let bytes = self.disk.read_file(&name).unwrap_or_default();
            naive::segment(&bytes).is_ok_and(|segment| bytes.len() as u64 >= segment.size)
        })
    }

    /// The last segment ends behind a frame that was vouched for.
    fn shorten(&self, _: &World) -> Option<Damaged> {
        let last = self.segments.last()?;
        let [.., before, gone] = &last.frames[..] else { return None };
        let end = gone.offset as usize;
        if gone.close && end + BLOCK >= last.bytes.len() && before.count == 0 {
            return None;
        }
        Some(self.with(last, last.bytes[..end].to_vec()))
    }

    /// A segment of a twin: the same to the last byte, in another log.
    fn swap_in_a_foreign_one(&self, world: &World) -> Option<Damaged> {
        // The id that most segments bear is that of the log.
        if self.files < 3 {
            return None;
        }
        let segment = &self.segments[world.below(self.segments.len().max(1) as u64) as usize..];
        let segment = segment.first()?;
        let mut bytes = segment.bytes.clone();
        bytes[LOG_ID].fill(0x5a);
        mend_header(&mut bytes);
        for frame in &segment.frames {
            let at = frame.offset as usize;
            sign(&mut bytes[at..], &[0x5a; 16], at);
        }
        Some(self.with(segment, bytes))
    }

    /// A frame of the last segment stands once more behind the last one, so many blocks further on: a write
    /// that went to the wrong place. What the frames are is read from their lengths alone. That they should not
    /// be believed there is what the checksum is for, and it may not be assumed.
    fn misdirect(&self, blocks: usize) -> Option<Damaged> {
        let last = &self.last_written()?;
        let written = last.written();
        let (end, len) = *written.last()?;
        // Right behind it only the last one could be taken for what comes next.
        let (from, len) = if blocks == 0 { (end, len) } else { written[written.len() / 2] };
        let (at, len) = (end + written.last()?.1 + blocks * BLOCK, len);
        let mut bytes = last.bytes.clone();
        let copy = bytes.get(from..from + len)?.to_vec();
        bytes.get_mut(at..at + len)?.copy_from_slice(&copy);
        Some(self.with(last, bytes))
    }

    /// The last segment in which anything looks like a frame.
    fn last_written(&self) -> Option<Segment> {
        let names = self.disk.names().into_iter().rev();
        let mut segments =
            names.filter_map(|name| Segment::open(&name, self.disk.read_file(&name)?));
        segments.find(|segment| !segment.written().is_empty())
    }

    /// What would be the next frame, in another life of the file; so many blocks behind the place of the next.
    fn another_life(&self, blocks: usize) -> Option<Damaged> {
        let last = self.segments.last()?;
        let records = |frame: &&Frame| frame.count > 0 && frame.offset as usize > BLOCK;
        let model = last.frames.iter().rfind(records)?;
        let end = last.frames.last()?;
        let at = (end.offset + end.size()) as usize;
        let at = at.next_multiple_of(BLOCK) + blocks * BLOCK;
        let mut frame = last.bytes[model.offset as usize..][..model.size() as usize].to_vec();
        frame[16] ^= 1;
        frame[32..40].copy_from_slice(&end.next.to_le_bytes());
        frame[40..48].copy_from_slice(&(end.next + u64::from(model.count)).to_le_bytes());
        let chain = last.frames.iter().rfind(|frame| frame.count > 0)?.checksum;
        frame[96..100].copy_from_slice(&chain.to_le_bytes());
        sign(&mut frame, &last.bytes[LOG_ID], at);
        let mut bytes = last.bytes.clone();
        bytes.get_mut(at..at + frame.len())?.copy_from_slice(&frame);
        Some(self.with(last, bytes))
    }
}

impl Segment {
    /// `None` if it is none.
    fn open(name: &str, bytes: Vec<u8>) -> Option<Self> {
        let number = naive::segment(&bytes).ok()?.sequence;
        Some(Segment { name: name.to_owned(), number, bytes, frames: Vec::new() })
    }

    /// `None` if it has not begun.
    fn read(name: &str, bytes: Vec<u8>) -> Option<Self> {
        let frames = naive::walk(&naive::segment(&bytes).ok()?, None).frames;
        if frames.is_empty() {
            None
        } else {
            Some(Segment { frames, ..Segment::open(name, bytes)? })
        }
    }

    /// Whatever looks like the frames of this life: where they are, and how many bytes they take.
    fn written(&self) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        loop {
            let at = found.last().map_or(BLOCK, |(at, len)| at + len);
            let Some(head) = self.bytes.get(at..at + HEADER) else { return found };
            let is_ours = &head[..4] == b"awf1" && head[16..24] == self.bytes[BLOCK + 16..][..8];
            if !is_ours {
                return found;
            }
            let len = HEADER + u32_at(head, 52) as usize + 4;
            found.push((at, len.next_multiple_of(BLOCK)));
        }
    }
}

fn one_of(places: &[(usize, usize)], world: &World) -> Option<(usize, usize)> {
    places.get(world.below(places.len().max(1) as u64) as usize).copied()
}
