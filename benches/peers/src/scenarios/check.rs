//! What follows from the rows of a run, and whether it is what was aimed at.

use serde_json::{Value, json};

use super::runner::{Disk, Row, number};

/// One number that follows from a run.
#[derive(Debug)]
pub struct Check {
    what: String,
    value: Option<f64>,
    target: Option<Target>,
    disk: Disk,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Target::AtLeast(bound) => value >= bound,
            Target::AtMost(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Target::AtLeast(bound) => format!("at least {}", number(bound)),
            Target::AtMost(bound) => format!("at most {}", number(bound)),
        }
    }
}

impl Check {
    /// A number without an aim.
    pub fn new(what: impl Into<String>, value: Option<f64>, disk: Disk) -> Self {
        Check { what: what.into(), value, target: None, disk }
    }

    /// A figure of a row: its median.
    pub fn figure(row: &Row, name: &str) -> Self {
        let case = &row.case;
        let what = format!("{}, N = {}: {name}", case.name, case.load.committers);
        Check::new(what, row.median(name), case.disk)
    }

    /// What a figure of one row is to that of another one in the same round.
    pub fn ratio(row: &Row, to: &Row, name: &str) -> Self {
        let (case, other) = (&row.case, &to.case);
        let n = case.load.committers;
        let what = format!("{} / {}, N = {n}: {name}", case.name, other.name);
        Check::new(what, row.ratio(to, name), case.disk)
    }

    /// The same with an aim.
    pub fn aims(self, target: Target) -> Self {
        Check { target: Some(target), ..self }
    }

    fn is_met(&self) -> Option<bool> {
        Some(self.target?.is_met(self.value?))
    }

    /// As a line of text.
    pub fn text(&self) -> String {
        let value = self.value.map_or_else(|| "not measured".to_owned(), number);
        let target = self.target.map(|target| {
            let met = match self.is_met() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "unknown",
            };
            format!("  ({}: {met})", target.text())
        });
        let target = target.unwrap_or_default();
        format!("[{}] {} = {value}{target}", self.disk.label(), self.what)
    }

    /// As JSON.
    pub fn json(&self, scenario: &str) -> Value {
        json!({
            "scenario": scenario,
            "check": self.what,
            "value": self.value,
            "target": self.target.map(Target::text),
            "met": self.is_met(),
            "disk": self.disk.label(),
            "simulated_sync_ms": self.disk.simulated_sync_ms(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_whether_its_aim_is_met() {
        let check = |value| Check::new("x", value, Disk::Real).aims(Target::AtLeast(0.9));
        assert!(check(Some(0.95)).text().ends_with("(at least 0.900: met)"));
        assert!(check(Some(0.85)).text().ends_with("(at least 0.900: MISSED)"));
        assert_eq!(check(None).json("s")["met"], Value::Null);
    }
}
