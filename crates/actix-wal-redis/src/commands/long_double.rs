//! Floating-point numbers of 80 bits, in which Redis counts with `INCRBYFLOAT` on x86-64: 64 bits of digits, 15 of exponent.
//!
//! Each operation is carried out with whole numbers of any length and rounded once, to the nearest number and to an even one
//! between two, as the processor and the C library do. What is read, added and printed is therefore the same to the last
//! digit, for all numbers. On other processors Redis itself counts with other bits, and prints other last digits.

use num_bigint::{BigInt, BigUint, Sign};

/// Texts that are longer are no numbers (`MAX_LONG_DOUBLE_CHARS`).
const LONGEST: usize = 5 * 1024;
/// The bits of the digits.
const BITS: i64 = 64;
/// The last bit of the smallest numbers stands for two to the power of this, and that of the largest ones of the other.
const EXPONENTS: std::ops::RangeInclusive<i64> = -16_445..=16_320;
/// All numbers lie between ten to the power of these, and those that a client gives are read exactly in between.
const TENS: std::ops::RangeInclusive<i64> = -5_000..=5_000;
/// The digits behind the point that are printed (`%.17Lf`).
const PLACES: usize = 17;

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LongDouble {
    /// The digits times two to the power of the exponent.
    Finite {
        /// The digits, with the sign.
        digits: BigInt,
        /// One of [`EXPONENTS`].
        exponent: i64,
    },
    /// Too large for a number, or none.
    Infinite,
}

impl LongDouble {
    pub(super) const ZERO: LongDouble = LongDouble::Finite { digits: BigInt::ZERO, exponent: 0 };

    /// A text as C's `strtold` reads it, of which Redis takes no white space before it, nothing behind it, no "not a number",
    /// and nothing that is too large or too small for a number.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= LONGEST {
            return None;
        }
        let (is_negative, text) = match text {
            [b'-', text @ ..] => (true, text),
            [b'+', text @ ..] => (false, text),
            _ => (false, text),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble::Infinite);
        }
        let sign = if is_negative { Sign::Minus } else { Sign::Plus };
        let number = match text {
            [b'0', b'x' | b'X', text @ ..] => hexadecimal(text, sign),
            _ => decimal(text, sign),
        };
        number.filter(|number| *number != LongDouble::Infinite)
    }

    /// The sum.
    pub(super) fn add(&self, other: &Self) -> Self {
        use LongDouble::{Finite, Infinite};
        let (Finite { digits, exponent }, Finite { digits: others, exponent: of_others }) =
            (self, other)
        else {
            return Infinite;
        };
        let low = *exponent.min(of_others);
        let sum = (digits << (exponent - low)) + (others << (of_others - low));
        let (sign, sum) = sum.into_parts();
        round(sign, sum, BigUint::from(1u8), low)
    }

    /// With at most 17 digits behind the point, and no zeros at the end; `None` if it is not finite.
    pub(super) fn to_text(&self) -> Option<String> {
        let LongDouble::Finite { digits, exponent } = self else {
            return None;
        };
        let (sign, digits) = (digits.sign(), digits.magnitude());
        let text = if *exponent >= 0 {
            (digits << exponent).to_string()
        } else {
            let scaled = digits * BigUint::from(10u8).pow(PLACES as u32);
            let scaled = divide(&scaled, &(BigUint::from(1u8) << -exponent)).to_string();
            let scaled = format!("{scaled:0>width$}", width = PLACES + 1);
            let (whole, places) = scaled.split_at(scaled.len() - PLACES);
            format!("{whole}.{places}").trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        Some(if sign == Sign::Minus && text != "0" { format!("-{text}") } else { text })
    }
}

/// Digits with a point among them, or none. Returns the digits alone, how many stood behind the point, and the rest.
fn digits(text: &[u8], is_digit: impl Fn(&u8) -> bool) -> Option<(Vec<u8>, i64, &[u8])> {
    let count = |text: &[u8]| text.iter().take_while(|byte| is_digit(byte)).count();
    let (whole, mut rest) = text.split_at(count(text));
    let mut digits = whole.to_vec();
    if let [b'.', behind @ ..] = rest {
        let (places, behind) = behind.split_at(count(behind));
        digits.extend_from_slice(places);
        rest = behind;
    }
    let places = digits.len() - whole.len();
    (!digits.is_empty()).then_some((digits, places as i64, rest))
}

