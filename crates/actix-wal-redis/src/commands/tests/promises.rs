//! What clocks, chance, limits and many keys do.

use std::collections::BTreeSet;

use actix_wal_txn::store::Write;

use super::world::{World, request};
use crate::keyspace::{Database, Fault, Value, empty_flushed, expire_due};
use crate::resp::Reply;

/// Commands that meet an expired key, and what they answer.
const MEET: &[(&str, &str)] = &[
    ("GET k", "$-1"),
    ("MGET k", "*1 $-1"),
    ("EXISTS k", ":0"),
    ("TYPE k", "+none"),
    ("TTL k", ":-2"),
    ("KEYS *", "*0"),
    ("KEYS k*", "*0"),
    ("SCAN 0", "*2 $1 0 *0"),
    ("RANDOMKEY", "$-1"),
    ("OBJECT ENCODING k", "$-1"),
    ("DEL k", ":0"),
    ("PERSIST k", ":0"),
    ("RENAME k l", "-ERR no such key"),
    ("MOVE k 1", ":0"),
    ("SET k v XX", "$-1"),
];

#[test]
fn an_expired_key_stays_gone_for_each_command_whatever_the_clock_does() {
    for (line, answer) in MEET {
        let mut world = World::default();
        world.ask("SET k v PX 1000");
        world.now += 1000;
        assert_eq!(world.ask("PTTL k"), ":0", "its last millisecond");
        world.now += 1;
        assert_eq!(world.ask(line), *answer, "{line}");
        assert_eq!(world.written.len(), 2, "{line}: the key and its time are deleted");
        world.now -= 1000;
        assert_eq!(world.ask("GET k"), "$-1", "{line}");
        assert_eq!(world.stored(), 0, "{line}");
    }
}

#[test]
fn a_key_that_is_set_again_after_its_time_keeps_nothing_of_it() {
    for line in ["SET k w", "SET k w KEEPTTL", "APPEND k w", "SETNX k w", "GETSET k w", "MSET k w"]
    {
        let mut world = World::default();
        world.ask("SET k v PX 1");
        world.now += 2;
        world.ask(line);
        assert_eq!(
            (world.ask("GET k"), world.ask("TTL k")),
            ("$1 w".into(), ":-1".into()),
            "{line}"
        );
        assert_eq!(world.stored(), 1, "{line}");
    }
}

/// The keys and their times agree: each key that expires has its entry, and no other entry is left.
fn check_due(world: &mut World, keys: usize, expiring: usize) {
    assert_eq!(world.stored(), keys + expiring);
    world.now = u64::MAX - 1;
    let before = world.host.expired();
    while world.upkeep(|latest, host, now| expire_due(latest, host, now, 3)) {
        world.collect();
    }
    assert_eq!(world.host.expired() - before, expiring as u64);
    assert_eq!(world.stored(), keys - expiring);
}

#[test]
fn each_time_has_one_entry_whatever_changes_it() {
    let mut world = World::default();
    for line in [
        "MSET a 1 b 2 c 3 d 4 e 5 f 6",
        "EXPIRE a 100",
        "EXPIRE a 200",
        "PERSIST a",
        "EXPIRE b 100",
        "SET b 2",
        "EXPIRE c 100",
        "INCR c",
        "EXPIRE d 100",
        "EXPIRE e 50",
        "RENAME d e",
        "EXPIRE f 100",
        "GETEX f EX 100",
        "SETEX g 100 v",
        "SETEX g 300 v",
        "APPEND g v",
        "SETEX h 100 v",
        "DEL h",
        "SETEX i 100 v",
        "GETDEL i",
    ] {
        world.ask(line);
    }
    // a b c e f g, of which c e f g expire.
    check_due(&mut world, 6, 4);
    assert_eq!(world.ask("KEYS *"), "*2 $1 a $1 b");
}

