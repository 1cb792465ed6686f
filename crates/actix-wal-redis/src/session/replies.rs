//! `CLIENT REPLY`: which answers a client wants.

/// Which answers a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replies {
    is_off: bool,
    /// The next request is not answered.
    skips_next: bool,
    /// This one is not.
    is_muted: bool,
}

impl Replies {
    /// Another request has come.
    pub(super) fn next(&mut self) {
        self.is_muted = self.is_off || std::mem::take(&mut self.skips_next);
    }

    /// Whether this request is not answered.
    pub(super) fn is_muted(self) -> bool {
        self.is_muted
    }

    pub(super) fn on(&mut self) {
        *self = Replies::default();
    }

    pub(super) fn off(&mut self) {
        *self = Replies { is_off: true, skips_next: false, is_muted: true };
    }

    pub(super) fn skip(&mut self) {
        if !self.is_off {
            *self = Replies { is_off: false, skips_next: true, is_muted: true };
        }
    }

    /// The same for the requests behind this one, which is answered as it was to be before.
    pub(super) fn answering_as(self, before: Replies) -> Self {
        Replies { is_muted: before.is_muted, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_mutes_until_on_and_skip_mutes_the_next_one_too() {
        let mut replies = Replies::default();
        replies.next();
        assert!(!replies.is_muted());
        replies.skip();
        assert!(replies.is_muted(), "the command itself");
        replies.next();
        assert!(replies.is_muted(), "the next one");
        replies.next();
        assert!(!replies.is_muted(), "and no other");
        replies.off();
        assert!(replies.is_muted());
        replies.next();
        replies.skip();
        assert!(replies.is_muted(), "to skip changes nothing then");
        replies.next();
        replies.next();
        assert!(replies.is_muted());
        replies.on();
        assert!(!replies.is_muted(), "the command that turns them on is answered");
    }
}
