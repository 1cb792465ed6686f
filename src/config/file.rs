//! The settings in a configuration file: each by its name, in units that a person reads.
//!
//! An error names the setting, whatever the format of the file is. So the maps are read by hand: what `serde`
//! derives leaves the name out of most of its messages.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::{A_SIZE, A_TIME, parse_size, parse_time, show_size, show_time};
use super::{Bounds, FlushPolicy, RestartBudget, WalConfig};

/// How a setting is written.
trait Form<V> {
    fn show(value: &V) -> impl Serialize;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error>;
}

/// As its type is.
struct Plain;

/// `64 MiB`, or a number of bytes.
struct Size;

/// `10 ms`.
struct Time;

impl<V: Serialize + DeserializeOwned> Form<V> for Plain {
    fn show(value: &V) -> impl Serialize {
        value
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error> {
        V::deserialize(deserializer)
    }
}

impl<V: TryFrom<u64> + TryInto<u64> + Copy> Form<V> for Size {
    fn show(value: &V) -> impl Serialize {
        show_bytes(*value)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error> {
        let bytes = deserializer.deserialize_any(Bytes)?;
        let too_large = |_| D::Error::custom(format_args!("{} is too large", show_size(bytes)));
        bytes.try_into().map_err(too_large)
    }
}

fn show_bytes<V: TryInto<u64>>(bytes: V) -> String {
    // No size is wider than 64 bits.
    show_size(bytes.try_into().unwrap_or(u64::MAX))
}

/// A size that may be left out.
struct OptionalSize;

impl Form<Option<usize>> for OptionalSize {
    fn show(value: &Option<usize>) -> impl Serialize {
        value.map(show_bytes)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
        let size = Option::<As<Size, usize>>::deserialize(deserializer)?;
        Ok(size.map(|As(bytes, _)| bytes))
    }
}

impl Form<Duration> for Time {
    fn show(value: &Duration) -> impl Serialize {
        show_time(*value)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        // Also a number, which has no unit, is to be answered with what a duration looks like.
        deserializer.deserialize_any(Span)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A_SIZE)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
        let negative = |_| E::invalid_value(Unexpected::Signed(bytes), &self);
        bytes.try_into().map_err(negative)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct Span;

impl Visitor<'_> for Span {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A_TIME)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse_time(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// A value that is written in this form.
struct As<F, V>(V, PhantomData<F>);

impl<'de, F: Form<V>, V> Deserialize<'de> for As<F, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        F::read(deserializer).map(|value| As(value, PhantomData))
    }
}

/// Reads the value of a setting.
fn setting<'de, F: Form<V>, V, A: MapAccess<'de>>(
    name: &'static str,
    map: &mut A,
) -> Result<V, A::Error> {
    let value: Result<As<F, V>, _> = map.next_value();
    value.map(|As(value, _)| value).map_err(|error| named(name, &error))
}

fn named<E: Error>(setting: &str, error: &E) -> E {
    // Some formats say in further lines where it was, which they say again of the error that is made of it.
    let error = error.to_string();
    E::custom(format_args!("{setting}: {}", error.lines().next().unwrap_or_default()))
}

/// Writes and reads a type field by field. A field without a line here does not compile. What is not in the file
/// is as in `$default`; `$check` has the last word, and is told which settings were in the file.
macro_rules! settings {
    ($type:ident, $what:literal, $default:expr, $check:expr,
     { $($field:ident: $form:ty),+ $(,)? }) => {
        impl $type {
            const SETTINGS: &[&str] = &[$(stringify!($field)),+];
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $type { $($field),+ } = self;
                let count = Self::SETTINGS.len();
                let mut settings = serializer.serialize_struct(stringify!($type), count)?;
                $(settings.serialize_field(
                    stringify!($field),
                    &<$form as Form<_>>::show($field),
                )?;)+
                settings.end()
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Settings;

                impl<'de> Visitor<'de> for Settings {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$type, A::Error> {
                        let (mut settings, mut seen) = ($default, Vec::new());
                        while let Some(name) = map.next_key::<String>()? {
                            match name.as_str() {
                                $(stringify!($field) => {
                                    let name = stringify!($field);
                                    if seen.contains(&name) {
                                        return Err(A::Error::duplicate_field(name));
                                    }
                                    seen.push(name);
                                    settings.$field = setting::<$form, _, _>(name, &mut map)?;
                                })+
                                other => {
                                    return Err(A::Error::unknown_field(other, $type::SETTINGS));
                                }
                            }
                        }
                        $check(&settings, &seen)?;
                        Ok(settings)
                    }
                }

                deserializer.deserialize_struct(stringify!($type), Self::SETTINGS, Settings)
            }
        }
    };
}

settings!(WalConfig, "the settings of a log", WalConfig::new(""), check, {
    directory: Plain,
    existence: Plain,
    flush_policy: Plain,
    min_sync_interval: Time,
    seal_after: Time,
    segment_size: Size,
    block_size: Size,
    max_in_flight_entries: Plain,
    max_in_flight_bytes: OptionalSize,
    overload: Plain,
    fault_policy: Plain,
    restart_budget: Plain,
    slow_sync: Time,
    stalled_after: Time,
    give_up_after: Time,
    damage_policy: Plain,
    reader_lease: Time,
    name: Plain,
});

settings!(Bounds, "the bounds of a flush policy", Bounds::default(), anything, {
    max_delay: Time,
    max_entries: Plain,
    max_bytes: Size,
});

settings!(RestartBudget, "a budget of restarts", RestartBudget::default(), anything, {
    restarts: Plain,
    within: Time,
    backoff: Time,
    max_backoff: Time,
});

/// What was read can be opened: the settings go together.
fn check<E: Error>(config: &WalConfig, seen: &[&str]) -> Result<(), E> {
    if !seen.contains(&"directory") {
        return Err(E::missing_field("directory"));
    }
    config.validate().map_err(E::custom)
}

fn anything<V, E>(_: &V, _: &[&str]) -> Result<(), E> {
    Ok(())
}

const POLICIES: &[&str] = &["adaptive", "window", "eager"];

/// By its name alone, or with bounds: `"window"`, or `{ window = { max_delay = "5 ms" } }`.
impl<'de> Deserialize<'de> for FlushPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Policy)
    }
}

struct Policy;

impl<'de> Visitor<'de> for Policy {
    type Value = FlushPolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("adaptive, window or eager, the first two also with bounds")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<FlushPolicy, E> {
        match name {
            "adaptive" => Ok(FlushPolicy::Adaptive(Bounds::default())),
            "window" => Ok(FlushPolicy::Window(Bounds::default())),
            "eager" => Ok(FlushPolicy::Eager),
            other => Err(E::unknown_variant(other, POLICIES)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FlushPolicy, A::Error> {
        let name = map.next_key::<String>()?.unwrap_or_default();
        let policy = match name.as_str() {
            "adaptive" => FlushPolicy::Adaptive(setting::<Plain, _, _>("adaptive", &mut map)?),
            "window" => FlushPolicy::Window(setting::<Plain, _, _>("window", &mut map)?),
            "eager" => return Err(A::Error::custom("eager has no bounds; write it as a string")),
            other => return Err(A::Error::unknown_variant(other, POLICIES)),
        };
        match map.next_key::<String>()? {
            Some(second) => {
                Err(A::Error::custom(format_args!("{name} and {second}, but there is one policy")))
            }
            None => Ok(policy),
        }
    }
}