#[test]
fn keys_are_deleted_oldest_first_and_not_before_their_time() {
    let mut world = World::default();
    for (key, after) in [("late", 30), ("b", 20), ("a", 10), ("c", 20)] {
        world.ask(&format!("SET {key} v PX {after}"));
    }
    world.now += 20;
    let more = world.upkeep(|latest, host, now| expire_due(latest, host, now, 100));
    assert_eq!((more, world.ask("DBSIZE")), (false, ":3".into()), "20 is not over");
    world.now += 1;
    assert!(world.upkeep(|latest, host, now| expire_due(latest, host, now, 1)));
    assert_eq!(world.ask("DBSIZE"), ":2");
    assert!(!world.upkeep(|latest, host, now| expire_due(latest, host, now, 0)), "the last one");
    assert_eq!(world.ask("KEYS *"), "*1 $4 late");
    assert_eq!(world.stored(), 2, "the key and its time");
}

#[test]
fn deleted_keys_that_stay_in_the_store_do_not_call_for_more_at_once() {
    let mut world = World::default();
    for half in 0..2 {
        let filled = world.on(|db| {
            for key in 0..20_000 {
                let value = Value::expiring(b"v", Some(db.now()));
                db.set(format!("k{half}{key}").as_bytes(), value)?;
            }
            Ok(Reply::OK)
        });
        assert_eq!(filled.unwrap(), Reply::OK);
    }
    world.now += 1;
    let mut pieces = 1;
    while world.upkeep(|latest, host, now| expire_due(latest, host, now, 8000)) {
        pieces += 1;
        assert!(pieces < 100, "it is called again for nothing");
    }
    assert_eq!((pieces, world.ask("DBSIZE")), (6, ":0".into()));
}

#[test]
fn an_entry_of_a_key_that_has_another_time_or_none_is_only_removed() {
    let mut world = World::default();
    let (late, now) = (world.now + 1000, world.now);
    world.ask(&format!("SET k v PXAT {late}"));
    world.ask("SET j v");
    for key in [b'j', b'k', b'x'] {
        let entry = [&[0, 0, 0, 1][..], &now.to_be_bytes(), &[0, 0, 0, 16, key]].concat();
        let write = Write { key: entry.into(), value: Some("".into()) };
        world.upkeep(|latest, _, _| Ok(latest.write(write)?));
    }
    assert_eq!(world.stored(), 6);
    world.now += 1;
    assert!(!world.upkeep(|latest, host, now| expire_due(latest, host, now, 100)));
    assert_eq!((world.ask("MGET j k"), world.stored()), ("*2 $1 v $1 v".into(), 3));
}

#[test]
fn a_time_that_is_now_is_over_for_a_command_that_sets_it() {
    for command in ["GETEX k PXAT", "PEXPIREAT k"] {
        let mut world = World::default();
        world.ask("SET k v");
        world.ask(&format!("{command} {}", world.now));
        assert_eq!(world.ask("DBSIZE"), ":0", "{command}");
        world.ask("SET k v");
        world.ask(&format!("{command} {}", world.now + 1));
        assert_eq!(world.ask("PTTL k"), ":1", "{command}");
    }
}

#[test]
fn a_flushed_database_is_empty_at_once_and_emptied_in_pieces() {
    let mut world = World::default();
    for key in 0..100 {
        world.ask(&format!("SET k{key} v EX 1000"));
    }
    world.ask("SELECT 1");
    world.ask("SET other v");
    world.ask("SELECT 0");
    assert_eq!(world.ask("FLUSHDB"), "+OK");
    assert_eq!(world.written.len(), 1, "one small record");
    assert_eq!((world.ask("DBSIZE"), world.ask("KEYS *")), (":0".into(), "*0".into()));
    world.ask("SET k0 new");
    let mut pieces = 1;
    while world.upkeep(|latest, _, _| empty_flushed(latest, 30)) {
        pieces += 1;
    }
    assert_eq!(pieces, 4);
    assert_eq!(world.stored(), 3, "two keys and the directory");
    assert_eq!(world.ask("GET k0"), "$3 new");
    assert!(!world.upkeep(|latest, _, _| empty_flushed(latest, 30)));
    assert_eq!(world.written.len(), 0);
    world.ask("FLUSHALL");
    while world.upkeep(|latest, _, _| empty_flushed(latest, 30)) {}
    assert_eq!(world.stored(), 1, "the directory");
    world.ask("FLUSHALL");
    assert_eq!(world.written.len(), 0, "nothing to flush, nothing to write");
}

