//! `CLIENT`.

use std::fmt::Write;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::Session;
use super::library::lines;
use crate::commands::quoting;
use crate::resp::{Protocol, Reply, Request, number};
use crate::server::{Client, Server};

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Note the library of the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "HELP",
    "    Prints this help.",
];

fn syntax() -> Reply {
    Reply::err("syntax error")
}

fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

impl Session {
    pub(super) fn about_clients(
        &mut self,
        word: &str,
        request: &Request,
        server: &Server,
    ) -> Result<Reply, Reply> {
        match word {
            "id" => Ok(Reply::Integer(i64::try_from(self.client.id).unwrap_or(i64::MAX))),
            "getname" => {
                let name = self.client.name.borrow().clone();
                Ok(Reply::bulk_or_null(Some(name).filter(|name| !name.is_empty())))
            }
            "setname" => self.set_name(request.part(2)),
            "setinfo" => self.set_library(request),
            "info" => Ok(Reply::Verbatim(line(&self.client, Instant::now()).into())),
            "list" => list(request, server),
            "kill" => self.kill(request, server),
            "reply" => self.set_replies(request.part(2)),
            // Nothing is evicted here.
            "no-evict" if is(request.part(2), "ON") || is(request.part(2), "OFF") => Ok(Reply::OK),
            "no-evict" => Err(syntax()),
            _ => Ok(lines(HELP)),
        }
    }

    pub(super) fn set_name(&mut self, name: &[u8]) -> Result<Reply, Reply> {
        is_plain(name, "Client names cannot")?;
        self.client.name.replace(Bytes::copy_from_slice(name));
        Ok(Reply::OK)
    }

    fn set_library(&mut self, request: &Request) -> Result<Reply, Reply> {
        let (attribute, value) = (request.part(2), request.part(3));
        let (at, name) = match () {
            () if is(attribute, "LIB-NAME") => (0, "lib-name"),
            () if is(attribute, "LIB-VER") => (1, "lib-ver"),
            () => return Err(quoting("ERR Unrecognized option '", attribute, "'")),
        };
        is_plain(value, &format!("{name} cannot"))?;
        self.client.library.borrow_mut()[at] = Bytes::copy_from_slice(value);
        Ok(Reply::OK)
    }

    fn set_replies(&mut self, mode: &[u8]) -> Result<Reply, Reply> {
        match () {
            () if is(mode, "ON") => self.replies.on(),
            () if is(mode, "OFF") => self.replies.off(),
            () if is(mode, "SKIP") => self.replies.skip(),
            () => return Err(syntax()),
        }
        Ok(Reply::OK)
    }

    fn kill(&mut self, request: &Request, server: &Server) -> Result<Reply, Reply> {
        let is_old_form = request.len() == 3;
        let which = if is_old_form {
            let address = Some(request.part(2));
            Which { address, spares_own: false, ..Which::default() }
        } else {
            Which::read(request)?
        };
        let mut killed = 0;
        for client in server.clients.all() {
            let is_own = client.id == self.client.id;
            if !which.is_meant(&client) || (is_own && which.spares_own) {
                continue;
            }
            killed += 1;
            if is_own {
                // It is told how many there were.
                self.is_closing = true;
            } else {
                client.killed.cancel();
            }
        }
        match (is_old_form, killed) {
            (false, _) => Ok(Reply::Integer(killed)),
            (true, 0) => Err(Reply::err("No such client")),
            (true, _) => Ok(Reply::OK),
        }
    }
}

/// Names and the like may have no spaces, so that `CLIENT LIST` can be read.
fn is_plain(text: &[u8], what: &str) -> Result<(), Reply> {
    if text.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(Reply::err(format_args!("{what} contain spaces, newlines or special characters.")))
}

/// The clients that are to be disconnected.
#[derive(Debug)]
struct Which<'r> {
    id: Option<u64>,
    address: Option<&'r [u8]>,
    local: Option<&'r [u8]>,
    is_normal: bool,
    spares_own: bool,
}

impl Default for Which<'_> {
    fn default() -> Self {
        Which { id: None, address: None, local: None, is_normal: true, spares_own: true }
    }
}

