//! `FUNCTION`: there are no functions, so there is nothing to flush.

use crate::resp::{Reply, Request};

const HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn function(word: &str, request: &Request) -> Result<Reply, Reply> {
    if word == "help" {
        return Ok(lines(HELP));
    }
    let option = request.part(2);
    let is = |word: &[u8]| option.eq_ignore_ascii_case(word);
    if request.len() > 3 {
        let name = "unknown subcommand or wrong number of arguments for '";
        let called = request.part(1);
        return Err(crate::commands::quoting(
            &format!("ERR {name}"),
            called,
            "'. Try FUNCTION HELP.",
        ));
    }
    if request.len() == 3 && !is(b"SYNC") && !is(b"ASYNC") {
        return Err(Reply::err("FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    Ok(Reply::OK)
}

/// Lines of help, as Redis sends them.
pub(super) fn lines(help: &[&'static str]) -> Reply {
    Reply::Array(help.iter().map(|line| Reply::Status(line)).collect())
}
