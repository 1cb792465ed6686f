//! What a measurement is, and the arguments of the program that ask for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// One measurement: so many clients, for so long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) time: Duration,
    /// A fresh directory.
    pub(crate) directory: PathBuf,
}

/// What all of these programs can be asked for.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) clients: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    /// It is there.
    pub(crate) place: PathBuf,
    /// The name of the only row.
    only: Option<String>,
    /// With `--test` all rows but those of other programs are measured once, as short as can be: to see that they work.
    is_test: bool,
}

/// The argument `NAME=VALUE`.
pub(crate) fn value(name: &str) -> Option<String> {
    std::env::args().find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

impl Arguments {
    /// Reads them. The defaults: so many clients, in this directory of cargo's target, five rounds of a second.
    pub(crate) fn read(clients: &str, directory: &str) -> Self {
        let is_test = std::env::args().any(|it| it == "--test");
        let (clients, rounds, seconds) = if is_test { ("2", 1, 0.05) } else { (clients, 5, 1.0) };
        let clients = value("clients").unwrap_or_else(|| clients.to_owned());
        let seconds = value("seconds").map_or(seconds, |it| it.parse().expect("a number"));
        let directory = value("dir")
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join(directory), PathBuf::from);
        std::fs::create_dir_all(&directory).expect("a directory");
        Arguments {
            clients: clients.split(',').map(|it| it.parse().expect("a number")).collect(),
            rounds: value("rounds").map_or(rounds, |it| it.parse().expect("a number")),
            time: Duration::from_secs_f64(seconds),
            place: directory.canonicalize().expect("it is there"),
            only: value("only"),
            is_test,
        }
    }

    /// Whether this row is to be measured.
    pub(crate) fn chooses(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
    }

    /// Whether this row is to be measured, by another program.
    pub(crate) fn chooses_peer(&self, name: &str) -> bool {
        !self.is_test && self.chooses(name)
    }

    /// Takes a measurement in a directory that is removed then.
    pub(crate) fn in_fresh_directory<T>(
        &self,
        clients: usize,
        measure: impl FnOnce(&Load) -> T,
    ) -> T {
        let directory = self.place.join("run");
        let measured = measure(&Load { clients, time: self.time, directory: directory.clone() });
        if directory.exists() {
            std::fs::remove_dir_all(&directory).expect("it is ours");
        }
        measured
    }
}

pub(crate) fn median(mut rounds: Vec<f64>) -> Option<f64> {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied()
}
