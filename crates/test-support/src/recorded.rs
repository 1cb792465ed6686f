//! A recorder of metrics that keeps all it is given, for the whole process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// What a series of values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels with their values.
pub type Labels = BTreeMap<String, String>;

/// The value of a series: of a histogram the values in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Value {
    pub number: f64,
    pub values: Vec<f64>,
}

type Series = BTreeMap<(String, Labels), (Kind, Arc<Cell>)>;

/// What was said of a metric.
pub type Description = (Kind, Option<Unit>, String);

/// The recorder of this process.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    series: Arc<Mutex<Series>>,
    described: Arc<Mutex<BTreeMap<String, Description>>>,
}

#[derive(Debug, Default)]
struct Cell(Mutex<Value>);

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.lock().number += value as f64;
    }

    fn absolute(&self, value: u64) {
        self.lock().number = value as f64;
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.lock().number += value;
    }

    fn decrement(&self, value: f64) {
        self.lock().number -= value;
    }

    fn set(&self, value: f64) {
        self.lock().number = value;
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.lock().values.push(value);
    }
}

impl Recorded {
    /// The recorder of this process. It is installed when this is called first.
    pub fn globally() -> Recorded {
        static GLOBAL: OnceLock<Recorded> = OnceLock::new();
        let install = || {
            let recorded = Recorded::default();
            metrics::set_global_recorder(recorded.clone()).expect("there is no other");
            recorded
        };
        GLOBAL.get_or_init(install).clone()
    }

    fn cell(&self, kind: Kind, key: &Key) -> Arc<Cell> {
        let pair = |label: &metrics::Label| (label.key().to_owned(), label.value().to_owned());
        let labels = key.labels().map(pair).collect();
        let mut series = self.series.lock().unwrap();
        let place = series.entry((key.name().to_owned(), labels));
        let (known, cell) = place.or_insert_with(|| (kind, Arc::default()));
        assert_eq!(*known, kind, "{} is two things", key.name());
        Arc::clone(cell)
    }

    /// What each metric of this log is, and the names of its labels.
    pub fn kinds(&self, log: &str) -> BTreeMap<String, (Kind, BTreeSet<String>)> {
        let mut kinds = BTreeMap::new();
        for ((name, labels), (kind, _)) in &*self.series.lock().unwrap() {
            if labels.get("log").is_some_and(|value| value == log) {
                let found = (*kind, labels.keys().cloned().collect::<BTreeSet<_>>());
                let known = kinds.entry(name.clone()).or_insert_with(|| found.clone());
                assert_eq!(*known, found, "{name} has different labels");
            }
        }
        kinds
    }

    /// Every value that a label of a metric has in this log.
    pub fn values_of_label(&self, log: &str, name: &str, label: &str) -> BTreeSet<String> {
        let series = self.series.lock().unwrap();
        let of_log = series.keys().filter(|(known, labels)| {
            known == name && labels.get("log").is_some_and(|value| value == log)
        });
        of_log.filter_map(|(_, labels)| labels.get(label).cloned()).collect()
    }

    /// The value of a series of this log, which must be there.
    #[track_caller]
    pub fn value(&self, log: &str, name: &str, labels: &[(&str, &str)]) -> Value {
        let log = ("log", log);
        let labels = labels.iter().chain([&log]);
        let labels: Labels =
            labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let series = self.series.lock().unwrap();
        let found = series.get(&(name.to_owned(), labels.clone()));
        let (_, cell) = found.unwrap_or_else(|| panic!("no {name} with {labels:?}"));
        cell.lock().clone()
    }

    /// The number that a series of this log is at.
    #[track_caller]
    pub fn number(&self, log: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(log, name, labels).number
    }

    /// What all series of a metric of this log come to.
    pub fn sum(&self, log: &str, name: &str) -> f64 {
        let series = self.series.lock().unwrap();
        let of_log = series.iter().filter(|((known, labels), _)| {
            known == name && labels.get("log").is_some_and(|value| value == log)
        });
        of_log.map(|(_, (_, cell))| cell.lock().number).sum()
    }

    /// What was said of a metric.
    pub fn description(&self, name: &str) -> Option<Description> {
        self.described.lock().unwrap().get(name).cloned()
    }

    fn describe(&self, kind: Kind, name: KeyName, unit: Option<Unit>, text: SharedString) {
        let described = (kind, unit, text.to_string());
        self.described.lock().unwrap().insert(name.as_str().to_owned(), described);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Counter, name, unit, text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Gauge, name, unit, text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Histogram, name, unit, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(Kind::Counter, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(Kind::Gauge, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(Kind::Histogram, key))
    }
}
