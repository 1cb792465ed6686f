//! Makes checksums match again after a change, so that what is behind them is reached.

use crate::naive::{Files, crc};

/// What is put right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mend {
    /// The checksum of the segment header.
    pub segment: bool,
    /// Both checksums of every frame.
    pub frames: bool,
    /// The sequence number and salt of every frame: those of the segment and of its first frame.
    pub life: bool,
    /// The chain, through all files.
    pub chain: bool,
}

pub fn mend(files: &mut Files, what: Mend) {
    let mut chain = None;
    for file in files.values_mut() {
        if file.len() < 56 {
            continue;
        }
        if what.segment {
            let checksum = crc(&[&file[..52]]);
            file[52..56].copy_from_slice(&checksum.to_le_bytes());
        }
        mend_frames(file, what, &mut chain);
    }
}

fn mend_frames(file: &mut [u8], what: Mend, chain: &mut Option<u32>) {
    let block = u32::from_le_bytes([file[48], file[49], file[50], file[51]]) as usize;
    let block = if (512..=65_536).contains(&block) { block } else { 512 };
    let head = file[..56].to_vec();
    let mut salt: Option<Vec<u8>> = None;
    for at in (block..file.len()).step_by(block) {
        let frame = &mut file[at..];
        if frame.len() < 108 || !frame.starts_with(b"awf1") {
            continue;
        }
        if what.life {
            frame[8..16].copy_from_slice(&head[32..40]);
            let salt = salt.get_or_insert_with(|| frame[16..24].to_vec());
            frame[16..24].copy_from_slice(salt);
        }
        if let (true, Some(chain)) = (what.chain, &*chain) {
            frame[96..100].copy_from_slice(&chain.to_le_bytes());
        }
        let len = u32::from_le_bytes([frame[52], frame[53], frame[54], frame[55]]) as usize;
        let end = 104 + len;
        let fits = end + 4 <= frame.len();
        if what.frames {
            let offset = (at as u64).to_le_bytes();
            let checksum = crc(&[&head[16..32], &offset, &frame[..100]]);
            frame[100..104].copy_from_slice(&checksum.to_le_bytes());
            if fits {
                let checksum = crc(&[&frame[..100], &frame[104..end]]);
                frame[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
            }
        }
        if fits && frame[48..52] != [0; 4] {
            *chain = Some(u32::from_le_bytes([
                frame[end],
                frame[end + 1],
                frame[end + 2],
                frame[end + 3],
            ]));
        }
    }
}
