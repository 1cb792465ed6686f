//! Guards P23 for what operators see of it: the dashboard shows every metric of the tables, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::fs;
use std::process::Command;

use actix_wal::metrics::{Kind, Unit};
use actix_wal_redis::metrics;
use serde_json::{Value, json};
use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::repository::root;

const FILE: &str = "ops/grafana-dashboard.json";

/// A metric, and the row that shows it.
struct Shown {
    row: &'static str,
    name: &'static str,
    kind: Kind,
    unit: Unit,
    /// What tells its series apart, beside the instance.
    labels: Vec<&'static str>,
    text: String,
}

fn all() -> Vec<Shown> {
    let of_log = actix_wal::metrics::TABLE.iter().map(|metric| Shown {
        row: metric.panel,
        name: metric.name,
        kind: metric.kind,
        unit: metric.unit,
        labels: metric.labels.iter().map(|label| label.name).collect(),
        text: format!("{} Normally: {}.", metric.meaning, metric.normal),
    });
    let of_server = metrics::TABLE.iter().map(|metric| Shown {
        row: if metric.name.starts_with("txn_") { "Transactions" } else { "Server" },
        name: metric.name,
        kind: metric.kind,
        unit: metric.unit,
        labels: metric.labels.iter().map(|(name, _)| *name).collect(),
        text: format!("{} Normally: {}.", metric.meaning, metric.normal),
    });
    of_log.chain(of_server).collect()
}

/// The queries of a metric, each with what its lines are called.
fn queries(shown: &Shown) -> Vec<(String, String)> {
    let name = shown.name;
    let of = "{instance=~\"$instance\"}";
    let labels: Vec<_> = shown.labels.iter().map(|label| format!("{{{{{label}}}}}")).collect();
    let called = [&["{{instance}}".to_owned()], &labels[..]].concat().join(" ");
    match shown.kind {
        Kind::Counter => vec![(format!("rate({name}{of}[$__rate_interval])"), called)],
        Kind::Gauge => vec![(format!("{name}{of}"), called)],
        Kind::Histogram => ["0.5", "0.99"]
            .map(|quantile| {
                let rate = format!("rate({name}_bucket{of}[$__rate_interval])");
                (format!("histogram_quantile({quantile}, {rate})"), format!("{called} {quantile}"))
            })
            .to_vec(),
    }
}

fn unit(shown: &Shown) -> &'static str {
    match (shown.kind, shown.unit) {
        (Kind::Counter, Unit::Bytes) => "Bps",
        (Kind::Counter, _) => "ops",
        (_, Unit::Bytes) => "bytes",
        (_, Unit::Seconds) => "s",
        (_, Unit::Count) => "short",
    }
}

/// The dashboard that the tables make: a row for each group, two panels side by side.
fn dashboard() -> Value {
    let (mut panels, mut row, mut x, mut y) = (Vec::new(), "", 0, 0);
    for shown in all() {
        if shown.row != row {
            y += if x > 0 { 8 } else { 0 };
            (row, x) = (shown.row, 0);
            let place = json!({"h": 1, "w": 24, "x": 0, "y": y});
            let id = panels.len() + 1;
            panels.push(json!({"id": id, "type": "row", "title": row, "gridPos": place}));
            y += 1;
        }
        let targets: Vec<_> = queries(&shown)
            .into_iter()
            .zip('A'..)
            .map(|((expr, legend), id)| json!({"refId": id, "expr": expr, "legendFormat": legend}))
            .collect();
        panels.push(json!({
            "id": panels.len() + 1,
            "type": "timeseries",
            "title": shown.name,
            "description": shown.text,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"h": 8, "w": 12, "x": x, "y": y},
            "fieldConfig": {"defaults": {"unit": unit(&shown)}, "overrides": []},
            "targets": targets,
        }));
        (x, y) = if x == 0 { (12, y) } else { (0, y + 8) };
    }
    let instances = json!({
        "name": "instance", "type": "query", "multi": true, "includeAll": true, "refresh": 2,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": "label_values(wal_state, instance)",
    });
    let source = json!({"name": "datasource", "type": "datasource", "query": "prometheus"});
    json!({
        "title": "actix-wal", "uid": "actix-wal", "schemaVersion": 39, "editable": true,
        "time": {"from": "now-1h", "to": "now"}, "refresh": "10s",
        "templating": {"list": [source, instances]},
        "panels": panels,
    })
}

#[test]
fn the_dashboard_is_what_the_tables_make() {
    let expected = serde_json::to_string_pretty(&dashboard()).unwrap() + "\n";
    let path = root().join(FILE);
    if std::env::var_os("UPDATE_METRICS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert!(
        found == expected,
        "run UPDATE_METRICS=1 cargo test -p actix-wal-redis --test dashboard"
    );
}

/// As rules, of which `promtool` reads the expressions; with values for what Grafana puts in.
#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (at, (query, _)) in all().iter().flat_map(queries).enumerate() {
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        rules += &format!("      - record: query:{at}\n        expr: '{query}'\n");
    }
    let folder = folder();
    let path = folder.path().join("rules.yml");
    fs::write(&path, rules).unwrap();
    let Ok(output) = Command::new("promtool").args(["check", "rules"]).arg(&path).output() else {
        return skip("promtool is not installed");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
