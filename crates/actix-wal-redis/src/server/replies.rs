//! The bytes of replies, a piece at a time: a client that asks for much takes no more memory than one piece.

use std::collections::VecDeque;
use std::vec;

use bytes::{Bytes, BytesMut};

use crate::resp::{Protocol, Reply};

/// A piece is about as long as this; longer only by its last string.
const PIECE: usize = 64 << 10;

/// Replies that are to be written, in their order.
#[derive(Debug, Default)]
pub(super) struct Replies {
    queue: VecDeque<(Reply, Protocol)>,
    /// The arrays that are being written, the innermost last.
    open: Vec<vec::IntoIter<Reply>>,
    /// What they are written in.
    protocol: Protocol,
}

impl Replies {
    pub(super) fn push(&mut self, reply: Reply, protocol: Protocol) {
        self.queue.push_back((reply, protocol));
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        while piece.len() < PIECE
            && let Some(reply) = self.next_part()
        {
            self.open.extend(reply.begin(&mut piece, self.protocol));
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }

    fn next_part(&mut self) -> Option<Reply> {
        while let Some(innermost) = self.open.last_mut() {
            if let Some(part) = innermost.next() {
                return Some(part);
            }
            self.open.pop();
        }
        let (reply, protocol) = self.queue.pop_front()?;
        self.protocol = protocol;
        Some(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_replies_as_they_are_written_whole() {
        let long = Reply::bulk(vec![b'x'; PIECE / 3]);
        let many = Reply::Array(vec![Reply::Integer(7); 20_000]);
        let pair = (Reply::Status("a"), Reply::Array(vec![long.clone(), Reply::Null]));
        let replies = [
            (Reply::OK, Protocol::Resp2),
            (Reply::Array(vec![many.clone(), long, many]), Protocol::Resp2),
            (Reply::Map(vec![pair.clone(), pair]), Protocol::Resp3),
            (Reply::NullArray, Protocol::Resp3),
            (Reply::Array(Vec::new()), Protocol::Resp2),
        ];
        let (mut whole, mut pieces) = (BytesMut::new(), Replies::default());
        for (reply, protocol) in replies {
            reply.clone().write(&mut whole, protocol);
            pieces.push(reply, protocol);
        }
        let (mut together, mut count) = (BytesMut::new(), 0);
        while let Some(piece) = pieces.next() {
            assert!(piece.len() < 2 * PIECE, "{}", piece.len());
            together.extend_from_slice(&piece);
            count += 1;
        }
        assert_eq!(together, whole);
        assert!(count > 2, "it came in {count} pieces");
    }
}
