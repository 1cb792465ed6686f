//! `MULTI`, `EXEC` and `WATCH`. The answers are those of a Redis 7.0.15.

use actix_wal_txn::error::TxnError;
use bytes::BytesMut;

use super::world::request;
use super::*;
use crate::resp::{Parser, Reply};
use crate::session::Step;

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.";

/// Conversations of one client, each on an empty server.
pub(super) const CONVERSATIONS: &[&[(&str, &str)]] = &[
    &[
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH a", "-ERR WATCH inside MULTI is not allowed"),
        ("SET a b", "+QUEUED"),
        ("GET a", "+QUEUED"),
        ("EXEC", "*2 +OK $1 b"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ],
    // An error of one command undoes no other.
    &[
        ("MULTI", "+OK"),
        ("SET a x", "+QUEUED"),
        ("INCR a", "+QUEUED"),
        ("SET b y", "+QUEUED"),
        ("EXEC", "*3 +OK -ERR value is not an integer or out of range +OK"),
        ("MGET a b", "*2 $1 x $1 y"),
    ],
    &[
        ("MULTI", "+OK"),
        ("SET a b", "+QUEUED"),
        ("NOPE", "-ERR unknown command 'NOPE', with args beginning with:"),
        ("GET a", "+QUEUED"),
        ("EXEC", ABORTED),
        ("GET a", "$-1"),
        ("MULTI", "+OK"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("DISCARD", "+OK"),
        ("MULTI", "+OK"),
        ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
        ("EXEC", ABORTED),
        ("MULTI", "+OK"),
        ("OBJECT FOO a", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("EXEC", ABORTED),
        ("MULTI", "+OK"),
        ("SHUTDOWN", "-ERR Command not allowed inside a transaction"),
        ("EXEC", ABORTED),
        ("MULTI", "+OK"),
        (
            "EXEC a",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
        ),
        ("EXEC", "-ERR EXEC without MULTI"),
    ],
    // Commands about the client have their place among those about data.
    &[
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
        ("SET a 0", "+QUEUED"),
        ("SELECT 1", "+QUEUED"),
        ("SET a 1", "+QUEUED"),
        ("SELECT 99", "+QUEUED"),
        ("GET a", "+QUEUED"),
        ("CLIENT SETNAME me", "+QUEUED"),
        ("ECHO e", "+QUEUED"),
        ("CONFIG SET timeout 7", "+QUEUED"),
        ("CONFIG GET timeout", "+QUEUED"),
        (
            "EXEC",
            "*10 +PONG +OK +OK +OK -ERR DB index is out of range $1 1 +OK $1 e +OK *2 $7 timeout $1 7",
        ),
        ("GET a", "$1 1"),
        ("CLIENT GETNAME", "$2 me"),
        ("SELECT 0", "+OK"),
        ("GET a", "$1 0"),
    ],
    // Nothing of an `EXEC` that is not executed happens.
    &[
        ("WATCH a", "+OK"),
        ("SET a 1", "+OK"),
        ("MULTI", "+OK"),
        ("SELECT 1", "+QUEUED"),
        ("SET a 2", "+QUEUED"),
        ("CLIENT SETNAME me", "+QUEUED"),
        ("EXEC", "*-1"),
        ("GET a", "$1 1"),
        ("CLIENT GETNAME", "$-1"),
        ("MULTI", "+OK"),
        ("GET a", "+QUEUED"),
        ("EXEC", "*1 $1 1"),
    ],
    // What the client has written before it watches, and what it only reads, does not count.
    &[
        ("SET a 1", "+OK"),
        ("WATCH a b", "+OK"),
        ("GET a", "$1 1"),
        ("EXISTS b", ":0"),
        ("DEL b", ":0"),
        ("MULTI", "+OK"),
        ("SET a 2", "+QUEUED"),
        ("EXEC", "*1 +OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ],
    &[
        ("WATCH a", "+OK"),
        ("SET a 1", "+OK"),
        ("WATCH a", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*-1"),
        ("WATCH a", "+OK"),
        ("SET a 1", "+OK"),
        ("UNWATCH", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH a", "+OK"),
        ("SET a 1", "+OK"),
        ("MULTI", "+OK"),
        ("DISCARD", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH a", "+OK"),
        ("SET a 1", "+OK"),
        ("RESET", "+RESET"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH a", "+OK"),
        ("SET a 1", "+OK"),
        ("MULTI", "+OK"),
        ("NOPE", "-ERR unknown command 'NOPE', with args beginning with:"),
        ("EXEC", ABORTED),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ],
    &[
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("RESET", "+RESET"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("GET a", "$-1"),
        ("MULTI", "+OK"),
        ("QUIT", "+OK<end>"),
    ],
    &[
        ("MULTI", "+OK"),
        ("FLUSHALL", "+QUEUED"),
        ("SET a 1", "+QUEUED"),
        ("SWAPDB 0 1", "+QUEUED"),
        ("GET a", "+QUEUED"),
        ("SWAPDB 0 99", "+QUEUED"),
        ("SELECT 1", "+QUEUED"),
        ("GET a", "+QUEUED"),
        ("EXEC", "*7 +OK +OK +OK $-1 -ERR DB index is out of range +OK $1 1"),
    ],
];

#[actix::test]
async fn each_conversation_about_transactions_is_that_of_redis() {
    for lines in CONVERSATIONS {
        let mut world = World::begin().await;
        world.client().talk(&world, lines).await;
        world.end().await;
    }
}

/// What is there before, what is done after `WATCH k`, in any database, by another client; and whether `EXEC` is executed.
pub(super) const WATCHED: &[(&[&str], &[&str], bool)] = &[
    (&[], &[], true),
    (&[], &["SET k 1"], false),
    (&[], &["SET k 1", "DEL k"], false),
    (&[], &["SET other 1", "GET k", "DEL k", "EXPIRE k 10"], true),
    (&["SET k 1"], &["SET k 1"], false),
    (&["SET k 1"], &["APPEND k x"], false),
    (&["SET k 1"], &["DEL k"], false),
    (&["SET k 1"], &["EXPIRE k 100"], false),
    (&["SET k 1"], &["GET k", "TTL k", "PERSIST k", "SETNX k 2"], true),
    (&["SET k 1"], &["RENAME k z"], false),
    (&["SET z 1"], &["RENAME z k"], false),
    (&["SET k 1"], &["MOVE k 1"], false),
    (&["SET k 1"], &["SELECT 1", "SET k 2", "FLUSHDB"], true),
    // A database that is emptied, or exchanged.
    (&["SET k 1"], &["FLUSHDB"], false),
    (&["SET k 1"], &["FLUSHALL"], false),
    (&["SET z 1"], &["FLUSHDB"], true),
    (&[], &["FLUSHALL"], true),
    (&["SET z 1"], &["FLUSHDB", "SET k 1"], false),
    (&["SET z 1"], &["FLUSHDB", "SET k 1", "FLUSHDB"], false),
    (&["SET k 1"], &["SWAPDB 0 1"], false),
    (&["SET k 1"], &["SWAPDB 1 2"], true),
    (&[], &["SWAPDB 0 1"], true),
    (&["SELECT 1", "SET k 1"], &["SWAPDB 0 1"], false),
    (&["SELECT 1", "SET k 1"], &["SWAPDB 0 1", "SWAPDB 0 1"], false),
    (&["SELECT 1", "SET z 1"], &["SWAPDB 0 1"], true),
    (&["SELECT 1", "SET z 1"], &["SWAPDB 0 1", "SET k 1", "DEL k"], false),
    (&["SELECT 1", "SET z 1"], &["SWAPDB 0 1", "SELECT 1", "SET z 2"], true),
    (&["SELECT 1", "SET z 1"], &["SWAPDB 0 1", "FLUSHALL", "SWAPDB 0 1"], true),
];

#[actix::test]
async fn an_exec_is_not_executed_if_a_watched_key_has_changed_in_any_way() {
    let mut world = World::begin().await;
    for (before, after, is_executed) in WATCHED {
        let (mut own, mut other) = (world.client(), world.client());
        other.ask(&world, "FLUSHALL").await;
        for line in *before {
            other.ask(&world, line).await;
        }
        own.ask(&world, "WATCH k").await;
        other.ask(&world, "SELECT 0").await;
        for line in *after {
            other.ask(&world, line).await;
        }
        own.talk(&world, &[("MULTI", "+OK"), ("SET done 1", "+QUEUED")]).await;
        let expected = if *is_executed { "*1 +OK" } else { "*-1" };
        let answer = own.ask(&world, "EXEC").await;
        assert_eq!(answer, expected, "{before:?}, WATCH k, {after:?}");
    }
    world.end().await;
}

#[actix::test]
async fn a_key_that_expires_after_watch_has_changed_and_one_that_had_expired_has_not() {
    let mut world = World::begin().await;
    let start = 1_700_000_000_000;
    // The last millisecond of a key still belongs to it.
    for (watched_after, executed_after, expected) in
        [(0, 5, "*1 $1 1"), (0, 6, "*-1"), (5, 6, "*-1"), (6, 6, "*1 $-1"), (6, 7, "*1 $-1")]
    {
        let mut own = world.client();
        world.now.set(Some(start));
        own.talk(&world, &[("SET k 1 PX 5", "+OK")]).await;
        world.now.set(Some(start + watched_after));
        own.talk(&world, &[("WATCH k", "+OK")]).await;
        world.now.set(Some(start + executed_after));
        own.talk(&world, &[("MULTI", "+OK"), ("GET k", "+QUEUED"), ("EXEC", expected)]).await;
    }
    // Another client that finds it expired deletes it: that is a change, and no second one.
    for watched_after in [0, 6] {
        let (mut own, mut other) = (world.client(), world.client());
        world.now.set(Some(start));
        own.talk(&world, &[("SET k 1 PX 5", "+OK")]).await;
        world.now.set(Some(start + watched_after));
        own.talk(&world, &[("WATCH k", "+OK")]).await;
        world.now.set(Some(start + 6));
        other.talk(&world, &[("GET k", "$-1")]).await;
        let expected = if watched_after == 0 { "*-1" } else { "*0" };
        own.talk(&world, &[("MULTI", "+OK"), ("EXEC", expected)]).await;
    }
    world.end().await;
}

#[actix::test]
async fn p3_an_exec_is_one_record_however_many_commands_it_has() {
    let mut world = World::begin().await;
    let mut own = world.client();
    own.talk(&world, &[("SET a 1", "+OK")]).await;
    let records = || world.server.wal.status().accepted.get();
    let before = records();
    let lines = [
        ("MULTI", "+OK"),
        ("DEL a", "+QUEUED"),
        ("MSET b 1 c 2", "+QUEUED"),
        ("SET d 1 EX 1000", "+QUEUED"),
        ("EXEC", "*3 :1 +OK +OK"),
    ];
    own.talk(&world, &lines).await;
    assert_eq!(records(), before + 1);
    own.talk(&world, &[("MULTI", "+OK"), ("GET b", "+QUEUED"), ("EXEC", "*1 $1 1")]).await;
    assert_eq!(records(), before + 1, "it only reads");
    world.end().await;
}

#[actix::test]
async fn p16_the_keys_that_one_client_watches_are_bounded_over_all_its_commands() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let watch = |from: u32| {
        let keys: Vec<_> = (from..from + 9000).map(|key| key.to_string()).collect();
        format!("WATCH {}", keys.join(" "))
    };
    for from in [0, 9000, 18_000, 27_000, 36_000] {
        assert_eq!(own.ask(&world, &watch(from)).await, "+OK", "{from}");
    }
    let refused = "-ERR more than 50000 keys are watched by one client";
    assert_eq!(own.ask(&world, &watch(45_000)).await, refused);
    // No EXEC depends on what could not be watched.
    own.talk(&world, &[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*-1")]).await;
    assert_eq!(own.ask(&world, &watch(45_000)).await, "+OK");
    world.end().await;
}

#[actix::test]
async fn a_transaction_that_grows_past_its_bound_is_refused_and_not_kept() {
    let mut world = World::with(|settings| settings.max_query = 4000).await;
    let mut own = world.client();
    own.talk(&world, &[("MULTI", "+OK")]).await;
    let mut queued = 0;
    while own.ask(&world, "SET a 1").await == "+QUEUED" {
        queued += 1;
        assert!(queued < 100, "there is no bound");
    }
    assert!(queued > 2, "{queued}");
    let too_large = "-ERR the transaction is larger than 'client-query-buffer-limit'";
    own.talk(&world, &[("SET a 2", too_large), ("EXEC", ABORTED), ("GET a", "$-1")]).await;
    world.end().await;
}

#[actix::test]
async fn a_write_past_the_memory_limit_is_refused_in_redis_words() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    own.talk(&world, &[("CONFIG SET maxmemory 64kb", "+OK")]).await;
    let (mut keys, value) = (0, "x".repeat(1000));
    while own.ask(&world, &format!("SET {keys} {value}")).await == "+OK" {
        keys += 1;
        assert!(keys < 100, "there is no limit");
    }
    let set = format!("SET b {value}");
    own.talk(&world, &[(&set, &format!("-{oom}")), ("STRLEN 0", ":1000")]).await;
    let abort = format!("-EXECABORT Transaction discarded because of: {oom}");
    own.talk(&world, &[("MULTI", "+OK"), (&set, "+QUEUED"), (&set, "+QUEUED"), ("EXEC", &abort)])
        .await;
    own.talk(&world, &[("DEL 0 1", ":2"), ("GET b", "$-1")]).await;
    own.talk(&world, &[("CONFIG SET maxmemory 0", "+OK"), (&set, "+OK")]).await;
    world.end().await;
}

#[actix::test]
async fn p25_no_exec_depends_on_a_watch_that_has_failed() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let step = own.session.take(request("WATCH a"), &world.server);
    assert!(matches!(step, Step::Alone(_)), "{step:?}");
    let failed = Err(TxnError::aborted("so"));
    let answer = own.session.settle(failed, &world.server).await;
    assert_eq!(answer, Some(Reply::err("so")));
    own.talk(&world, &[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*-1")]).await;
    own.talk(&world, &[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*1 +PONG")]).await;
    world.end().await;
}

#[actix::test]
async fn p25_an_exec_that_fails_does_nothing_of_what_is_about_the_client() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let lines = [("MULTI", "+OK"), ("SET a 1", "+QUEUED"), ("SELECT 3", "+QUEUED")];
    own.talk(&world, &lines).await;
    let step = own.session.take(request("EXEC"), &world.server);
    assert!(matches!(step, Step::Alone(_)), "{step:?}");
    let failed = Err(TxnError::aborted("so"));
    let answer = own.session.settle(failed, &world.server).await;
    let abort = "EXECABORT Transaction discarded because of: so";
    assert_eq!(answer, Some(Reply::Error(abort.into())));
    assert_eq!(own.session.client().database.get(), 0);
    own.talk(&world, &[("GET a", "$-1"), ("EXEC", "-ERR EXEC without MULTI")]).await;
    world.end().await;
}

/// What is read together with a queued command is not counted, so it must not stay in memory.
#[actix::test]
async fn a_queued_command_keeps_only_its_own_bytes() {
    let mut world = World::begin().await;
    let mut talk = world.client();
    talk.talk(&world, &[("MULTI", "+OK")]).await;
    let mut buffer = BytesMut::with_capacity(64 << 10);
    buffer.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let limits = talk.session.limits(&world.server);
    let request = Parser::default().next(&mut buffer, &limits).unwrap().unwrap();
    talk.session.take(request, &world.server);
    assert!(buffer.try_reclaim(64 << 10), "the queue keeps what was read");
    talk.talk(&world, &[("EXEC", "*1 +PONG")]).await;
    world.end().await;
}
