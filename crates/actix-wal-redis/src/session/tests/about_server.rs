//! `CONFIG`, `COMMAND`, `INFO`, `WAITAOF` and `SHUTDOWN`. The answers are those of a Redis 7.0.15, and 7.2 for `WAITAOF`.

use actix_wal::Durability;

use super::*;

fn failed(name: &str, why: &str) -> String {
    format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
}

#[actix::test]
async fn settings_are_shown_and_changed_as_in_redis() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let memory = failed("maxmemory", "argument must be a memory value");
    let least =
        |name| failed(name, "argument must be between 1048576 and 9223372036854775807 inclusive");
    let lines: &[(&str, &str)] = &[
        ("CONFIG GET save", "*2 $4 save $0"),
        ("CONFIG GET nope", "*0"),
        ("CONFIG GET MaxMemory", "*2 $9 MaxMemory $1 0"),
        ("CONFIG GET maxmemor[xy]", "*2 $9 maxmemory $1 0"),
        ("CONFIG GET TIME*", "*2 $7 timeout $1 0"),
        ("CONFIG GET timeout timeout tcp-keep?live", "*4 $7 timeout $1 0 $13 tcp-keepalive $3 300"),
        ("CONFIG GET databases", "*2 $9 databases $2 16"),
        ("CONFIG GET appendonly appendfsync", "*4 $10 appendonly $3 yes $11 appendfsync $6 always"),
        ("CONFIG SET maxmemory 100mb", "+OK"),
        ("CONFIG GET maxmemory", "*2 $9 maxmemory $9 104857600"),
        ("CONFIG SET maxmemory 1K", "+OK"),
        ("CONFIG GET maxmemory", "*2 $9 maxmemory $4 1000"),
        ("CONFIG SET maxmemory 1e3", &memory),
        ("CONFIG SET maxmemory -1", &memory),
        ("CONFIG SET databases 7", &failed("databases", "can't set immutable config")),
        ("CONFIG SET dir /tmp", &failed("dir", "can't set protected config")),
        ("CONFIG SET nope 7", "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'"),
        ("CONFIG SET maxmemory 0 MAXMEMORY 0", &failed("MAXMEMORY", "duplicate parameter")),
        ("CONFIG SET maxmemory 10 timeout", "-ERR syntax error"),
        ("CONFIG SET timeout a", &failed("timeout", "argument couldn't be parsed into an integer")),
        (
            "CONFIG SET timeout -1",
            &failed("timeout", "argument must be between 0 and 2147483647 inclusive"),
        ),
        // One that fails changes nothing of the others.
        (
            "CONFIG SET timeout 9 maxclients 0",
            &failed("maxclients", "argument must be between 1 and 4294967295 inclusive"),
        ),
        ("CONFIG GET timeout", "*2 $7 timeout $1 0"),
        ("CONFIG SET timeout 9 maxclients 100 MAXMEMORY 0", "+OK"),
        ("CONFIG GET timeout maxclients", "*4 $7 timeout $1 9 $10 maxclients $3 100"),
        (
            "CONFIG SET appendfsync foo",
            &failed("appendfsync", "argument(s) must be one of the following: everysec, always"),
        ),
        ("CONFIG SET proto-max-bulk-len 1", &least("proto-max-bulk-len")),
        ("CONFIG SET client-query-buffer-limit 1", &least("client-query-buffer-limit")),
        ("CONFIG SET proto-max-bulk-len 2mb", "+OK"),
        ("CONFIG SET save ''", "+OK"),
        ("CONFIG SET requirepass ''", "+OK"),
        ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ("CONFIG RESETSTAT", "+OK"),
        ("CONFIG RESETSTAT a", "-ERR wrong number of arguments for 'config|resetstat' command"),
        ("CONFIG SET maxmemory", "-ERR wrong number of arguments for 'config|set' command"),
        ("CONFIG", "-ERR wrong number of arguments for 'config' command"),
        ("CONFIG SET appendfsync EVERYSEC", "+OK"),
    ];
    own.talk(&world, lines).await;
    assert_eq!(world.server.settings.borrow().durability, Durability::Async);
    assert_eq!(world.server.host.max_value(), 2 << 20);
    own.talk(&world, &[("CONFIG SET appendfsync always", "+OK")]).await;
    assert_eq!(world.server.settings.borrow().durability, Durability::GroupCommit);
    let clients = own.ask(&world, "CONFIG SET maxclients 4294967295").await;
    assert!(clients.contains("The operating system is not able to handle"), "{clients}");
    world.end().await;
}

