//! Sizes and durations as a person writes them in a configuration file: `64 MiB`, `10 ms`.

use std::time::Duration;

/// From the largest to the smallest, so that the first one that divides a value evenly is the one to show it in.
type Units = [(&'static str, u128)];

const SIZES: &Units = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

const TIMES: &Units = &[
    ("h", 3600 * NANOS),
    ("min", 60 * NANOS),
    ("s", NANOS),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const NANOS: u128 = 1_000_000_000;

/// What a size looks like, for error messages.
pub(super) const A_SIZE: &str =
    "a number of bytes, or a whole number and B, KiB, MiB or GiB, such as \"64 MiB\"";

/// What a duration looks like, for error messages.
pub(super) const A_TIME: &str = "a whole number and ns, us, ms, s, min or h, such as \"10 ms\"";

/// The bytes of a size.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES).and_then(|bytes| bytes.try_into().ok())
}

/// A size in the largest unit that shows it exactly.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes.into(), SIZES, "B")
}

pub(super) fn parse_time(text: &str) -> Option<Duration> {
    let nanos = parse(text, TIMES)?;
    // The remainder is below a second, so it fits.
    Some(Duration::new((nanos / NANOS).try_into().ok()?, (nanos % NANOS) as u32))
}

/// A duration in the largest unit that shows it exactly.
pub(super) fn show_time(time: Duration) -> String {
    show(time.as_nanos(), TIMES, "s")
}

fn parse(text: &str, units: &Units) -> Option<u128> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u128>().ok()?.checked_mul(*factor)
}

fn show(value: u128, units: &Units, zero: &str) -> String {
    let unit = units.iter().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
    unit.map_or(format!("0 {zero}"), |(name, factor)| format!("{} {name}", value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_shown_in_the_largest_unit_that_is_exact_and_read_back() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4 KiB"),
            (1 << 26, "64 MiB"),
            ((1 << 26) + 1, "67108865 B"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "18446744073709551615 B"),
        ];
        for (bytes, text) in sizes {
            assert_eq!((show_size(bytes), parse_size(text)), (text.to_owned(), Some(bytes)));
        }
        let times = [
            (Duration::ZERO, "0 s"),
            (Duration::from_nanos(1500), "1500 ns"),
            (Duration::from_micros(1500), "1500 us"),
            (Duration::from_millis(10), "10 ms"),
            (Duration::from_secs(61), "61 s"),
            (Duration::from_secs(120), "2 min"),
            (Duration::from_secs(7200), "2 h"),
            (Duration::MAX, "18446744073709551615999999999 ns"),
        ];
        for (time, text) in times {
            assert_eq!((show_time(time), parse_time(text)), (text.to_owned(), Some(time)));
        }
    }

    #[test]
    fn a_number_without_a_unit_or_with_another_one_is_no_size_and_no_duration() {
        assert_eq!(parse_size(" 64MiB "), Some(1 << 26));
        assert_eq!(parse_time("10ms"), Some(Duration::from_millis(10)));
        let none = [
            "",
            " ",
            "10",
            "ms",
            "-1 s",
            "1.5 s",
            "1 s 5 ms",
            "10 parsecs",
            "10 MS",
            "64 MB",
            "1 K",
            "99999999999999999999999999999999999999999 s",
            "99999999999999999999 h",
            "17179869184 GiB",
        ];
        for text in none {
            assert_eq!((parse_size(text), parse_time(text)), (None, None), "{text:?}");
        }
    }
}
