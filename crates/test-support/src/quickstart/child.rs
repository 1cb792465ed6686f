//! The child of part two: commits, and reports every outcome through a pipe until it is killed.
//!
//! One outcome is one line and one `write` that nothing buffers. A pipe takes so little at once whole or
//! not at all, so the parent never sees half a line:
//!
//! ```text
//! A <client> <sequence> <LSN>   acknowledged: durable
//! N <client> <sequence>         certainly not in the log, now or ever
//! U <client> <sequence>         may or may not be in the log
//! R <restarts>                  of the Flusher, so far
//! ```

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process;
use std::rc::Rc;
use std::time::Duration;

use actix_wal::{OpenError, Wal};

use super::client::{self, Outcome};
use super::settings::Settings;

/// How often the child looks whether the Flusher was restarted.
const LOOK: Duration = Duration::from_millis(5);

/// Commits with all clients until it is killed, or the log takes nothing more. The clients have numbers
/// from `first_client` on.
pub fn run(settings: &Settings, directory: &Path, first_client: u64) -> Result<(), OpenError> {
    actix::System::new().block_on(commit(settings, directory, first_client))
}

async fn commit(settings: &Settings, directory: &Path, first: u64) -> Result<(), OpenError> {
    let wal = Wal::open(settings.config(directory)).await?;
    let pipe = Pipe::of_stdout();
    let clients: Vec<_> = (first..first + settings.clients)
        .map(|client| {
            let (wal, pipe, size) = (wal.clone(), pipe.clone(), settings.size);
            actix::spawn(client::run(wal, client, size, None, move |sequence, outcome, _| {
                pipe.report(client, sequence, &outcome);
            }))
        })
        .collect();
    actix::spawn(report_restarts(wal.clone(), pipe));
    for client in clients {
        // A client that panicked has said so on stderr; the parent misses its records.
        let _ = client.await;
    }
    if let Err(error) = wal.close().await {
        eprintln!("child: {error}");
    }
    Ok(())
}

async fn report_restarts(wal: Wal, pipe: Pipe) {
    let mut told = 0;
    loop {
        let restarts = wal.stats().restarts;
        if restarts > told {
            told = restarts;
            pipe.write(&format!("R {restarts}\n"));
        }
        actix::clock::sleep(LOOK).await;
    }
}

/// Standard output without the buffer that Rust puts before it.
#[derive(Clone)]
struct Pipe(Rc<RefCell<File>>);

impl Pipe {
    fn of_stdout() -> Self {
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(fd) => Pipe(Rc::new(RefCell::new(File::from(fd)))),
            Err(_) => give_up(),
        }
    }

    fn report(&self, client: u64, sequence: u64, outcome: &Outcome) {
        self.write(&match outcome {
            Outcome::Durable(lsn) => format!("A {client} {sequence} {lsn}\n"),
            Outcome::NotDurable(_) | Outcome::Refused(_) => format!("N {client} {sequence}\n"),
            Outcome::Unknown(_) => format!("U {client} {sequence}\n"),
        });
    }

    fn write(&self, line: &str) {
        if self.0.borrow_mut().write_all(line.as_bytes()).is_err() {
            give_up();
        }
    }
}

/// Nobody listens: the parent has gone.
fn give_up() -> ! {
    process::exit(3)
}
