//! What the settings of a batch do: delay by entries by policy.

use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;

use super::Common;
use super::runner::{Case, Runner};
use super::simulated::Step;
use crate::args::{Policy, committers, size};
use crate::engines::actix_wal::Settings;
use crate::error::BenchError;

#[derive(Debug, ClapArgs)]
pub struct SweepArgs {
    /// How many commit at once.
    #[arg(long, value_delimiter = ',', default_value = "1,16,256", value_parser = committers())]
    committers: Vec<usize>,

    /// max_delay, in milliseconds.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0,0.1,1,5,10,20", value_parser = parse_delay)]
    delays: Vec<f64>,

    /// max_entries; `none` is a number that is never reached.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,none", value_parser = parse_entries)]
    entries: Vec<usize>,

    /// Flush policies; `eager` has no bounds that could be swept.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "adaptive,window")]
    policies: Vec<Policy>,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    #[command(flatten)]
    common: Common,
}

pub fn run(args: &SweepArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let cells = args.policies.len() * args.delays.len() * args.entries.len();
    let mut runner = Runner::new("sweep", args.committers.len() * cells, times, output)?;
    for committers in &args.committers {
        let load = Runner::load(times, *committers, args.size);
        let mut cases = Vec::with_capacity(cells);
        for policy in &args.policies {
            for (ms, entries) in
                args.delays.iter().flat_map(|ms| args.entries.iter().map(move |n| (*ms, *n)))
            {
                let bounds = Some((Duration::from_secs_f64(ms / 1000.0), entries));
                let settings = Settings { policy: *policy, bounds, ..Settings::default() };
                let limit = (entries != NONE).then_some(entries);
                let entries = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
                let name = format!("{}, {ms} ms, {entries}", policy.name());
                let mut case = Case::new(name, load, super::Step::Commits(Step(settings)))
                    .on(args.common.disk());
                case.labels = vec![
                    ("policy", policy.name().into()),
                    ("max_delay_ms", ms.into()),
                    ("max_entries", json!(limit)),
                ];
                cases.push(case);
            }
        }
        runner.group(cases)?;
    }
    runner.finish(&[])
}

const NONE: usize = usize::MAX;

fn parse_delay(text: &str) -> Result<f64, String> {
    let ms: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let fits = (0.0..=60_000.0).contains(&ms);
    fits.then_some(ms).ok_or_else(|| "it must be from 0 to 60000".to_owned())
}

fn parse_entries(text: &str) -> Result<usize, String> {
    match text.parse() {
        _ if text == "none" => Ok(NONE),
        Ok(entries @ 1..) => Ok(entries),
        _ => Err("it must be a positive number, or none".to_owned()),
    }
}
