//! What examples and benches must say in their JSON. Each function takes the output, fails on what is wrong,
//! and returns what is worth showing.

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A field that may be `null` and must be there. To serde, an `Option` alone may be missing too.
fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from)
}

/// Every line of the output as JSON.
fn lines<T: DeserializeOwned>(output: &str) -> Result<Vec<T>> {
    let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    let lines: Vec<T> = output.lines().map(parse).collect::<Result<_>>()?;
    ensure!(!lines.is_empty(), "no line of output");
    Ok(lines)
}

fn none_wrong(wrong: Vec<String>) -> Result<()> {
    ensure!(wrong.is_empty(), "{}", wrong.join(", "));
    Ok(())
}

/// The counts that the quickstart ends with.
#[derive(Debug, Deserialize)]
struct Quickstart {
    lost: u64,
    errors: u64,
    not_durable: u64,
    unknown: u64,
    restarts: u64,
    commits: u64,
    fsyncs: u64,
    kills: u64,
    acknowledged: u64,
    recovered: u64,
}

/// The last line of the quickstart: something was committed, nothing failed, and nothing was lost.
pub(super) fn quickstart(output: &str) -> Result<String> {
    let last = output.lines().rfind(|line| !line.trim().is_empty()).context("no output")?;
    let all: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
    let report = Quickstart::deserialize(&all).context("the last line of the quickstart")?;
    let must_be_zero = [
        ("lost", report.lost),
        ("errors", report.errors),
        ("not_durable", report.not_durable),
        ("unknown", report.unknown),
        ("restarts", report.restarts),
    ];
    let must_not = [
        ("commits", report.commits),
        ("fsyncs", report.fsyncs),
        ("kills", report.kills),
        ("acknowledged", report.acknowledged),
    ];
    let zero = must_be_zero.iter().filter(|(_, count)| *count != 0);
    let some = must_not.iter().filter(|(_, count)| *count == 0);
    let mut wrong: Vec<_> =
        zero.chain(some).map(|(name, count)| format!("{name} is {count}")).collect();
    if report.recovered < report.acknowledged {
        wrong.push("less was recovered than acknowledged".to_owned());
    }
    none_wrong(wrong)?;
    Ok(serde_json::to_string_pretty(&all)?)
}

/// A line of the comparison. Fields that nothing reads are there since a reader of the JSON needs them.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "that a field is missing is what the parser finds")]
struct Peer {
    engine: String,
    committers: u64,
    size: u64,
    #[serde(deserialize_with = "present")]
    commits_per_second: Option<f64>,
    #[serde(deserialize_with = "present")]
    p50_us: Option<f64>,
    #[serde(deserialize_with = "present")]
    p99_us: Option<f64>,
    #[serde(deserialize_with = "present")]
    p999_us: Option<f64>,
    #[serde(deserialize_with = "present")]
    syncs: Option<u64>,
    #[serde(deserialize_with = "present")]
    commits_per_sync: Option<f64>,
    #[serde(deserialize_with = "present")]
    cpu_us_per_commit: Option<f64>,
    #[serde(deserialize_with = "present")]
    bytes_written: Option<u64>,
    #[serde(deserialize_with = "present")]
    commits: Option<u64>,
    f_us: f64,
    bound_n_over_f: f64,
    efficiency: f64,
    rounds: u64,
    #[serde(deserialize_with = "present")]
    error: Option<String>,
}

/// Each line of the comparison has its fields, and each engine made something durable.
pub(super) fn peers(output: &str) -> Result<String> {
    let peers: Vec<Peer> = lines(output).context("the comparison")?;
    let mut wrong = Vec::new();
    for Peer { engine, error, commits, syncs, .. } in &peers {
        wrong.extend(error.iter().map(|error| format!("{engine}: {error}")));
        if commits.unwrap_or_default() == 0 || syncs.unwrap_or_default() == 0 {
            wrong.push(format!("{engine} made nothing durable"));
        }
    }
    none_wrong(wrong)?;
    let row = |peer: &Peer| {
        let rate = peer.commits_per_second.unwrap_or_default();
        format!("{:26} {:5} {rate:.0}", peer.engine, peer.committers)
    };
    Ok(peers.iter().map(row).collect::<Vec<_>>().join("\n"))
}

