//! What `redis-benchmark` measures.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use super::servers::Server;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    options: &'static str,
    pub(crate) requests: usize,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// In milliseconds.
    pub(crate) p99: f64,
    /// What the server used of the processors for a request, in microseconds.
    pub(crate) processor: f64,
}

impl Scenario {
    pub(crate) const fn new(name: &'static str, options: &'static str, requests: usize) -> Self {
        Scenario { name, options, requests }
    }

    pub(crate) fn run(&self, server: &Server, requests: usize) -> Figures {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &server.port.to_string(), "-d", "128", "-r", "100000", "--csv"]);
        command.args(self.options.split(' ')).args(["-n", &requests.to_string()]);
        let before = server.processor_time();
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let used = server.processor_time() - before;
        let text = String::from_utf8_lossy(&output.stdout);
        // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
        let line = text.lines().find(|line| !line.contains("rps") && line.contains(','));
        let line = line.unwrap_or_else(|| panic!("{command:?}: {text}"));
        let fields: Vec<f64> =
            line.split(',').map(|field| field.trim_matches('"').parse().unwrap_or(0.0)).collect();
        Figures::new(fields[1], fields[6], used, requests)
    }
}

impl Figures {
    pub(crate) fn new(per_second: f64, p99: f64, used: Duration, requests: usize) -> Self {
        Figures { per_second, p99, processor: used.as_secs_f64() * 1e6 / requests as f64 }
    }

    pub(crate) fn median(all: &[Figures]) -> Self {
        let middle = |of: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = all.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Figures {
            per_second: middle(|it| it.per_second),
            p99: middle(|it| it.p99),
            processor: middle(|it| it.processor),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ({:.2}, {:.1})", self.per_second, self.p99, self.processor)
    }
}
