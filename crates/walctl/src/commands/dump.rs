//! `walctl dump`: the records of a log.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use actix_wal::Lsn;
use actix_wal::inspect::{FrameView, LogFiles, LogItem};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::place::Place;
use crate::records::Transaction;

/// How long `--follow` sleeps when nothing new is there.
const POLL: Duration = Duration::from_millis(100);

/// Prints the live records of a log.
///
/// What is damaged is said on standard error and left out; the records behind it are printed. Beside a running log the
/// newest records may not be durable yet.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl dump /var/lib/app/wal --from 1000 --to 1010\n  walctl dump /var/lib/app/wal --format json | jq -r .payload_hex\n  walctl dump /var/lib/app/wal --follow"
)]
pub(crate) struct Arguments {
    /// The directory of the log.
    dir: PathBuf,
    /// The first LSN; without it, the first one that no checkpoint has released.
    #[arg(long, value_name = "LSN", default_value_t = 1)]
    from: u64,
    /// The last LSN.
    #[arg(long, value_name = "LSN", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// How records are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// What the payloads are, if not just bytes.
    #[arg(long, value_enum)]
    decode: Option<Decode>,
    /// Goes on with what is appended from now on, until it is ended.
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decode {
    /// Transactions of actix-wal-txn: what each did, and to which keys.
    Txn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line a record: LSN, place, size, and what of the payload is text.
    Text,
    /// An object a record.
    Json,
    /// The payload in hexadecimal digits, 16 bytes a line.
    Hex,
}

/// The JSON of one record.
#[derive(Serialize)]
struct Line<'a> {
    lsn: u64,
    epoch: u64,
    segment: u64,
    frame_offset: u64,
    written_us: u64,
    payload_bytes: usize,
    payload_hex: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Transaction>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    if arguments.from > arguments.to {
        let (from, to) = (arguments.from, arguments.to);
        return Err(Failure::refused(format_args!("--from {from} is behind --to {to}")));
    }
    let (Place { files, .. }, _) = Place::with_log(&arguments.dir)?;
    let format = if output.is_json() { Format::Json } else { arguments.format };
    let mut dump = Dump {
        next: Lsn::new(arguments.from),
        to: Lsn::new(arguments.to),
        format,
        decode: arguments.decode,
        exit: Exit::Fine,
        text: Vec::new(),
    };
    loop {
        let before = dump.next;
        dump.pass(&files, output)?;
        if !arguments.follow || dump.next > dump.to {
            return Ok(dump.exit);
        }
        output.flush()?;
        if dump.next == before {
            std::thread::sleep(POLL);
        }
    }
}

struct Dump {
    next: Lsn,
    to: Lsn,
    format: Format,
    decode: Option<Decode>,
    exit: Exit,
    /// Kept between records for its memory.
    text: Vec<u8>,
}

impl Dump {
    /// Prints all that is there from `next` on.
    fn pass(&mut self, files: &LogFiles, output: &mut Output) -> Result<(), Failure> {
        let mut frames = files.frames(self.next).map_err(Failure::refused)?;
        while let Some(view) = frames.next().map_err(Failure::refused)? {
            match view {
                LogItem::Damage(damage) => {
                    eprintln!("walctl dump: {damage}; {}", damage.remedy());
                    self.exit = Exit::Damage;
                }
                LogItem::Frame(frame) => self.frame(&frame, output.raw())?,
                _ => {}
            }
            if self.next > self.to {
                break;
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &FrameView<'_>, out: &mut dyn Write) -> std::io::Result<()> {
        for (lsn, payload) in frame.records() {
            if lsn < self.next {
                continue;
            }
            if lsn > self.to {
                break;
            }
            self.text.clear();
            match self.format {
                Format::Text => {
                    place(&mut self.text, lsn, frame, payload.len());
                    match self.decode {
                        Some(Decode::Txn) => {
                            self.text.extend(Transaction::of(lsn, payload).line().bytes())
                        }
                        None => text(&mut self.text, payload),
                    }
                }
                Format::Hex => hex(&mut self.text, lsn, payload),
                Format::Json => {
                    digits(&mut self.text, payload);
                    let line = Line {
                        lsn: lsn.get(),
                        epoch: frame.epoch().get(),
                        segment: frame.segment(),
                        frame_offset: frame.offset(),
                        written_us: frame.written_us(),
                        payload_bytes: payload.len(),
                        // Digits, and nothing else.
                        payload_hex: std::str::from_utf8(&self.text).unwrap_or_default(),
                        transaction: self.decode.map(|Decode::Txn| Transaction::of(lsn, payload)),
                    };
                    serde_json::to_writer(&mut *out, &line)?;
                    out.write_all(b"\n")?;
                    self.next = lsn.next();
                    continue;
                }
            }
            out.write_all(&self.text)?;
            self.next = lsn.next();
        }
        // LSNs that name no record are done with, too.
        self.next = self.next.max(frame.next_lsn().min(self.to.next()));
        Ok(())
    }
}

/// `17  1:4096  12 bytes  `.
fn place(line: &mut Vec<u8>, lsn: Lsn, frame: &FrameView<'_>, len: usize) {
    let mut number = itoa::Buffer::new();
    line.extend(number.format(lsn.get()).bytes());
    line.extend(b"  ");
    line.extend(number.format(frame.segment()).bytes());
    line.push(b':');
    line.extend(number.format(frame.offset()).bytes());
    line.extend(b"  ");
    line.extend(number.format(len).bytes());
    line.extend(b" bytes  ");
}

fn text(line: &mut Vec<u8>, payload: &[u8]) {
    const SHOWN: usize = 60;
    let shown = &payload[..payload.len().min(SHOWN)];
    line.extend(shown.iter().map(|byte| match byte {
        b' '..=b'~' => *byte,
        _ => b'.',
    }));
    line.extend(if payload.len() > SHOWN { &b" ...\n"[..] } else { b"\n" });
}

fn hex(lines: &mut Vec<u8>, lsn: Lsn, payload: &[u8]) {
    lines.extend(format!("LSN {lsn}, {} bytes\n", payload.len()).bytes());
    for (at, row) in payload.chunks(16).enumerate() {
        digits(lines, &(at as u32 * 16).to_be_bytes());
        lines.push(b' ');
        for byte in row {
            lines.push(b' ');
            digits(lines, &[*byte]);
        }
        lines.push(b'\n');
    }
}

fn digits(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}
