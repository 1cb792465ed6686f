//! Two servers that get the same script, step by step, and the comparison of what they answer.

use std::fmt;
use std::thread;
use std::time::Duration;

use crate::agree::{agree, agree_on_all};
use crate::script::{CONNECTIONS, Sent, Step};
use crate::support::answer::{Answer, elements, shown};
use crate::support::client::{Client, PATIENCE, inline, is_end, request};
use crate::support::program::Server;
use crate::words::{Parts, line, own};

/// How long a key lives whose time is to pass.
const SHORT: Duration = Duration::from_millis(100);

/// A server, and its clients.
#[derive(Debug)]
struct Side {
    server: Server,
    clients: Vec<Client>,
}

impl Side {
    /// Sends requests, and reads as many replies; fewer if the connection is closed.
    fn exchange(&mut self, connection: usize, bytes: &[u8], replies: usize) -> Vec<Vec<u8>> {
        let client = &mut self.clients[connection];
        let mut writer = client.stream().try_clone().expect("a socket");
        thread::scope(|scope| {
            // A server may stop to read until its answers are read.
            let is_long = bytes.len() > 32 << 10;
            let mut write = move || match std::io::Write::write_all(&mut writer, bytes) {
                Err(error) if !is_end(&error) => panic!("it can not be sent: {error}"),
                _ => {}
            };
            if is_long {
                scope.spawn(write);
            } else {
                write();
            }
            let reply = |_| match client.reply() {
                Ok(reply) => Some(reply),
                Err(error) if is_end(&error) => None,
                Err(error) => panic!("{}: no reply: {error}", self.server.words()),
            };
            (0..replies).map_while(reply).collect()
        })
    }

    fn call(&mut self, connection: usize, parts: &[Vec<u8>]) -> Vec<u8> {
        self.exchange(connection, &request(parts), 1).pop().unwrap_or_default()
    }

    fn reconnect(&mut self, connection: usize) {
        self.clients[connection] = self.server.client();
    }

    fn authenticate(&mut self, connection: usize, password: Option<&str>) {
        if let Some(password) = password {
            assert_eq!(self.call(connection, &[own("AUTH"), own(password)]), b"+OK\r\n");
        }
    }

    /// All keys that the pieces of a `SCAN` have, or the first answer that is none.
    fn scan(&mut self, connection: usize, options: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
        let (mut cursor, mut found) = (own("0"), Vec::new());
        loop {
            let parts = [&[own("SCAN"), cursor][..], options].concat();
            let reply = self.call(connection, &parts);
            let pieces = elements(&reply).unwrap_or_default();
            let &[next, keys] = &pieces[..] else {
                return Err(reply);
            };
            found.extend(elements(keys).expect("keys").into_iter().map(<[u8]>::to_vec));
            match Answer::of(next) {
                Answer::Bulk(next) if next == b"0" => break,
                Answer::Bulk(next) => cursor = next,
                other => panic!("a cursor: {other:?}"),
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// What a script has come to, so that one that tries nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answers: usize,
    pub(crate) errors: usize,
    pub(crate) executed: usize,
    pub(crate) not_executed: usize,
}

/// Two answers that differ.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) position: usize,
    what: String,
    ours: String,
    theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { position, what, ours, theirs } = self;
        write!(f, "step {position}: {what}\n  ours:   {ours}\n  theirs: {theirs}")
    }
}

/// Both servers.
#[derive(Debug)]
pub(crate) struct Pair {
    ours: Side,
    theirs: Side,
    /// What each connection has put into its transaction, while it has one.
    queued: Vec<Option<Vec<Parts>>>,
    /// What the second server gets instead of a request, for tests of the comparison.
    twist: fn(&Parts) -> Option<Parts>,
    password: Option<&'static str>,
    tally: Tally,
}

impl Pair {
    pub(crate) fn new(ours: Server, theirs: Server) -> Pair {
        let side = |server| Side { server, clients: Vec::new() };
        let twist = |_: &Parts| None;
        let (ours, theirs) = (side(ours), side(theirs));
        let (queued, tally) = (Vec::new(), Tally::default());
        Pair { ours, theirs, queued, twist, password: None, tally }
    }

    /// Both have this password.
    pub(crate) fn with_password(mut self, password: &'static str) -> Pair {
        self.password = Some(password);
        self
    }

    pub(crate) fn password(&self) -> Option<&'static str> {
        self.password
    }

    pub(crate) fn twisted(mut self, twist: fn(&Parts) -> Option<Parts>) -> Pair {
        self.twist = twist;
        self
    }

