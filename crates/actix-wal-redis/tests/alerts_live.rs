//! Guards P23 for what operators see of it: a real Prometheus with the alerts of `ops/alerts.yml` scrapes a real server whose
//! disk fails (injected by `strace`), and the alerts fire that should.
//!
//! Scrapes come five times a second, and an alert fires a second after its condition holds; all else is as it is shipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use test_support::mounts::{self, Mount};
use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::answer::Answer;
use self::support::client::{Client, request};
use self::support::http::{exchange, get};
use self::support::program::{Server, free_port};
use self::support::repository::read;
use self::support::strace::{begin, start, strace_works, wait_until};

/// A Prometheus that ends with its test.
struct Prometheus {
    child: Child,
    port: u16,
    metrics_port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rules, of which each fires a second after its condition holds.
fn impatient_rules() -> String {
    let quick = |line: &str| match line.strip_prefix("        for: ") {
        Some(_) => "        for: 1s".to_owned(),
        None => line.to_owned(),
    };
    read("ops/alerts.yml").lines().map(quick).collect::<Vec<_>>().join("\n") + "\n"
}

impl Prometheus {
    fn start(folder: &Path, metrics_port: u16) -> Prometheus {
        let port = free_port();
        fs::write(folder.join("alerts.yml"), impatient_rules()).unwrap();
        let config = format!(
            "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  evaluation_interval: 200ms\n\
             rule_files:\n  - alerts.yml\n\
             scrape_configs:\n  - job_name: actix-wal\n    static_configs:\n      \
             - targets: [\"127.0.0.1:{metrics_port}\"]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let errors = File::create(folder.join("prometheus.err")).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let prometheus = Prometheus { child: command.spawn().unwrap(), port, metrics_port };
        wait_until("Prometheus", || prometheus.ask("/-/ready").is_some());
        prometheus
    }

    fn ask(&self, path: &str) -> Option<String> {
        // The first version: its answers are not cut into chunks.
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answered = exchange(self.port, request.as_bytes()).ok()?;
        (answered.status == 200).then_some(answered.body)
    }

    /// The alerts that fire now.
    fn firing(&self) -> BTreeSet<String> {
        let Some(body) = self.ask("/api/v1/alerts") else { return BTreeSet::new() };
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let alerts = body["data"]["alerts"].as_array().unwrap();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until it has this many scrapes of the server.
    fn has_scraped(&self, scrapes: u32) {
        let query = "/api/v1/query?query=sum(count_over_time(wal_syncs_total%5B1m%5D))";
        wait_until("scrapes", || {
            let body = self.ask(query).unwrap_or_default();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let value = body["data"]["result"][0]["value"][1].as_str();
            value.and_then(|value| value.parse().ok()).is_some_and(|count: u32| count >= scrapes)
        });
    }

    fn wait_for(&self, alert: &str) -> BTreeSet<String> {
        let mut firing = BTreeSet::new();
        wait_until(alert, || {
            firing = self.firing();
            firing.contains(alert)
        });
        firing
    }
}

fn has_prometheus() -> bool {
    let mut prometheus = Command::new("prometheus");
    prometheus.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = prometheus.status().is_ok_and(|status| status.success());
    if !is_there {
        skip("prometheus is not installed");
    } else if !strace_works() {
        skip("strace is not installed, or it may not trace here");
    }
    is_there && strace_works()
}

/// The server fails like this, and these alerts fire, and at most the others; then it is killed.
fn fails(call: &str, fault: &str, expected: &[&str], others: &[&str]) {
    let folder = folder();
    let (directory, trace) = (folder.path().join("data"), folder.path().join("trace"));
    let mut server: Server = start(&directory, &trace, (call, fault), &["--metrics-port", "0"]);
    assert!(server.client().call("SET before 1").is_ok());
    let prometheus = Prometheus::start(folder.path(), server.metrics_port());
    prometheus.has_scraped(10);
    let before = prometheus.firing();
    assert!(before.is_empty(), "{before:?} fire while all is well");
    begin(&mut server);
    let mut client = server.client();
    client.send(&request(&["SET", "during", "1"])).unwrap();
    for alert in expected {
        let mut firing = prometheus.wait_for(alert);
        println!("{call} {fault}: {firing:?}");
        firing.retain(|alert| ![expected, others].concat().contains(&alert.as_str()));
        assert!(firing.is_empty(), "{call} {fault}: {firing:?} are false");
    }
    assert_eq!(get(prometheus.metrics_port, "/readyz").0, 503);
    server.kill_9();
    prometheus.wait_for("ActixWalDown");
}

#[test]
fn a_real_prometheus_fires_what_is_meant_for_a_disk_that_fails_is_full_or_hangs() {
    if !has_prometheus() {
        return;
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let expected = ["WalPoisoned", "WalIoErrors", "WalCommitsFail"];
            fails("fdatasync", "error=EROFS", &expected, &[]);
        });
        scope.spawn(|| {
            let others = ["WalRestarts", "WalDiskFills", "WalUnsyncedOld", "WalCommitsFail"];
            fails("pwrite64", "error=ENOSPC", &["WalNotRunning", "WalIoErrors"], &others);
        });
        scope.spawn(|| {
            let expected = ["WalUnsyncedOld", "WalStalled"];
            fails("fdatasync", "delay_enter=600000000", &expected, &["WalSyncsStopped"]);
        });
    });
}

#[test]
fn p21_a_disk_that_is_really_full_fires_an_alert_that_clears_when_there_is_space() {
    if !has_prometheus() {
        return;
    }
    // Room for the next segment, however large, as soon as the filler is gone.
    let Some(mount) = Mount::new(mounts::EXT4.of_mib(160)) else { return };
    let folder = folder();
    let filler = mount.place.join("filler");
    let server = Server::ours(&mount.place.join("data"), &["--metrics-port", "0"]);
    let prometheus = Prometheus::start(folder.path(), server.metrics_port());
    prometheus.has_scraped(10);
    // Somebody else fills the disk.
    let mut file = File::create(&filler).unwrap();
    let piece = vec![1; 1 << 16];
    while file.write_all(&piece).is_ok() {}
    drop(file);
    let mut client = server.client();
    let value = "v".repeat(1 << 18);
    let full = (0..1000).find(|key| !client.call(&format!("SET key{key} {value}")).is_ok());
    let refused = full.expect("the disk is full");
    prometheus.wait_for("WalNotRunning");
    let (status, why) = get(prometheus.metrics_port, "/readyz");
    assert!(status == 503 && why.starts_with("no space"), "{status} {why}");

    fs::remove_file(&filler).unwrap();
    wait_until("the end of the alert", || !prometheus.firing().contains("WalNotRunning"));
    assert_eq!(get(prometheus.metrics_port, "/readyz").0, 200);
    assert!(client.call("SET after 1").is_ok());
    // What was answered before is there, and what was refused is not.
    server.kill_9();
    let server = Server::ours(&mount.place.join("data"), &[]);
    let mut client = server.client();
    let length = |client: &mut Client, key: u32| client.call(&format!("STRLEN key{key}"));
    for key in 0..refused {
        assert_eq!(length(&mut client, key), Answer::Integer(value.len() as i64), "key{key}");
    }
    assert_eq!(length(&mut client, refused), Answer::Integer(0));
    drop(server);
}
