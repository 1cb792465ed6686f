//! Commands about the connection itself.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use subtle::ConstantTimeEq;

use super::{Session, needs_no_password};
use crate::commands::{quoting, wrong_number};
use crate::keyspace::DATABASES;
use crate::resp::{Protocol, Reply, Request, number};
use crate::server::Server;

/// The version of Redis that this server answers as.
pub(super) const VERSION: &str = "7.0.15";

const NO_PASSWORD: &str = "AUTH <password> called without any password configured for the default user. \
    Are you sure your configuration is correct?";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const HELLO_FIRST: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
    <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";

pub(super) fn bulk(bytes: &[u8]) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(bytes))
}

pub(super) fn ping(request: &Request) -> Reply {
    match request.len() {
        1 => Reply::Status("PONG"),
        2 => bulk(request.part(1)),
        _ => wrong_number("ping"),
    }
}

pub(super) fn time() -> Reply {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = |number: u64| Reply::bulk(number.to_string());
    Reply::Array(vec![text(now.as_secs()), text(now.subsec_micros().into())])
}

/// The number of a database, in Redis's words if it is none.
pub(super) fn database(text: &[u8]) -> Result<usize, Reply> {
    let id = number(text).ok_or_else(|| Reply::err("value is not an integer or out of range"))?;
    let id = i32::try_from(id).map_err(|_| {
        let (least, most) = (i32::MIN, i32::MAX);
        Reply::err(format_args!("value is out of range, value must between {least} and {most}"))
    })?;
    let index = usize::try_from(id).ok().filter(|index| *index < DATABASES);
    index.ok_or_else(|| Reply::err("DB index is out of range"))
}

impl Session {
    pub(super) fn select(&mut self, request: &Request) -> Result<Reply, Reply> {
        self.show(database(request.part(1))?);
        Ok(Reply::OK)
    }

    fn show(&mut self, database: usize) {
        self.database = database;
        self.client.database.set(database);
    }

    fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.protocol.set(protocol);
    }

    /// As it was when the client came.
    pub(super) fn reset(&mut self, server: &Server) -> Reply {
        self.end_multi();
        self.show(0);
        self.speak(Protocol::default());
        self.client.name.take();
        self.is_authenticated = needs_no_password(server);
        self.replies.on();
        Reply::Status("RESET")
    }

    pub(super) fn auth(&mut self, request: &Request, server: &Server) -> Result<Reply, Reply> {
        let (user, password): (&[u8], _) = match request.len() {
            2 if needs_no_password(server) => return Err(Reply::err(NO_PASSWORD)),
            2 => (b"default", request.part(1)),
            3 => (request.part(1), request.part(2)),
            _ => return Err(Reply::err("syntax error")),
        };
        self.authenticate(user, password, server)?;
        Ok(Reply::OK)
    }

    /// A client that gives a wrong password stays what it was.
    fn authenticate(&mut self, user: &[u8], password: &[u8], server: &Server) -> Result<(), Reply> {
        let settings = server.settings.borrow();
        // The time that this takes must not say how much of a password is right.
        let is_right = settings.password.as_bytes().ct_eq(password).into();
        if user != b"default" || !(settings.password.is_empty() || is_right) {
            return Err(Reply::Error(WRONG_PASSWORD.into()));
        }
        self.is_authenticated = true;
        Ok(())
    }

    pub(super) fn hello(&mut self, request: &Request, server: &Server) -> Result<Reply, Reply> {
        let protocol = match request.len() {
            1 => None,
            _ => Some(protocol(request.part(1))?),
        };
        // As in Redis, each option has its effect before the next one is looked at.
        let mut options = request.parts_from(2);
        while let Some(option) = options.next() {
            let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
            let more = options.len();
            match (options.next(), options.clone().next()) {
                (Some(user), Some(password)) if is("AUTH") && more >= 2 => {
                    self.authenticate(user, password, server)?;
                    options.next();
                }
                (Some(name), _) if is("SETNAME") => drop(self.set_name(name)?),
                _ => return Err(quoting("ERR Syntax error in HELLO option '", option, "'")),
            }
        }
        if !self.is_authenticated {
            return Err(Reply::Error(HELLO_FIRST.into()));
        }
        self.speak(protocol.unwrap_or(self.protocol));
        Ok(self.greeting())
    }

    fn greeting(&self) -> Reply {
        let protocol = match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let id = i64::try_from(self.client.id).unwrap_or(i64::MAX);
        let pairs = [
            ("server", Reply::bulk("redis")),
            ("version", Reply::bulk(VERSION)),
            ("proto", Reply::Integer(protocol)),
            ("id", Reply::Integer(id)),
            ("mode", Reply::bulk("standalone")),
            ("role", Reply::bulk("master")),
            ("modules", Reply::Array(Vec::new())),
        ];
        Reply::Map(pairs.map(|(key, value)| (Reply::bulk(key), value)).into())
    }
}

fn protocol(text: &[u8]) -> Result<Protocol, Reply> {
    match number(text) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(Reply::Error("NOPROTO unsupported protocol version".into())),
        None => Err(Reply::err("Protocol version is not an integer or out of range")),
    }
}
