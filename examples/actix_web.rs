//! Host: actix-web handlers on several workers. `POST /append` makes its body durable, `GET /records` shows the log.
//!
//! ```text
//! cargo run --example actix_web               # sends itself some requests, and ends
//! cargo run --example actix_web -- --serve    # curl -d hello http://127.0.0.1:8080/append
//! ```

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use actix_wal::{Lsn, Wal, WalConfig};
use actix_web::error::{ErrorInternalServerError, ErrorServiceUnavailable};
use actix_web::{App, HttpServer, web};

/// Answers when the record is durable. 503: it is certainly not in the log. 500: it may be.
async fn append(wal: web::Data<Wal>, record: web::Bytes) -> actix_web::Result<String> {
    let lsn = wal.commit(record).await.map_err(|error| match error.is_not_durable() {
        true => ErrorServiceUnavailable(error),
        false => ErrorInternalServerError(error),
    })?;
    Ok(format!("{lsn}\n"))
}

async fn records(wal: web::Data<Wal>) -> actix_web::Result<String> {
    let mut records = wal.read(Lsn::FIRST).await.map_err(ErrorInternalServerError)?;
    let mut page = String::new();
    while let Some(record) = records.next().await {
        let record = record.map_err(ErrorInternalServerError)?;
        page += &format!("{} {}\n", record.lsn, String::from_utf8_lossy(&record.payload));
    }
    Ok(page)
}

/// The body of the answer.
fn request(server: SocketAddr, what: &str, body: &str) -> std::io::Result<String> {
    let (mut stream, mut answer) = (TcpStream::connect(server)?, String::new());
    let length = body.len();
    write!(stream, "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")?;
    write!(stream, "Content-Length: {length}\r\n\r\n{body}")?;
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
}

fn ask(server: SocketAddr) -> std::io::Result<String> {
    let post = move |client| request(server, "POST /append", &format!("from client {client}"));
    let clients: Vec<_> = (0..20).map(|client| thread::spawn(move || post(client))).collect();
    let answers = clients.into_iter().map(|client| client.join().unwrap_or_else(|_| Ok("".into())));
    let lsns = answers.collect::<Result<Vec<_>, _>>()?;
    println!("{} clients have their answers", lsns.iter().filter(|lsn| !lsn.is_empty()).count());
    request(server, "GET /records", "")
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wal = Wal::open(WalConfig::new("target/actix-web-wal")).await?;
    let data = web::Data::new(wal.clone());
    let app = move || {
        let app = App::new().app_data(data.clone());
        app.route("/append", web::post().to(append)).route("/records", web::get().to(records))
    };
    let stays = std::env::args().any(|argument| argument == "--serve");
    let port = if stays { 8080 } else { 0 };
    let server = HttpServer::new(app).workers(2).bind(("127.0.0.1", port))?;
    let address = server.addrs()[0];
    let server = server.run();
    if stays {
        println!("listening on http://{address}");
        server.await?;
    } else {
        let handle = server.handle();
        actix::spawn(server);
        println!("{}", web::block(move || ask(address)).await??);
        handle.stop(true).await;
    }
    wal.close().await?;
    Ok(())
}
