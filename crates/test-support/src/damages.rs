//! What can happen to the files of a log.

use crate::mend::{Mend, mend};
use crate::naive::Files;
use actix_wal::testkit::Random;

/// Numbers that lie on the edge of something.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    3,
    5,
    104,
    511,
    512,
    1 << 20,
    u32::MAX as u64 - 108,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// Does one of many things to a log; some need the files of another one.
pub fn damage(files: &mut Files, other: &Files, random: &mut Random) {
    let Some(name) = any_name(files, random) else { return };
    match random.below(10) {
        0..=5 => damage_file(files, &name, other, random),
        6..=7 => forge(files, &name, random),
        _ => shuffle(files, &name, other, random),
    }
}

/// Does something to one file that leaves it its name, and no checksum right that covers it.
pub fn damage_file(files: &mut Files, name: &str, other: &Files, random: &mut Random) {
    let file = files.get_mut(name).expect("it is there");
    match random.below(6) {
        0..=3 => bend(file, random),
        4 => resize(file, random),
        _ => splice(files, name, other, random),
    }
}

fn any_name(files: &Files, random: &mut Random) -> Option<String> {
    let at = random.below(files.len().max(1) as u64) as usize;
    files.keys().nth(at).cloned()
}

/// Frames and blocks, by what their first bytes say; the first block of a file is its header.
fn frames(file: &[u8]) -> Vec<usize> {
    let is_frame = |at: &usize| file[*at..].starts_with(b"awf1");
    (512..file.len().max(512)).step_by(512).filter(is_frame).collect()
}

/// A place that matters: in or near a frame, more often than not.
fn place(file: &[u8], random: &mut Random) -> usize {
    let frames = frames(file);
    let anywhere = random.below(file.len().max(1) as u64) as usize;
    if frames.is_empty() || random.below(4) == 0 {
        return anywhere;
    }
    // The last ones decide how a log ends.
    let back = random.below(3.min(frames.len() as u64)) as usize;
    let frame = match random.below(2) {
        0 => frames[frames.len() - 1 - back],
        _ => frames[random.below(frames.len() as u64) as usize],
    };
    (frame + random.below(160) as usize).min(file.len() - 1)
}

/// Changes bytes in place.
fn bend(file: &mut [u8], random: &mut Random) {
    if file.is_empty() {
        return;
    }
    let at = place(file, random);
    let block = at / 512 * 512;
    let end = file.len().min(block + 512);
    match random.below(8) {
        0..=2 => file[at] ^= 1 << random.below(8),
        3 => {
            let end = file.len().min(at + 1 + random.below(40) as usize);
            file[at..end].fill_with(|| random.number() as u8);
        }
        4 => file[block..end].fill(0),
        5 => file[block..].fill(0),
        6 => file[block..(block + 4).min(end)].copy_from_slice(&b"awf1"[..(end - block).min(4)]),
        // Noise behind everything that was written.
        _ => {
            let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let begin = used.next_multiple_of(512).min(file.len());
            let begin = begin + random.below(2) as usize * 512;
            let len = 1 + random.below(700) as usize;
            let end = file.len().min(begin + len);
            if let Some(rest) = file.get_mut(begin..end) {
                rest.fill_with(|| random.number() as u8);
            }
        }
    }
}

fn resize(file: &mut Vec<u8>, random: &mut Random) {
    let at = place(file, random);
    match random.below(4) {
        0 => file.truncate(at),
        1 => file.truncate(at.next_multiple_of(512)),
        2 => file.resize(file.len() + 512 * random.below(4) as usize, 0),
        _ => {
            let more = random.below(1500);
            file.extend((0..more).map(|_| random.number() as u8));
        }
    }
}

