//! Requests that can not be read.

use super::Reply;

/// A request that can not be read. The client is told, and the connection is closed: where the next request begins is
/// unknown. The texts are those of Redis 7.0, but for the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A line without an end.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// A line in which a quote is not closed, or in which an argument goes on behind the closing quote.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The number of arguments has no end.
    #[error("Protocol error: too big mbulk count string")]
    TooBigCount,
    /// The number of arguments is no number, or above the limit.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// More arguments than a client may send before its password.
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangersCount,
    /// The length of an argument has no end.
    #[error("Protocol error: too big bulk count string")]
    TooBigLength,
    /// Where an argument has to begin stands this byte.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NoArgument(u8),
    /// The length of an argument is no number, negative, or above the limit.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// An argument longer than a client may send before its password.
    #[error("Protocol error: unauthenticated bulk length")]
    StrangersLength,
    /// All bytes of the request together are above the limit. Redis closes such a connection without a word.
    #[error("Protocol error: too big request")]
    TooBigRequest,
}

impl ProtocolError {
    /// What the client is told. A byte of its own is given back as it came, also one that is no text.
    pub fn reply(&self) -> Reply {
        match self {
            ProtocolError::NoArgument(got) => {
                let before: &[u8] = b"ERR Protocol error: expected '$', got '";
                Reply::RawError([before, &[*got], b"'"].concat().into())
            }
            other => Reply::err(other),
        }
    }
}
