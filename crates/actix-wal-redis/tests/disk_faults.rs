//! Guards P1, P6, P8 for what stands on them: under load the disk fails, is full or does not answer (`EIO`, `ENOSPC` and a
//! sync that does not return, injected by `strace`). Clients get errors or wait; none gets an OK, and none is shown a value
//! that is not durable. When the disk is well again the server goes on by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::answer::Answer;
use self::support::client::{Client, request};
use self::support::program::Server;
use self::support::strace::{begin, start, strace_works, wait_until};

/// How long a fault lasts once it has been met.
const TIME: Duration = Duration::from_secs(2);

const HEALTHY: u8 = 0;
const FAULTY: u8 = 1;
const WELL_AGAIN: u8 = 2;

/// A client that sets its key to the next number, and what it was told.
#[derive(Debug, Default)]
struct Writer {
    sent: u64,
    told: u64,
    errors: Vec<String>,
    /// How many OKs there were before, during and after the fault.
    told_in: [u64; 3],
}

impl Writer {
    fn run(&mut self, port: u16, key: &str, phase: &AtomicU8, stop: &AtomicBool) {
        let mut client = Client::connect(port).unwrap();
        while !stop.load(Ordering::SeqCst) {
            self.sent += 1;
            let before = phase.load(Ordering::SeqCst);
            let answer = client.try_call(&["SET", key, &self.sent.to_string()]);
            let after = phase.load(Ordering::SeqCst);
            match answer {
                Some(Answer::Error(text)) => {
                    self.errors.push(text);
                    thread::sleep(Duration::from_millis(1));
                }
                Some(answer) => {
                    assert!(answer.is_ok(), "{answer:?}");
                    self.told = self.sent;
                    // What began or ended in another phase belongs to that.
                    let belongs =
                        if before == after || after == WELL_AGAIN { after } else { before };
                    self.told_in[usize::from(belongs)] += 1;
                }
                None => client = Client::connect(port).expect("the server is there"),
            }
        }
    }
}

/// The disk does this at each of these calls, for a while, under load.
fn fail(call: &str, fault: &str) {
    if !strace_works() {
        return skip("strace is not installed, or it may not trace here");
    }
    let folder = folder();
    let (directory, trace) = (folder.path().join("data"), folder.path().join("trace"));
    let mut server = start(&directory, &trace, (call, fault), &[]);
    // Each of these calls has the fault, from the first on.
    let is_met =
        || std::fs::read_to_string(&trace).is_ok_and(|trace| trace.contains(&format!("{call}(")));
    let (phase, stop) = (AtomicU8::new(HEALTHY), AtomicBool::new(false));
    let mut writers: Vec<_> = (0..4).map(|_| Writer::default()).collect();
    let port = server.port;
    let shown = thread::scope(|scope| {
        for (at, writer) in writers.iter_mut().enumerate() {
            let (phase, stop) = (&phase, &stop);
            scope.spawn(move || writer.run(port, &format!("key:{at}"), phase, stop));
        }
        let guard = StopOnPanic(&stop);
        wait_until("load", || number(server.client().call("GET key:0")) > 20);
        begin(&mut server);
        phase.store(FAULTY, Ordering::SeqCst);
        wait_until("a fault", is_met);
        let shown = look(&server);
        // Before the fault ends, so that no OK of the time after it counts.
        phase.store(WELL_AGAIN, Ordering::SeqCst);
        server.signal_parent(Signal::INT);
        let mut client = server.client();
        wait_until("it comes back by itself", || {
            client.try_call(&["SET", "back", "1"]).unwrap().is_ok()
        });
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::SeqCst);
        drop(guard);
        shown
    });
    for (writer, shown) in writers.iter().zip(&shown) {
        let [before, during, after] = writer.told_in;
        println!("{call} {fault}: {before}, {during}, {after} OKs, {} errors", writer.errors.len());
        assert_eq!(during, 0, "an OK while the disk failed: {writer:?}");
        assert!(before > 0 && after > 0, "{writer:?}");
        assert!(*shown <= writer.sent);
    }
    server.kill_9();
    let server = Server::ours(&directory, &[]);
    let mut client = server.client();
    for (at, writer) in writers.iter().enumerate() {
        let now = number(client.call(&format!("GET key:{at}")));
        assert!(writer.told <= now && now <= writer.sent, "{now}: {writer:?}");
        assert!(now >= shown[at], "{now} is there, and {} was shown", shown[at]);
    }
}

/// So that a test that fails ends, and does not wait for its clients.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn number(answer: Answer) -> u64 {
    answer.number().unwrap_or(0) as u64
}

/// Reads the keys while the disk fails, as far as the server answers. What it shows is in the log, so it does not move.
fn look(server: &Server) -> Vec<u64> {
    let mut shown = vec![0; 4];
    let mut client = server.client();
    client.stream().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    client.send(&request(&["MGET", "key:0", "key:1", "key:2", "key:3"])).unwrap();
    let until = Instant::now() + TIME;
    let mut sets = Vec::new();
    while Instant::now() < until {
        match client.reply() {
            Ok(reply) => {
                let Answer::Array(all) = Answer::of(&reply) else { continue };
                shown = all.into_iter().map(number).collect();
                sets.push(shown.clone());
                client.send(&request(&["MGET", "key:0", "key:1", "key:2", "key:3"])).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => assert!(!support::client::is_end(&error), "{error}"),
        }
    }
    assert!(
        sets.windows(2).all(|two| two[0] == two[1]),
        "a value was shown that is not durable: {sets:?}"
    );
    shown
}

#[test]
fn p1_p6_p8_clients_are_told_no_ok_while_syncs_fail_and_are_served_again_after_it() {
    fail("fdatasync", "error=EIO");
}

#[test]
fn p1_p6_p8_clients_are_told_no_ok_while_the_disk_is_full_and_are_served_again_after_it() {
    fail("pwrite64", "error=ENOSPC");
}

#[test]
fn p1_p6_p8_clients_are_told_no_ok_while_a_sync_is_stuck_and_are_served_again_after_it() {
    fail("fdatasync", "delay_enter=600000000");
}
