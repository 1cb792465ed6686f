//! Guards P16 and P20 at one remove: settings that a service reads from its own file are those that it wrote there,
//! and what can not be is refused with the name of the setting.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::time::Duration;

use actix_wal::{
    Bounds, DamagePolicy, Existence, FaultPolicy, FlushPolicy, OverloadPolicy, RestartBudget,
    WalConfig,
};
use serde::{Deserialize, Serialize};

/// A service that has a log.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Service {
    listen: String,
    wal: WalConfig,
}

/// No setting has its default.
fn unusual() -> WalConfig {
    let mut config = WalConfig::new("/var/lib/service/wal");
    config.existence = Existence::MustExist;
    let max_delay = Duration::from_micros(1500);
    config.flush_policy =
        FlushPolicy::Window(Bounds { max_delay, max_entries: 7, max_bytes: 3 << 10 });
    config.min_sync_interval = Duration::from_nanos(999_999);
    config.seal_after = Duration::from_secs(3600);
    config.segment_size = 1 << 30;
    config.block_size = 512;
    config.max_in_flight_entries = 1000;
    config.max_in_flight_bytes = Some(1_000_001);
    config.overload = OverloadPolicy::Refuse;
    config.fault_policy = FaultPolicy::FailFast;
    config.restart_budget = RestartBudget {
        restarts: 1,
        within: Duration::from_secs(61),
        backoff: Duration::ZERO,
        max_backoff: Duration::from_millis(1),
    };
    config.slow_sync = Duration::from_millis(10);
    config.stalled_after = Duration::from_millis(2500);
    config.give_up_after = Duration::from_secs(120);
    config.damage_policy = DamagePolicy::Salvage;
    config.reader_lease = Duration::from_secs(1);
    config.name = Some("orders".to_owned());
    config
}

fn from_toml(text: &str) -> Result<WalConfig, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn settings_come_back_from_toml_and_json_as_they_were_written() {
    let mut eager = WalConfig::new("x");
    eager.flush_policy = FlushPolicy::Eager;
    for wal in [WalConfig::new("data/wal"), eager, unusual()] {
        let text = toml::to_string(&wal).expect("it can be written");
        assert_eq!(from_toml(&text).expect("it can be read"), wal, "{text}");
        let text = serde_json::to_string(&wal).expect("it can be written");
        assert_eq!(serde_json::from_str::<WalConfig>(&text).expect("it can be read"), wal);

        let service = Service { listen: "127.0.0.1:80".into(), wal };
        let text = toml::to_string(&service).expect("it can be written");
        assert_eq!(toml::from_str::<Service>(&text).expect("it can be read"), service, "{text}");
    }
}

#[test]
fn settings_are_written_in_units_that_a_person_reads() {
    let expected = r#"directory = "/var/lib/service/wal"
existence = "must_exist"
min_sync_interval = "999999 ns"
seal_after = "1 h"
segment_size = "1 GiB"
block_size = "512 B"
max_in_flight_entries = 1000
max_in_flight_bytes = "1000001 B"
overload = "refuse"
fault_policy = "fail_fast"
slow_sync = "10 ms"
stalled_after = "2500 ms"
give_up_after = "2 min"
damage_policy = "salvage"
reader_lease = "1 s"
name = "orders"

[flush_policy.window]
max_delay = "1500 us"
max_entries = 7
max_bytes = "3 KiB"

[restart_budget]
restarts = 1
within = "61 s"
backoff = "0 s"
max_backoff = "1 ms"
"#;
    assert_eq!(toml::to_string(&unusual()).expect("it can be written"), expected);
}

#[test]
fn what_is_left_out_is_as_in_a_new_configuration() {
    let config = from_toml("directory = \"x\"").expect("valid");
    assert_eq!(config, WalConfig::new("x"));
    let config =
        from_toml("directory = \"x\"\nflush_policy.window.max_entries = 9").expect("valid");
    let bounds = Bounds { max_entries: 9, ..Bounds::default() };
    assert_eq!(config.flush_policy, FlushPolicy::Window(bounds));
    for (name, policy) in [
        ("adaptive", FlushPolicy::default()),
        ("window", FlushPolicy::Window(Bounds::default())),
        ("eager", FlushPolicy::Eager),
    ] {
        let config = from_toml(&format!("directory = \"x\"\nflush_policy = \"{name}\""));
        assert_eq!(config.expect("valid").flush_policy, policy);
    }
    let config =
        from_toml("directory = \"x\"\nrestart_budget.restarts = 9\nsegment_size = 1048576");
    let config = config.expect("valid");
    let budget = RestartBudget { restarts: 9, ..RestartBudget::default() };
    assert_eq!((config.restart_budget, config.segment_size), (budget, 1 << 20));
    let absent = r#"{ "directory": "x", "max_in_flight_bytes": null }"#;
    assert_eq!(serde_json::from_str::<WalConfig>(absent).expect("valid"), WalConfig::new("x"));
}

