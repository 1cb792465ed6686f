//! The endpoint for scrapes, on a thread and in a System of its own.
//!
//! It listens on loopback alone. Everything about it is bounded: connections, the time of a request, and the answer, which
//! the kernel takes whole, so that a client that does not read keeps no place.

use std::any::Any;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::{App, HttpResponse, HttpServer, web};
use rustix::net::sockopt;

use super::{Exporter, Readiness};

/// How many clients are served at once; others wait in the backlog.
const CONNECTIONS: u16 = 64;
const BACKLOG: u32 = 128;
/// How long a client may take for its request.
const REQUEST: Duration = Duration::from_secs(2);
/// How long the kernel keeps what a client does not take, in milliseconds.
const UNREAD: u32 = 5_000;
/// A whole answer fits into the buffer of its socket: a scrape takes about 40 KiB.
const ANSWER: usize = 256 << 10;
/// How much its threads yield to others, see nice(2).
const NICE: i32 = 10;
/// How often the recorder sorts what it has.
const UPKEEP: Duration = Duration::from_secs(1);
/// What Prometheus asks for.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `/metrics`, `/healthz` and `/readyz` until it is stopped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    readiness: Readiness,
    server: ServerHandle,
    thread: JoinHandle<()>,
}

impl Endpoint {
    /// How many descriptors it takes at most: its clients, the listener, and what its runtimes need.
    pub(crate) const DESCRIPTORS: usize = CONNECTIONS as usize + 32;

    /// Installs the recorder of this process and answers on this port of 127.0.0.1; 0 takes any that is free.
    ///
    /// # Errors
    /// The port is taken, the process has a recorder, or there is no thread.
    pub fn start(port: u16) -> io::Result<Endpoint> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let (recorder, exporter) = Exporter::new().map_err(io::Error::other)?;
        metrics::set_global_recorder(recorder).map_err(io::Error::other)?;
        let readiness = Readiness::watched();
        let (started, starts) = channel();
        let shown = readiness.clone();
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || run(listener, exporter, shown, started))?;
        let server = starts.recv().map_err(io::Error::other)??;
        Ok(Endpoint { address, readiness, server, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server has to keep up to date.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Answers what has been asked, and ends.
    pub async fn stop(self) {
        self.server.stop(true).await;
        // The thread has nothing left to do. It has panicked only if the runtime has.
        let _ = self.thread.join();
    }
}

/// The thread: it serves until it is stopped.
fn run(
    listener: TcpListener,
    exporter: Exporter,
    readiness: Readiness,
    started: Sender<io::Result<ServerHandle>>,
) {
    // On Linux this is about this thread and those that it starts: scrapes get what commits leave of the processors.
    let _ = rustix::process::nice(NICE);
    actix::System::new().block_on(async move {
        let upkeep = exporter.clone();
        let upkeep = actix::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP);
            loop {
                ticks.tick().await;
                upkeep.upkeep();
            }
        });
        let app = move || {
            App::new()
                .app_data(web::Data::new(exporter.clone()))
                .app_data(web::Data::new(readiness.clone()))
                .service(web::resource("/metrics").get(metrics))
                .service(web::resource("/healthz").get(healthz))
                .service(web::resource("/readyz").get(readyz))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .max_connections(CONNECTIONS.into())
            .backlog(BACKLOG)
            .keep_alive(KeepAlive::Disabled)
            .client_request_timeout(REQUEST)
            .client_disconnect_timeout(REQUEST)
            .on_connect(bound)
            // The server of clients handles signals, and this one ends after it.
            .disable_signals()
            .shutdown_timeout(1)
            .listen(listener);
        let server = match server {
            Ok(server) => server.run(),
            Err(error) => return drop(started.send(Err(error))),
        };
        if started.send(Ok(server.handle())).is_err() {
            return;
        }
        if let Err(error) = server.await {
            tracing::error!(%error, "the endpoint for metrics has ended");
        }
        upkeep.abort();
    });
}

/// Bounds what a client can hold that does not read its answer.
fn bound(connection: &dyn Any, _: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
        // Where the system has not got them, the answer takes its time.
        let _ = sockopt::set_socket_send_buffer_size(stream, ANSWER);
        let _ = sockopt::set_tcp_user_timeout(stream, UNREAD);
    }
}

async fn metrics(exporter: web::Data<Exporter>, readiness: web::Data<Readiness>) -> HttpResponse {
    // It waits for no disk and no actor.
    readiness.publish();
    HttpResponse::Ok().content_type(TEXT).body(exporter.render())
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body("alive\n")
}

async fn readyz(readiness: web::Data<Readiness>) -> HttpResponse {
    match readiness.check() {
        Ok(()) => HttpResponse::Ok().content_type(TEXT).body("ready\n"),
        Err(why) => HttpResponse::ServiceUnavailable().content_type(TEXT).body(why + "\n"),
    }
}
