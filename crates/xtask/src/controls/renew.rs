//! Patches follow the sources: by a three-way merge where that works, by hand where it does not.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::control::Control;
use super::workshop::Workshop;
use crate::shell::Shell;

/// How to apply a patch, from the strictest way to the loosest. The last one needs only one line of context.
const WAYS: &[&[&str]] = &[&[], &["--3way"], &["-C1"]];

/// Rewrites the patches that do not apply, or, if `is_named`, all of these.
pub(super) fn renew(shell: &Shell, controls: &[&Control], is_named: bool) -> Result<()> {
    let workshop = Workshop::new(shell)?;
    let (mut renewed, mut conflicts) = (0, Vec::new());
    for control in controls {
        let fits = workshop.apply(control, &["--check"]).is_ok();
        if fits && !is_named {
            continue;
        }
        if apply_somehow(&workshop, control)? {
            write(&workshop, control)?;
            println!("renewed: {}", control.file_name());
            renewed += 1;
        } else {
            conflicts.push(*control);
        }
        workshop.restore()?;
    }
    println!("{renewed} renewed, {} conflicts", conflicts.len());
    let Some(first) = conflicts.first() else { return Ok(()) };
    conflicts.iter().for_each(|control| println!("conflict: {}", control.file_name()));
    // Leaves the copy with the markers of this conflict in it.
    let markers = workshop
        .apply(first, &["--3way"])
        .map_or_else(|error| format!("{error:#}"), |()| String::new());
    println!("\n{markers}");
    ensure!(
        conflicts.is_empty(),
        "edit the sources in {} until they have the bug \"{}\" and no conflict, then run: cargo xtask controls \
         --record {}\nWhere a file has moved, put its new path into the patch instead, and renew it again.",
        workshop.tree().display(),
        first.name,
        first.stem()
    );
    Ok(())
}

fn apply_somehow(workshop: &Workshop<'_>, control: &Control) -> Result<bool> {
    for way in WAYS {
        if workshop.apply(control, way).is_ok() {
            return Ok(true);
        }
        workshop.restore()?;
    }
    Ok(false)
}

/// Makes a patch of the copy as it was edited.
pub(super) fn record(shell: &Shell, control: &Control) -> Result<()> {
    let workshop = Workshop::as_left(shell);
    write(&workshop, control)?;
    println!("recorded: {}", control.file_name());
    workshop.restore()
}

/// Writes the header as it was, and the difference that the copy has now.
fn write(workshop: &Workshop<'_>, control: &Control) -> Result<()> {
    let diff = workshop.git(&["diff", "--unified=3", "--full-index", "--no-color", "HEAD"])?;
    let tree = workshop.tree().display();
    ensure!(!diff.is_empty(), "{tree} has no change to record");
    let is_marker = |line: &str| line.starts_with("+<<<<<<< ") || line.starts_with("+>>>>>>> ");
    ensure!(!diff.lines().any(is_marker), "{tree} still has the markers of a conflict");
    fs::write(&control.file, format!("{}{diff}", control.header))
        .with_context(|| format!("writing {}", control.file_name()))
}
