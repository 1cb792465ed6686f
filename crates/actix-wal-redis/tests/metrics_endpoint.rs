//! Guards P23 for what stands on it: the endpoint of the real program shows what clients did, says whether commits are
//! taken, and disturbs no client, whatever is asked of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_wal_redis::metrics;
use rustix::process::Signal;
use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::client::{Client, request};
use self::support::http::{connect, exchange, get, try_get};
use self::support::program::Server;
use self::support::scrape::Scrape;
use self::support::strace::{begin, start, strace_works, wait_until};

const WITH_METRICS: &[&str] = &["--metrics-port", "0"];

fn durable(scrape: &Scrape) -> f64 {
    scrape.sum("wal_commits_total", &[("outcome", "durable")])
}

/// What a table says of a metric: its type, and its labels, each with its values; none if those are no fixed set.
type Row = (&'static str, BTreeMap<String, BTreeSet<String>>);

/// Both tables.
fn tables() -> BTreeMap<String, Row> {
    let set = |values: &[&str]| -> BTreeSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    };
    let of_log = actix_wal::metrics::TABLE.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| {
            let values = if label.name == "log" { &[metrics::LOG] } else { label.values };
            (label.name.to_owned(), set(values))
        });
        (metric.name.to_owned(), (metric.kind.name(), labels.collect()))
    });
    let of_server = metrics::TABLE.iter().map(|metric| {
        let labels = metric.labels.iter().map(|(name, values)| ((*name).to_owned(), set(values)));
        (metric.name.to_owned(), (metric.kind.name(), labels.collect()))
    });
    let count = actix_wal::metrics::TABLE.len() + metrics::TABLE.len();
    let tables: BTreeMap<_, _> = of_log.chain(of_server).collect();
    assert_eq!(tables.len(), count, "a name is there twice");
    tables
}

/// Compares what a scrape shows with the tables. Of `left_out` there is nothing.
fn assert_is_as_the_tables_say(scrape: &Scrape, left_out: &[&str]) {
    let mut tables = tables();
    tables.retain(|name, _| !left_out.contains(&name.as_str()));
    let shown: BTreeSet<_> = scrape.kinds.keys().collect();
    assert_eq!(shown, tables.keys().collect());
    assert_eq!(scrape.helped.iter().collect::<BTreeSet<_>>(), shown, "each is described");
    for (name, (kind, labels)) in tables {
        assert_eq!(scrape.kinds[&name], kind, "{name}");
        let shown = scrape.labels(&name);
        assert_eq!(shown.keys().collect::<Vec<_>>(), labels.keys().collect::<Vec<_>>(), "{name}");
        for (label, values) in labels {
            // There is no series of an operation that never failed; the numbers of errors are no fixed set.
            let is_right = match label.as_str() {
                "op" => shown[&label].is_subset(&values),
                "errno" => values.is_empty(),
                _ => shown[&label] == values,
            };
            assert!(is_right, "{name}: {label}: {:?} and {values:?}", shown[&label]);
        }
    }
}

