//! Patterns for keys, as Redis's `stringmatchlen` reads them.

/// What a pattern begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'p> {
    /// It takes one byte of the string, and goes on so.
    Taken(&'p [u8]),
    /// It does not take that byte.
    Refused,
}

/// Whether the string matches the pattern. After `*`, only the last one is tried again, so that the time is at most that of the
/// product of both lengths: an earlier one would only leave less for what has failed to match.
pub(super) fn matches(pattern: &[u8], string: &[u8]) -> bool {
    let (mut pattern, mut string) = (pattern, string);
    // What stands behind the last `*`, and from where on it was tried.
    let mut last: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, string) {
            ([], []) => return true,
            ([b'*', behind @ ..], [_, ..]) => {
                pattern = without_stars(behind);
                if pattern.is_empty() {
                    return true;
                }
                last = Some((pattern, string));
                continue;
            }
            ([_, ..], [first, ..]) => step(pattern, *first),
            _ => Step::Refused,
        };
        if let (Step::Taken(behind), [_, rest @ ..]) = (step, string) {
            (pattern, string) = (behind, rest);
            if string.is_empty() {
                // An empty string that is there from the beginning does not come here: in Redis, `**` does not match it.
                pattern = without_stars(pattern);
            }
            continue;
        }
        match &mut last {
            Some((behind, [_, rest @ ..])) if !rest.is_empty() => {
                (pattern, string) = (behind, rest);
                last = Some((pattern, string));
            }
            _ => return false,
        }
    }
}

fn without_stars(pattern: &[u8]) -> &[u8] {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    &pattern[stars..]
}

fn step(pattern: &[u8], byte: u8) -> Step<'_> {
    let taken = |is_taken, behind| if is_taken { Step::Taken(behind) } else { Step::Refused };
    match pattern {
        [b'?', behind @ ..] => Step::Taken(behind),
        [b'[', behind @ ..] => {
            let (is_in, behind) = class(behind, byte);
            taken(is_in, behind)
        }
        [b'\\', escaped, behind @ ..] => taken(*escaped == byte, behind),
        [plain, behind @ ..] => taken(*plain == byte, behind),
        [] => Step::Refused,
    }
}

/// Whether a class, of which this stands behind the `[`, has the byte, and what stands behind the class. One without an end goes
/// to the end of the pattern.
fn class(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let (is_not, mut pattern) = match pattern {
        [b'^', behind @ ..] => (true, behind),
        _ => (false, pattern),
    };
    let mut is_in = false;
    loop {
        pattern = match pattern {
            [b'\\', escaped, behind @ ..] => {
                is_in |= *escaped == byte;
                behind
            }
            [b']', behind @ ..] => return (is_in != is_not, behind),
            [] => return (is_in != is_not, &[]),
            [one, b'-', other, behind @ ..] => {
                // Bytes are signed in Redis: that decides what lies between two of them.
                let [one, other, byte] = [*one, *other, byte].map(u8::cast_signed);
                is_in |= (one.min(other)..=one.max(other)).contains(&byte);
                behind
            }
            [plain, behind @ ..] => {
                is_in |= *plain == byte;
                behind
            }
        };
    }
}

/// What each string begins with that matches the pattern.
pub(super) fn prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, string, is_match) in [
            ("", "", true),
            ("", "a", false),
            ("*", "a", true),
            ("*", "", false),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a*b*", "xaxb", true),
            ("*a*b", "aab", true),
            ("*a*b", "ba", false),
            ("*ab", "aab", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[abc]", "b", true),
            ("[^abc]", "b", false),
            ("[^abc]", "d", true),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[a-]", "-", false),
            ("[a-]", "^", true),
            ("[a-", "-", true),
            ("[ab", "a", true),
            ("[", "[", false),
            ("[^", "a", true),
            ("[]", "]", false),
            ("[\\]]", "]", true),
            ("[\\", "\\", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("*[ab]?d", "xxbcd", true),
        ] {
            let is = matches(pattern.as_bytes(), string.as_bytes());
            assert_eq!(is, is_match, "{pattern} and {string}");
        }
        assert!(matches(b"[\x80-\x00]", b"\xff"), "bytes are signed");
        assert!(!matches(b"[\x01-\xff]", b"\x7f"), "bytes are signed");
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        let (pattern, string) = ("a*".repeat(1000) + "b", "a".repeat(2000));
        assert!(!matches(pattern.as_bytes(), string.as_bytes()));
    }

    #[test]
    fn what_matches_begins_with_the_prefix() {
        for (pattern, expected) in
            [("abc", "abc"), ("a*", "a"), ("?", ""), ("ab[c]", "ab"), ("a\\*", "a"), ("", "")]
        {
            assert_eq!(prefix(pattern.as_bytes()), expected.as_bytes());
        }
    }
}
