//! Writes the log: one flush = one frame = one write + one sync.
//!
//! A writer belongs to one segment. Whatever error it returns is final for that segment: it is never
//! written or synced again (promise P7), because after a failed sync nobody knows what is on disk, and a
//! second sync that succeeds proves nothing (Rebello et al., "Can Applications Recover from fsync
//! Failures?", ATC'20).

use crate::config::WalConfig;
use crate::engine::segments::preparer::PreparedSegment;
use crate::engine::state::meter::Laps;
use crate::error::{IoFault, IoOp};
use crate::format::Place;
use crate::format::frame::{FrameBuffer, FrameHeader, Start};
use crate::lsn::{Epoch, Lsn};
use crate::storage::{StorageFile, write_all_at};

/// Where the log stands: what outlives a segment. It moves only when a sync has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The epoch of the last start frame.
    pub epoch: Epoch,
    /// The LSN of the last live record; everything up to it is durable.
    pub last_live: Lsn,
    /// The LSN that the next frame begins with.
    pub next_lsn: Lsn,
    /// The checksum of the last live frame with records.
    pub chain: u32,
    /// The highest LSN that a checkpoint has released, as far as it is on disk.
    pub low_water: Lsn,
}

/// What a new segment begins with.
#[derive(Clone, Copy, Debug)]
pub struct StartFrame {
    /// The epoch: the same for a rotation, a new one after a fault or an open.
    pub epoch: Epoch,
    /// The LSN of the first record in the start frame, or of the next one if it holds none.
    pub first_lsn: Lsn,
    /// The LSN of the first record after the start frame.
    pub next_lsn: Lsn,
    /// How many LSNs may be handed out beyond the watermark.
    pub in_flight_limit: u64,
    /// The random number of this life of the file.
    pub salt: u64,
}

/// What every frame says beside its records, and what notes how long it took to write.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Microseconds since 1970.
    pub wall_us: u64,
    /// The highest LSN promised so far.
    pub watermark: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// Notes when the write and the sync returned.
    pub laps: Laps<'a>,
}

/// What an empty frame is for, and so how much of the reserved space it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Vouches for the last batch after a quiet moment.
    Seal,
    /// Makes a low-water mark durable, so that segments can be removed.
    LowWater,
    /// Ends a life; the next one begins with this LSN.
    Close(Lsn),
}

impl Marker {
    /// The blocks that must stay free behind it.
    fn leaves(self) -> u64 {
        match self {
            Marker::Seal => 2,
            Marker::LowWater => 1,
            Marker::Close(_) => 0,
        }
    }
}

/// Writes one segment.
#[derive(Debug)]
pub struct LogWriter {
    file: Box<dyn StorageFile>,
    name: String,
    place: Place,
    size: u64,
    salt: u64,
    offset: u64,
    /// Whether the last frame is empty: it vouches for the one before.
    vouched_for: bool,
    buffer: FrameBuffer,
}

impl LogWriter {
    /// Writes and syncs the start frame of a segment. When this returns, everything that older segments
    /// hold beyond `position.last_live` is dead, and the records that `fill` gives are durable.
    ///
    /// # Errors
    /// The write or the sync failed. The segment is then not to be used again; `position` is unchanged.
    pub fn start(
        segment: PreparedSegment,
        place: Place,
        position: &mut Position,
        opening: StartFrame,
        stamp: Stamp<'_>,
        fill: impl FnOnce(&mut FrameBuffer),
    ) -> Result<Self, IoFault> {
        let mut writer = LogWriter {
            file: segment.file,
            name: segment.name,
            place,
            size: segment.size,
            salt: opening.salt,
            offset: u64::from(place.block_size),
            vouched_for: false,
            buffer: FrameBuffer::default(),
        };
        let start = Start { cut: position.last_live, in_flight_limit: opening.in_flight_limit };
        let header = FrameHeader {
            start: Some(start),
            epoch: opening.epoch,
            first_lsn: opening.first_lsn,
            next_lsn: opening.next_lsn,
            ..writer.header(position, stamp)
        };
        writer.write_frame(position, header, stamp.laps, fill)?;
        Ok(writer)
    }