#[actix::test]
async fn a_server_that_listens_beyond_its_machine_keeps_its_password() {
    let mut world = World::with(|settings| {
        settings.address = ([0, 0, 0, 0], 7379).into();
        settings.password = "sec".into();
    })
    .await;
    let mut own = world.client();
    own.talk(&world, &[("AUTH sec", "+OK")]).await;
    let refused = own.ask(&world, "CONFIG SET requirepass ''").await;
    assert!(refused.contains("does not without a password"), "{refused}");
    own.talk(&world, &[("CONFIG GET requirepass", "*2 $11 requirepass $3 sec")]).await;
    world.end().await;
}

#[actix::test]
async fn commands_are_described_as_in_redis() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let get = "*10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access $12 \
               begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey \
               :0 $7 keystep :1 $5 limit :0 *0";
    let shutdown = "*10 $8 shutdown :-1 *6 +admin +noscript +loading +stale +no_multi +allow_busy :0 :0 :0 *3 +@admin \
                    +@slow +@dangerous *0 *0 *0";
    let two = format!("*3 {get} $-1 {shutdown}");
    let lines: &[(&str, &str)] = &[
        ("COMMAND INFO get foo SHUTDOWN", &two),
        (
            "COMMAND INFO client|id",
            "*1 *10 $9 client|id :2 *3 +noscript +loading +stale :0 :0 :0 *2 +@slow +@connection *0 *0 *0",
        ),
        ("COMMAND COUNT a", "-ERR wrong number of arguments for 'command|count' command"),
        ("COMMAND LIST a", "-ERR syntax error"),
        ("COMMAND LIST FILTERBY MODULE x", "*0"),
        ("COMMAND LIST FILTERBY FOO x", "-ERR syntax error"),
        ("COMMAND LIST FILTERBY PATTERN MSET*", "*2 $4 mset $6 msetnx"),
        (
            "COMMAND LIST FILTERBY ACLCAT TRANSACTION",
            "*5 $5 multi $4 exec $7 discard $5 watch $7 unwatch",
        ),
        ("COMMAND GETKEYS", "-ERR wrong number of arguments for 'command|getkeys' command"),
        ("COMMAND GETKEYS get a", "*1 $1 a"),
        ("COMMAND GETKEYS get a b", "-ERR Invalid number of arguments specified for command"),
        ("COMMAND GETKEYS mset a b c", "*2 $1 a $1 c"),
        ("COMMAND GETKEYS foo a", "-ERR Invalid command specified"),
        ("COMMAND GETKEYS ping a", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS object encoding foo", "*1 $3 foo"),
        ("COMMAND GETKEYSANDFLAGS set a b", "*1 *2 $1 a *4 +RW +access +update +variable_flags"),
        (
            "COMMAND GETKEYSANDFLAGS rename a b",
            "*2 *2 $1 a *3 +RW +access +delete *2 $1 b *2 +OW +update",
        ),
        ("COMMAND DOCS nope", "*0"),
        (
            "COMMAND DOCS get get",
            "*2 $3 get *6 $7 summary $22 Get the value of a key $5 since $5 1.0.0 $5 group $6 string",
        ),
        ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
    ];
    own.talk(&world, lines).await;
    let count = crate::commands::all().count();
    own.talk(&world, &[("COMMAND COUNT", &format!(":{count}"))]).await;
    for all in ["COMMAND", "COMMAND INFO"] {
        assert!(own.ask(&world, all).await.starts_with(&format!("*{count} *10 ")), "{all}");
    }
    own.ask(&world, "HELLO 3").await;
    let docs = own.ask(&world, "COMMAND DOCS").await;
    assert!(docs.starts_with(&format!("%{count} ")), "each command has its words");
    world.end().await;
}

