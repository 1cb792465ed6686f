//! The inputs of the fuzz targets: a directory of up to three files in few bytes.
//!
//! ```text
//! input = mends (1 byte); number of the first file (1 byte); piece*
//! piece = file, 0 to 2 (1 byte); block, of 512 bytes (1 byte); length (2 bytes); bytes
//! ```
//!
//! Everything between the pieces is zero, so that a mutation hits something that matters. A file ends
//! where a piece with file 4 to 6 says, or with the block of its last piece. Bits 0 to 3 of `mends` say which
//! checksums are put right after the mutation: see [`Mend`]. Bit 4 makes the second file one that is being
//! prepared, bit 5 leaves a number out before the third.

use crate::mend::{Mend, mend};
use crate::naive::Files;

const BLOCK: usize = 512;

/// The directory that an input stands for.
pub fn decode(input: &[u8]) -> Files {
    let [mends, first, pieces @ ..] = input else { return Files::new() };
    let mut rest = pieces;
    let mut files: [Option<Vec<u8>>; 3] = [None, None, None];
    while let [file, block, low, high, more @ ..] = rest {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let begin = usize::from(*block) * BLOCK;
        if file & 4 != 0 {
            // The length is the odd rest behind the last whole block.
            let end = begin + len % BLOCK;
            files[usize::from(file & 3) % 3].get_or_insert_default().resize(end, 0);
            rest = more;
            continue;
        }
        let (bytes, behind) = more.split_at(len.min(more.len()));
        let content = files[usize::from(file & 3) % 3].get_or_insert_default();
        let end = (begin + bytes.len()).next_multiple_of(BLOCK);
        content.resize(end.max(content.len()), 0);
        content[begin..begin + bytes.len()].copy_from_slice(bytes);
        rest = behind;
    }
    let bit = |bit: u8| mends & (1 << bit) != 0;
    let (scratch, gap) = (bit(4), bit(5));
    let name = |at: u64| {
        let number = u64::from(*first) + at + u64::from(gap && at == 2);
        let suffix = if scratch && at == 1 { ".tmp" } else { "" };
        format!("{number:020}.wal{suffix}")
    };
    let mut files: Files =
        (0..).zip(files).filter_map(|(at, file)| Some((name(at), file?))).collect();
    let what = Mend { segment: bit(0), frames: bit(1), life: bit(2), chain: bit(3) };
    mend(&mut files, what);
    files
}

/// The input that stands for a directory; of files beyond 128 KiB, and behind the third, nothing is kept.
pub fn encode(mends: u8, files: &Files) -> Vec<u8> {
    let number = |name: &String| name[..20].parse::<u64>().ok();
    let first = files.keys().find_map(number).unwrap_or(1);
    let mut input = vec![mends, first as u8];
    for (name, bytes) in files {
        let Some(file) = number(name).map(|number| number.wrapping_sub(first)).filter(|at| *at < 3)
        else {
            continue;
        };
        for (block, content) in bytes.chunks(BLOCK).take(256).enumerate() {
            let Some(last) = content.iter().rposition(|byte| *byte != 0) else { continue };
            input.extend([file as u8, block as u8]);
            input.extend((last as u16 + 1).to_le_bytes());
            input.extend(&content[..=last]);
        }
        input.extend([4 | file as u8, (bytes.len() / BLOCK) as u8]);
        input.extend(((bytes.len() % BLOCK) as u16).to_le_bytes());
    }
    input
}