#[test]
fn a_scrape_is_what_the_tables_say_and_counts_what_a_client_has_done() {
    let folder = folder();
    let server = Server::ours(&folder.path().join("data"), WITH_METRICS);
    let port = server.metrics_port();
    assert_eq!(get(port, "/healthz"), (200, "alive\n".to_owned()));
    assert_eq!(get(port, "/readyz"), (200, "ready\n".to_owned()));
    // Another address of this machine, which one that listens everywhere has too.
    TcpStream::connect(("127.0.0.2", port)).unwrap_err();
    let mut client = server.client();
    assert!(client.call("SET first value").is_ok());
    wait_until("the first figures", || {
        let scrape = Scrape::of(port);
        scrape.kinds.contains_key("txn_snapshot_files_total")
            && scrape.sum("txn_transactions_total", &[("outcome", "committed")]) == 1.0
    });
    let before = Scrape::of(port);
    assert_is_as_the_tables_say(&before, &["wal_io_errors_total"]);
    for at in 0..100 {
        assert!(client.call(&format!("SET key:{at} {at}")).is_ok());
    }
    for at in 0..7 {
        client.call(&format!("GET key:{at}"));
    }
    assert!(client.call("CONFIG RESETSTAT").is_ok());
    // At once: a scrape has the log publish.
    let after = Scrape::of(port);
    assert_eq!(durable(&after) - durable(&before), 100.0);
    let batches = |scrape: &Scrape| scrape.sum("wal_batch_records_sum", &[]);
    assert_eq!(batches(&after) - batches(&before), 100.0);
    // Within a second: what the thread of the server publishes. What is reset does not fall.
    let more = |name, labels: &[_]| Scrape::of(port).sum(name, labels) - before.sum(name, labels);
    wait_until("the figures of the server", || more("redis_commands_total", &[]) >= 108.0);
    assert_eq!(more("redis_commands_total", &[]), 108.0);
    assert_eq!(more("txn_transactions_total", &[("outcome", "committed")]), 100.0);
    assert!(more("txn_transactions_total", &[("outcome", "read_only")]) >= 7.0);
    assert!(more("txn_store_versions", &[]) >= 100.0);
    assert_eq!(Scrape::of(port).sum("redis_connections", &[]), 1.0);
    assert!(server.terminate().success());
}

#[test]
fn without_a_port_there_is_no_endpoint_and_a_port_that_is_taken_is_said() {
    let folder = folder();
    let server = Server::ours(&folder.path().join("one"), WITH_METRICS);
    let other = Server::ours(&folder.path().join("other"), &[]);
    assert!(!other.words().contains("metrics on"), "{}", other.words());
    let taken = server.metrics_port().to_string();
    let options = ["--metrics-port", &taken];
    let refused = Server::try_ours(&folder.path().join("third"), &options).map(drop);
    let why = refused.unwrap_err();
    assert!(why.contains(&format!("no metrics on 127.0.0.1:{taken}")), "{why}");
    assert!(!folder.path().join("third").exists(), "nothing was opened");
}

#[test]
fn while_a_log_is_recovered_the_server_is_alive_and_not_ready() {
    if !strace_works() {
        return skip("strace is not installed, or it may not trace here");
    }
    let folder = folder();
    let directory = folder.path().join("data");
    let server = Server::ours(&directory, &[]);
    assert!(server.client().call("SET a 1").is_ok());
    server.kill_9();
    let delay = "inject=pread64:delay_enter=1500000:when=1..3";
    let trace = folder.path().join("trace");
    let before =
        ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=pread64", "-e", delay];
    let mut server = Server::beginning_under(&before, &directory, WITH_METRICS);
    server.line();
    let port = server.metrics_port();
    let (mut recovering, mut first) = (0, None);
    wait_until("it recovers", || {
        let began = Instant::now();
        match get(port, "/readyz") {
            (503, why) => {
                assert_eq!(why, "recovering\n");
                assert_eq!(get(port, "/healthz"), (200, "alive\n".to_owned()));
                // Nothing of the log is there yet, and that is no error.
                Scrape::of(port);
                assert!(began.elapsed() < Duration::from_secs(1), "the endpoint waits for a disk");
                recovering += 1;
                first.get_or_insert(began);
                false
            }
            (200, ready) => ready == "ready\n",
            other => panic!("{other:?}"),
        }
    });
    let waited = first.map_or(Duration::ZERO, |first| first.elapsed());
    assert!(recovering > 5 && waited > Duration::from_secs(1), "{recovering} in {waited:?}");
    while !server.line().starts_with("ready on") {}
}

