//! The comparison: engines take turns, round by round.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{CompareArgs, OpenLoopArgs};
use crate::child::{self, Job, Of, Workplace};
use crate::engines;
use crate::error::BenchError;
use crate::limit::Limit;
use crate::load::Load;
use crate::meter::Measured;
use crate::results::{Figures, Line, table_head};
use crate::{disk, report};

/// One row of the comparison, before it is measured.
struct Contender {
    name: String,
    of: Of,
    offered: Option<u64>,
}

/// Runs the closed loops.
pub fn run(args: &CompareArgs) -> Result<(), BenchError> {
    let chosen = |name: &str| args.engines.is_empty() || args.engines.iter().any(|one| one == name);
    let contenders: Vec<_> = engines::names()
        .filter(|name| chosen(name))
        .map(|name| Contender {
            name: name.to_owned(),
            of: Of::Engine(name.to_owned()),
            offered: None,
        })
        .collect();
    let groups = args.size.iter().flat_map(|size| {
        args.committers.iter().map(|committers| (*size, *committers, &contenders[..]))
    });
    let load = |size, committers| Load {
        committers,
        size,
        warmup: args.times.warmup,
        measured: args.times.seconds,
    };
    let groups: Vec<_> =
        groups.map(|(size, committers, who)| (load(size, committers), who)).collect();
    Run { rounds: args.times.rounds, common: &args.common, kind: report::Kind::Closed }.all(&groups)
}

/// Runs the open loops.
pub fn open_loop(args: &OpenLoopArgs) -> Result<(), BenchError> {
    let groups: Vec<(u64, Vec<Contender>)> = args
        .rates
        .iter()
        .map(|rate| {
            let contenders = args.policies.iter().map(|policy| Contender {
                name: format!("actix-wal-{}", policy.name()),
                of: Of::OpenLoop(*policy, *rate),
                offered: Some(*rate),
            });
            (*rate, contenders.collect())
        })
        .collect();
    let load = |size| Load {
        committers: 0,
        size,
        warmup: args.times.warmup,
        measured: args.times.seconds,
    };
    let groups: Vec<_> = args
        .size
        .iter()
        .flat_map(|size| groups.iter().map(|(_, contenders)| (load(*size), &contenders[..])))
        .collect();
    Run { rounds: args.times.rounds, common: &args.common, kind: report::Kind::Open }.all(&groups)
}

struct Run<'a> {
    rounds: usize,
    common: &'a crate::args::Common,
    kind: report::Kind,
}

impl Run<'_> {
    fn all(&self, groups: &[(Load, &[Contender])]) -> Result<(), BenchError> {
        let workplace = Workplace::new(&self.common.output)?;
        disk::warn_if_memory(workplace.path());
        let jobs: usize = groups.iter().map(|(_, contenders)| contenders.len()).sum();
        let bar = progress((jobs * self.rounds) as u64);
        let mut limits = Vec::new();
        if !self.common.output.json {
            bar.suspend(|| say(&table_head(self.kind.load())))?;
        }
        let (mut lines, mut failures) = (Vec::new(), 0);
        for (load, contenders) in groups {
            let (mut group, beside) = self.group(load, contenders, &workplace, &bar)?;
            let limit = Limit::median(&beside);
            limits.extend(beside);
            for line in &mut group {
                line.bounds = limit.bounds(line);
                failures += usize::from(line.error.is_some());
                let text = if self.common.output.json {
                    serde_json::to_string(line)?
                } else {
                    line.table()
                };
                bar.suspend(|| say(&text))?;
            }
            lines.extend(group);
        }
        bar.finish_and_clear();
        let limit = Limit::median(&limits);
        if !self.common.output.json {
            say(&format!("\n{}", limit.text(&lines)))?;
        }
        if let Some(folder) = &self.common.plots {
            report::write_plots(folder, self.kind, &lines)?;
        }
        if let Some(file) = &self.common.report {
            report::write(file, self.kind, &lines, &limit, &disk::describe(workplace.path()))?;
        }
        if failures > 0 { Err(BenchError::Failed(failures)) } else { Ok(()) }
    }

    /// All rounds of one load. The disk takes its turn as well, for it is not the same all the time.
    fn group(
        &self,
        load: &Load,
        contenders: &[Contender],
        workplace: &Workplace,
        bar: &ProgressBar,
    ) -> Result<(Vec<Line>, Vec<Limit>), BenchError> {
        let mut limits = Vec::new();
        let mut measured: Vec<(Vec<Measured>, Option<String>)> =
            contenders.iter().map(|_| (Vec::new(), None)).collect();
        for round in 0..self.rounds {
            limits.push(Limit::measure(workplace.path())?);
            for (contender, (rounds, error)) in contenders.iter().zip(&mut measured) {
                bar.set_message(format!("{}, N = {}", contender.name, load.committers));
                let place = workplace.path().join(format!("{}-{round}", contender.name));
                let (load, of) = (*load, contender.of.clone());
                let job = Job { place, load, sync_takes: None, of };
                match child::measure(&job, workplace.keeps()) {
                    Ok(figures) => rounds.push(figures),
                    Err(failure) => {
                        let text = format!("{}: {failure}", contender.name);
                        bar.suspend(|| eprintln!("{text}"));
                        *error = Some(failure.to_string());
                    }
                }
                bar.inc(1);
            }
        }
        let line = |(contender, (rounds, error)): (&Contender, (Vec<Measured>, _))| Line {
            engine: contender.name.clone(),
            committers: load.committers,
            size: load.size,
            offered_per_second: contender.offered,
            figures: Figures::of(&rounds),
            bounds: None,
            rounds: rounds.len(),
            error,
        };
        Ok((contenders.iter().zip(measured).map(line).collect(), limits))
    }
}

/// A line for standard output.
pub fn say(line: &str) -> Result<(), BenchError> {
    writeln!(std::io::stdout(), "{}", line.trim_end()).map_err(BenchError::Output)
}

/// On standard error, and only if that is a terminal.
pub fn progress(length: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} left, {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