    /// Writes and syncs one frame of records. When this returns they are durable.
    ///
    /// # Errors
    /// The write or the sync failed; `position` is unchanged.
    pub fn append(
        &mut self,
        position: &mut Position,
        count: u64,
        stamp: Stamp<'_>,
        fill: impl FnOnce(&mut FrameBuffer),
    ) -> Result<(), IoFault> {
        let next_lsn = position.next_lsn.plus(count);
        let header = FrameHeader { next_lsn, ..self.header(position, stamp) };
        self.write_frame(position, header, stamp.laps, fill)
    }

    /// Writes and syncs an empty frame. It vouches for everything before it.
    ///
    /// # Errors
    /// The write or the sync failed; `position` is unchanged.
    pub fn append_marker(
        &mut self,
        position: &mut Position,
        kind: Marker,
        stamp: Stamp<'_>,
    ) -> Result<(), IoFault> {
        let mut header = self.header(position, stamp);
        if let Marker::Close(next_lsn) = kind {
            header.close = true;
            header.next_lsn = next_lsn;
        }
        self.write_frame(position, header, stamp.laps, |_| {})
    }

    /// Gives back the memory of large frames: nothing is written for a while.
    pub fn give_back(&mut self) {
        self.buffer.give_back();
    }

    /// How much memory it holds for the next frame, in bytes.
    #[cfg(any(test, feature = "testkit"))]
    pub fn buffer_capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Cuts the file behind the last frame: a short life costs its bytes, not a segment.
    ///
    /// # Errors
    /// The file could not be cut or synced. Nothing is lost by that.
    pub fn trim(&self) -> Result<(), IoFault> {
        let fault = |error| IoFault::new(IoOp::Truncate, &self.name, Some(self.offset), error);
        self.file.set_size(self.offset).map_err(fault)?;
        self.file.sync().map_err(fault)
    }

    /// How many bytes of records fit into one more frame; the reserved blocks are left alone.
    pub fn room(&self) -> u64 {
        let block = u64::from(self.place.block_size);
        let reserved = WalConfig::RESERVED_BLOCKS * block;
        self.size.saturating_sub(self.offset + reserved + WalConfig::FRAME_OVERHEAD)
    }

    /// Whether there is a block left for an empty frame of this kind.
    pub fn has_room_for(&self, kind: Marker) -> bool {
        let block = u64::from(self.place.block_size);
        self.offset + (1 + kind.leaves()) * block <= self.size
    }

    /// Whether a frame behind the last records proves that they were durable.
    pub fn is_vouched_for(&self) -> bool {
        self.vouched_for
    }

    /// The sequence number of the segment.
    pub fn sequence(&self) -> u64 {
        self.place.sequence
    }

    /// The size of the segment in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The offset behind the last frame, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The header of a plain frame without records.
    fn header(&self, position: &Position, stamp: Stamp<'_>) -> FrameHeader {
        FrameHeader {
            start: None,
            close: false,
            sequence: self.place.sequence,
            salt: self.salt,
            epoch: position.epoch,
            first_lsn: position.next_lsn,
            next_lsn: position.next_lsn,
            count: 0,
            payload_len: 0,
            wall_clock_us: stamp.wall_us,
            watermark: stamp.watermark,
            low_water: stamp.low_water,
            chain: position.chain,
        }
    }

    fn write_frame(
        &mut self,
        position: &mut Position,
        header: FrameHeader,
        laps: Laps<'_>,
        fill: impl FnOnce(&mut FrameBuffer),
    ) -> Result<(), IoFault> {
        self.buffer.begin();
        fill(&mut self.buffer);
        let frame = self.buffer.finish(header, &self.place, self.offset);
        let fault = |op, error| IoFault::new(op, &self.name, Some(self.offset), error);
        write_all_at(&*self.file, frame.bytes, self.offset)
            .map_err(|error| fault(IoOp::Write, error))?;
        laps.written();
        self.file.sync().map_err(|error| fault(IoOp::Sync, error))?;

        self.offset += frame.bytes.len() as u64;
        self.vouched_for = frame.header.count == 0;
        position.epoch = frame.header.epoch;
        position.next_lsn = frame.header.next_lsn;
        position.low_water = frame.header.low_water;
        if frame.header.count > 0 {
            position.last_live = frame.header.last_lsn();
            position.chain = frame.checksum;
        }
        // Last, so that nothing comes between the sync and the position, which says what is durable.
        laps.synced();
        Ok(())
    }
}
