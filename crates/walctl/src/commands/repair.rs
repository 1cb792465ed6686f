//! `walctl repair`: ends a damaged log before its damage, after it has said what that costs.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use actix_wal::inspect::{Overview, SalvagePreview};
use actix_wal::{DamagePolicy, Existence, Wal, WalConfig};
use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::place::Place;
use crate::words;

/// So much of two files is compared at once, in bytes.
const PIECE: u64 = 1 << 20;

/// Ends a damaged log before its damage, so that it opens again. Says first what is lost.
///
/// It is the last resort: a backup, or the file that is missing, loses less. Files that hold what is taken out of the log are
/// renamed to *.wal.damaged and kept. A log that opens is left as it is. It may be ended at any moment, and repeated.
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("mode").required(true)),
    after_help = "Examples:\n  walctl repair /var/lib/app/wal --dry-run\n  cp -a /var/lib/app/wal /safe/place && walctl repair /var/lib/app/wal --yes\n\nExit status: 0 nothing to repair, or repaired; 2 with --dry-run: it would lose what it says; 3 refused."
)]
pub(crate) struct Arguments {
    /// The directory of the log. Nobody may have it open.
    dir: PathBuf,
    /// Says what would be lost, and changes nothing.
    #[arg(long, group = "mode")]
    dry_run: bool,
    /// Says what is lost, and does it.
    #[arg(long, group = "mode")]
    yes: bool,
}

/// The JSON of `repair`.
#[derive(Serialize)]
struct Repair {
    directory: String,
    /// "nothing", "would-cut" or "cut".
    action: &'static str,
    damage: Option<String>,
    kept_to_lsn: Option<u64>,
    kept_records: Option<u64>,
    lost_first_lsn: Option<u64>,
    lost_last_lsn: Option<u64>,
    lost_readable_records: Option<u64>,
    lost_readable_bytes: Option<u64>,
    acknowledged_to_lsn: Option<u64>,
    set_aside: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let (place, overview) = Place::with_log(&arguments.dir)?;
    if let Some(owner) = place.files.owner() {
        let owner = super::owner(owner);
        return Err(Failure::refused(format_args!(
            "{} is open in {owner}; end that first",
            place.log.display()
        )));
    }
    let preview = place.files.preview_salvage().map_err(Failure::refused)?;
    let Some(preview) = preview else {
        output.json("repair", &Repair::nothing(&place.log))?;
        output.say("nothing to repair: the log opens as it is")?;
        return Ok(Exit::Fine);
    };
    explain(&place.log, &preview, output)?;
    let mut repair = Repair::of(&place.log, &preview);
    if arguments.dry_run {
        output.json("repair", &repair)?;
        output.say("\nnothing was changed; to do it: the same with --yes")?;
        return Ok(Exit::Damage);
    }
    output.flush()?;
    let evidence = Evidence::keep(&place.log, &preview.aside)?;
    cut(&place.log, &overview)?;
    evidence.tidy();
    repair.action = "cut";
    output.json("repair", &repair)?;
    output.say(format_args!("\ndone: the log ends at LSN {}, and opens", preview.keeps_to))?;
    Ok(Exit::Fine)
}

/// What an open under the salvage policy does.
fn cut(log: &Path, overview: &Overview) -> Result<(), Failure> {
    let mut config = WalConfig::new(log);
    config.damage_policy = DamagePolicy::Salvage;
    config.existence = Existence::MustExist;
    // New segments like the ones that are there: this program knows no settings of the host.
    if let Some((block_size, segment_size)) = overview.sizes() {
        (config.block_size, config.segment_size) = (block_size, segment_size);
    }
    let wal = Wal::open(config).blocking().map_err(Failure::refused)?;
    wal.close_blocking().map_err(Failure::refused)
}

/// Copies of the files that the cut sets aside. A salvage renames them after its cut is durable: ended right between the two,
/// it would leave files that look like any segment of which nothing is live, and the next life would use them again.
struct Evidence {
    copies: Vec<PathBuf>,
}

impl Evidence {
    /// Copies the files and makes the copies durable, before anything is cut.
    fn keep(log: &Path, names: &[String]) -> Result<Self, Failure> {
        let mut copies = Vec::new();
        for name in names {
            let copied = keep_one(log, name).map_err(|error| {
                Failure::refused(format_args!(
                    "nothing was cut: {name} can not be copied as evidence: {error}; make room, or move the log to a larger disk"
                ))
            })?;
            copies.push(copied);
        }
        fs::File::open(log).and_then(|folder| folder.sync_all()).map_err(Failure::refused)?;
        Ok(Evidence { copies })
    }

