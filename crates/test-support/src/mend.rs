//! Makes checksums match again after a change, so that what is behind them is reached.

use crate::naive::{Files, crc, u32_at};

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
            mend_header(file);
        }
        mend_frames(file, what, &mut chain);
    }
}

/// Makes the checksum of a segment header right.
pub fn mend_header(segment: &mut [u8]) {
    let checksum = crc(&[&segment[..52]]);
    segment[52..56].copy_from_slice(&checksum.to_le_bytes());
}

/// Makes the checksums of the frame with which these bytes begin those of this log and this place: that of
/// its header, and that of its records if they end here.
pub fn sign(frame: &mut [u8], log_id: &[u8], at: usize) {
    let checksum = crc(&[log_id, &(at as u64).to_le_bytes(), &frame[..100]]);
    frame[100..104].copy_from_slice(&checksum.to_le_bytes());
    let end = 104 + u32_at(frame, 52) as usize;
    if end + 4 <= frame.len() {
        let checksum = crc(&[&frame[..100], &frame[104..end]]);
        frame[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn mend_frames(file: &mut [u8], what: Mend, chain: &mut Option<u32>) {
    let block = u32_at(file, 48) as usize;
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
        if what.frames {
            sign(frame, &head[16..32], at);
        }
        let end = 104 + u32_at(frame, 52) as usize;
        if end + 4 <= frame.len() && frame[48..52] != [0; 4] {
            *chain = Some(u32_at(frame, end));
        }
    }
}