/// What is wrong in TOML, and what the message says of it, in both formats.
const WRONG: &[(&str, &str)] = &[
    (
        r#"seal_after = 5"#,
        r#"seal_after: invalid type: integer `5`, expected a whole number and ns, us, ms, s, min or h, such as "10 ms""#,
    ),
    (
        r#"seal_after = "5 parsecs""#,
        r#"seal_after: invalid value: string "5 parsecs", expected a whole number and ns, us, ms, s, min or h, such as "10 ms""#,
    ),
    (r#"seal_after = "0 s""#, r#"seal_after is 0ns, but it must be positive"#),
    (
        r#"segment_size = "64 MB""#,
        r#"segment_size: invalid value: string "64 MB", expected a number of bytes, or a whole number and B, KiB, MiB or GiB, such as "64 MiB""#,
    ),
    (
        r#"segment_size = -1"#,
        r#"segment_size: invalid value: integer `-1`, expected a number of bytes, or a whole number and B, KiB, MiB or GiB, such as "64 MiB""#,
    ),
    (
        r#"segment_size = "10000 B""#,
        r#"segment_size is 10000, but it must be a multiple of the block size, and at least six blocks"#,
    ),
    (r#"block_size = "4 GiB""#, r#"block_size: 4 GiB is too large"#),
    (
        r#"max_in_flight_bytes = true"#,
        r#"max_in_flight_bytes: invalid type: boolean `true`, expected a number of bytes, or a whole number and B, KiB, MiB or GiB, such as "64 MiB""#,
    ),
    (
        r#"max_in_flight_entries = "many""#,
        r#"max_in_flight_entries: invalid type: string "many", expected usize"#,
    ),
    (r#"overload = "hope""#, r#"overload: unknown variant `hope`, expected `wait` or `refuse`"#),
    (
        r#"flush_policy = "lazy""#,
        r#"flush_policy: unknown variant `lazy`, expected one of `adaptive`, `window`, `eager`"#,
    ),
    (
        r#"flush_policy.eager.max_delay = "1 s""#,
        r#"flush_policy: eager has no bounds; write it as a string"#,
    ),
    (
        r#"flush_policy = { adaptive = {}, window = {} }"#,
        r#"flush_policy: adaptive and window, but there is one policy"#,
    ),
    (
        r#"flush_policy.window.max_delay = "soon""#,
        r#"flush_policy: window: max_delay: invalid value: string "soon", expected a whole number and ns, us, ms, s, min or h, such as "10 ms""#,
    ),
    (
        r#"flush_policy.window.delay = "1 s""#,
        r#"flush_policy: window: unknown field `delay`, expected one of `max_delay`, `max_entries`, `max_bytes`"#,
    ),
    (
        r#"flush_policy = 5"#,
        r#"flush_policy: invalid type: integer `5`, expected adaptive, window or eager, the first two also with bounds"#,
    ),
    (
        r#"restart_budget.restarts = -1"#,
        r#"restart_budget: restarts: invalid value: integer `-1`, expected u32"#,
    ),
    (
        r#"min_sync_interval = "50 ms""#,
        r#"min_sync_interval is 50ms, but it may not exceed max_delay"#,
    ),
    (
        r#"segment_sise = "64 MiB""#,
        r#"unknown field `segment_sise`, expected one of `directory`, `existence`, `flush_policy`, `min_sync_interval`, `seal_after`, `segment_size`, `block_size`, `max_in_flight_entries`, `max_in_flight_bytes`, `overload`, `fault_policy`, `restart_budget`, `slow_sync`, `stalled_after`, `give_up_after`, `damage_policy`, `reader_lease`, `name`"#,
    ),
];

#[test]
fn each_wrong_value_is_refused_with_its_setting_and_its_rule() {
    let mut faults = Vec::new();
    for (wrong, expected) in WRONG {
        let toml = format!("directory = \"x\"\n{wrong}");
        let error = from_toml(&toml).expect_err(wrong);
        let json: serde_json::Value = toml::from_str(&toml).expect("the same values");
        let by_json = serde_json::from_str::<WalConfig>(&json.to_string()).expect_err(wrong);
        let by_json = by_json.to_string();
        let by_json = by_json.split(" at line ").next().unwrap_or_default();
        for said in [error.message(), by_json] {
            if said != *expected {
                faults.push(format!("{wrong}\n    said:     {said}\n    expected: {expected}"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_directory_is_required_and_each_setting_is_written_once() {
    let error = from_toml("segment_size = \"64 MiB\"").expect_err("no directory");
    assert_eq!(error.message(), "missing field `directory`");
    let twice = r#"{ "directory": "x", "slow_sync": "1 s", "slow_sync": "2 s" }"#;
    let error = serde_json::from_str::<WalConfig>(twice).expect_err("twice").to_string();
    assert!(error.starts_with("duplicate field `slow_sync`"), "{error}");
}