/// The exponent behind this letter, or 0 if nothing is there. `None`: something else is.
fn exponent(text: &[u8], letter: u8) -> Option<i64> {
    let text = match text {
        [] => return Some(0),
        [first, text @ ..] if first.eq_ignore_ascii_case(&letter) => text,
        _ => return None,
    };
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // What is far too large stays so.
    let add = |sum: i64, digit: &u8| sum.saturating_mul(10).saturating_add((digit - b'0').into());
    let exponent = digits.iter().fold(0, add).min(i64::from(i32::MAX));
    Some(if is_negative { -exponent } else { exponent })
}

fn decimal(text: &[u8], sign: Sign) -> Option<LongDouble> {
    let (digits, places, rest) = digits(text, u8::is_ascii_digit)?;
    let exponent = exponent(rest, b'e')? - places;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let significant = &digits[zeros..];
    if significant.is_empty() {
        return Some(LongDouble::ZERO);
    }
    let size = exponent + significant.len() as i64;
    if !TENS.contains(&size) {
        return None;
    }
    let number = BigUint::parse_bytes(significant, 10)?;
    let power = BigUint::from(10u8).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
    let one = || BigUint::from(1u8);
    let (number, divisor) = if exponent < 0 { (number, power) } else { (number * power, one()) };
    not_lost(round(sign, number, divisor, 0))
}

fn hexadecimal(text: &[u8], sign: Sign) -> Option<LongDouble> {
    let (digits, places, rest) = digits(text, u8::is_ascii_hexdigit)?;
    let exponent = exponent(rest, b'p')? - 4 * places;
    let number = BigUint::parse_bytes(&digits, 16)?;
    if number == BigUint::ZERO {
        return Some(LongDouble::ZERO);
    }
    let size = exponent + number.bits() as i64;
    if !(-17_000..=17_000).contains(&size) {
        return None;
    }
    not_lost(round(sign, number, BigUint::from(1u8), exponent))
}

/// What was not zero must not become so.
fn not_lost(number: LongDouble) -> Option<LongDouble> {
    let is_lost = matches!(&number, LongDouble::Finite { digits, .. } if *digits == BigInt::ZERO);
    (!is_lost).then_some(number)
}

/// The quotient, rounded to the nearest whole number, and to an even one between two.
fn divide(number: &BigUint, divisor: &BigUint) -> BigUint {
    let quotient = number / divisor;
    let twice = (number - &quotient * divisor) << 1u8;
    let is_up = match twice.cmp(divisor) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient.bit(0),
        std::cmp::Ordering::Greater => true,
    };
    quotient + u8::from(is_up)
}

/// The number nearest to a quotient times two to the power of `exponent`.
fn round(sign: Sign, mut number: BigUint, mut divisor: BigUint, exponent: i64) -> LongDouble {
    if number == BigUint::ZERO {
        return LongDouble::ZERO;
    }
    // The quotient has as many bits as this says, or one less.
    let bits = number.bits() as i64 - divisor.bits() as i64 + 1;
    let shift = |bits: i64| (bits - BITS).max(EXPONENTS.start() - exponent);
    let mut by = shift(bits);
    if by > shift(bits - 1) && is_short(&number, &divisor, bits) {
        by = shift(bits - 1);
    }
    if by < 0 {
        number <<= -by;
    } else {
        divisor <<= by;
    }
    let mut digits = divide(&number, &divisor);
    let mut exponent = exponent + by;
    if digits.bits() as i64 > BITS {
        digits >>= 1u8;
        exponent += 1;
    }
    if exponent > *EXPONENTS.end() {
        return LongDouble::Infinite;
    }
    LongDouble::Finite { digits: BigInt::from_biguint(sign, digits), exponent }
}

/// Whether the quotient has one bit less than this.
fn is_short(number: &BigUint, divisor: &BigUint, bits: i64) -> bool {
    let top = bits - 1;
    if top >= 0 { *number < divisor << top } else { number << -top < *divisor }
}
