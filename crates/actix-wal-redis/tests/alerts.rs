//! Guards P23 for what operators see of it: each alert of `ops/alerts.yml` has its cases, its page and metrics that exist.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use actix_wal_redis::metrics;
use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::repository::{read, root};

const RULES: &str = "ops/alerts.yml";
const PLAN: &str = "docs/deployment.md";
const CASES: &str = "ops/alerts_test.yml";
const RUNBOOK: &str = "docs/operations.md";
/// What each alert has a case of.
const KINDS: [&str; 3] = ["fires", "just does not fire", "has missing series"];
/// The one metric that no table has: Prometheus makes it.
const OF_PROMETHEUS: &str = "up";

/// A rule, and its lines.
#[derive(Debug)]
struct Alert {
    name: String,
    expression: String,
    lines: String,
}

impl Alert {
    /// What stands behind a key, without quotes.
    fn value(&self, key: &str) -> &str {
        let line = self.lines.lines().find_map(|line| line.trim().strip_prefix(key));
        line.unwrap_or_else(|| panic!("{}: no {key}", self.name)).trim().trim_matches(['"', '\''])
    }
}

/// A text in pieces, each of which begins with this line.
fn pieces<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).collect()
}

fn alerts() -> Vec<Alert> {
    let text = read(RULES);
    let alerts = pieces(&text, "      - alert: ").into_iter().map(|piece| {
        let (name, lines) = piece.split_once('\n').unwrap();
        let expression = lines.strip_prefix("        expr: |\n").expect("expr is a block");
        let expression = expression.split("        for: ").next().unwrap();
        Alert {
            name: name.to_owned(),
            expression: expression.to_owned(),
            lines: format!("      - alert: {piece}"),
        }
    });
    let alerts: Vec<_> = alerts.collect();
    assert!(alerts.len() > 20, "{} alerts are read", alerts.len());
    alerts
}

/// The cases of an alert, as their lines.
fn cases(alert: &str) -> Vec<String> {
    let text = read(CASES);
    let of_alert = pieces(&text, "  - name: ")
        .into_iter()
        .filter(|piece| piece.split([' ', '\n']).next() == Some(alert));
    of_alert.map(|piece| format!("  - name: {piece}")).collect()
}

/// Each metric with its alerts and its labels, of all tables.
type Known = BTreeMap<&'static str, (Vec<&'static str>, BTreeMap<&'static str, Vec<&'static str>>)>;

fn known() -> Known {
    let of_log = actix_wal::metrics::TABLE.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| (label.name, label.values.to_vec()));
        (metric.name, (metric.alerts.to_vec(), labels.collect()))
    });
    let of_server = metrics::TABLE.iter().map(|metric| {
        let labels = metric.labels.iter().map(|(name, values)| (*name, values.to_vec()));
        (metric.name, (metric.alerts.to_vec(), labels.collect()))
    });
    of_log.chain(of_server).collect()
}

/// The words of PromQL that alerts and the deployment plan use.
const WORDS: [&str; 19] = [
    "absent",
    "and",
    "by",
    "delta",
    "histogram_quantile",
    "increase",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "offset",
    "on",
    "or",
    "predict_linear",
    "rate",
    "sum",
    "time",
    "unless",
    "without",
];

/// The metrics of an expression, each with what its braces say.
fn metrics_in(expression: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '[') {
        rest = &rest[at..];
        if rest.starts_with('[') {
            rest = rest.split_once(']').expect("the end of a range").1;
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
        } else if ["without", "by", "on"].contains(&word) {
            rest = rest.split_once(')').expect("the end of the labels").1;
        } else if !WORDS.contains(&word) {
            let mut labels = "";
            if let Some(behind) = rest.strip_prefix('{') {
                (labels, rest) = behind.split_once('}').expect("the end of the labels");
            }
            found.push((word.to_owned(), labels.to_owned()));
        }
    }
    found
}

/// The metric of the tables that a name of an expression stands for.
fn metric_of(name: &str, known: &Known) -> Option<&'static str> {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    let entry = known.get_key_value(name).or_else(|| known.get_key_value(base?));
    entry.map(|(name, _)| *name)
}

/// What is wrong with what the braces of a metric say.
fn label_faults(name: &str, braces: &str, known: &Known) -> Vec<String> {
    let (_, labels) = &known[metric_of(name, known).unwrap()];
    let matchers = braces.split(',').filter(|matcher| !matcher.is_empty());
    let faults = matchers.flat_map(|matcher| {
        let (label, value) = matcher.split_once(['=', '!']).unwrap();
        let value = value.trim_start_matches(['=', '~']).trim_matches('"');
        let Some(allowed) = labels.get(label) else {
            return vec![format!("{name} has no label {label}")];
        };
        let unknown = value.split('|').filter(|value| !allowed.contains(value));
        unknown.map(|value| format!("{name}: {label} is never {value}")).collect()
    });
    faults.collect()
}

