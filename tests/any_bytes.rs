//! Guards P10, P11, P13: the scanner is total. Any bytes give an answer and never a panic, and whatever
//! was done to a segment, nothing is given out that was not written for this life of it.
//!
//! Every round has a seed, and a failing one says it. To run that round alone:
//!
//! ```text
//! ANY_BYTES_SEED=<seed> cargo test --test any_bytes
//! ```
//!
//! Half of the rounds have the same seeds in every run, the others new ones; `ANY_BYTES_ROUNDS` sets
//! how many there are.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::ops::Range;

use actix_wal::Lsn;
use actix_wal::testkit::Random;
use actix_wal::testkit::internals::format::LogId;
use actix_wal::testkit::internals::format::frame::{
    FRAME_HEADER_LEN, FRAME_TRAILER_LEN, FrameHeader,
};
use actix_wal::testkit::internals::format::record::Records;
use actix_wal::testkit::internals::format::scan::{Until, Verdict};
use actix_wal::testkit::internals::format::segment::{SegmentHeader, segment_name};
use test_support::damages::{damage_file, forge};
use test_support::environment::{new_seed, number};
use test_support::naive::Files;
use test_support::segments::{BLOCK, Scan, Writer, scan, segment_header};

/// Rounds of each test, where nothing else is asked for; a round is some dozens of scans.
const ROUNDS: u64 = 200;

/// Says the seed if its round fails.
struct Round(u64);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("this round is: ANY_BYTES_SEED={}", self.0);
        }
    }
}

fn rounds(mut round: impl FnMut(&mut Random)) {
    let fresh = new_seed() & !0xffff_ffff;
    let rounds = number("ANY_BYTES_ROUNDS").unwrap_or(ROUNDS);
    let seeds: Vec<u64> = match number("ANY_BYTES_SEED") {
        Some(seed) => vec![seed],
        None => (0..rounds.div_ceil(2)).chain((fresh..).take(rounds as usize / 2)).collect(),
    };
    for seed in seeds {
        let said = Round(seed);
        round(&mut Random::new(seed));
        drop(said);
    }
}

/// Three segments of a log, with their bytes; the third one lies in the file that was the first.
type Corpus = [(Writer, Vec<u8>); 3];

fn fill(writer: &mut Writer, random: &mut Random) {
    let size = writer.header.size as usize;
    loop {
        let records: Vec<Vec<u8>> = (0..random.of(0..=4))
            .map(|_| {
                let len = match random.of(0..=3) {
                    0 => random.of(0..=3),
                    1 => random.of(390..=410),
                    2 => random.of(400..=1200),
                    _ => random.of(4..=60),
                };
                random.bytes(len)
            })
            .collect();
        let payload: usize = records.iter().map(|record| record.len() + 5).sum();
        let frame = (FRAME_HEADER_LEN + payload + FRAME_TRAILER_LEN).next_multiple_of(BLOCK);
        if writer.bytes.len() + frame > size {
            if writer.frames.is_empty() {
                continue;
            }
            break;
        }
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let gap = if writer.frames.is_empty() && random.one_in(3) { 16 } else { 0 };
        writer.frame_and_gap(&records, gap);
        if writer.frames.len() > 2 && random.one_in(8) {
            break;
        }
    }
    if writer.bytes.len() + BLOCK <= size && random.one_in(4) {
        writer.close();
    }
}

fn corpus(random: &mut Random) -> Corpus {
    let log_id = LogId([random.of(1..=255) as u8; 16]);
    let blocks = random.of(12..=24);
    let mut one = Writer::new(segment_header(log_id, 1, blocks), 1, 0, 1, 0);
    fill(&mut one, random);
    let mut two = one.rotate(random.of(8..=16));
    fill(&mut two, random);
    let mut three = two.rotate(blocks);
    three.header.recycled = true;
    let mut three = Writer::new(three.header, 1, three.watermark, three.next, three.chain);
    fill(&mut three, random);
    let earlier = one.file(&[]);
    let last = three.file(&earlier);
    [(one, earlier), (two.clone(), two.file(&[])), (three, last)]
}

/// A file that things happen to, and those of the corpus, whose bytes may come into it.
fn damaged(corpus: &Corpus, whole: &[u8], times: usize, random: &mut Random) -> Vec<u8> {
    let name = |(writer, _): &(Writer, _)| segment_name(writer.header.place.sequence);
    let others = corpus.iter().map(|file| (name(file), file.1.clone())).collect();
    let mut files = Files::from([(VICTIM.to_owned(), whole.to_vec())]);
    (0..times).for_each(|_| damage_file(&mut files, VICTIM, &others, random));
    files.remove(VICTIM).expect("it keeps its name")
}

