//! A shell that runs one piece of script after the other, as the terminal of a reader does: variables and jobs stay.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long one piece may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The line that ends what a piece prints.
const END: &str = "the end of a piece of script:";

/// A `sh` in a group of its own. Dropping it kills the group, and so the servers that were started in it.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    /// A shell in a folder, with these variables beside those of the test.
    pub fn new(folder: &Path, variables: &[(&str, &str)]) -> Shell {
        let mut command = Command::new("sh");
        command.current_dir(folder).envs(variables.iter().copied()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("there is a shell");
        let mut input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                // Nobody reads on once the test has failed.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        // A reader sees both outputs in one place.
        writeln!(input, "exec 2>&1").expect("the shell reads");
        Shell { child, input, lines }
    }

    /// What it prints, and the status of its last command. An error is a shell that has ended, or takes too long.
    pub fn run(&mut self, script: &str) -> Result<(String, i32), String> {
        let wrapped =
            format!("{{\n{script}\n}} < /dev/null\nprintf '\\n%s %s\\n' '{END}' \"$?\"\n");
        self.input.write_all(wrapped.as_bytes()).map_err(|error| format!("the shell: {error}"))?;
        let (mut said, deadline) = (String::new(), Instant::now() + PATIENCE);
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line =
                line.map_err(|why| format!("the shell: {why} after\n{script}---\n{said}"))?;
            if let Some(status) = line.strip_prefix(END) {
                let status = status.trim().parse().map_err(|_| format!("no status: {line}"))?;
                return Ok((said.trim_end().to_owned() + "\n", status));
            }
            said.push_str(&line);
            said.push('\n');
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The group exists as long as the shell has not been waited for. The `kill` of dash takes no `--`.
        let kill = format!("kill -9 -{}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}
