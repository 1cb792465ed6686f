//! Has the cases of a scenario take turns, round by round, and prints the medians.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use super::Step;
use super::check::Check;
use super::figures::Figures;
use crate::args::{Output, Times};
use crate::child::{self, Job, Of, Workplace};
use crate::compare::{progress, say};
use crate::disk;
use crate::error::BenchError;
use crate::load::Load;
use crate::results::median;

/// One row, before it is measured.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub load: Load,
    pub disk: Disk,
    pub step: Step,
    /// What else the row says of itself in JSON.
    pub labels: Vec<(&'static str, Value)>,
}

impl Case {
    pub fn new(name: impl Into<String>, load: Load, step: Step) -> Self {
        Case { name: name.into(), load, disk: Disk::Real, step, labels: Vec::new() }
    }

    pub fn on(self, disk: Disk) -> Self {
        Case { disk, ..self }
    }
}

/// Whose syncs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disk {
    /// Those of the disk that the directory is on.
    Real,
    /// So many milliseconds each, and nothing reaches the disk.
    Simulated(f64),
}

impl Disk {
    /// In a few words; what is simulated always says so.
    pub fn label(self) -> String {
        match self {
            Disk::Real => "real".to_owned(),
            Disk::Simulated(ms) => format!("SIMULATED {ms} ms"),
        }
    }

    fn sync_takes(self) -> Option<Duration> {
        match self {
            Disk::Real => None,
            Disk::Simulated(ms) => Some(Duration::from_secs_f64(ms / 1000.0)),
        }
    }

    /// For JSON.
    pub fn simulated_sync_ms(self) -> Option<f64> {
        match self {
            Disk::Real => None,
            Disk::Simulated(ms) => Some(ms),
        }
    }
}

/// A row with its figures: by round, and `None` where one failed.
#[derive(Debug)]
pub struct Row {
    pub case: Case,
    rounds: Vec<Option<Figures>>,
    error: Option<String>,
}

impl Row {
    /// The median of a figure.
    pub fn median(&self, name: &str) -> Option<f64> {
        median(self.rounds.iter().flatten().filter_map(|round| round.get(name)).collect())
    }

    /// The median of what a figure is to that of another row in the same round: what slows the machine
    /// for a while slows both.
    pub fn ratio(&self, to: &Row, name: &str) -> Option<f64> {
        let of = |round: &Option<Figures>| round.as_ref()?.get(name);
        let ratio = |(mine, other)| Some(of(mine)? / of(other)?);
        let ratios = self.rounds.iter().zip(&to.rounds).filter_map(ratio);
        median(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    /// The names of its figures.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.rounds.iter().flatten().flat_map(Figures::names)
    }

    fn json(&self, scenario: &str) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        put("scenario", scenario.into());
        put("case", self.case.name.as_str().into());
        put("committers", self.case.load.committers.into());
        put("size", self.case.load.size.into());
        put("disk", self.case.disk.label().into());
        put("simulated_sync_ms", json!(self.case.disk.simulated_sync_ms()));
        self.case.labels.iter().for_each(|(key, value)| put(key, value.clone()));
        self.names().for_each(|name| put(name, json!(self.median(name))));
        put("rounds", self.rounds.iter().flatten().count().into());
        put("error", json!(self.error));
        Value::Object(object)
    }
}

/// A run of one scenario.
pub struct Runner<'a> {
    scenario: &'static str,
    times: &'a Times,
    output: &'a Output,
    workplace: Workplace,
    bar: ProgressBar,
    failures: usize,
}

impl<'a> Runner<'a> {
    /// For so many cases in all.
    pub fn new(
        scenario: &'static str,
        cases: usize,
        times: &'a Times,
        output: &'a Output,
    ) -> Result<Self, BenchError> {
        let workplace = Workplace::new(output)?;
        disk::warn_if_memory(workplace.path());
        let bar = progress((cases * times.rounds) as u64);
        Ok(Runner { scenario, times, output, workplace, bar, failures: 0 })
    }

    /// The load of a case.
    pub fn load(times: &Times, committers: usize, size: usize) -> Load {
        Load { committers, size, warmup: times.warmup, measured: times.seconds }
    }

    /// Where files can lie that outlive a measurement.
    pub fn place(&self, name: &str) -> std::path::PathBuf {
        self.workplace.path().join(name)
    }

    /// Does a step once, before others, in a process of its own too. It has failed if there is nothing.
    pub fn once(&mut self, case: &Case) -> Option<Figures> {
        self.bar.set_message(case.name.clone());
        match self.measure(case, "once") {
            Ok(figures) => Some(figures),
            Err(_) => {
                self.failures += 1;
                None
            }
        }
    }