impl<'r> Which<'r> {
    fn read(request: &'r Request) -> Result<Self, Reply> {
        let mut which = Which::default();
        let mut options = request.parts_from(2);
        while let Some(option) = options.next() {
            let value = options.next().ok_or_else(syntax)?;
            match () {
                () if is(option, "ID") => which.id = Some(id(value)?),
                () if is(option, "TYPE") => which.is_normal = is_normal(value)?,
                () if is(option, "ADDR") => which.address = Some(value),
                () if is(option, "LADDR") => which.local = Some(value),
                () if is(option, "USER") => {
                    if value != b"default" {
                        return Err(quoting("ERR No such user '", value, "'"));
                    }
                }
                () if is(option, "SKIPME") && is(value, "yes") => which.spares_own = true,
                () if is(option, "SKIPME") && is(value, "no") => which.spares_own = false,
                () => return Err(syntax()),
            }
        }
        Ok(which)
    }

    fn is_meant(&self, client: &Client) -> bool {
        let is = |wanted: Option<&[u8]>, address: std::net::SocketAddr| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.is_normal
            && self.id.is_none_or(|id| id == client.id)
            && is(self.address, client.address)
            && is(self.local, client.local)
    }
}

fn id(text: &[u8]) -> Result<u64, Reply> {
    let id = number(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
    id.ok_or_else(|| Reply::err("client-id should be greater than 0"))
}

/// All clients are normal ones. The other kinds exist, and have none.
fn is_normal(kind: &[u8]) -> Result<bool, Reply> {
    if is(kind, "normal") {
        return Ok(true);
    }
    if ["slave", "replica", "pubsub", "master"].iter().any(|other| is(kind, other)) {
        return Ok(false);
    }
    Err(quoting("ERR Unknown client type '", kind, "'"))
}

fn list(request: &Request, server: &Server) -> Result<Reply, Reply> {
    let mut clients = server.clients.all();
    match request.len() {
        2 => {}
        4 if is(request.part(2), "TYPE") => {
            if !is_normal(request.part(3))? {
                clients.clear();
            }
        }
        4.. if is(request.part(2), "ID") => clients = with_ids(request, &clients)?,
        _ => return Err(syntax()),
    }
    let now = Instant::now();
    let text: String = clients.iter().map(|client| line(client, now)).collect();
    Ok(Reply::Verbatim(text.into()))
}

/// In the order in which they are asked for, as in Redis.
fn with_ids(request: &Request, clients: &[Rc<Client>]) -> Result<Vec<Rc<Client>>, Reply> {
    let mut found = Vec::new();
    for text in request.parts_from(3) {
        let id = number(text).ok_or_else(|| Reply::err("Invalid client ID"))?;
        let client = u64::try_from(id).ok().and_then(|id| {
            let at = clients.binary_search_by_key(&id, |client| client.id).ok()?;
            clients.get(at)
        });
        found.extend(client.cloned());
    }
    Ok(found)
}

/// A client, as `CLIENT LIST` shows it. What this server does not measure is not there.
fn line(client: &Client, now: Instant) -> String {
    let mut line = String::new();
    let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        // To write to a `String` does not fail.
        let _ = write!(line, "{}{name}={value}", if name == "id" { "" } else { " " });
    };
    add("id", &client.id);
    add("addr", &client.address);
    add("laddr", &client.local);
    add("name", &text(&client.name.borrow()));
    add("age", &seconds(client.since));
    add("idle", &seconds(client.active.get()));
    add("flags", &if client.queued.get().is_some() { "x" } else { "N" });
    add("db", &client.database.get());
    add("sub", &0);
    add("psub", &0);
    add("ssub", &0);
    add(
        "multi",
        &client.queued.get().map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX)),
    );
    add("watch", &client.watched.get());
    add("qbuf", &client.input.get());
    add("omem", &client.output.get());
    add("cmd", &client.command.get());
    add("user", &"default");
    add("redir", &-1);
    add("resp", &if client.protocol.get() == Protocol::Resp3 { 3 } else { 2 });
    let [name, version] = &*client.library.borrow();
    add("lib-name", &text(name));
    add("lib-ver", &text(version));
    line.push('\n');
    line
}