    /// Both servers get the whole script, from an empty state on.
    pub(crate) fn run(&mut self, script: &[Step]) -> Result<Tally, Difference> {
        for side in [&mut self.ours, &mut self.theirs] {
            side.clients = (0..CONNECTIONS).map(|_| side.server.client()).collect();
            side.authenticate(0, self.password);
            assert_eq!(side.call(0, &[own("FLUSHALL")]), b"+OK\r\n");
        }
        self.queued = vec![None; CONNECTIONS];
        self.tally = Tally::default();
        for (position, step) in script.iter().enumerate() {
            self.step(step).map_err(|difference| Difference { position, ..difference })?;
        }
        self.compare_all().map_err(|it| Difference { position: script.len(), ..it })?;
        Ok(self.tally)
    }

    fn step(&mut self, step: &Step) -> Result<(), Difference> {
        match step {
            Step::Send(connection, sent) => self.send(*connection, sent),
            Step::Swap(connection, sent) => self.swap(*connection, sent),
            Step::Scan(connection, options) => self.scan(*connection, options),
            Step::RandomKey(connection) => self.random_key(*connection),
            Step::Garbage(connection, bytes) => self.garbage(*connection, bytes),
            Step::Expire { setter, watcher, key, meets } => {
                self.expire(*setter, *watcher, key, *meets)
            }
        }
    }

    fn send(&mut self, connection: usize, sent: &[Sent]) -> Result<(), Difference> {
        let bytes = |twist: fn(&Parts) -> Option<Parts>| -> Vec<u8> {
            let one = |sent: &Sent| {
                let parts = twist(&sent.parts).unwrap_or_else(|| sent.parts.clone());
                if sent.inline { inline(&parts) } else { request(&parts) }
            };
            sent.iter().flat_map(one).collect()
        };
        let ours = self.ours.exchange(connection, &bytes(|_| None), sent.len());
        let theirs = self.theirs.exchange(connection, &bytes(self.twist), sent.len());
        for (at, Sent { parts, .. }) in sent.iter().enumerate() {
            let (ours, theirs) = (ours.get(at), theirs.get(at));
            let (Some(ours), Some(theirs)) = (ours, theirs) else {
                if ours.is_none() && theirs.is_none() {
                    self.reconnect(connection);
                    break;
                }
                let show = |it: Option<&Vec<u8>>| it.map_or(own("(closed)"), Clone::clone);
                return Err(difference(parts, &show(ours), &show(theirs)));
            };
            self.compare(connection, parts, ours, theirs)?;
        }
        if sent.iter().any(|sent| sent.parts[0].eq_ignore_ascii_case(b"QUIT")) {
            self.reconnect(connection);
        }
        Ok(())
    }

    /// See [`Step::Swap`].
    fn swap(&mut self, connection: usize, sent: &Sent) -> Result<(), Difference> {
        if self.queued[connection].is_some() {
            return Ok(());
        }
        self.send(connection, std::slice::from_ref(sent))?;
        for connection in 0..CONNECTIONS {
            if self.queued[connection].is_none() {
                self.same(connection, &line("MULTI"))?;
            }
            self.same(connection, &line("PING"))?;
            self.same(connection, &line("EXEC"))?;
        }
        Ok(())
    }

    /// Compares two answers, and notes what they mean for the transaction of this connection.
    fn compare(
        &mut self,
        connection: usize,
        parts: &Parts,
        ours: &[u8],
        theirs: &[u8],
    ) -> Result<(), Difference> {
        let name = parts[0].to_ascii_uppercase();
        let queued = &mut self.queued[connection];
        self.tally.answers += 1;
        self.tally.errors += usize::from(theirs[0] == b'-');
        let is_same = match queued {
            Some(all) if name == b"EXEC" && theirs[0] != b'-' => {
                let is_array = elements(theirs).is_some();
                self.tally.executed += usize::from(is_array && !all.is_empty());
                self.tally.not_executed += usize::from(!is_array);
                agree_on_all(all, ours, theirs)
            }
            // What is put into a transaction is answered in another way than what is executed.
            Some(_) if ours == theirs => true,
            _ => agree(parts, ours, theirs),
        };
        match (&*name, queued.as_mut()) {
            (_, Some(all)) if theirs == b"+QUEUED\r\n" => all.push(parts.clone()),
            (b"DISCARD", Some(_)) if parts.len() == 1 => *queued = None,
            // Also one with arguments ends the transaction, with an error.
            (b"EXEC", Some(_)) => *queued = None,
            (b"RESET", _) if theirs[0] == b'+' => *queued = None,
            (b"MULTI", None) if theirs[0] == b'+' => *queued = Some(Vec::new()),
            _ => {}
        }
        if is_same { Ok(()) } else { Err(difference(parts, ours, theirs)) }
    }

    fn reconnect(&mut self, connection: usize) {
        self.ours.reconnect(connection);
        self.theirs.reconnect(connection);
        self.queued[connection] = None;
    }

    /// New connections that may do everything.
    fn begin_again(&mut self, connection: usize) {
        self.reconnect(connection);
        self.ours.authenticate(connection, self.password);
        self.theirs.authenticate(connection, self.password);
    }

    /// The same request to both, and their answers.
    fn both(&mut self, connection: usize, parts: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        (self.ours.call(connection, parts), self.theirs.call(connection, parts))
    }