    fn measure(&self, case: &Case, round: &str) -> Result<Figures, String> {
        let name = case.name.replace(['/', ' '], "-");
        let place = self.place(&format!("{name}-{round}"));
        let of = Of::Scenario(case.step.clone());
        let job = Job { place, load: case.load, sync_takes: case.disk.sync_takes(), of };
        child::measure(&job, self.workplace.keeps()).map_err(|error| {
            self.bar.suspend(|| eprintln!("{}: {error}", case.name));
            error.to_string()
        })
    }

    /// All rounds of some cases, which take turns. Prints their rows.
    pub fn group(&mut self, cases: Vec<Case>) -> Result<Vec<Row>, BenchError> {
        let empty = |case| Row { case, rounds: Vec::new(), error: None };
        let mut rows: Vec<Row> = cases.into_iter().map(empty).collect();
        for round in 0..self.times.rounds {
            for row in &mut rows {
                let (case, disk) = (&row.case, row.case.disk.label());
                let message = format!("{}, N = {}, {disk}", case.name, case.load.committers);
                self.bar.set_message(message);
                match self.measure(case, &round.to_string()) {
                    Ok(figures) => row.rounds.push(Some(figures)),
                    Err(error) => {
                        row.rounds.push(None);
                        row.error = Some(error);
                    }
                }
                self.bar.inc(1);
            }
        }
        self.failures += rows.iter().filter(|row| row.error.is_some()).count();
        let text = if self.output.json {
            let lines = rows.iter().map(|row| row.json(self.scenario).to_string());
            lines.collect::<Vec<_>>().join("\n")
        } else {
            table(&rows) + "\n"
        };
        self.bar.suspend(|| say(&text))?;
        if !self.output.json {
            self.bar.suspend(|| say(""))?;
        }
        Ok(rows)
    }

    /// The end: what follows from the rows.
    pub fn finish(self, checks: &[Check]) -> Result<(), BenchError> {
        self.bar.finish_and_clear();
        for check in checks {
            let json = || check.json(self.scenario).to_string();
            say(&if self.output.json { json() } else { check.text() })?;
        }
        if self.failures > 0 { Err(BenchError::Failed(self.failures)) } else { Ok(()) }
    }
}

/// Rows of one group, with a column for each figure that any of them has.
fn table(rows: &[Row]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(Row::names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let width = |name: &str| name.len().max(9);
    let first = rows.iter().map(|row| row.case.name.len()).max().unwrap_or(0).max(12);
    let mut text = format!("{:<first$} {:>17} {:>6} {:>6}", "case", "disk", "N", "bytes");
    names.iter().for_each(|name| text += &format!(" {name:>0$}", width(name)));
    for row in rows {
        let (case, load) = (&row.case, &row.case.load);
        let (disk, n) = (case.disk.label(), load.committers);
        text += &format!("\n{:<first$} {disk:>17} {n:>6} {:>6}", case.name, load.size);
        for name in &names {
            let value = row.median(name).map_or_else(|| "-".to_owned(), number);
            text += &format!(" {value:>0$}", width(name));
        }
        if let Some(error) = &row.error {
            text += &format!("  FAILED: {error}");
        }
    }
    text
}

/// As many digits as one can use.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 | 100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::idle;

    fn row(values: &[Option<f64>]) -> Row {
        let load = Load {
            committers: 1,
            size: 1,
            warmup: Duration::from_secs(1),
            measured: Duration::from_secs(1),
        };
        let round = |value: &Option<f64>| value.map(|value| Figures::default().and("x", value));
        Row {
            case: Case::new("case", load, Step::Idle(idle::Step)),
            rounds: values.iter().map(round).collect(),
            error: None,
        }
    }

    #[test]
    fn ratios_are_those_of_rounds_that_both_have() {
        let (a, b) =
            (row(&[Some(10.0), None, Some(90.0)]), row(&[Some(5.0), Some(1.0), Some(9.0)]));
        assert_eq!(a.ratio(&b, "x"), Some(6.0));
        assert_eq!(a.median("x"), Some(50.0));
        assert_eq!(a.ratio(&b, "y"), None);
    }

    #[test]
    fn a_simulated_disk_says_so() {
        let mut row = row(&[Some(1.0)]);
        row.case.disk = Disk::Simulated(8.3);
        assert!(table(&[row]).contains("SIMULATED 8.3 ms"));
    }
}