/// Blocks of another file, another log or another life, at their own place or elsewhere.
fn splice(files: &mut Files, name: &str, other: &Files, random: &mut Random) {
    let from = if random.below(2) == 0 { &*files } else { other };
    let Some(from) = any_name(from, random).and_then(|name| from.get(&name)).cloned() else {
        return;
    };
    let file = files.get_mut(name).expect("just named");
    let to = place(file, random) / 512 * 512;
    let at = if random.below(2) == 0 { to } else { place(&from, random) / 512 * 512 };
    // Some blocks, or all that is behind.
    let len = if random.below(8) == 0 { from.len() } else { 512 * (1 + random.below(4) as usize) };
    let end = from.len().min(at + len);
    let Some(blocks) = from.get(at..end) else { return };
    let fits = blocks.len().min(file.len().saturating_sub(to));
    file[to..to + fits].copy_from_slice(&blocks[..fits]);
}

/// A hostile value in one field of a frame or of the header, under matching checksums.
pub fn forge(files: &mut Files, name: &str, random: &mut Random) {
    const FRAME: [(usize, usize); 15] = [
        (4, 4),
        (8, 8),
        (16, 8),
        (24, 8),
        (32, 8),
        (40, 8),
        (48, 4),
        (52, 4),
        (64, 8),
        (72, 8),
        (80, 8),
        (88, 8),
        (96, 4),
        // The length and the flags of the first record, if there is one.
        (104, 4),
        (108, 1),
    ];
    const HEADER: [(usize, usize); 6] = [(8, 4), (12, 4), (16, 8), (32, 8), (40, 8), (48, 4)];
    let file = files.get_mut(name).expect("just named");
    let frames = frames(file);
    let in_header = frames.is_empty() || random.below(5) == 0;
    let (begin, (at, width)) = if in_header {
        (0, HEADER[random.below(6) as usize])
    } else {
        (frames[random.below(frames.len() as u64) as usize], FRAME[random.below(15) as usize])
    };
    let Some(field) = file.get_mut(begin + at..begin + at + width) else { return };
    let mut old = [0; 8];
    old[..width].copy_from_slice(field);
    let old = u64::from_le_bytes(old);
    let value = match random.below(4) {
        0 => old.wrapping_add(1 + random.below(3)),
        1 => old.wrapping_sub(1 + random.below(3)),
        2 => old ^ 1 << random.below(8 * width as u64),
        _ => EDGES[random.below(14) as usize],
    };
    field.copy_from_slice(&value.to_le_bytes()[..width]);
    let chain = random.below(2) == 0;
    mend(files, Mend { segment: true, frames: true, life: false, chain });
}

/// Takes away, renames, exchanges, repeats and replaces whole files.
fn shuffle(files: &mut Files, name: &str, other: &Files, random: &mut Random) {
    let number: u64 = name.get(..20).and_then(|digits| digits.parse().ok()).unwrap_or(1);
    let near = match random.below(8) {
        0 => EDGES[random.below(14) as usize],
        _ => number.saturating_add(random.below(4)).saturating_sub(1),
    };
    let new_name = format!("{near:020}.wal");
    match random.below(10) {
        0..=1 => drop(files.remove(name)),
        // Another number, and all of it as if it had been written under that.
        8 => {
            let mut bytes = files.remove(name).expect("just named");
            if let Some(sequence) = bytes.get_mut(32..40) {
                sequence.copy_from_slice(&near.to_le_bytes());
            }
            files.insert(new_name, bytes);
            mend(files, Mend { segment: true, frames: true, life: true, chain: false });
        }
        2 => {
            let bytes = files.remove(name).expect("just named");
            files.insert(new_name, bytes);
        }
        3 => {
            let bytes = files[name].clone();
            files.insert(new_name, bytes);
        }
        4 => {
            let with = any_name(files, random).expect("there is one");
            let (one, two) = (files[name].clone(), files[&with].clone());
            files.insert(with, one);
            files.insert(name.to_owned(), two);
        }
        // An older or a foreign copy of itself.
        5..=6 => drop(other.get(name).map(|bytes| files.insert(name.to_owned(), bytes.clone()))),
        // Everything from here on is gone.
        7 => files.retain(|kept, _| kept.as_str() < name),
        _ => {
            let suffix = ["wal.tmp", "wal.damaged", "wal.bak", "txt"][random.below(4) as usize];
            files.insert(format!("{near:020}.{suffix}"), vec![1, 2, 3]);
        }
    }
}
