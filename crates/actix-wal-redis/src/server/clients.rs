//! The clients that are connected, for `CLIENT LIST` and `CLIENT KILL`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::resp::Protocol;

/// What other clients may know of one. It is in the list as long as its [`Registered`] lives.
#[derive(Debug)]
pub struct Client {
    /// Its number, which no other client of this server has had.
    pub id: u64,
    /// Where it is.
    pub address: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// When it came.
    pub since: Instant,
    /// When something was read from it last. The connection sets it.
    pub active: Cell<Instant>,
    /// Whether what it has sent is being carried out. The connection sets it.
    pub is_served: Cell<bool>,
    /// Bytes that were read from it and not taken yet. The connection sets it.
    pub input: Cell<usize>,
    /// Bytes that it has not been given yet. The connection sets it.
    pub output: Cell<usize>,
    /// What it calls itself.
    pub name: RefCell<Bytes>,
    /// Name and version of its library, as it says.
    pub library: RefCell<[Bytes; 2]>,
    /// Its database.
    pub database: Cell<usize>,
    /// What it speaks.
    pub protocol: Cell<Protocol>,
    /// How many commands wait for its `EXEC`.
    pub queued: Cell<Option<usize>>,
    /// How many keys it watches.
    pub watched: Cell<usize>,
    /// Its last command.
    pub command: Cell<&'static str>,
    /// Cancelled when another client disconnects it.
    pub killed: CancellationToken,
}

type ById = RefCell<BTreeMap<u64, Rc<Client>>>;

/// All clients, by their numbers.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: Rc<ById>,
    /// The number of the last one.
    last: Cell<u64>,
}

/// A client that is in the list until this is dropped.
#[derive(Debug)]
pub struct Registered {
    client: Rc<Client>,
    of: Rc<ById>,
}

impl std::ops::Deref for Registered {
    type Target = Rc<Client>;

    fn deref(&self) -> &Rc<Client> {
        &self.client
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.of.borrow_mut().remove(&self.client.id);
    }
}

impl Clients {
    /// A client has come.
    pub fn register(&self, address: SocketAddr, local: SocketAddr) -> Registered {
        let (id, now) = (self.last.get() + 1, Instant::now());
        self.last.set(id);
        let client = Rc::new(Client {
            id,
            address,
            local,
            since: now,
            active: Cell::new(now),
            is_served: Cell::new(false),
            input: Cell::new(0),
            output: Cell::new(0),
            name: RefCell::default(),
            library: RefCell::default(),
            database: Cell::new(0),
            protocol: Cell::default(),
            queued: Cell::new(None),
            watched: Cell::new(0),
            command: Cell::new("NULL"),
            killed: CancellationToken::new(),
        });
        self.by_id.borrow_mut().insert(id, Rc::clone(&client));
        Registered { client, of: Rc::clone(&self.by_id) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in the order in which they came.
    pub fn all(&self) -> Vec<Rc<Client>> {
        self.by_id.borrow().values().cloned().collect()
    }
}
