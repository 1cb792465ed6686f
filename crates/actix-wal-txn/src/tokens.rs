//! What clients ask after an answer that they did not get.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use actix_wal::Lsn;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A name that a client gives to its commit, which nobody else uses: a random number, or the number of the client with
/// one of its own. If it never gets an answer, it asks with this for the outcome, also after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(Bytes);

/// The bytes are too many for a [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has at most {} bytes, and this one has {length}: send a hash of it", Token::MAX)]
pub struct TokenTooLong {
    /// How many there are.
    pub length: usize,
}

impl Token {
    /// The most bytes that it may have.
    pub const MAX: usize = 64;

    /// A token of these bytes.
    ///
    /// # Errors
    /// They are too many. To cut them would make one token of two, and of two commits one.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, TokenTooLong> {
        let bytes = bytes.into();
        let length = bytes.len();
        if length <= Token::MAX { Ok(Token(bytes)) } else { Err(TokenTooLong { length }) }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What became of the commit with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It is durable, at this LSN.
    Committed(Lsn),
    /// It has been put into the log, and is not durable yet: ask again.
    Open,
    /// It is not in the log. No commit with this token was ever put in, or it failed.
    Aborted,
    /// Nobody knows any more: it may have committed before the oldest token that is remembered.
    Forgotten,
}

/// The tokens of the newest commits that have one.
#[derive(Debug)]
pub struct Tokens {
    committed: HashMap<Token, Lsn>,
    /// Oldest first.
    order: VecDeque<(Token, Lsn)>,
    open: HashSet<Token>,
    limit: usize,
    /// Whether one has been forgotten, or the log before the snapshot may have had some.
    has_forgotten: bool,
}

impl Tokens {
    /// Remembers so many. `complete` says that the log has been replayed from its very first record.
    pub fn new(limit: usize, complete: bool) -> Self {
        Tokens {
            committed: HashMap::new(),
            order: VecDeque::new(),
            open: HashSet::new(),
            limit,
            has_forgotten: !complete,
        }
    }

    /// A commit with this token has been put in. Whether no other has: if one has, it must not be put in again.
    pub fn put_in(&mut self, token: &Token) -> bool {
        !self.committed.contains_key(token) && self.open.insert(token.clone())
    }

    /// It is durable.
    pub fn committed(&mut self, token: Token, lsn: Lsn) {
        self.open.remove(&token);
        if let Entry::Vacant(unknown) = self.committed.entry(token.clone()) {
            unknown.insert(lsn);
            self.order.push_back((token, lsn));
        }
        while self.order.len() > self.limit
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.committed.remove(&oldest);
            self.has_forgotten = true;
        }
    }

    /// It is certainly not in the log.
    pub fn aborted(&mut self, token: &Token) {
        self.open.remove(token);
    }

    /// The oldest of those that committed behind one LSN and up to another: at most so many.
    pub fn committed_in(&self, behind: Lsn, through: Lsn, at_most: usize) -> Vec<(Token, Lsn)> {
        let first = self.order.partition_point(|(_, lsn)| *lsn <= behind);
        let these = self.order.range(first..).take_while(|(_, lsn)| *lsn <= through);
        these.take(at_most).cloned().collect()
    }

    /// Whether no token was ever forgotten: one that is not known has never committed.
    pub fn is_complete(&self) -> bool {
        !self.has_forgotten
    }

    /// What became of it.
    pub fn outcome(&self, token: &Token) -> TokenOutcome {
        match self.committed.get(token) {
            Some(lsn) => TokenOutcome::Committed(*lsn),
            None if self.open.contains(token) => TokenOutcome::Open,
            None if self.has_forgotten => TokenOutcome::Forgotten,
            None => TokenOutcome::Aborted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_is_forgotten_and_is_used_once() {
        let mut tokens = Tokens::new(2, true);
        let token = |at: u8| Token::new(vec![at]).unwrap();
        assert_eq!(tokens.outcome(&token(1)), TokenOutcome::Aborted);
        assert!(tokens.put_in(&token(1)) && !tokens.put_in(&token(1)));
        assert_eq!(tokens.outcome(&token(1)), TokenOutcome::Open);
        tokens.committed(token(1), Lsn::new(7));
        assert!(!tokens.put_in(&token(1)), "it has committed");
        tokens.put_in(&token(2));
        tokens.aborted(&token(2));
        assert_eq!(tokens.outcome(&token(2)), TokenOutcome::Aborted);

        tokens.committed(token(3), Lsn::new(8));
        assert_eq!(tokens.outcome(&token(1)), TokenOutcome::Committed(Lsn::new(7)));
        tokens.committed(token(4), Lsn::new(9));
        // From now on nobody can say of a token that it never was.
        assert_eq!(tokens.outcome(&token(1)), TokenOutcome::Forgotten);
        assert_eq!(tokens.outcome(&token(5)), TokenOutcome::Forgotten);
        assert_eq!(tokens.outcome(&token(4)), TokenOutcome::Committed(Lsn::new(9)));
    }

    #[test]
    fn tokens_are_given_out_in_pieces_oldest_first_and_without_those_that_came_later() {
        let mut tokens = Tokens::new(4, true);
        let token = |at: u8| Token::new(vec![at]).unwrap();
        for at in 1..=6 {
            tokens.committed(token(at), Lsn::new(10 * u64::from(at)));
        }
        let lsns = |behind, through, at_most| {
            let piece = tokens.committed_in(Lsn::new(behind), Lsn::new(through), at_most);
            piece.iter().map(|(_, lsn)| lsn.get()).collect::<Vec<_>>()
        };
        assert_eq!(lsns(0, 50, 2), [30, 40], "the oldest two are forgotten");
        assert_eq!(lsns(40, 50, 2), [50]);
        assert_eq!(lsns(50, 50, 2), []);
        assert!(!tokens.is_complete());
    }

    #[test]
    fn without_the_whole_log_an_unknown_token_is_forgotten() {
        assert_eq!(
            Tokens::new(2, false).outcome(&Token::new("t").unwrap()),
            TokenOutcome::Forgotten
        );
    }

    #[test]
    fn a_token_that_is_too_long_is_refused_and_not_cut() {
        assert!(Token::new(vec![7; Token::MAX]).is_ok());
        let refused = Token::new(vec![7; 65]).unwrap_err();
        assert!(
            refused.to_string().starts_with("a token has at most 64 bytes, and this one has 65")
        );
    }
}
