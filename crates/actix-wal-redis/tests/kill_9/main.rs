//! Guards P1, P2, P25 for what stands on them: the server is killed with `kill -9` under the load of real clients, and while
//! it starts. After each restart nothing acknowledged is lost, no transaction is torn, and no value is gone that any client
//! was ever shown.
//!
//! `WAL_KILLS=50` kills so often; by default it is a handful. `WAL_KILL_SEED` repeats the plan; the moments are the machine's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod clients;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use actix_wal::testkit::Random;
use test_support::environment::seed;
use test_support::kills::wanted;
use test_support::scratch::folder;

use self::clients::{Counter, FLUSHED, Flusher, How, Mover, Reader, Sequence, is_whole, keys_of};
use self::support::answer::Answer;
use self::support::client::Client;
use self::support::program::Server;
use self::support::tools::has;

/// What the clients of all lives know.
struct Ledger {
    sequences: Vec<Sequence>,
    counters: Vec<Counter>,
    movers: Vec<Mover>,
    flusher: Flusher,
    readers: Vec<Reader>,
}

/// Names of movers, each of which has keys of its own.
const MOVERS: [&str; 2] = ["one", "other"];
const COUNTERS: [&str; 2] = ["counted", "watched"];

impl Ledger {
    fn new() -> Ledger {
        let counters = [How::Incr, How::Incr, How::Incr, How::Watch, How::Watch];
        let counter = |how| Counter::new(COUNTERS[usize::from(how == How::Watch)], how);
        Ledger {
            sequences: vec![Sequence::new("a", 1), Sequence::new("b", 1), Sequence::new("c", 16)],
            counters: counters.map(counter).to_vec(),
            movers: MOVERS.map(|name| Mover { name, told: 0 }).to_vec(),
            flusher: Flusher::default(),
            readers: vec![Reader::default(); 2],
        }
    }

    /// The keys that hold numbers which never fall.
    fn rising(&self) -> Vec<String> {
        let last = self.sequences.iter().map(|it| format!("last:{}", it.name));
        let moves = MOVERS.iter().map(|name| keys_of(name)[2].clone());
        last.chain(moves).chain(COUNTERS.map(String::from)).collect()
    }

    /// How many answers there were.
    fn told(&self) -> u64 {
        let sequences = self.sequences.iter().map(|it| it.told).sum::<u64>();
        let counters = self.counters.iter().map(|it| it.told.len() as u64).sum::<u64>();
        sequences + counters + self.movers.iter().map(|it| it.told as u64).sum::<u64>()
    }

    /// All clients work until the server is killed, which happens after so long.
    fn live(&mut self, server: Server, time: Duration) {
        let (port, rising) = (server.port, self.rising());
        let benchmark = benchmark(port);
        thread::scope(|scope| {
            for it in &mut self.sequences {
                scope.spawn(move || it.run(port));
            }
            for it in &mut self.counters {
                scope.spawn(move || it.run(port));
            }
            for it in &mut self.movers {
                scope.spawn(move || it.run(port));
            }
            for it in &mut self.readers {
                let rising = &rising;
                scope.spawn(move || it.run(port, rising, &MOVERS));
            }
            let flusher = &mut self.flusher;
            scope.spawn(move || flusher.run(port));
            thread::sleep(time);
            server.kill_9();
        });
        if let Some(mut benchmark) = benchmark {
            // It has lost its server too.
            let _ = benchmark.kill();
            benchmark.wait().unwrap();
        }
    }

    /// What has to be true of a server that was started again. `before`: what the sequences were when the life began.
    fn verify(&self, server: &Server, before: &[Sequence]) {
        let mut client = server.client();
        for (it, before) in self.sequences.iter().zip(before) {
            let last = number(&client.call(&format!("GET last:{}", it.name)));
            assert!(it.told <= last && last <= it.sent, "{last} of {it:?}");
            // What was sent in earlier lives has been looked at then. Their last requests may have had no effect.
            for at in before.sent + 1..=last {
                let one = number(&client.call(&format!("GET {}", it.key(at))));
                assert_eq!(one, at, "all of an MSET is there, or nothing: {it:?}");
            }
            let beyond = client.call(&format!("EXISTS {}", it.key(last + 1)));
            assert_eq!(beyond, Answer::Integer(0), "{it:?}");
        }
        for key in COUNTERS {
            self.verify_counter(key, number(&client.call(&format!("GET {key}"))));
        }
        for it in &self.movers {
            let all: Vec<_> = keys_of(it.name)
                .iter()
                .map(|key| client.call(&format!("GET {key}")).number())
                .collect();
            let moves = is_whole(it.name, &all);
            assert!(moves >= it.told, "{moves} of {it:?}");
        }
        for (key, seen) in self.readers.iter().flat_map(|it| &it.seen) {
            let now = number(&client.call(&format!("GET {key}"))) as i64;
            assert!(now >= *seen, "{key} was read as {seen}, and is {now}");
        }
        self.verify_flushed(&mut client);
    }

