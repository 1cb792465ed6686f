//! Numbers and times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number of bytes, in units of 1024.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// How long ago a moment in microseconds since 1970 was; "in the future" if the clock was set back since.
pub(crate) fn age(us: u64) -> String {
    match since(us) {
        _ if us == 0 => "-".to_owned(),
        Some(age) => format!("{} ago", duration(age)),
        None => "in the future".to_owned(),
    }
}

fn since(us: u64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(Duration::from_micros(us))
}

/// A time in its two largest units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{:.1} s", time.as_secs_f64()),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Rows under headings, each column as wide as its widest cell; numbers stand at the right.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([heads[at].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| {
            let is_number = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
            if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|at| row[at].as_str())));
    std::iter::once(line(heads)).chain(rows).collect()
}
