//! Each reading accepts a line as the programs write it, and fails on every single thing that it must not.

use serde_json::json;

use super::*;

/// The value with one field changed.
fn with(value: &Value, field: &str, to: Value) -> String {
    let mut value = value.clone();
    value[field] = to;
    value.to_string()
}

/// The value without a field.
fn without(value: &Value, field: &str) -> String {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(field).unwrap();
    value.to_string()
}

fn quickstart_report() -> Value {
    json!({
        "policy": "adaptive", "lost": 0, "errors": 0, "not_durable": 0, "unknown": 0, "restarts": 0,
        "commits": 900, "fsyncs": 80, "kills": 2, "acknowledged": 50, "recovered": 51,
    })
}

#[test]
fn a_sound_quickstart_passes_whatever_it_says_before_its_last_line() {
    let output = format!("some words\n{}\n\n", quickstart_report());
    assert!(quickstart(&output).unwrap().contains("\"recovered\": 51"));
}

#[test]
fn a_quickstart_fails_with_any_loss_or_fault_or_without_any_work() {
    let report = quickstart_report();
    for field in ["lost", "errors", "not_durable", "unknown", "restarts"] {
        let error = quickstart(&with(&report, field, json!(1))).unwrap_err();
        assert_eq!(error.to_string(), format!("{field} is 1"));
        assert!(quickstart(&without(&report, field)).is_err(), "{field}");
    }
    for field in ["commits", "fsyncs", "kills", "acknowledged"] {
        let error = quickstart(&with(&report, field, json!(0))).unwrap_err();
        assert_eq!(error.to_string(), format!("{field} is 0"));
        assert!(quickstart(&without(&report, field)).is_err(), "{field}");
    }
    assert!(quickstart(&with(&report, "recovered", json!(49))).is_err());
    assert!(quickstart("").is_err());
    assert!(quickstart("words alone").is_err());
}

fn peer() -> Value {
    json!({
        "engine": "e", "committers": 16, "size": 128, "commits_per_second": 7.5, "p50_us": 1.0, "p99_us": 2.0,
        "p999_us": 3.0, "syncs": 4, "commits_per_sync": 5.0, "cpu_us_per_commit": null, "bytes_written": 6,
        "commits": 20, "f_us": 1.0, "bound_n_over_f": 2.0, "bound_cpu": 3.0, "efficiency": 0.5, "rounds": 1,
        "error": null,
    })
}

#[test]
fn a_comparison_passes_with_all_fields_and_fails_without_any_of_them() {
    let line = peer();
    assert!(peers(&format!("{line}\n{line}\n")).unwrap().starts_with("e "));
    for field in line.as_object().unwrap().keys().filter(|field| *field != "bound_cpu") {
        assert!(peers(&without(&line, field)).is_err(), "{field}");
    }
}

#[test]
fn a_comparison_fails_where_an_engine_did_or_made_nothing_durable() {
    let line = peer();
    let failed = peers(&with(&line, "error", json!("no disk"))).unwrap_err();
    assert_eq!(failed.to_string(), "e: no disk");
    for field in ["commits", "syncs"] {
        for nothing in [json!(0), Value::Null] {
            let idle = peers(&with(&line, field, nothing)).unwrap_err();
            assert_eq!(idle.to_string(), "e made nothing durable");
        }
    }
    assert!(peers("").is_err());
    assert!(peers("| a | table |\n").is_err());
}

#[test]
fn an_open_loop_has_a_sound_line_for_each_policy() {
    let line = json!({ "engine": "e", "commits": 300, "error": null });
    let output = |third: &str| format!("{line}\n{line}\n{third}\n");
    assert!(open_loop(&output(&line.to_string())).is_ok());
    assert!(open_loop(&format!("{line}\n{line}\n")).is_err());
    assert!(open_loop(&output(&with(&line, "error", json!("late")))).is_err());
    assert!(open_loop(&output(&with(&line, "commits", json!(0)))).is_err());
    assert!(open_loop(&output(&with(&line, "commits", Value::Null))).is_err());
    assert!(open_loop(&output(&without(&line, "error"))).is_err());
}

fn row() -> Value {
    json!({
        "scenario": "baseline", "case": "c", "committers": 1, "size": 128, "disk": "ext4",
        "simulated_sync_ms": null, "p99_us": 3.5, "rounds": 1, "error": null,
    })
}

fn a_check() -> Value {
    json!({
        "scenario": "baseline", "check": "k", "value": 2.0, "target": null, "met": null, "disk": "ext4",
        "simulated_sync_ms": null,
    })
}

fn read(row: &str, check: &str) -> Result<String> {
    scenario(&format!("{row}\n{check}\n"), &["p99_us"])
}

#[test]
fn a_scenario_passes_with_a_row_and_a_check() {
    assert_eq!(read(&row().to_string(), &a_check().to_string()).unwrap(), "[ext4] k: 2");
    assert!(scenario(&row().to_string(), &[]).is_err(), "no check");
    assert!(scenario(&a_check().to_string(), &[]).is_err(), "no row");
    assert!(scenario("", &[]).is_err());
}

#[test]
fn a_scenario_fails_with_each_fault_of_a_row() {
    let (line, check) = (row(), a_check().to_string());
    let fails = |row: String| read(&row, &check).unwrap_err().to_string();
    assert_eq!(fails(with(&line, "p99_us", Value::Null)), "c has no p99_us");
    assert_eq!(fails(without(&line, "p99_us")), "c has no p99_us");
    assert_eq!(fails(with(&line, "error", json!("no disk"))), "c: no disk");
    assert_eq!(fails(with(&line, "rounds", json!(0))), "c: no round went well");
    assert!(fails(with(&line, "disk", json!("SIMULATED 1 ms"))).contains("simulated"));
    assert!(fails(with(&line, "simulated_sync_ms", json!(1.0))).contains("simulated"));
    for field in ["error", "rounds", "disk", "simulated_sync_ms"] {
        assert!(read(&without(&line, field), &check).is_err(), "{field}");
    }
}

#[test]
fn a_scenario_fails_with_each_fault_of_a_check() {
    let (row, line) = (row().to_string(), a_check());
    let fails = |check: String| read(&row, &check).unwrap_err().to_string();
    assert_eq!(fails(with(&line, "value", Value::Null)), "k: no value");
    assert!(fails(with(&line, "disk", json!("SIMULATED 1 ms"))).contains("simulated"));
    for field in ["value", "met", "disk", "simulated_sync_ms", "scenario", "check"] {
        assert!(read(&row, &without(&line, field)).is_err(), "{field}");
    }
}

#[test]
fn the_idle_scenario_has_to_meet_its_aims_and_no_other_one_has() {
    let (row, mut check) = (row().to_string(), a_check());
    check["met"] = json!(false);
    assert!(read(&row, &check.to_string()).is_ok());
    check["scenario"] = json!("idle");
    assert!(read(&row, &check.to_string()).is_err());
    check["met"] = Value::Null;
    assert!(read(&row, &check.to_string()).is_err());
    check["met"] = json!(true);
    assert!(read(&row, &check.to_string()).is_ok());
}