#[test]
fn every_alert_is_about_metrics_that_exist_and_the_tables_name_exactly_these_alerts() {
    let known = known();
    let (mut used, mut faults) = (BTreeMap::<&str, BTreeSet<String>>::new(), Vec::new());
    for alert in alerts() {
        for (name, braces) in metrics_in(&alert.expression) {
            match metric_of(&name, &known) {
                Some(metric) => {
                    used.entry(metric).or_default().insert(alert.name.clone());
                    faults.extend(label_faults(&name, &braces, &known));
                }
                None if name == OF_PROMETHEUS => {}
                None => faults.push(format!("{}: there is no metric {name}", alert.name)),
            }
        }
    }
    for (metric, (alerts, _)) in &known {
        let named: BTreeSet<_> = alerts.iter().map(|alert| (*alert).to_owned()).collect();
        let used = used.remove(metric).unwrap_or_default();
        if named != used {
            faults.push(format!("{metric}: the table names {named:?}, and {used:?} use it"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn metrics_of_expressions_are_found_and_what_does_not_exist_is_too() {
    let found =
        metrics_in("sum without (op) (rate(a_total{x=\"y\"}[5m])) > 0.5 * b offset 1h or c");
    let names: Vec<_> = found.iter().map(|(name, braces)| (&name[..], &braces[..])).collect();
    assert_eq!(names, [("a_total", "x=\"y\""), ("b", ""), ("c", "")]);
    let known = known();
    assert_eq!(metric_of("wal_sync_seconds_bucket", &known), Some("wal_sync_seconds"));
    assert_eq!(metric_of("wal_syncs", &known), None);
    assert_eq!(label_faults("wal_state", "state=\"poisoned\"", &known), [""; 0]);
    assert_eq!(label_faults("wal_state", "state=~\"dead|closed\"", &known).len(), 1);
    assert_eq!(label_faults("wal_stalled", "state!=\"x\"", &known).len(), 1);
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_alert_says_what_to_do_and_its_part_of_the_page_is_there_and_no_other() {
    let page = read(RUNBOOK);
    let part = page.split("\n## ").find(|part| part.starts_with("Alerts\n")).expect("## Alerts");
    let mut headings: BTreeMap<_, _> = pieces(part, "\n### ")
        .into_iter()
        .map(|piece| {
            let (heading, text) = piece.split_once('\n').unwrap();
            (heading.to_owned(), text.to_owned())
        })
        .collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = &alert.name;
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert!(["critical", "warning", "info"].contains(&alert.value("severity:")), "{name}");
        assert!(!alert.value("summary:").is_empty() && alert.value("description:").len() > 20);
        assert_eq!(alert.value("runbook_url:"), format!("{RUNBOOK}#{}", anchor(name)));
        let text = headings.remove(name).unwrap_or_else(|| panic!("{RUNBOOK}: no ### {name}"));
        for what in ["**Meaning.**", "**Confirm.**", "**Do.**", "**Do not.**", "**Call for help**"]
        {
            assert!(text.contains(what), "{RUNBOOK}: {name}: no {what}");
        }
    }
    assert!(headings.is_empty(), "there are no such alerts: {:?}", headings.keys());
}

#[test]
fn every_alert_has_its_three_kinds_of_cases_and_no_case_is_of_none() {
    let all = pieces(&read(CASES), "  - name: ").len();
    let mut counted = 0;
    for Alert { name, .. } in alerts() {
        let cases = cases(&name);
        counted += cases.len();
        for kind in KINDS {
            let case =
                cases.iter().find(|it| it.starts_with(&format!("  - name: {name} {kind}\n")));
            let case = case.unwrap_or_else(|| panic!("{name}: no case in which it {kind}"));
            assert!(case.contains(&format!("- alertname: {name}\n")), "{case}");
            match kind {
                "fires" => assert!(case.contains("- exp_labels:"), "{case}"),
                "just does not fire" => assert!(case.contains("exp_alerts: []"), "{case}"),
                _ => assert!(case.contains("exp_alerts:"), "{case}"),
            }
        }
    }
    assert_eq!(all, counted, "a case of an alert that does not exist");
}

fn promtool(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    if output.is_err() {
        skip("promtool is not installed");
    }
    output.ok()
}

/// Runs the cases of one alert against a rule.
fn passes(folder: &Path, alert: &Alert, rule: &str) -> Option<(bool, String)> {
    let rules = format!("groups:\n  - name: one\n    rules:\n{rule}");
    fs::write(folder.join("alerts.yml"), rules).unwrap();
    let head = "rule_files:\n  - alerts.yml\nevaluation_interval: 1m\ntests:\n";
    fs::write(folder.join("cases.yml"), format!("{head}{}", cases(&alert.name).concat())).unwrap();
    let output = promtool(folder, &["test", "rules", "cases.yml"])?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn promtool_accepts_the_rules_and_all_cases_pass() {
    let arguments = [&["check", "rules", RULES][..], &["test", "rules", CASES]];
    for arguments in arguments {
        let Some(output) = promtool(&root(), arguments) else { return };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

/// So that each case is one that can fail: with a rule that never fires, and one that always does, some case does.
#[test]
fn the_cases_of_every_alert_notice_a_rule_that_never_fires_and_one_that_always_does() {
    let folder = folder();
    for alert in alerts() {
        let line = |from: &str| {
            let line = alert.lines.lines().find(|line| line.starts_with(from));
            format!("{}\n", line.unwrap_or_else(|| panic!("{}: no {from}", alert.name)))
        };
        let (time, block) = (line("        for: "), format!("|\n{}", alert.expression));
        let never = alert.lines.replace(&time, "        for: 1000h\n");
        let always = alert.lines.replace(&block, "vector(1)\n");
        let Some((sound, said)) = passes(folder.path(), &alert, &alert.lines) else { return };
        assert!(sound, "{}: {said}", alert.name);
        for (what, rule) in [("never fires", never), ("always fires", always)] {
            assert_ne!(rule, alert.lines, "{}: {what}", alert.name);
            let (passed, said) = passes(folder.path(), &alert, &rule).unwrap();
            assert!(!passed, "{}: no case fails of a rule that {what}", alert.name);
            assert!(said.contains("exp:["), "it fails for another reason: {said}");
        }
    }
}

/// The expressions of the deployment plan, each in a block of its own.
fn expressions_of_the_plan() -> Vec<String> {
    let page = read(PLAN);
    let blocks = pieces(&page, "```promql\n").into_iter();
    blocks.map(|block| block.split("```").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn every_expression_of_the_deployment_plan_is_about_metrics_that_exist_and_is_promql() {
    let (known, expressions) = (known(), expressions_of_the_plan());
    assert!(expressions.len() >= 8, "{expressions:?}");
    let mut faults = Vec::new();
    for expression in &expressions {
        let metrics = metrics_in(expression);
        assert!(!metrics.is_empty(), "{expression}");
        for (name, braces) in metrics {
            match metric_of(&name, &known) {
                None => faults.push(format!("{expression}: there is no {name}")),
                Some(_) => faults.extend(label_faults(&name, &braces, &known)),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let rule = |(at, expression): (usize, &String)| {
        format!("      - record: plan:{at}\n        expr: >-\n          {expression}\n")
    };
    let rules: String = expressions.iter().enumerate().map(rule).collect();
    let folder = folder();
    std::fs::write(
        folder.path().join("plan.yml"),
        format!("groups:\n  - name: plan\n    rules:\n{rules}"),
    )
    .unwrap();
    let Some(output) = promtool(folder.path(), &["check", "rules", "plan.yml"]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ci_installs_promtool_and_prometheus() {
    let tools = read("crates/xtask/src/ci/tools.rs");
    for tool in ["promtool", "prometheus"] {
        assert!(tools.contains(&format!("(\"{tool}\", \"prometheus\")")), "{tool}");
    }
}

/// The table of the README, between its marks.
#[test]
fn the_readme_shows_the_table_of_metrics() {
    let path: PathBuf = root().join("crates/actix-wal-redis/README.md");
    let page = fs::read_to_string(&path).unwrap();
    let begin =
        "<!-- metrics: UPDATE_METRICS=1 cargo test -p actix-wal-redis --test alerts readme -->\n";
    let end = "<!-- end of metrics -->\n";
    let (head, rest) = page.split_once(begin).expect("the page says where the table begins");
    let (_, tail) = rest.split_once(end).expect("the page says where the table ends");
    let mut table = "\n| metric | type | labels | meaning | normally | alerts |\n".to_owned();
    table += "|---|---|---|---|---|---|\n";
    for metric in metrics::TABLE {
        let quoted = |names: Vec<&str>| {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let labels = quoted(metric.labels.iter().map(|(name, _)| *name).collect());
        let (name, kind, alerts) =
            (metric.name, metric.kind.name(), quoted(metric.alerts.to_vec()));
        let (meaning, normal) = (metric.meaning, metric.normal);
        table += &format!("| `{name}` | {kind} | {labels} | {meaning} | {normal} | {alerts} |\n");
    }
    let expected = format!("{head}{begin}{table}\n{end}{tail}");
    if std::env::var_os("UPDATE_METRICS").is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert_eq!(
            page, expected,
            "run UPDATE_METRICS=1 cargo test -p actix-wal-redis --test alerts"
        );
    }
}