/// A policy under a given rate.
#[derive(Debug, Deserialize)]
struct OpenLoop {
    engine: String,
    #[serde(deserialize_with = "present")]
    commits: Option<u64>,
    #[serde(deserialize_with = "present")]
    error: Option<String>,
}

/// How many policies an open loop runs unless told otherwise.
const POLICIES: usize = 3;

/// Each policy made commits durable.
pub(super) fn open_loop(output: &str) -> Result<()> {
    let policies: Vec<OpenLoop> = lines(output).context("the open loop")?;
    ensure!(policies.len() == POLICIES, "{} lines of {POLICIES}", policies.len());
    let failed = |OpenLoop { error, commits, .. }: &&OpenLoop| {
        error.is_some() || commits.unwrap_or_default() == 0
    };
    let show = |OpenLoop { engine, error, commits }: &OpenLoop| {
        format!("{engine}: {commits:?} commits, error {error:?}")
    };
    none_wrong(policies.iter().filter(failed).map(show).collect())
}

/// What a row and a check of a scenario have in common: the disk.
#[derive(Debug, Deserialize)]
struct Disk {
    disk: String,
    #[serde(deserialize_with = "present")]
    simulated_sync_ms: Option<f64>,
}

impl Disk {
    /// A simulated disk says so, and no other one does.
    fn is_honest(&self) -> bool {
        self.disk.starts_with("SIMULATED") == self.simulated_sync_ms.is_some()
    }
}

/// A row of a scenario. Its figures differ from scenario to scenario.
#[derive(Debug, Deserialize)]
struct Row {
    case: String,
    rounds: u64,
    #[serde(deserialize_with = "present")]
    error: Option<String>,
    #[serde(flatten)]
    disk: Disk,
    #[serde(flatten)]
    figures: Map<String, Value>,
}

/// A number that a scenario compares with its aim.
#[derive(Debug, Deserialize)]
struct Check {
    scenario: String,
    check: String,
    #[serde(deserialize_with = "present")]
    value: Option<f64>,
    #[serde(deserialize_with = "present")]
    met: Option<bool>,
    #[serde(flatten)]
    disk: Disk,
}

/// Each line is a row with these figures or a check with a value; nothing failed, and a simulated disk says so.
pub(super) fn scenario(output: &str, figures: &[&str]) -> Result<String> {
    let (mut rows, mut checks) = (Vec::new(), Vec::new());
    for line in lines::<Value>(output)? {
        if line.get("case").is_some() {
            rows.push(Row::deserialize(&line).with_context(|| line.to_string())?);
        } else {
            checks.push(Check::deserialize(&line).with_context(|| line.to_string())?);
        }
    }
    ensure!(!rows.is_empty() && !checks.is_empty(), "{} rows, {} checks", rows.len(), checks.len());
    let faults = rows.iter().flat_map(|row| row_faults(row, figures));
    none_wrong(faults.chain(checks.iter().flat_map(check_faults)).collect())?;
    let show = |check: &Check| {
        let value = check.value.unwrap_or_default();
        format!("[{}] {}: {value}", check.disk.disk, check.check)
    };
    Ok(checks.iter().map(show).collect::<Vec<_>>().join("\n"))
}

fn row_faults(row: &Row, figures: &[&str]) -> Vec<String> {
    let case = &row.case;
    let is_missing = |figure: &&&str| row.figures.get(**figure).is_none_or(Value::is_null);
    let missing = figures.iter().filter(is_missing);
    let mut faults: Vec<_> = missing.map(|figure| format!("{case} has no {figure}")).collect();
    faults.extend(row.error.iter().map(|error| format!("{case}: {error}")));
    if row.rounds == 0 {
        faults.push(format!("{case}: no round went well"));
    }
    if !row.disk.is_honest() {
        faults.push(format!("{case} does not say whether its disk is simulated"));
    }
    faults
}

fn check_faults(Check { scenario, check, value, met, disk }: &Check) -> Vec<String> {
    let mut faults = Vec::new();
    if value.is_none() {
        faults.push(format!("{check}: no value"));
    }
    // The aims of this scenario count thread switches and no time: they hold on any machine.
    if scenario == "idle" && *met != Some(true) {
        faults.push(format!("{check} = {value:?}, which misses its aim"));
    }
    if !disk.is_honest() {
        faults.push(format!("{check} does not say whether its disk is simulated"));
    }
    faults
}

#[cfg(test)]
mod tests;
