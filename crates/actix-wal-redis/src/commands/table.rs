//! The table of all commands: each module has those that it carries out.

use super::Command;

/// The commands, by the module that carries them out.
pub(super) const TABLES: &[&[Command]] = &[];