const VICTIM: &str = "victim";

/// What holds for every scan of any bytes.
fn is_sane(found: &Scan, file: &[u8], until: Until) {
    // The first frame lies behind the header, which is one block.
    let block = found.frames.first().map_or(1, |frame| frame.offset);
    let mut at = found.frames.first().map_or(found.ending.offset, |frame| frame.offset);
    let mut next = found.frames.first().map_or(0, |frame| frame.header.first_lsn.get());
    for frame in &found.frames {
        let (header, lsns) = (frame.header, frame.records.iter().map(|(lsn, _)| *lsn));
        assert_eq!((frame.offset, header.first_lsn.get()), (at, next), "frames follow each other");
        assert_eq!(frame.records.len(), header.count as usize);
        assert!(lsns.eq((next..).take(frame.records.len())), "LSNs are dense");
        let after = next + u64::from(header.count);
        let may_declare_gap = header.start.is_some() || header.close;
        assert!(header.next_lsn.get() == after || may_declare_gap && header.next_lsn.get() > after);
        if let Until::LiveEnd(end) = until {
            assert!(header.count == 0 || header.last_lsn() <= end, "beyond the live end");
        }
        at += header.payload_len as u64 + (FRAME_HEADER_LEN + FRAME_TRAILER_LEN) as u64;
        at = at.next_multiple_of(block);
        next = header.next_lsn.get();
    }
    assert_eq!((found.ending.offset, found.ending.next_lsn.get()), (at, next));
    if let Verdict::TornTail(torn) = found.ending.verdict {
        assert!(torn.bytes > 0 && at + torn.bytes <= file.len() as u64, "{torn:?}");
        assert_eq!(until, Until::Tail, "only the last segment has a tail");
    }
}

/// Nothing was given out that was not written for this life of the segment.
fn was_written(found: &Scan, corpus: &Corpus, sequence: u64) {
    let writer = corpus.iter().find(|(writer, _)| writer.header.place.sequence == sequence);
    let written = writer.map_or(&[][..], |(writer, _)| &writer.records);
    for record in found.records() {
        assert!(written.contains(&record), "LSN {} of segment {sequence}", record.0);
    }
}

/// How many frames end before this offset, blocks and all.
fn untouched(writer: &Writer, before: usize) -> usize {
    let whole = |frame: &&Range<usize>| frame.end.next_multiple_of(BLOCK) <= before;
    writer.frames.iter().take_while(whole).count()
}

fn any_until(writer: &Writer, random: &mut Random) -> Until {
    match random.of(0..=2) {
        0 => Until::LiveEnd(Lsn::new(random.of(0..=writer.next as usize + 2) as u64)),
        _ => Until::Tail,
    }
}

#[test]
fn p11_p13_whatever_happens_to_a_segment_only_what_was_written_to_it_comes_out_in_order() {
    rounds(|random| {
        let corpus = corpus(random);
        for _ in 0..24 {
            let (writer, whole) = &corpus[random.of(0..=2)];
            let times = random.of(0..=4);
            let file = damaged(&corpus, whole, times, random);
            let own = SegmentHeader::decode(&file).ok().filter(|_| random.one_in(2));
            let header = own.unwrap_or(writer.header);
            let until = any_until(writer, random);
            let found = scan(&file, header, until);
            is_sane(&found, &file, until);
            was_written(&found, &corpus, header.place.sequence);
            let same = file.iter().zip(whole).take_while(|(a, b)| a == b).count();
            if header == writer.header && until == Until::Tail {
                let frames = found.frames.len();
                assert!(frames >= untouched(writer, same), "{frames} frames, {same} good bytes");
            }
        }
    });
}