    fn same(&mut self, connection: usize, parts: &Parts) -> Result<(), Difference> {
        let (ours, theirs) = self.both(connection, parts);
        self.compare(connection, parts, &ours, &theirs)
    }

    fn scan(&mut self, connection: usize, options: &Parts) -> Result<(), Difference> {
        if self.queued[connection].is_some() {
            return self.same(connection, &[&line("SCAN 0")[..], options].concat());
        }
        let (ours, theirs) =
            (self.ours.scan(connection, options), self.theirs.scan(connection, options));
        if ours == theirs {
            return Ok(());
        }
        let flat = |it: Result<Vec<Vec<u8>>, Vec<u8>>| it.map_or_else(|it| it, |it| it.concat());
        Err(difference(&[&line("SCAN ...")[..], options].concat(), &flat(ours), &flat(theirs)))
    }

    /// Each key has to be one that the other server has too.
    fn random_key(&mut self, connection: usize) -> Result<(), Difference> {
        let parts = line("RANDOMKEY");
        if self.queued[connection].is_some() {
            return self.same(connection, &parts);
        }
        let (ours, theirs) = self.both(connection, &parts);
        if ours == theirs {
            return Ok(());
        }
        let mut has = |side: bool, reply: &[u8]| {
            let Answer::Bulk(key) = Answer::of(reply) else { return false };
            let side = if side { &mut self.ours } else { &mut self.theirs };
            side.call(connection, &[own("EXISTS"), key]) == b":1\r\n"
        };
        let is_same = has(true, &theirs) && has(false, &ours);
        if is_same { Ok(()) } else { Err(difference(&parts, &ours, &theirs)) }
    }

    /// All that comes until the connection is closed.
    fn garbage(&mut self, connection: usize, bytes: &[u8]) -> Result<(), Difference> {
        let all = |side: &mut Side| {
            // What may be the begin of a request is not one that waits for its rest.
            let replies = side.exchange(connection, &[bytes, b"\r\n\r\n"].concat(), 0);
            assert!(replies.is_empty());
            side.clients[connection].end();
            side.exchange(connection, b"", usize::MAX)
        };
        let (ours, theirs) = (all(&mut self.ours), all(&mut self.theirs));
        self.reconnect(connection);
        let is_same = ours == theirs;
        let show = |it: &[Vec<u8>]| it.concat();
        if is_same {
            Ok(())
        } else {
            Err(difference(&[bytes.to_vec()], &show(&ours), &show(&theirs)))
        }
    }

    /// See [`Step::Expire`].
    fn expire(
        &mut self,
        setter: usize,
        watcher: usize,
        key: &[u8],
        meets: bool,
    ) -> Result<(), Difference> {
        for connection in [setter, watcher] {
            self.begin_again(connection);
        }
        let short = own(&SHORT.as_millis().to_string());
        self.same(setter, &vec![own("SET"), key.to_vec(), own("v"), own("PX"), short])?;
        self.same(watcher, &vec![own("WATCH"), key.to_vec()])?;
        let (ours, theirs) = self.both(watcher, &[own("PTTL"), key.to_vec()]);
        thread::sleep(SHORT + Duration::from_millis(20));
        // On a machine that is busy the time may have passed before the key was watched: that has another end.
        if [ours, theirs].iter().any(|left| left.starts_with(b":-")) {
            return Ok(());
        }
        if meets {
            self.same(setter, &vec![own("EXISTS"), key.to_vec()])?;
        }
        for parts in [line("MULTI"), vec![own("GET"), key.to_vec()], line("EXEC")] {
            self.same(watcher, &parts)?;
        }
        self.same(watcher, &vec![own("GET"), key.to_vec()])
    }

    /// All keys of all databases, their values and their times.
    fn compare_all(&mut self) -> Result<(), Difference> {
        self.begin_again(0);
        for database in 0..16 {
            self.same(0, &line(&format!("SELECT {database}")))?;
            self.same(0, &line("KEYS *"))?;
            self.same(0, &line("DBSIZE"))?;
            let keys = self.theirs.call(0, &line("KEYS *"));
            for key in elements(&keys).expect("keys") {
                let Answer::Bulk(key) = Answer::of(key) else { panic!("a key") };
                self.same(0, &vec![own("GET"), key.clone()])?;
                self.same(0, &vec![own("PTTL"), key.clone()])?;
                self.same(0, &line("OBJECT ENCODING").into_iter().chain([key]).collect())?;
            }
        }
        Ok(())
    }
}

fn difference(parts: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Difference {
    let words: Vec<_> = parts.iter().map(|part| shown(part)).collect();
    let (ours, theirs) = (shown(ours), shown(theirs));
    Difference { position: 0, what: words.join(" "), ours, theirs }
}

const _: () = assert!(PATIENCE.as_millis() > 10 * SHORT.as_millis());
