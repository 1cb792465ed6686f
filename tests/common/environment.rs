//! What tests are asked for in the environment. A value that means nothing fails, and says what would: else
//! something else runs than was asked for, and nobody knows.

#![allow(dead_code)] // Every test that includes this file uses a part of it.

use std::ffi::OsString;
use std::str::FromStr;

/// The variable, read by `parse`, which gives `None` for what it does not take; `expected` is what it takes.
/// `None` where it is not set.
pub(crate) fn from_environment<T>(
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let value = std::env::var_os(name)?;
    Some(read(name, &value, expected, parse).unwrap_or_else(|wrong| panic!("{wrong}")))
}

/// The variable as a number.
pub(crate) fn number<T: FromStr>(name: &str) -> Option<T> {
    let expected = format!("a number that fits into {}", std::any::type_name::<T>());
    from_environment(name, &expected, |text| text.parse().ok())
}

/// Whether the variable asks for all there is. It takes no other value.
pub(crate) fn asks_for_all(name: &str) -> bool {
    from_environment(name, "`all`, or not to be set", |text| (text == "all").then_some(()))
        .is_some()
}

fn read<T>(
    name: &str,
    value: &OsString,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, String> {
    let parsed = value.to_str().and_then(parse);
    parsed.ok_or_else(|| format!("{name}={}: expected {expected}", value.to_string_lossy()))
}

#[test]
fn what_a_variable_does_not_take_is_named_with_its_value_and_what_it_takes() {
    let digits = |value: &str| read("N", &value.into(), "a digit", |text| text.parse::<u8>().ok());
    assert_eq!(digits("7"), Ok(7));
    assert_eq!(digits("many"), Err("N=many: expected a digit".to_owned()));
    assert_eq!(digits(""), Err("N=: expected a digit".to_owned()));
    assert_eq!(number::<u64>("THIS_IS_NOT_SET"), None);
}
