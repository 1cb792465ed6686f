//! The server as a program. `actix-wal-redis --help` says what it takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use actix_wal::Durability;
use actix_wal_redis::metrics::{Endpoint, Readiness};
use actix_wal_redis::server::{Listening, ServerError, Settings};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

// A server allocates for each request, and frees in another order: that of the C library takes a sixth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server of strings and transactions that Redis clients accept. Each OK is durable: it survives `kill -9` and power loss.
///
/// It speaks RESP2, RESP3 and inline commands; strings, keys, expiry, 16 databases, MULTI, EXEC and WATCH. Ctrl-C or
/// SIGTERM ends it: what has been asked is answered, and the log is closed.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  actix-wal-redis --port 7379 --dir /var/lib/actix-wal-redis\n  redis-cli -p 7379 set greeting hello"
)]
struct Options {
    /// The port; 0 takes any that is free, and says which.
    #[arg(long, default_value_t = 7379)]
    port: u16,
    /// The address. Any but a loopback one needs a password.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The directory of log and snapshots. It is made if it is missing.
    #[arg(long, default_value = "actix-wal-redis-data")]
    dir: PathBuf,
    /// When a change is answered.
    #[arg(long, value_enum, default_value_t = When::Group)]
    durability: When,
    /// How many clients may be connected.
    #[arg(long, default_value_t = 10_000)]
    maxclients: usize,
    /// How much memory keys and values may take, such as 500mb or 4gb; 0 is no limit. Past it the commands are refused that
    /// Redis refuses: those that may make the data larger.
    #[arg(long, default_value = "0", value_parser = Settings::parse_memory)]
    maxmemory: usize,
    /// What clients have to send first, with AUTH. Better in the environment, where others do not see it.
    #[arg(long, env = "ACTIX_WAL_REDIS_PASSWORD", default_value = "", hide_env_values = true)]
    requirepass: String,
    /// The port of 127.0.0.1 for `/metrics`, `/healthz` and `/readyz`; 0 takes any that is free, and says which. Without it
    /// there is none.
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// When it is durable, and its batch is flushed at once.
    Synchronous,
    /// When it is durable, together with those of others.
    Group,
    /// At once. A crash may lose the last moments.
    Async,
}

impl From<When> for Durability {
    fn from(when: When) -> Self {
        match when {
            When::Synchronous => Durability::Synchronous,
            When::Group => Durability::GroupCommit,
            When::Async => Durability::Async,
        }
    }
}

impl From<Options> for Settings {
    fn from(options: Options) -> Self {
        Settings {
            address: SocketAddr::new(options.bind, options.port),
            durability: options.durability.into(),
            max_clients: options.maxclients,
            max_memory: options.maxmemory,
            password: options.requirepass,
            ..Settings::in_directory(options.dir)
        }
    }
}

#[actix::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    // A standard error that can not be written, such as a file on a full disk, must not end the thread that warns.
    log.log_internal_errors(false).with_max_level(tracing::Level::WARN).init();
    match serve(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actix-wal-redis: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is opened: a signal meanwhile must not leave the log without its end.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Before the log is opened: it answers while that is recovered, and the log finds its recorder.
    let endpoint = options.metrics_port.map(start_endpoint).transpose()?;
    let readiness = endpoint.as_ref().map_or_else(Readiness::default, Endpoint::readiness);
    let listening = tokio::select! {
        listening = Listening::start(options.into(), readiness) => listening?,
        // Recovery may be long. It ends between two frames, and has changed nothing that the next start needs.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let stop = listening.stopper();
    actix::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop();
    });
    println!("{}", listening.recovered());
    println!("ready on {}", listening.address()?);
    let served = listening.serve().await;
    if let Some(endpoint) = endpoint {
        endpoint.stop().await;
    }
    let durable = served.map_err(|error: ServerError| error)?;
    println!("closed at LSN {durable}");
    Ok(())
}

fn start_endpoint(port: u16) -> Result<Endpoint, String> {
    let endpoint = Endpoint::start(port);
    let endpoint = endpoint.map_err(|error| format!("no metrics on 127.0.0.1:{port}: {error}"))?;
    println!("metrics on {}", endpoint.address());
    Ok(endpoint)
}
