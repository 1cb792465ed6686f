//! Guards P23 at one remove: `top` shows what a server and a directory say, on any terminal, and changes nothing.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use actix_wal::{Wal, WalConfig};
use support::{folder, json, run, walctl};

/// What a server says at its first and its second scrape, with these numbers of commits.
fn metrics(commits: u64, state: &str) -> String {
    let mut text = String::from("# TYPE wal_durable_lsn gauge\n# TYPE wal_commits_total counter\n");
    text += &format!("wal_durable_lsn{{log=\"orders\"}} {commits}\n");
    text += &format!(
        "wal_commits_total{{log=\"orders\",mode=\"group\",outcome=\"durable\"}} {commits}\n"
    );
    text += &format!("# TYPE wal_state gauge\nwal_state{{log=\"orders\",state=\"{state}\"}} 1\n");
    text += "# TYPE wal_sync_seconds histogram\n";
    for (bound, part) in [("0.001", 0), ("0.004", 1), ("+Inf", 1)] {
        text += &format!(
            "wal_sync_seconds_bucket{{log=\"orders\",le=\"{bound}\"}} {}\n",
            commits * part
        );
    }
    text + "wal_sync_seconds_sum{log=\"orders\"} 1\nwal_sync_seconds_count{log=\"orders\"} 1\n"
}

/// Answers so many requests, one after the other, and ends.
fn server(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).expect("a request");
            assert!(request[..read].starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    address
}

fn ok(body: String) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}")
}

#[test]
fn one_frame_of_a_server_shows_its_state_rates_and_stages() {
    let address = server(vec![ok(metrics(1000, "running")), ok(metrics(3000, "running"))]);
    let ended = run(walctl(["top", &address, "--once", "--interval", "0.5"]));
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let mut lines = ended.stdout.lines();
    assert!(lines.next().expect("a line").starts_with("orders  running"));
    let rate = lines.next().and_then(|line| line.split_whitespace().next()).expect("a rate");
    let rate: f64 = rate.parse().expect("a number");
    // 2,000 commits in half a second, or a little more on a slow machine.
    assert!(rate > 0.0 && rate <= 4000.0, "{}", ended.stdout);
    let sync = ended.stdout.lines().find(|line| line.starts_with("sync ")).expect("the stage");
    assert!(sync.contains("4.0 ms"), "{sync}");

    let address = server(vec![ok(metrics(1, "poisoned")), ok(metrics(1, "poisoned"))]);
    let (code, frame) = json(walctl(["top", &address, "--json", "--interval", "0.1"]));
    assert_eq!((code, frame["logs"][0]["log"].as_str()), (1, Some("orders")), "{frame}");
}

#[test]
fn an_address_without_such_a_server_is_refused_with_the_reason() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    for (address, reason) in [
        (free.to_string(), "no connection"),
        (server(vec!["220 mail ESMTP\r\n".to_owned()]), "no HTTP server"),
        (server(vec!["HTTP/1.1 404 Not Found\r\n\r\n".to_owned()]), "answers 404"),
        (server(vec![ok("up 1\n".to_owned())]), "no metrics of a log"),
        ("127.0.0.1:x".to_owned(), "No such file"),
    ] {
        let ended = run(walctl(["top", &address, "--once"]));
        assert!(ended.code == 3 && ended.stderr.contains(reason), "{address}: {}", ended.stderr);
    }
}

#[test]
fn one_frame_of_a_directory_shows_its_owner_and_how_far_it_has_come() {
    let folder = folder();
    let wal = Wal::open(WalConfig::new(folder.path())).blocking().expect("opens");
    for _ in 0..70 {
        wal.commit_blocking("a record").expect("durable");
    }
    let mut command = walctl(["top", "--once", "--interval", "0.1"]);
    command.arg(folder.path());
    let ended = run(command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let owner = format!("process {}", std::process::id());
    assert!(
        ended.stdout.contains(&owner) && ended.stdout.contains("LSN 70 last"),
        "{}",
        ended.stdout
    );
    wal.close_blocking().expect("closes");
}

#[test]
fn a_terminal_of_any_size_shows_frames_until_q_and_is_given_back() {
    let folder = folder();
    Wal::open(WalConfig::new(folder.path()))
        .blocking()
        .expect("opens")
        .close_blocking()
        .expect("closes");
    let program = env!("CARGO_BIN_EXE_walctl");
    let directory = folder.path().display();
    for (columns, rows) in [(20, 5), (1, 1), (200, 60)] {
        let inner = format!(
            "stty cols {columns} rows {rows}; '{program}' top '{directory}' --interval 0.05; echo \"ended $?\""
        );
        let mut script = Command::new("script");
        script.args(["-qefc", &inner, "/dev/null"]).env("TERM", "xterm");
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux is there");
        let mut stdin = child.stdin.take().expect("piped");
        let mut stdout = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            let _ = stdout.read_to_end(&mut seen);
            String::from_utf8_lossy(&seen).into_owned()
        });
        // The program may not listen yet: keys that come too early are read when it does.
        while child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(300));
            let _ = stdin.write_all(b"q");
        }
        let seen = reader.join().expect("read");
        assert!(seen.contains("\u{1b}[?1049h") && seen.contains("\u{1b}[?1049l"), "{seen:?}");
        assert!(seen.contains("ended 0") && !seen.contains("panicked"), "{seen:?}");
    }
}