    /// Removes what the salvage has set aside beside the copies: it is the same.
    fn tidy(&self) {
        for copy in &self.copies {
            let mut second = copy.clone().into_os_string();
            second.push(".2");
            if is_same(copy, Path::new(&second)).unwrap_or(false) {
                // It only takes room.
                let _ = fs::remove_file(second);
            }
        }
    }
}

/// Whether two files hold the same bytes.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::File::open(one)?, fs::File::open(other)?);
    let len = one.metadata()?.len();
    if other.metadata()?.len() != len {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    for at in (0..len).step_by(PIECE as usize) {
        let piece = PIECE.min(len - at) as usize;
        one.read_exact_at(&mut left[..piece], at)?;
        other.read_exact_at(&mut right[..piece], at)?;
        if left[..piece] != right[..piece] {
            return Ok(false);
        }
    }
    Ok(true)
}

fn keep_one(log: &Path, name: &str) -> io::Result<PathBuf> {
    let (from, to) = (log.join(name), log.join(format!("{name}.damaged")));
    if to.exists() {
        // Of an attempt that was ended, or of an earlier salvage: that one numbers the next.
        return Ok(to);
    }
    let unfinished = log.join(format!("{name}.damaged.unfinished"));
    fs::copy(&from, &unfinished)?;
    fs::File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, &to)?;
    Ok(to)
}

impl Repair {
    fn nothing(log: &Path) -> Self {
        Repair {
            directory: log.display().to_string(),
            action: "nothing",
            damage: None,
            kept_to_lsn: None,
            kept_records: None,
            lost_first_lsn: None,
            lost_last_lsn: None,
            lost_readable_records: None,
            lost_readable_bytes: None,
            acknowledged_to_lsn: None,
            set_aside: Vec::new(),
        }
    }

    fn of(log: &Path, preview: &SalvagePreview) -> Self {
        let acknowledged = Some(preview.acknowledged_to).filter(|lsn| !lsn.is_none());
        Repair {
            directory: log.display().to_string(),
            action: "would-cut",
            damage: Some(preview.damage.to_string()),
            kept_to_lsn: Some(preview.keeps_to.get()),
            kept_records: Some(preview.kept_records),
            lost_first_lsn: preview.lost.map(|lost| lost.first.get()),
            lost_last_lsn: preview.lost.map(|lost| lost.last.get()),
            lost_readable_records: Some(preview.readable),
            lost_readable_bytes: Some(preview.readable_bytes),
            acknowledged_to_lsn: acknowledged.map(|lsn| lsn.get()),
            set_aside: preview.aside.clone(),
        }
    }
}

fn explain(log: &Path, preview: &SalvagePreview, output: &mut Output) -> Result<(), Failure> {
    let (dir, keeps_to, kept) = (log.display(), preview.keeps_to, preview.kept_records);
    output.say(format_args!("{}", preview.damage))?;
    output.say(format_args!("\nto open {dir} without what is damaged:"))?;
    output.say(format_args!("  kept:  {kept} live records, up to LSN {keeps_to}"))?;
    match preview.lost {
        Some(lost) => output.say(format_args!("  lost:  LSNs {} to {}", lost.first, lost.last))?,
        None => output.say("  lost:  no frame that can be read names a record behind that")?,
    }
    let (readable, bytes) = (preview.readable, words::bytes(preview.readable_bytes));
    if readable > 0 {
        let from = keeps_to.next();
        output.say(format_args!(
            "         {readable} of them ({bytes}) can still be read: walctl dump {dir} --from {from} --format json"
        ))?;
    }
    if preview.acknowledged_to.is_none() {
        output.say("         no frame says that any of them was acknowledged; some may have been all the same")?;
    } else {
        let to = preview.acknowledged_to;
        output
            .say(format_args!("         clients were notified that LSNs up to {to} are durable"))?;
    }
    for name in &preview.aside {
        output.say(format_args!("  kept as evidence: {name}, renamed to {name}.damaged"))?;
    }
    output.say(format_args!("\nwhat loses less: {}", preview.damage.remedy()))?;
    Ok(())
}
