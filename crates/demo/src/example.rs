//! How a run ends, and the `main` of an example that is one.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use serde::Serialize;

use crate::DemoError;

/// What a run has shown of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every promise was kept.
    Kept,
    /// Every promise was kept, and someone should look: the run proves less than it should, or a floor rises.
    Doubtful,
    /// A promise was broken: a record was lost, is there twice, or should not be there.
    Broken,
}

/// The run could not be carried out.
pub(crate) const NO_RESULT: u8 = 3;

impl Verdict {
    pub(crate) fn of(is_sound: bool, is_doubtful: bool) -> Self {
        match (is_sound, is_doubtful) {
            (false, _) => Verdict::Broken,
            (true, true) => Verdict::Doubtful,
            (true, false) => Verdict::Kept,
        }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        ExitCode::from(match verdict {
            Verdict::Kept => 0,
            Verdict::Doubtful => 1,
            Verdict::Broken => 2,
        })
    }
}

/// Runs, and ends the process as [`Verdict`] says. Words go to standard output. With `is_json` the report does, as
/// one object in the last line, and words go to standard error.
pub fn main<R: Serialize>(
    is_json: bool,
    run: impl FnOnce(&mut dyn Write) -> Result<(Verdict, R), DemoError>,
) -> ExitCode {
    let ended = if is_json { run(&mut stderr()) } else { run(&mut stdout()) };
    let ended = ended.and_then(|(verdict, report)| {
        if is_json {
            let line =
                serde_json::to_string(&report).map_err(|error| DemoError::Words(error.into()))?;
            writeln!(stdout(), "{line}").map_err(DemoError::Words)?;
        }
        Ok(verdict)
    });
    match ended {
        Ok(verdict) => verdict.into(),
        // As with `| head`: the reader has seen enough.
        Err(DemoError::Words(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(NO_RESULT)
        }
    }
}