#[test]
fn keys_of_a_flushed_database_expire_without_harm_to_the_new_ones() {
    let mut world = World::default();
    world.ask("SET k v PX 10");
    world.ask("FLUSHDB");
    world.ask("SET k w PX 10");
    world.now += 5;
    world.ask("PERSIST k");
    world.now += 6;
    world.upkeep(|latest, host, now| expire_due(latest, host, now, 100));
    assert_eq!(world.ask("GET k"), "$1 w");
    world.upkeep(|latest, _, _| empty_flushed(latest, 100));
    assert_eq!(world.stored(), 2);
}

/// The cursor and the keys of an answer to `SCAN`.
fn scan(world: &mut World, line: &str) -> (String, Vec<String>) {
    let Reply::Array(mut parts) = world.run(&request(line)).unwrap() else { panic!("{line}") };
    let text = |reply| match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{other:?}"),
    };
    let Some(Reply::Array(keys)) = parts.pop() else { panic!("{line}") };
    (text(parts.remove(0)), keys.into_iter().map(text).collect())
}

#[test]
fn a_scan_gives_each_key_that_is_there_all_the_time() {
    let mut world = World::default();
    let expected: BTreeSet<_> = (0..500).map(|key| format!("k{key}")).collect();
    for key in &expected {
        world.ask(&format!("SET {key} v"));
    }
    let (mut found, mut cursor, mut round) = (BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let (next, keys) = scan(&mut world, &format!("SCAN {cursor} COUNT 7"));
        found.extend(keys.clone());
        round += 1;
        assert!(round < 10_000, "it comes to an end");
        if cursor != "0" {
            let again = scan(&mut world, &format!("SCAN {cursor} COUNT 7"));
            assert_eq!(again.1, keys, "the cursor is still good");
        }
        // Another client adds and deletes keys; once, the cursor is one of another life.
        world.ask(&format!("SET x{round} v"));
        world.ask(&format!("DEL x{}", round - 1));
        cursor = if round == 20 { "12345".into() } else { next };
        if cursor == "0" {
            break;
        }
    }
    assert!(found.is_superset(&expected));
    let (_, keys) = scan(&mut world, "SCAN 0 COUNT 100000 MATCH k*9 TYPE string");
    assert_eq!(keys.len(), 50);
}

#[test]
fn keys_are_found_in_more_than_one_piece() {
    let mut world = World::default();
    for key in 0..2500 {
        world.ask(&format!("SET k{key:04} v"));
    }
    for (pattern, count) in
        [("*", 2500), ("k*", 2500), ("k00*", 100), ("?0?00", 3 * 10 / 3), ("K*", 0)]
    {
        let answer = world.ask(&format!("KEYS {pattern}"));
        assert!(
            answer.starts_with(&format!("*{count}")),
            "{pattern}: {}",
            &answer[..20.min(answer.len())]
        );
    }
}