    fn verify_counter(&self, key: &str, now: u64) {
        let of: Vec<_> = self.counters.iter().filter(|it| it.key == key).collect();
        let told: Vec<u64> = of.iter().flat_map(|it| it.told.iter().copied()).collect();
        let distinct: HashSet<_> = told.iter().collect();
        assert_eq!(distinct.len(), told.len(), "{key}: two clients were told the same number");
        let most = told.len() as u64 + of.iter().map(|it| it.unknown).sum::<u64>();
        let least = told.iter().copied().max().unwrap_or(0);
        assert!(least <= now && now <= most, "{key}: {least} <= {now} <= {most}");
        for it in of {
            assert!(it.told.is_sorted(), "{key} goes up");
        }
    }

    fn verify_flushed(&self, client: &mut Client) {
        assert!(client.call(&format!("SELECT {FLUSHED}")).is_ok());
        let now = client.call("GET flushed").number();
        let Flusher { sent, set, flushed } = self.flusher;
        match now.map(|now| now as u64) {
            // What was emptied does not come back, and what was set after that is there.
            Some(now) => {
                assert!(flushed < now && set <= now && now <= sent, "{now} of {:?}", self.flusher)
            }
            None => assert!(set == flushed || set.is_multiple_of(3), "{:?}", self.flusher),
        }
    }
}

fn number(answer: &Answer) -> u64 {
    answer.number().unwrap_or(0) as u64
}

/// Load from `redis-benchmark` in a database of its own.
fn benchmark(port: u16) -> Option<std::process::Child> {
    has("redis-benchmark").then(|| {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port.to_string(), "--dbnum", "9", "-t", "set,incr,mset"]);
        command.args(["-n", "10000000", "-r", "1000", "-c", "4", "-P", "4", "-q"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    })
}

/// Some lives, each of which ends with `kill -9`.
fn kill_again_and_again(directory: &Path, kills: u32) {
    let mut random = Random::new(seed("WAL_KILL_SEED"));
    let mut ledger = Ledger::new();
    let mut killed_early = 0;
    for life in 0..kills {
        if life > 0 && random.one_in(3) {
            let beginning = Server::ours_beginning(directory);
            thread::sleep(Duration::from_micros(random.below(40_000)));
            beginning.kill_9();
            killed_early += 1;
        }
        let before = ledger.sequences.clone();
        let server = Server::ours(directory, &[]);
        ledger.live(server, Duration::from_millis(150 + random.below(350)));
        let server = Server::ours(directory, &[]);
        ledger.verify(&server, &before);
        server.kill_9();
    }
    let reads: u64 = ledger.readers.iter().map(|it| it.reads).sum();
    println!("WAL_KILLS={kills}: {} told, {reads} reads, {killed_early} early", ledger.told());
    assert!(ledger.told() > 20 * u64::from(kills) && reads > u64::from(kills), "too little load");
    for it in &ledger.counters {
        assert!(!it.told.is_empty(), "each kind of client works: {it:?}");
    }
    assert!(ledger.movers.iter().all(|it| it.told > 0) && ledger.flusher.flushed > 0);

    let server = Server::ours(directory, &[]);
    ledger.verify(&server, &ledger.sequences);
    assert!(server.terminate().success(), "SIGTERM ends it cleanly");
    ledger.verify(&Server::ours(directory, &[]), &ledger.sequences);
}

#[test]
fn p1_p2_p25_a_server_that_is_killed_again_and_again_keeps_all_that_its_clients_were_told() {
    let folder = folder();
    kill_again_and_again(&folder.path().join("data"), wanted(5));
}
