//! A commit's life in `tracing`: the spans of the host around those of the log.
//!
//! The log has three spans, `wal.recover`, `wal.flush` and `wal.rotate`, and none for a single append: a million of them a
//! second would cost more than the log does. So a host that wants to follow a commit has a span of its own around it. What
//! ties the two together is the LSN: `wal.flush` names those that it makes durable.
//!
//! ```text
//! cargo run --example commit_life
//! ```

use actix_wal::{Wal, WalConfig};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A span is told when it ends, with the time in which it was at work (busy) and in which it waited (idle).
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_thread_names(true)
        .with_ansi(false)
        .with_writer(std::io::stdout)
        .init();

    let directory = std::env::temp_dir().join(format!("actix-wal-life-{}", std::process::id()));
    let wal = Wal::open(WalConfig::new(&directory)).await?;
    let clients = (1..=3).map(|client| {
        let span = info_span!("commit", client, lsn = Empty);
        actix::spawn(commit(wal.clone(), client).instrument(span))
    });
    for client in clients.collect::<Vec<_>>() {
        client.await??;
    }
    wal.close().await?;
    println!(
        "\nA `commit` was idle while the `wal.flush` with its LSN was busy: that is the write and the sync. The rest is\n\
         the way to the flush thread and back. Commits that came together share one flush."
    );
    Ok(std::fs::remove_dir_all(directory)?)
}

async fn commit(wal: Wal, client: u32) -> Result<(), actix_wal::CommitError> {
    let lsn = wal.commit(format!("from client {client}")).await?;
    Span::current().record("lsn", display(lsn));
    Ok(())
}