#[test]
fn p10_damage_to_any_frame_but_the_last_is_refused_with_a_proof() {
    rounds(|random| {
        let corpus = corpus(random);
        for (writer, whole) in &corpus {
            for _ in 0..8 * usize::from(writer.frames.len() > 1) {
                let victim = random.of(0..=writer.frames.len() - 2);
                let frame = writer.frames[victim].clone();
                let at = random.of(frame.start..=frame.end - 1);
                let mut file = whole.clone();
                let block = at / BLOCK * BLOCK;
                match random.of(0..=3) {
                    0 => file[at] ^= 1 << random.of(0..=7),
                    1 => file[block..frame.end.min(block + BLOCK)].fill(0),
                    2 => file[frame.start..frame.end].fill(0xff),
                    _ => {
                        let noise = random.bytes(frame.end - at);
                        file[at..frame.end].copy_from_slice(&noise);
                    }
                }
                if file == *whole {
                    continue;
                }
                let found = scan(&file, writer.header, Until::Tail);
                let proof = writer.frames[victim + 1].start as u64;
                assert_eq!(found.frames.len(), victim);
                assert!(
                    matches!(found.ending.verdict, Verdict::Damage { proof: Some(at), .. } if at == proof),
                    "frame {victim} damaged at {at}: {:?}",
                    found.ending
                );
            }
        }
    });
}

#[test]
fn p11_a_segment_cut_at_any_byte_gives_the_frames_before_the_cut_and_an_answer() {
    rounds(|random| {
        let corpus = corpus(random);
        let (writer, whole) = &corpus[random.of(0..=2)];
        for _ in 0..24 {
            let len = random.of(BLOCK..=whole.len());
            let found = scan(&whole[..len], writer.header, Until::Tail);
            is_sane(&found, &whole[..len], Until::Tail);
            assert_eq!(found.frames.len(), untouched(writer, len));
            let damage = matches!(found.ending.verdict, Verdict::Damage { .. });
            assert!(!damage, "no later frame, no damage: {:?}", found.ending);
        }
    });
}

#[test]
fn p11_hostile_values_under_matching_checksums_give_an_answer() {
    rounds(|random| {
        let corpus = corpus(random);
        for _ in 0..48 {
            let (writer, whole) = &corpus[random.of(0..=2)];
            let mut files = Files::from([(VICTIM.to_owned(), whole.clone())]);
            (0..random.of(1..=3)).for_each(|_| forge(&mut files, VICTIM, random));
            let (file, until) = (&files[VICTIM], any_until(writer, random));
            is_sane(&scan(file, writer.header, until), file, until);
            if let Ok(header) = SegmentHeader::decode(file) {
                assert!(header.size >= u64::from(header.place.block_size), "{header:?}");
                is_sane(&scan(file, header, until), file, until);
            }
        }
    });
}

/// The checksum of a frame covers what a segment is.
#[test]
fn p13_under_the_header_of_another_segment_nothing_comes_out() {
    rounds(|random| {
        let corpus = corpus(random);
        for _ in 0..24 {
            let (writer, file) = &corpus[random.of(0..=2)];
            let mut header = writer.header;
            match random.of(0..=2) {
                0 => header.place.sequence = random.number(),
                1 => header.place.log_id.0[random.of(0..=15)] ^= 1 << random.of(0..=7),
                _ => header.place.block_size <<= random.of(1..=7),
            }
            let found = scan(file, header, Until::Tail);
            is_sane(&found, file, Until::Tail);
            assert!(found.frames.is_empty(), "{header:?}");
        }
    });
}

#[test]
fn p11_noise_of_any_length_gives_an_answer_and_no_record() {
    rounds(|random| {
        let writer = &corpus(random)[random.of(0..=1)].0;
        for _ in 0..24 {
            let len = random.of(0..=6 * BLOCK);
            let mut noise = random.bytes(len);
            if random.one_in(2) {
                noise.chunks_exact_mut(BLOCK).for_each(|block| block[..4].copy_from_slice(b"awf1"));
            }
            let until = any_until(writer, random);
            let found = scan(&noise, writer.header, until);
            is_sane(&found, &noise, until);
            assert!(found.frames.is_empty());
            assert!(SegmentHeader::decode(&noise).is_err());
            let place = &writer.header.place;
            assert!(FrameHeader::decode(&noise, place, 512, u64::MAX).is_err());
            let walked: usize = Records::new(&noise).map(|record| record.len() + 5).sum();
            assert!(walked <= noise.len());
        }
    });
}

#[test]
fn one_seed_replays_one_run() {
    let run = |seed| {
        let mut random = Random::new(seed);
        let corpus = corpus(&mut random);
        let (writer, whole) = &corpus[2];
        let file = damaged(&corpus, whole, 1, &mut random);
        let found = scan(&file, writer.header, Until::Tail);
        (file, found)
    };
    assert!(run(7) == run(7));
    assert!(run(7) != run(8));
}
