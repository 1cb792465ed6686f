//! The same conversations with a real `redis-server`: the tables say what it does.

use test_support::real_redis::RealRedis;

use super::connections::{SELF, STRANGER};
use super::transactions::{CONVERSATIONS, WATCHED};
use super::world::shown;

struct Client(test_support::real_redis::Client);

impl Client {
    fn of(redis: &RealRedis) -> Self {
        Client(redis.client())
    }

    fn ask(&mut self, line: &str) -> String {
        let answer = shown(&self.0.ask(line));
        if !line.starts_with("QUIT") {
            return answer;
        }
        self.0.wait_for_end();
        format!("{answer}<end>")
    }

    fn talk(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            // Numbers of clients differ.
            let plain = |answer: &str| match answer.split_once(" id :") {
                Some((before, behind)) => {
                    format!("{before}{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
                }
                None => answer.to_owned(),
            };
            let answer = self.ask(line);
            if *line != "CLIENT ID" {
                assert_eq!(plain(&answer), plain(expected), "answer of Redis to {line}");
            }
        }
    }
}

#[test]
fn redis_says_the_same_in_each_conversation() {
    let Some(redis) = RealRedis::start(&[]) else { return };
    for lines in CONVERSATIONS {
        Client::of(&redis).talk(&[("FLUSHALL", "+OK")]);
        Client::of(&redis).talk(lines);
    }
    Client::of(&redis).talk(SELF);
    let mut first = Client::of(&redis);
    first.talk(&[("CONFIG SET requirepass sec", "+OK")]);
    Client::of(&redis).talk(STRANGER);
}

#[actix::test]
async fn redis_describes_each_command_with_the_same_words() {
    let Some(redis) = RealRedis::start(&[]) else { return };
    let mut world = super::World::begin().await;
    for hello in ["HELLO 2", "HELLO 3"] {
        let (mut ours, mut theirs) = (world.client(), Client::of(&redis));
        ours.ask(&world, hello).await;
        theirs.ask(hello);
        for command in crate::commands::all() {
            // There are fewer subcommands here, and Redis 7.0 has no `WAITAOF`.
            let has_subcommands = crate::commands::subcommands(command.name).next().is_some();
            if command.name != "waitaof" && !has_subcommands {
                let line = format!("COMMAND INFO {}", command.name);
                assert_eq!(ours.ask(&world, &line).await, theirs.ask(&line), "{line}");
            }
            for sub in crate::commands::subcommands(command.name) {
                let line = format!("COMMAND INFO {}", sub.name);
                if sub.name != "client|setinfo" {
                    assert_eq!(ours.ask(&world, &line).await, theirs.ask(&line), "{line}");
                }
            }
        }
    }
    world.end().await;
}

#[test]
fn redis_executes_the_same_after_a_watched_key_has_changed_or_not() {
    let Some(redis) = RealRedis::start(&[]) else { return };
    for (before, after, is_executed) in WATCHED {
        let (mut own, mut other) = (Client::of(&redis), Client::of(&redis));
        other.ask("FLUSHALL");
        before.iter().for_each(|line| drop(other.ask(line)));
        own.ask("WATCH k");
        other.ask("SELECT 0");
        after.iter().for_each(|line| drop(other.ask(line)));
        own.talk(&[("MULTI", "+OK"), ("SET done 1", "+QUEUED")]);
        let expected = if *is_executed { "*1 +OK" } else { "*-1" };
        assert_eq!(own.ask("EXEC"), expected, "{before:?}, WATCH k, {after:?}");
    }
}
