//! The commands about the client and the server. [`session`](crate::session) carries them out.

use super::Command;

pub(super) const COMMANDS: &[Command] = &[
    here("ping", -1, "fast", (0, 0, 0), "@fast @connection"),
    here("echo", 2, "loading stale fast", (0, 0, 0), "@fast @connection"),
    here(
        "hello",
        -1,
        "noscript loading stale fast no_auth allow_busy",
        (0, 0, 0),
        "@fast @connection",
    ),
    here(
        "auth",
        -2,
        "noscript loading stale fast no_auth allow_busy",
        (0, 0, 0),
        "@fast @connection",
    ),
    here(
        "quit",
        -1,
        "noscript loading stale fast no_auth allow_busy",
        (0, 0, 0),
        "@fast @connection",
    ),
    here(
        "reset",
        1,
        "noscript loading stale fast no_auth allow_busy",
        (0, 0, 0),
        "@fast @connection",
    ),
    here("client", -2, "", (0, 0, 0), "@slow"),
    here("command", -1, "loading stale", (0, 0, 0), "@slow @connection"),
    here("info", -1, "loading stale", (0, 0, 0), "@slow @dangerous"),
    here("config", -2, "", (0, 0, 0), "@slow"),
    here("time", 1, "loading stale fast", (0, 0, 0), "@fast"),
    here("select", 2, "loading stale fast", (0, 0, 0), "@fast @connection"),
    here("multi", 1, "noscript loading stale fast allow_busy", (0, 0, 0), "@fast @transaction"),
    here("exec", 1, "noscript loading stale skip_slowlog", (0, 0, 0), "@slow @transaction"),
    here("discard", 1, "noscript loading stale fast allow_busy", (0, 0, 0), "@fast @transaction"),
    here("watch", -2, "noscript loading stale fast allow_busy", (1, -1, 1), "@fast @transaction"),
    here("unwatch", 1, "noscript loading stale fast allow_busy", (0, 0, 0), "@fast @transaction"),
    here(
        "shutdown",
        -1,
        "admin noscript loading stale no_multi allow_busy",
        (0, 0, 0),
        "@admin @slow @dangerous",
    ),
    here("function", -2, "", (0, 0, 0), "@slow"),
    here("debug", -2, "admin noscript loading stale", (0, 0, 0), "@admin @slow @dangerous"),
    here("waitaof", 4, "blocking", (0, 0, 0), "@slow @blocking @connection"),
];

const fn here(
    name: &'static str,
    arity: i32,
    flags: &'static str,
    keys: (i32, i32, i32),
    categories: &'static str,
) -> Command {
    Command { name, arity, flags, keys, categories, run: None }
}