/// The server, and its reason not to be ready once its disk does this: one that begins so.
fn reason(folder: &Path, call: &str, fault: &str, expected: &str) -> (Server, String) {
    let (directory, trace) = (folder.join("data"), folder.join("trace"));
    let mut server = start(&directory, &trace, (call, fault), WITH_METRICS);
    let port = server.metrics_port();
    assert!(server.client().call("SET before 1").is_ok());
    assert_eq!(get(port, "/readyz").0, 200);
    begin(&mut server);
    let mut client = server.client();
    client.send(&request(&["SET", "during", "1"])).unwrap();
    let mut why = String::new();
    wait_until(expected, || {
        let (status, body) = get(port, "/readyz");
        why = body;
        status == 503 && why.starts_with(expected)
    });
    assert_eq!(why.lines().count(), 1, "{why}");
    assert_eq!(get(port, "/healthz").0, 200);
    (server, why)
}

#[test]
fn a_poisoned_log_is_not_ready_says_why_and_its_scrape_has_every_metric() {
    if !strace_works() {
        return skip("strace is not installed, or it may not trace here");
    }
    let folder = folder();
    // A server waits for a disk that fails, however long. One that can not be written any more is given up.
    let (server, why) = reason(folder.path(), "fdatasync", "error=EROFS", "poisoned: ");
    assert!(why.contains("Read-only file system"), "{why}");
    let port = server.metrics_port();
    wait_until("it is counted", || {
        let lost =
            |outcome| Scrape::of(port).sum("txn_transactions_total", &[("outcome", outcome)]) > 0.0;
        lost("unknown") || lost("not_durable")
    });
    let scrape = Scrape::of(port);
    assert_eq!(scrape.sum("wal_state", &[("state", "poisoned")]), 1.0);
    assert_eq!(scrape.sum("wal_io_errors_total", &[("op", "sync"), ("errno", "EROFS")]), 1.0);
    assert_is_as_the_tables_say(&scrape, &[]);
}

#[test]
fn a_log_that_waits_for_its_disk_is_not_ready_until_the_disk_is_well() {
    if !strace_works() {
        return skip("strace is not installed, or it may not trace here");
    }
    let faults = [
        ("fdatasync", "error=EIO", "unavailable: "),
        ("pwrite64", "error=ENOSPC", "no space: "),
        ("fdatasync", "delay_enter=600000000", "stalled: "),
    ];
    thread::scope(|scope| {
        for (call, fault, expected) in faults {
            scope.spawn(move || {
                let folder = folder();
                let (server, _) = reason(folder.path(), call, fault, expected);
                server.signal_parent(Signal::INT);
                let port = server.metrics_port();
                wait_until("it is well again", || get(port, "/readyz").0 == 200);
            });
        }
    });
}

#[test]
fn a_server_that_drains_is_not_ready_and_answers_scrapes_until_its_end() {
    let folder = folder();
    let mut server = Server::ours(&folder.path().join("data"), WITH_METRICS);
    let port = server.metrics_port();
    let mut client = server.client();
    let value = "x".repeat(8 << 20);
    assert!(client.call(&format!("SET large {value}")).is_ok());
    // More than the kernel takes of a client that does not read.
    let gets: Vec<u8> = (0..16).flat_map(|_| request(&["GET", "large"])).collect();
    client.send(&gets).unwrap();
    wait_until("it answers", || client.stream().peek(&mut [0]).unwrap() > 0);
    server.signal_parent(Signal::TERM);
    wait_until("it drains", || get(port, "/readyz") == (503, "draining\n".to_owned()));
    let (began, mut last) = (Instant::now(), Instant::now());
    let ended = loop {
        if let Some(status) = server.has_ended() {
            break status;
        }
        match try_get(port, "/readyz") {
            Ok(answered) => {
                assert_eq!((answered.status, answered.body.as_str()), (503, "draining\n"));
                last = Instant::now();
                if let Ok(scrape) = try_get(port, "/metrics") {
                    durable(&Scrape::parse(&scrape.body));
                }
            }
            // Between its last answer and the end of the process.
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
        assert!(began.elapsed() < support::client::PATIENCE, "{}", server.words());
    };
    assert!(ended.success(), "{}", server.words());
    let (drained, silent) = (last - began, last.elapsed());
    assert!(drained > Duration::from_secs(2), "the client held it for {drained:?} only");
    assert!(silent < Duration::from_secs(2), "no answer for the last {silent:?}");
}

#[test]
fn requests_that_make_no_sense_are_refused_and_harm_nothing() {
    let folder = folder();
    let server = Server::ours(&folder.path().join("data"), WITH_METRICS);
    let port = server.metrics_port();
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(300 << 10));
    let requests: &[(&[u8], &[u16])] = &[
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[404]),
        (b"GET /metrics/.. HTTP/1.1\r\nHost: x\r\n\r\n", &[404]),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", &[405]),
        (b"DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", &[405]),
        (b"PUT /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", &[405]),
        (b"*1\r\n$4\r\nPING\r\n", &[400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400]),
        (b"GET /metrics HTTP/9.9\r\n\r\n", &[400, 505]),
        (long.as_bytes(), &[400, 431]),
    ];
    for (bytes, expected) in requests {
        let shown = bytes[..bytes.len().min(60)].escape_ascii();
        // A request that is too long may be refused before it is sent.
        match exchange(port, bytes) {
            Ok(answered) => assert!(expected.contains(&answered.status), "{shown}: {answered:?}"),
            Err(error) => assert!(bytes.len() > 1000 && support::client::is_end(&error), "{shown}"),
        }
        assert_eq!(get(port, "/healthz").0, 200, "{shown}");
    }
    assert!(server.client().call("SET a 1").is_ok());
}

