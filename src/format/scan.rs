//! Walks the frames of one segment and says how the segment ends.
//!
//! The [`Scanner`] reads nothing itself: it says which bytes it wants and is shown them, so it needs
//! memory for one frame only and can be fed from a file, a simulated disk, or a fuzzer.
//!
//! Where the sound frames end, what stands there decides, together with one question: is there a sound
//! frame of this life of the segment further on? Every frame is synced before the next one is written,
//! so a later frame proves that what lies before it was durable once, and is damaged now.
//!
//! | position | what stands there | later frame | verdict |
//! |---|---|---|---|
//! | middle segment, before its live end | anything | any | damage |
//! | last segment | anything | yes | damage |
//! | last segment | nothing | no | clean |
//! | last segment | bytes of an earlier life | no | clean |
//! | last segment | a torn frame | no | torn tail |
//! | last segment | a sound frame out of order | no | damage |

use std::ops::Range;

use super::frame::{FRAME_HEADER_LEN, Frame, FrameFault, FrameHeader, carries_salt};
use super::is_blank;
use super::segment::SegmentHeader;
use crate::lsn::{Epoch, Lsn};

/// How far a [`Scanner`] has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// To exactly this LSN, the live end of a segment that is followed by another one.
    LiveEnd(Lsn),
    /// To the end of the log: this is the last segment, the only one that may have a torn tail.
    Tail,
}

/// What a [`Scanner`] found in the bytes it was shown.
#[derive(Debug)]
pub enum Seen<'a> {
    /// Nothing yet: ask it what it wants next.
    More,
    /// The next sound frame.
    Frame(Frame<'a>),
    /// The segment ends here.
    End(Ending),
}

/// Where and how the sound frames of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The offset behind the last sound frame.
    pub offset: u64,
    /// The LSN that would have come next.
    pub next_lsn: Lsn,
    /// What to make of it.
    pub verdict: Verdict,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of this life stands behind the last sound frame, or the live end was reached.
    Clean,
    /// An unfinished write stands behind the last sound frame. It is cut.
    TornTail(TornTail),
    /// Acknowledged records are damaged. It is refused.
    Damage {
        /// What is wrong with the bytes at the offset.
        fault: FrameFault,
        /// A later sound frame that proves that they were durable once, if there is one.
        proof: Option<u64>,
    },
}

/// An unfinished write at the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// What is wrong with it.
    pub reason: FrameFault,
    /// How many bytes it takes, from the first block to the last one that is not blank.
    pub bytes: u64,
    /// Whether it may be a frame that was acknowledged and damaged later: no later byte vouches for
    /// the very last frame. Only an empty frame is known to hold nothing.
    pub possibly_acknowledged: bool,
}

/// What stands where the sound frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    Nothing,
    EarlierLife,
    Torn,
    OutOfOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clean,
    TornTail,
    Damage,
}

/// One line of the table: is it the last segment, what stands there, is there a later frame.
/// `None` is "any".
type Row = (Option<bool>, Option<AtEnd>, Option<bool>, Kind);

const VERDICTS: [Row; 6] = [
    (Some(false), None, None, Kind::Damage),
    (Some(true), None, Some(true), Kind::Damage),
    (Some(true), Some(AtEnd::Nothing), Some(false), Kind::Clean),
    (Some(true), Some(AtEnd::EarlierLife), Some(false), Kind::Clean),
    (Some(true), Some(AtEnd::Torn), Some(false), Kind::TornTail),
    (Some(true), Some(AtEnd::OutOfOrder), Some(false), Kind::Damage),
];

fn matches(row: &Row, last: bool, stands: AtEnd, later: bool) -> bool {
    row.0.is_none_or(|want| want == last)
        && row.1.is_none_or(|want| want == stands)
        && row.2.is_none_or(|want| want == later)
}

/// The table covers every case exactly once; a test enumerates them. Damage is the safe answer.
fn judge(last: bool, stands: AtEnd, later: bool) -> Kind {
    VERDICTS.iter().find(|row| matches(row, last, stands, later)).map_or(Kind::Damage, |row| row.3)
}

/// What the next frame must agree with (V7).
#[derive(Clone, Copy, Debug)]
struct Expected {
    salt: u64,
    epoch: Epoch,
    next_lsn: Lsn,
    chain: u32,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Wants the first block of a frame.
    Header,
    /// Wants the whole frame.
    Body(FrameHeader),
    /// Looks for a later sound frame behind the place where the sound ones end.
    Hunt(Hunt),
    Done(Verdict),
}

#[derive(Clone, Copy, Debug)]
struct Hunt {
    fault: FrameFault,
    stands: AtEnd,
    /// Where to look next.
    at: u64,
    /// Behind the last block that is not blank.
    evidence_end: u64,
    known_empty: bool,
}

/// How much of the file the hunt for a later frame looks at in one go.
const HUNT_WINDOW: u64 = 256 * 1024;

