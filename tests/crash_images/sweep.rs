//! Cuts the power after every operation of a history and judges the images.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use actix_wal::testkit::internals::format::segment::{
    FileKind, SegmentHeader, file_kind, segment_name,
};
use actix_wal::testkit::{Cuts, FailedSync, Op, Persist, Random, SimDisk};

use test_support::agree::{agree_on_directory, files_on};
use test_support::counts::Counts;
use test_support::driven::histories::{History, PIECE, Stage};
use test_support::facts::Fact;
use test_support::judge::Judge;
use test_support::naive::Answer;
use test_support::recovered::Recovered;

/// Up to so many images of one cut, each is looked at.
const ALL: u64 = 128;

/// Where there are more, so many samples of each kind.
const SAMPLES: u64 = 32;

/// In how many images a second reader looks too: one of so many.
const SECOND_READER_EVERY: u64 = 100;

/// In how many images recovery itself is cut: one of so many.
const CUT_RECOVERY_EVERY: u64 = 250;

/// Which recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) history: usize,
    pub(crate) seed: u64,
    pub(crate) stage: usize,
}

/// How a run ends: the process is killed, or the power fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Killed,
    Power(Persist),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Killed => write!(f, "killed"),
            How::Power(Persist::Dropped) => write!(f, "dropped"),
            How::Power(Persist::Kept) => write!(f, "kept"),
            How::Power(Persist::Torn { seed }) => write!(f, "torn-{seed}"),
            How::Power(Persist::Garbled { seed }) => write!(f, "garbled-{seed}"),
            How::Power(Persist::Chosen { number }) => write!(f, "chosen-{number}"),
        }
    }
}

impl How {
    pub(crate) fn parse(text: &str) -> Option<How> {
        let Some((kind, number)) = text.split_once('-') else {
            return Some(match text {
                "killed" => How::Killed,
                "dropped" => How::Power(Persist::Dropped),
                "kept" => How::Power(Persist::Kept),
                _ => return None,
            });
        };
        let number = number.parse().ok()?;
        Some(How::Power(match kind {
            "torn" => Persist::Torn { seed: number },
            "garbled" => Persist::Garbled { seed: number },
            "chosen" => Persist::Chosen { number },
            _ => return None,
        }))
    }
}

/// A sweep that saw none of it has gone blind.
const WANTED: [&str; 27] = [
    "carried frames",
    "torn tails",
    "gaps",
    "low-water marks",
    "clean ends",
    "logs of four segments",
    "recoveries that were cut",
    "recoveries that were cut twice",
    "acknowledged records",
    "refused records",
    "rotations",
    "seals",
    "faults",
    "checkpoints",
    "closes",
    "poisoned logs",
    "full disks",
    "writes that failed in the middle",
    ENUMERATED,
    SAMPLED,
    OLD_LIVES,
    HALF_FILLED,
    TORN_FRAMES,
    FORGOTTEN[0],
    FORGOTTEN[1],
    REVERTED[0],
    REVERTED[1],
];

const ENUMERATED: &str = "cuts of which every image was looked at";
const SAMPLED: &str = "cuts of which samples were looked at";
const OLD_LIVES: &str = "images with frames of an earlier life in a recycled segment";
const HALF_FILLED: &str = "images of a segment that is half filled with zeros";
const TORN_FRAMES: &str = "images of a torn frame";
/// Of segments, and of files that were being prepared.
const FORGOTTEN: [&str; 2] =
    ["failed syncs that forget pages", "failed syncs that forget prepared pages"];
const REVERTED: [&str; 2] =
    ["failed syncs that revert pages", "failed syncs that revert prepared pages"];
const LOOKED_AT: &str = "images";
const SECOND_READER: &str = "images that the second reader saw";

pub(crate) fn check_that_it_saw_enough(tally: &Counts) {
    tally.assert_seen(3, WANTED);
    let few = tally.of(LOOKED_AT) / SECOND_READER_EVERY / 2;
    assert!(tally.of(SECOND_READER) > few, "the second reader saw too few: {tally:#?}");
}