#[test]
fn a_key_by_chance_may_be_any_of_them() {
    let mut world = World::default();
    let keys = ["\"\"", "a", "ab", "abc", "b", r#""\xff""#, r#""\xff\xff""#, r#""\xff\x00""#];
    for key in keys {
        world.ask(&format!("SET {key} v"));
    }
    let found: BTreeSet<_> = (0..1000).map(|_| world.ask("RANDOMKEY")).collect();
    assert_eq!(found.len(), keys.len(), "{found:?}");
    world.ask("FLUSHDB");
    for key in 0..200 {
        world.ask(&format!("SET {}{key:03} v", "long".repeat(2000)));
    }
    let found: BTreeSet<_> = (0..40).map(|_| world.ask("RANDOMKEY")).collect();
    assert!(found.len() > 10, "{}", found.len());
}

#[test]
fn a_key_is_idle_until_a_command_uses_it() {
    let mut world = World::default();
    world.now = 4_000_000_000_000;
    world.ask("SET k v");
    world.now += 10_000;
    for line in ["TYPE k", "TTL k", "EXISTS k", "OBJECT ENCODING k", "OBJECT IDLETIME k", "SCAN 0"]
    {
        world.ask(line);
        assert_eq!(world.ask("OBJECT IDLETIME k"), ":10", "{line}");
    }
    for line in ["GET k", "TOUCH k", "APPEND k v", "SET k v", "STRLEN k"] {
        world.now += 5_000;
        world.ask(line);
        assert_eq!(world.ask("OBJECT IDLETIME k"), ":0", "{line}");
    }
}

#[test]
fn the_longest_value_can_be_changed() {
    let mut world = World::default();
    world.host.apply(5, 0);
    assert_eq!(world.ask("SETRANGE k 4 x"), ":5");
    for line in ["SETRANGE k 5 x", "APPEND k x", "SETRANGE n 5 x"] {
        let answer = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        assert_eq!(world.ask(line), answer, "{line}");
        assert_eq!(world.written.len(), 0);
    }
}

/// What the writes of a transaction do to the keys that it has read is what it reads next.
#[test]
fn a_transaction_reads_its_own_writes_in_ranges_too() {
    let mut world = World::default();
    for key in 0..20 {
        world.ask(&format!("SET k{key:02} v"));
    }
    let found = world.on(|db: &mut Database<'_, '_>| {
        db.remove(b"k03")?;
        db.set(b"k0", Value::new(b"new"))?;
        db.set(b"k99", Value::new(b"new"))?;
        let (mut keys, mut behind) = (Vec::new(), None);
        loop {
            let found = db.scan(behind.as_deref(), 4)?;
            keys.extend(found.rows.into_iter().map(|(key, _)| Reply::Bulk(key)));
            match found.next {
                Some(next) => behind = Some(next),
                None => break,
            }
        }
        assert_eq!(db.count()?, keys.len() as u64);
        // Another keyspace begins empty, in the same transaction.
        let mut directory = db.directory()?;
        directory.flush(0);
        db.set_directory(&directory)?;
        assert_eq!((db.count()?, db.get(b"k04")?), (0, None));
        assert!(db.other(0)?.scan(None, 10)?.rows.is_empty());
        Ok::<_, Fault>(Reply::Array(keys))
    });
    let Ok(Reply::Array(keys)) = found else { panic!("{found:?}") };
    let mut expected: Vec<_> =
        (0..20).filter(|key| *key != 3).map(|key| format!("k{key:02}")).collect();
    expected.insert(0, "k0".into());
    expected.push("k99".into());
    assert_eq!(keys, expected.into_iter().map(Reply::bulk).collect::<Vec<_>>());
}

#[test]
fn what_another_program_has_stored_is_not_touched() {
    for (key, value) in [(&[0, 0, 0, 0][..], "foreign"), (&[0, 0, 0, 16, b'k'], "foreign")] {
        let mut world = World::default();
        world.upkeep(|latest, _, _| {
            Ok(latest.write(Write { key: key.into(), value: Some(value.into()) })?)
        });
        for line in ["GET k", "SET k v", "KEYS *"] {
            let error = world.run(&request(line)).unwrap_err().to_string();
            assert!(error.contains("another program"), "{error}");
            assert!(world.written.is_empty());
        }
    }
}
