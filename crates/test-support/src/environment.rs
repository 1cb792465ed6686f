//! What tests are asked for in the environment. A value that means nothing fails, and says what would: else
//! something else runs than was asked for, and nobody knows.

use std::ffi::OsString;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The variable, read by `parse`, which gives `None` for what it does not take; `expected` is what it takes.
/// `None` where it is not set.
pub fn from_environment<T>(
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let value = std::env::var_os(name)?;
    Some(read(name, &value, expected, parse).unwrap_or_else(|wrong| panic!("{wrong}")))
}

/// The variable as a number.
pub fn number<T: FromStr>(name: &str) -> Option<T> {
    let expected = format!("a number that fits into {}", std::any::type_name::<T>());
    from_environment(name, &expected, |text| text.parse().ok())
}

/// The seed that the variable asks for, or a new one. It is printed, so that a run can be repeated.
pub fn seed(name: &str) -> u64 {
    let seed = number(name).unwrap_or_else(new_seed);
    println!("{name}={seed}");
    seed
}

/// A seed that no run before this one had.
pub fn new_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}

/// Whether the variable asks for all there is. It takes no other value.
pub fn asks_for_all(name: &str) -> bool {
    from_environment(name, "`all`, or not to be set", |text| (text == "all").then_some(()))
        .is_some()
}

/// The same, of a value that is there; an error where [`from_environment`] panics.
pub fn read<T>(
    name: &str,
    value: &OsString,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, String> {
    let parsed = value.to_str().and_then(parse);
    parsed.ok_or_else(|| format!("{name}={}: expected {expected}", value.to_string_lossy()))
}