/// A frame that was written and not synced.
#[derive(Clone, Debug)]
struct Unsynced {
    name: String,
    offset: usize,
    bytes: Vec<u8>,
}

impl Unsynced {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    /// Whether all of the frame was passed to a write.
    fn is_complete(&self) -> bool {
        let word = self.bytes.get(52..56).and_then(|word| word.try_into().ok());
        let payload_len = word.map_or(0, u32::from_le_bytes) as usize;
        self.bytes.len() >= FRAME_OVERHEAD + payload_len
    }

    /// How many records the frame says that it holds.
    fn records(&self) -> u32 {
        let count = self.bytes.get(48..52).and_then(|count| count.try_into().ok());
        count.map_or(0, u32::from_le_bytes)
    }
}

/// Header and checksum of a frame (docs/format.md).
const FRAME_OVERHEAD: usize = 108;

/// A walk over all prefixes of a recording.
pub(crate) struct Sweep<'a> {
    place: Place,
    history: &'a History,
    stage: &'a Stage,
    judge: Judge,
    ops: Vec<Op>,
    /// In the order in which they were written.
    unsynced: Vec<Unsynced>,
    /// Whether the last of them was written after everything that was synced.
    ends_unsynced: bool,
    pub(crate) distinct: HashSet<u64>,
    pub(crate) garbled: HashSet<u64>,
    /// The images that were judged since the clients learned something, or something was written.
    judged: HashSet<u64>,
    tally: Counts,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(place: Place, history: &'a History, stage: &'a Stage) -> Self {
        let facts = &stage.facts;
        let mut judge = Judge::new(history.config(), facts, place.seed, CUT_RECOVERY_EVERY);
        facts[..stage.known].iter().for_each(|fact| judge.oracle.learn(*fact));
        // The power was cut: what was closed by then was opened by a life that left no trace.
        if stage.known > 0 {
            judge.oracle.learn(Fact::Opening);
        }
        Sweep {
            place,
            history,
            stage,
            judge,
            ops: stage.log.ops(),
            unsynced: Vec::new(),
            ends_unsynced: false,
            distinct: HashSet::new(),
            garbled: HashSet::new(),
            judged: HashSet::new(),
            tally: Counts::default(),
        }
    }

    pub(crate) fn tally(&self) -> Counts {
        let mut tally = self.tally.clone();
        [&self.judge.seen, &self.stage.done].into_iter().for_each(|counts| tally.add(counts));
        tally
    }

    pub(crate) fn run(&mut self) {
        let mut cuts = self.stage.cuts();
        while self.advance(&mut cuts) {
            // Marks cost no power: the cut after the last of them is the strictest.
            if matches!(self.ops.get(cuts.position()), Some(Op::Mark(_))) {
                continue;
            }
            for how in self.choose(&cuts) {
                self.look(&cuts, how);
            }
        }
    }

    /// One image alone. What is wrong if there is none of that number.
    pub(crate) fn only(&mut self, position: usize, how: How) -> Result<(), String> {
        let mut cuts = self.stage.cuts();
        while cuts.position() < position && self.advance(&mut cuts) {}
        if let How::Power(Persist::Chosen { number }) = how
            && number >= cuts.possible_images()
        {
            let last = cuts.possible_images() - 1;
            return Err(format!("there is no image {number} there, they are 0 to {last}"));
        }
        self.look(&cuts, how);
        Ok(())
    }

    fn advance(&mut self, cuts: &mut Cuts) -> bool {
        if !cuts.advance() {
            return false;
        }
        if self.judge.learn(cuts, &self.stage.facts) {
            self.judged.clear();
        }
        let is_segment = |name: &str| matches!(file_kind(name), FileKind::Segment(_));
        match cuts.last_op() {
            Some(Op::Write { name, offset, bytes, .. }) if is_segment(name) => {
                let (name, offset, bytes) = (name.clone(), *offset as usize, bytes.to_vec());
                self.ends_unsynced = true;
                match self.unsynced.last_mut() {
                    // A short write goes on.
                    Some(last) if last.name == name && last.end() == offset => {
                        last.bytes.extend(bytes);
                    }
                    _ => self.unsynced.push(Unsynced { name, offset, bytes }),
                }
                self.judged.clear();
            }
            Some(Op::Sync { name, ok: true, .. }) if is_segment(name) => {
                self.ends_unsynced = false;
                self.unsynced.retain(|unsynced| unsynced.name != *name);
                self.judged.clear();
            }
            Some(Op::Sync { name, ok: false, .. }) => {
                let [segments, prepared] = match self.stage.failed_sync {
                    FailedSync::KeepsNewPages => FORGOTTEN,
                    FailedSync::RevertsPages => REVERTED,
                };
                self.tally.count(segments, is_segment(name).into());
                self.tally.count(prepared, name.ends_with(".tmp").into());
            }
            _ => {}
        }
        true
    }

    fn choose(&mut self, cuts: &Cuts) -> Vec<How> {
        let mut random = Random::new(self.place.seed ^ (cuts.position() as u64) << 40);
        let possible = cuts.possible_images();
        let mut chosen = vec![How::Killed, How::Power(Persist::Kept)];
        if possible <= ALL {
            self.tally.count(ENUMERATED, u64::from(possible > 1));
            chosen.extend((0..possible).map(|number| How::Power(Persist::Chosen { number })));
        } else {
            self.tally.count(SAMPLED, 1);
            chosen.push(How::Power(Persist::Dropped));
            let torn = (0..SAMPLES).map(|_| How::Power(Persist::Torn { seed: random.number() }));
            chosen.extend(torn);
        }
        let garbled = (possible - 1).min(SAMPLES / 2);
        chosen.extend((0..garbled).map(|_| How::Power(Persist::Garbled { seed: random.number() })));
        chosen
    }

    fn look(&mut self, cuts: &Cuts, how: How) {
        let disk = match how {
            How::Killed => cuts.killed(),
            How::Power(persist) => cuts.image(persist),
        };
        let content = content_hash(&disk);
        let is_garbled = matches!(how, How::Power(Persist::Garbled { .. }));
        if is_garbled { &mut self.garbled } else { &mut self.distinct }.insert(content);
        let is_killed = matches!(how, How::Killed);
        let mut judged = DefaultHasher::new();
        (content, is_killed).hash(&mut judged);
        if !self.judged.insert(judged.finish()) {
            return;
        }
        self.tally.count(LOOKED_AT, 1);
        // What is drawn for an image depends on nothing but the image: so it can be repeated alone.
        self.judge.random = Random::new(content);
        let found: Vec<_> = self.unsynced.iter().map(|one| found_of(one, &disk)).collect();
        let checked = if is_killed {
            self.judge.check_kill(&disk)
        } else {
            self.count_old_lives(&disk);
            self.count_half_filled(&disk);
            let checked = self.judge.check_image(&disk);
            checked.and_then(|recovered| self.check_torn(&found, &recovered))
        };
        let checked = checked.and_then(|()| self.ask_the_second_reader(content, &disk));
        if let Err(broken) = checked {
            self.report(cuts.position(), how, &broken);
        }
    }

    /// P10: what was being written is there, or not, or a torn tail is reported.
    fn check_torn(&mut self, found: &[Found], recovered: &Recovered) -> Result<(), String> {
        let torn = recovered.report.torn_tail;
        if self.ends_unsynced && found.last() == Some(&Found::Torn) {
            self.tally.count(TORN_FRAMES, 1);
            if torn.is_none() {
                return Err("P10: a torn frame is not reported".to_owned());
            }
        }
        let Some((sequence, tail)) = torn else { return Ok(()) };
        // What an earlier power cut tore is not known here.
        let knows_all = self.stage.known == 0;
        if knows_all && found.iter().all(|found| matches!(found, Found::Whole | Found::Nothing)) {
            return Err(format!("P10: nothing is torn, but {tail:?}"));
        }
        let name = segment_name(sequence);
        let mut written = self.unsynced.iter().filter(|unsynced| unsynced.name == name);
        if !tail.possibly_acknowledged && written.any(|unsynced| unsynced.records() > 0) {
            return Err(format!("P10: {tail:?} may well hold records"));
        }
        Ok(())
    }

    /// Recovery and a reader that was written after the page of the format say the same of the disk.
    fn ask_the_second_reader(&mut self, content: u64, disk: &SimDisk) -> Result<(), String> {
        if !content.is_multiple_of(SECOND_READER_EVERY) {
            return Ok(());
        }
        self.tally.count(SECOND_READER, 1);
        let agree = AssertUnwindSafe(|| agree_on_directory(&files_on(disk)));
        match catch_unwind(agree) {
            Ok(Answer::Opened(_)) => Ok(()),
            Ok(refused) => Err(format!("the second reader refuses it: {refused:?}")),
            Err(_) => Err("the second reader disagrees, see above".to_owned()),
        }
    }

    fn count_old_lives(&mut self, disk: &SimDisk) {
        let is_segment = |name: &String| matches!(file_kind(name), FileKind::Segment(_));
        let has_old_life = |name: String| {
            let bytes = disk.read_file(&name).unwrap_or_default();
            let Ok(header) = SegmentHeader::decode(&bytes) else { return false };
            let mut blocks = bytes.chunks(512).skip(1);
            header.recycled
                && blocks.any(|block| {
                    let sequence = header.place.sequence.to_le_bytes();
                    block.starts_with(b"awf1") && block[8..16] != sequence
                })
        };
        let mut names = disk.names().into_iter().filter(is_segment);
        self.tally.count(OLD_LIVES, names.any(has_old_life).into());
    }

    fn count_half_filled(&mut self, disk: &SimDisk) {
        let size = self.history.config().segment_size as usize;
        let is_scratch = |name: &String| matches!(file_kind(name), FileKind::Scratch(_));
        // By whole pieces: a write that failed in the middle leaves any length.
        let is_half_filled = |name: String| {
            let len = disk.read_file(&name).unwrap_or_default().len();
            (1..size).contains(&len) && len.is_multiple_of(PIECE)
        };
        let mut names = disk.names().into_iter().filter(is_scratch);
        self.tally.count(HALF_FILLED, names.any(is_half_filled).into());
    }

    fn report(&self, position: usize, how: How, broken: &str) -> ! {
        for (at, op) in self.ops.iter().enumerate().take(position).skip(position.saturating_sub(40))
        {
            match op {
                Op::Mark(mark) => {
                    println!("{at:6}   {:?}", self.stage.facts[mark.value as usize]);
                }
                op => println!("{at:6} {op}"),
            }
        }
        let Place { history, seed, stage } = self.place;
        panic!(
            "{}, stage {stage}, cut after {position} operations, {how}: {broken}\nrepeat it with \
             WAL_SIM_IMAGES_ONLY={history}/{seed}/{stage}/{position}/{how} cargo test --test crash_images",
            self.history.name
        );
    }
}

/// What became of the frame that was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Whole,
    Nothing,
    Torn,
    /// What can not be told without knowing the format: it is in a recycled segment.
    Unclear,
}

fn found_of(unsynced: &Unsynced, disk: &SimDisk) -> Found {
    let Some(file) = disk.read_file(&unsynced.name) else { return Found::Nothing };
    let found = file.get(unsynced.offset..unsynced.end().min(file.len())).unwrap_or_default();
    if found == unsynced.bytes && unsynced.is_complete() {
        Found::Whole
    } else if SegmentHeader::decode(&file).is_ok_and(|header| header.recycled) {
        Found::Unclear
    } else if found.iter().all(|byte| *byte == 0) {
        Found::Nothing
    } else {
        Found::Torn
    }
}

fn content_hash(disk: &SimDisk) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in disk.names() {
        name.hash(&mut hasher);
        disk.read_file(&name).hash(&mut hasher);
    }
    hasher.finish()
}