/// Walks the frames of one segment. See the [module](self).
#[derive(Clone, Debug)]
pub struct Scanner {
    segment: SegmentHeader,
    len: u64,
    until: Until,
    offset: u64,
    expected: Option<Expected>,
    state: State,
}

impl Scanner {
    /// A scanner for the segment with this header, in a file of `file_len` bytes.
    pub fn new(segment: SegmentHeader, file_len: u64, until: Until) -> Self {
        Scanner {
            segment,
            len: segment.len_in(file_len),
            until,
            offset: u64::from(segment.place.block_size),
            expected: None,
            state: State::Header,
        }
    }

    /// The file has grown to so many bytes, if it is one that grows as it is written.
    pub fn grow_to(&mut self, file_len: u64) {
        if self.segment.growing {
            self.len = self.len.max(file_len);
        }
    }

    /// Goes on with the frame of this header at `offset`, as if what lies before it had been walked.
    pub fn skip_to(&mut self, offset: u64, header: &FrameHeader) {
        let FrameHeader { salt, epoch, first_lsn: next_lsn, chain, .. } = *header;
        self.expected = Some(Expected { salt, epoch, next_lsn, chain, closed: false });
        (self.offset, self.state) = (offset, State::Header);
    }

    /// The offset behind the last sound frame so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The end that was found, once more.
    pub fn end_again(&self) -> Ending {
        match self.state {
            State::Done(verdict) => self.ending(verdict),
            _ => self.ending(Verdict::Clean),
        }
    }

    /// The bytes to show it next, or `None` once the end was found. The range may reach beyond the end
    /// of the file; then it is to be shown what there is.
    pub fn wants(&self) -> Option<Range<u64>> {
        let block = u64::from(self.segment.place.block_size);
        match &self.state {
            State::Header => Some(self.offset..self.offset + block),
            State::Body(header) => {
                Some(self.offset..self.offset + header.frame_len(&self.segment.place))
            }
            State::Hunt(hunt) => Some(hunt.at..hunt.at.saturating_add(HUNT_WINDOW).min(self.len)),
            State::Done(_) => None,
        }
    }