#[actix::test]
async fn info_shows_what_was_asked_for_and_counts() {
    let mut world = World::begin().await;
    let mut own = world.client();
    own.talk(&world, &[("SET a 1", "+OK"), ("SELECT 2", "+OK"), ("MSET a 1 b 2", "+OK")]).await;
    own.talk(&world, &[("INFO foo", "$0"), ("INFO cluster", "$30 # Cluster cluster_enabled:0")])
        .await;
    let keyspace = own.ask(&world, "INFO keyspace").await;
    assert!(
        keyspace.ends_with("# Keyspace db0:keys=1,avg_ttl=0 db2:keys=2,avg_ttl=0"),
        "{keyspace}"
    );
    let all = own.ask(&world, "INFO").await;
    for part in [
        "# Server redis_version:7.0.15 ",
        "  # Clients connected_clients:1 ",
        " tcp_port:7379 ",
        " maxmemory:0 maxmemory_human:0B maxmemory_policy:noeviction ",
        " aof_enabled:1 aof_last_write_status:ok wal_state:running ",
        " total_connections_received:1 total_commands_processed:7 ",
        "# Replication role:master ",
        " used_memory_rss:",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    let two = own.ask(&world, "INFO clients CLUSTER").await;
    assert_eq!(two.matches('#').count(), 2, "{two}");
    own.ask(&world, "CONFIG RESETSTAT").await;
    assert!(own.ask(&world, "INFO stats").await.contains(" total_commands_processed:1 "));
    own.ask(&world, "HELLO 3").await;
    let verbatim = own.ask(&world, "INFO cluster").await;
    assert_eq!(verbatim, "=34 txt:# Cluster cluster_enabled:0");
    world.end().await;
}

#[actix::test]
async fn p25_waitaof_waits_until_all_is_durable_even_if_nothing_else_does() {
    let mut world = World::with(|settings| settings.durability = Durability::Async).await;
    let mut own = world.client();
    let integer = "-ERR value is not an integer or out of range";
    let lines = [
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF a 0 0", integer),
        ("WAITAOF 1 a 0", integer),
        ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 1 0 a", "-ERR timeout is not an integer or out of range"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 0 0 0", "*2 :0 :0"),
        ("WAITAOF 1 1 10", "*2 :1 :0"),
        ("WAITAOF 1 0", "-ERR wrong number of arguments for 'waitaof' command"),
    ];
    own.talk(&world, &lines).await;
    for round in 0..20 {
        let set = format!("SET a {round}");
        own.talk(&world, &[(&set, "+OK"), ("WAITAOF 1 0 0", "*2 :1 :0")]).await;
        let status = world.server.wal.status();
        assert_eq!((status.durable, status.durable.get() > round), (status.accepted, true));
    }
    assert_eq!(world.server.counters.blocked.get(), 0);
    world.end().await;
}

#[actix::test]
async fn shutdown_ends_the_server_without_an_answer() {
    let mut world = World::begin().await;
    let mut own = world.client();
    let syntax = "-ERR syntax error";
    let lines = [
        ("SHUTDOWN foo", syntax),
        ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
        ("SHUTDOWN ABORT NOW", syntax),
        ("SHUTDOWN SAVE NOSAVE", syntax),
        ("SHUTDOWN NOW FOO", syntax),
    ];
    own.talk(&world, &lines).await;
    assert!(!world.server.stop.is_cancelled());
    own.talk(&world, &[("SHUTDOWN NOSAVE NOW FORCE", "<end>")]).await;
    assert!(world.server.stop.is_cancelled());
    world.end().await;
}