/// A client that sets keys until it is told to stop. Returns how many, and the longest that one took.
fn set_until(port: u16, stop: &AtomicBool) -> (usize, Duration) {
    let mut client = Client::connect(port).unwrap();
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        assert!(client.call(&format!("SET key:{} value", count % 100)).is_ok());
        longest = longest.max(began.elapsed());
        count += 1;
    }
    (count, longest)
}

/// Connections that hold their places as long as they can: they send a part of a request, or do not read the answer.
fn slow_clients(port: u16, count: usize) -> Vec<TcpStream> {
    let slow = |at: usize| {
        let mut stream = connect(port).ok()?;
        let part: &[u8] = if at.is_multiple_of(2) {
            b"GET /met"
        } else {
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        };
        stream.write_all(part).ok()?;
        Some(stream)
    };
    (0..count).filter_map(slow).collect()
}

#[test]
fn a_thousand_scrapers_slow_ones_and_garbage_do_not_keep_the_server_from_its_clients() {
    let folder = folder();
    let server = Server::ours(&folder.path().join("data"), WITH_METRICS);
    let (port, metrics_port) = (server.port, server.metrics_port());
    let (stop, scraped) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (count, longest) = thread::scope(|scope| {
        let setter = scope.spawn(|| set_until(port, &stop));
        let slow = slow_clients(metrics_port, 100);
        for at in 0..1000_usize {
            let scraped = &scraped;
            let scraper = move || {
                let mut stream = connect(metrics_port).ok()?;
                if at.is_multiple_of(10) {
                    stream.write_all(&[at as u8; 100]).ok()?;
                } else {
                    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
                }
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).ok()?;
                scraped
                    .fetch_add(usize::from(bytes.starts_with(b"HTTP/1.1 200")), Ordering::SeqCst);
                Some(())
            };
            let small = thread::Builder::new().stack_size(128 << 10);
            small.spawn_scoped(scope, scraper).unwrap();
        }
        let began = Instant::now();
        wait_until("scrapes", || {
            scraped.load(Ordering::SeqCst) >= 800 || began.elapsed() > Duration::from_secs(50)
        });
        stop.store(true, Ordering::SeqCst);
        drop(slow);
        setter.join().unwrap()
    });
    let scraped = scraped.into_inner();
    println!("{scraped} scrapes, {count} SETs, the longest {longest:?}");
    assert!(scraped >= 800, "{scraped} of 900 scrapes were answered");
    assert!(count > 100 && longest < Duration::from_secs(5), "{count}, {longest:?}");
    let scrape = Scrape::of(metrics_port);
    assert!(durable(&scrape) >= count as f64);
    assert!(server.terminate().success());
}
