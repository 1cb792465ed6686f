//! How a command ends: one table for all of them.

use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// Nothing is lost, and an operator should look.
    Attention,
    /// Records are damaged or missing.
    Damage,
    /// The command could not be carried out, and changed nothing.
    Refused,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Attention => 1,
            Exit::Damage => 2,
            Exit::Refused => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// The status of a command line that makes no sense: `EX_USAGE` of sysexits(3).
pub(crate) const USAGE: u8 = 64;

/// The table, for `--help`.
pub(crate) const TABLE: &str = "\
Exit status of every command:
  0   all is well
  1   nothing is lost, and someone should look: the output says at what
  2   records are damaged or missing
  3   the command could not be carried out; it changed nothing
  64  the command line makes no sense";
