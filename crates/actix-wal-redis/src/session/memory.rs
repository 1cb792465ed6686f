//! Sizes of memory, as `CONFIG SET` reads and `INFO` shows them.

/// A number of bytes, perhaps with a unit: `100mb`. As in Redis, nothing at all is 0, and too much is the most there is.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number = if number.is_empty() { 0 } else { number.parse().unwrap_or(u64::MAX) };
    Some(number.saturating_mul(factor))
}

/// The same for people: `1.50M`.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [(u64, char); 4] =
        [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2}{name}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown_as_in_redis() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("1K", Some(1000)),
            ("1kb", Some(1024)),
            ("3m", Some(3_000_000)),
            ("100MB", Some(100 << 20)),
            ("2g", Some(2_000_000_000)),
            ("1gb", Some(1 << 30)),
            ("7b", Some(7)),
            ("99999999999999999999", Some(u64::MAX)),
            ("99999999999999gb", Some(u64::MAX)),
            ("-1", None),
            ("1.5mb", None),
            ("1e3", None),
            ("1 mb", None),
            ("abc", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_739_976, "1.66M"), (3 << 29, "1.50G")]
        {
            assert_eq!(human(bytes), text);
        }
    }
}
