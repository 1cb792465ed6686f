//! The table of all commands: each module has those that it carries out.

use super::{Command, connection, databases, expiry, keys, numbers, object, scan, set, strings};

/// The commands, by the module that carries them out.
pub(super) const TABLES: &[&[Command]] = &[
    connection::COMMANDS,
    set::COMMANDS,
    strings::COMMANDS,
    numbers::COMMANDS,
    keys::COMMANDS,
    scan::COMMANDS,
    databases::COMMANDS,
    expiry::COMMANDS,
    object::COMMANDS,
];
