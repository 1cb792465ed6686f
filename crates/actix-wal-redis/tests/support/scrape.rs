//! The text format of Prometheus, read strictly: what this does not understand fails the test.

use std::collections::{BTreeMap, BTreeSet};

use super::http::try_get;

type Labels = BTreeMap<String, String>;

/// What one scrape has shown.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// The kind of each metric.
    pub(crate) kinds: BTreeMap<String, String>,
    /// The metrics that have a help text.
    pub(crate) helped: BTreeSet<String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    /// Of the endpoint on this port.
    ///
    /// # Panics
    /// It does not answer, or its text is wrong.
    pub(crate) fn of(port: u16) -> Scrape {
        let answered = try_get(port, "/metrics").unwrap();
        assert_eq!(answered.status, 200, "{answered:?}");
        assert!(answered.head.contains("content-type: text/plain; version=0.0.4"), "{answered:?}");
        Scrape::parse(&answered.body)
    }

    /// # Panics
    /// The text is wrong.
    pub(crate) fn parse(text: &str) -> Scrape {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
        let mut scrape = Scrape::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().expect("a name");
                assert!(scrape.helped.insert(name.to_owned()), "{line}: a second help");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let before = scrape.kinds.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{line}: a second type");
            } else {
                assert!(!line.starts_with('#'), "{line}");
                scrape.sample(line);
            }
        }
        scrape.check_histograms();
        scrape
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
        let (name, labels) = match series.split_once('{') {
            None => (series, Labels::new()),
            Some((name, labels)) => (name, labels_of(labels, line)),
        };
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert!(self.kinds.contains_key(base(&self.kinds, name)), "{line}: it has no type");
        let before = self.samples.insert((name.to_owned(), labels), value);
        assert!(before.is_none(), "{line}: a second time");
    }

    /// The buckets of each histogram grow, and the last is the count.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), count) in &self.samples {
            let Some(name) = name.strip_suffix("_bucket") else { continue };
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bucket has a bound");
            let bound = bound.parse().expect("a bound is a number, or +Inf");
            buckets.entry((name.to_owned(), labels)).or_default().push((bound, *count));
        }
        for ((name, labels), mut buckets) in buckets {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, next| one.1 <= next.1), "{name}: {buckets:?}");
            let all = buckets.last().expect("a bucket");
            assert_eq!(all.0, f64::INFINITY, "{name}");
            let count = self.samples.get(&(format!("{name}_count"), labels.clone()));
            assert_eq!(count, Some(&all.1), "{name}");
            assert!(self.samples.contains_key(&(format!("{name}_sum"), labels)), "{name}");
        }
    }

    /// The samples of a metric with these labels, added up.
    ///
    /// # Panics
    /// There are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let is_meant = |of: &Labels| {
            labels.iter().all(|(name, value)| of.get(*name).is_some_and(|is| is == value))
        };
        let samples = self.samples.iter().filter(|((is, of), _)| is == name && is_meant(of));
        let values: Vec<_> = samples.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "there is no {name} {labels:?}");
        values.iter().sum()
    }

    /// Each label of a metric with its values; of a histogram without its bounds.
    pub(crate) fn labels(&self, metric: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, labels) in self.samples.keys() {
            if base(&self.kinds, name) != metric {
                continue;
            }
            for (label, value) in labels.iter().filter(|(label, _)| *label != "le") {
                all.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        all
    }
}

/// The metric that a sample belongs to.
fn base<'a>(kinds: &BTreeMap<String, String>, name: &'a str) -> &'a str {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    base.filter(|base| kinds.get(*base).is_some_and(|kind| kind == "histogram")).unwrap_or(name)
}

/// `a="b",c="d"}`. No value of ours has a quote or a backslash in it.
fn labels_of(text: &str, line: &str) -> Labels {
    let text = text.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let pairs = text.split("\",").map(|pair| {
        let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let value = value.strip_suffix('"').unwrap_or(value);
        assert!(!value.contains(['"', '\\']), "{line}");
        (name.to_owned(), value.to_owned())
    });
    let count = text.matches("=\"").count();
    let labels: Labels = pairs.collect();
    assert_eq!(labels.len(), count, "{line}: a label twice");
    labels
}