    /// Shows it the bytes that it wanted.
    pub fn see<'a>(&mut self, bytes: &'a [u8]) -> Seen<'a> {
        match self.state {
            State::Header => self.see_header(bytes),
            State::Body(header) => self.see_body(header, bytes),
            State::Hunt(hunt) => self.see_window(hunt, bytes),
            State::Done(verdict) => Seen::End(self.ending(verdict)),
        }
    }

    fn see_header<'a>(&mut self, bytes: &'a [u8]) -> Seen<'a> {
        if let (Until::LiveEnd(end), Some(expected)) = (self.until, self.expected)
            && expected.next_lsn > end
        {
            return self.end(Verdict::Clean);
        }
        match FrameHeader::decode(bytes, &self.segment.place, self.offset, self.len) {
            Ok(header) if self.is_beyond_live_end(&header) => self.end(Verdict::Clean),
            Ok(header) => {
                self.state = State::Body(header);
                Seen::More
            }
            Err(fault) => {
                let stands = self.what_stands(fault, bytes);
                self.stop(fault, stands, None)
            }
        }
    }

    /// Whether the segment begins with records beyond its live end: then nothing in it is live. It is
    /// the rule after a fault or a crash in the first frame of a segment, whose records the next
    /// segment's start frame carries again.
    fn is_beyond_live_end(&self, header: &FrameHeader) -> bool {
        matches!(self.until, Until::LiveEnd(end) if header.first_lsn > end)
            && self.expected.is_none()
            && header.start.is_some()
            && header.count > 0
    }

    fn see_body<'a>(&mut self, header: FrameHeader, bytes: &'a [u8]) -> Seen<'a> {
        let checked = Frame::check(header, self.offset, bytes)
            .and_then(|frame| self.follows(&frame).map(|expected| (frame, expected)));
        match checked {
            Ok((frame, expected)) => {
                self.expected = Some(expected);
                self.offset += header.frame_len(&self.segment.place);
                self.state = State::Header;
                Seen::Frame(frame)
            }
            Err(fault @ (FrameFault::Order { .. } | FrameFault::Records)) => {
                self.stop(fault, AtEnd::OutOfOrder, Some(header))
            }
            Err(fault) => self.stop(fault, AtEnd::Torn, Some(header)),
        }
    }

    /// V7, and what the frame after this one must agree with.
    fn follows(&self, frame: &Frame<'_>) -> Result<Expected, FrameFault> {
        let header = &frame.header;
        let wrong = |what| Err(FrameFault::Order { what });
        match self.expected {
            None if header.start.is_none() => return wrong("kind, it is no start frame"),
            Some(_) if header.start.is_some() => return wrong("kind, it is a start frame"),
            Some(expected) if expected.closed => return wrong("place, the log was closed"),
            Some(expected) if expected.salt != header.salt => return wrong("salt"),
            Some(expected) if expected.epoch != header.epoch => return wrong("epoch"),
            Some(expected) if expected.next_lsn != header.first_lsn => return wrong("first LSN"),
            Some(expected) if expected.chain != header.chain => return wrong("chain"),
            _ => {}
        }
        if let Until::LiveEnd(end) = self.until
            && header.count > 0
            && header.last_lsn() > end
        {
            return wrong("place, it crosses the live end");
        }
        Ok(Expected {
            salt: header.salt,
            epoch: header.epoch,
            next_lsn: header.next_lsn,
            chain: if header.count > 0 { frame.checksum } else { header.chain },
            closed: header.close,
        })
    }

    fn what_stands(&self, fault: FrameFault, bytes: &[u8]) -> AtEnd {
        let recycled = self.segment.recycled;
        let at_start = self.expected.is_none();
        let ours = self.expected.is_some_and(|expected| carries_salt(bytes, expected.salt));
        match fault {
            _ if self.offset >= self.len => AtEnd::Nothing,
            FrameFault::EarlierLife { .. } if recycled => AtEnd::EarlierLife,
            // A recycled file is prepared with a blank first block, so there even strange bytes are ours.
            FrameFault::Magic if recycled && !ours && !at_start => AtEnd::EarlierLife,
            FrameFault::Magic if is_blank(bytes) => AtEnd::Nothing,
            FrameFault::PastEnd if is_blank(bytes) => AtEnd::Nothing,
            _ => AtEnd::Torn,
        }
    }

    /// The sound frames end here. In the last segment, look for a later one before judging.
    fn stop<'a>(
        &mut self,
        fault: FrameFault,
        stands: AtEnd,
        header: Option<FrameHeader>,
    ) -> Seen<'a> {
        if matches!(self.until, Until::LiveEnd(_)) {
            return self.end(Verdict::Damage { fault, proof: None });
        }
        let block = u64::from(self.segment.place.block_size);
        let frame_len = header.map_or(block, |header| header.frame_len(&self.segment.place));
        let next = self.offset.saturating_add(frame_len);
        let torn = matches!(stands, AtEnd::Torn | AtEnd::OutOfOrder);
        let hunt = Hunt {
            fault,
            stands,
            at: next,
            evidence_end: if torn { next.min(self.len) } else { self.offset },
            known_empty: header.is_some_and(|header| header.count == 0),
        };
        self.go_on_hunting(hunt)
    }

    fn see_window<'a>(&mut self, mut hunt: Hunt, bytes: &'a [u8]) -> Seen<'a> {
        let place = self.segment.place;
        for (offset, block) in (hunt.at..)
            .step_by(place.block_size as usize)
            .zip(bytes.chunks(place.block_size as usize))
        {
            let later = FrameHeader::decode(block, &place, offset, self.len);
            if later.is_ok_and(|header| self.is_of_this_life(&header)) {
                return self.judge(hunt, Some(offset));
            }
            // What is not blank in a file that was filled with zeros was written in this life.
            if !self.segment.recycled && !is_blank(block) {
                if hunt.stands == AtEnd::Nothing {
                    hunt.stands = AtEnd::Torn;
                }
                hunt.evidence_end = offset + block.len() as u64;
            }
        }
        hunt.at = if bytes.is_empty() { self.len } else { hunt.at + bytes.len() as u64 };
        self.go_on_hunting(hunt)
    }

    /// Whether it carries the salt of this life of the segment, which only the start frame tells.
    /// Without one, any frame of this sequence number is taken for ours: damage is the safe answer.
    fn is_of_this_life(&self, header: &FrameHeader) -> bool {
        self.expected.is_none_or(|expected| expected.salt == header.salt)
    }

    fn go_on_hunting<'a>(&mut self, hunt: Hunt) -> Seen<'a> {
        if hunt.at >= self.len {
            return self.judge(hunt, None);
        }
        self.state = State::Hunt(hunt);
        Seen::More
    }

    fn judge<'a>(&mut self, hunt: Hunt, proof: Option<u64>) -> Seen<'a> {
        let verdict = match judge(true, hunt.stands, proof.is_some()) {
            Kind::Clean => Verdict::Clean,
            Kind::Damage => Verdict::Damage { fault: hunt.fault, proof },
            Kind::TornTail => Verdict::TornTail(TornTail {
                reason: hunt.fault,
                bytes: hunt.evidence_end - self.offset,
                possibly_acknowledged: !hunt.known_empty,
            }),
        };
        self.end(verdict)
    }

    fn end<'a>(&mut self, verdict: Verdict) -> Seen<'a> {
        self.state = State::Done(verdict);
        Seen::End(self.ending(verdict))
    }

    fn ending(&self, verdict: Verdict) -> Ending {
        let next_lsn = self.expected.map_or(Lsn::NONE, |expected| expected.next_lsn);
        Ending { offset: self.offset, next_lsn, verdict }
    }
}

const _: () = assert!(FRAME_HEADER_LEN <= super::MIN_BLOCK_SIZE as usize);

#[cfg(test)]
mod tests;
