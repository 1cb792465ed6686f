//! A server whose disk fails: `strace` injects the faults.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::client::PATIENCE;
use super::program::Server;

/// Starts the server, and makes itself its tracer when it is told to. The parent of a process may do that on every system.
const TRACE_LATER: &str =
    r#""$@" & read go; exec strace -f -o "$TRACE" -e "trace=$CALL" -e "inject=$CALL:$FAULT" -p $!"#;

/// Whether `strace` is there, and may trace.
pub(crate) fn strace_works() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "inject=sync:error=EIO", "true"]);
    strace.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A server whose calls fail from the moment on at which it is told `go` and `strace` has attached.
pub(crate) fn start(
    directory: &Path,
    trace: &Path,
    (call, fault): (&str, &str),
    options: &[&str],
) -> Server {
    let (trace, call, fault) =
        (format!("TRACE={}", trace.display()), format!("CALL={call}"), format!("FAULT={fault}"));
    let before = ["env", &trace, &call, &fault, "sh", "-c", TRACE_LATER, "sh"];
    Server::ours_under(&before, directory, options)
}

/// From now on the calls fail.
pub(crate) fn begin(server: &mut Server) {
    server.tell("go\n");
    wait_until("strace", || server.words().contains("attached"));
}

/// # Panics
/// It takes too long.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: it takes too long");
        thread::sleep(Duration::from_millis(5));
    }
}
