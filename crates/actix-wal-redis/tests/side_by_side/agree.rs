//! Whether two servers have given the same answer to a command.

use std::collections::BTreeSet;

use crate::support::answer::elements;

/// How far apart two answers about the same time may be, in seconds: the servers get a command one after the other.
const SECONDS: i64 = 20;

/// How the answers to a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Bytes,
    /// Numbers of one sign, and about the same if they are not negative.
    Time {
        unit: i64,
    },
    /// The numbers of references to a value. Of those that are few, some are Redis's own: that of a command that waits for
    /// its `EXEC`, for instance.
    References,
    /// Arrays, in any order.
    Set,
    /// What is about the server or the clock: errors by their bytes, and all else by its kind.
    Kind,
    /// As `Kind`, but only the values of some names.
    Hello,
}

fn by(parts: &[Vec<u8>]) -> By {
    let word = |at: usize| parts.get(at).map(|part| part.to_ascii_uppercase()).unwrap_or_default();
    let (name, second) = (word(0), word(1));
    match (&*name, &*second) {
        (b"TTL" | b"EXPIRETIME", _) => By::Time { unit: 1 },
        (b"PTTL" | b"PEXPIRETIME", _) => By::Time { unit: 1000 },
        (b"OBJECT", b"IDLETIME") => By::Time { unit: 1 },
        (b"OBJECT", b"REFCOUNT") => By::References,
        (b"KEYS", _) => By::Set,
        (b"HELLO", _) => By::Hello,
        (b"TIME" | b"INFO" | b"SCAN" | b"RANDOMKEY", _) => By::Kind,
        // Without the name of a command they are about all commands, and we have fewer.
        (b"COMMAND", _) if parts.len() <= 2 => By::Kind,
        (b"CLIENT", b"ID" | b"INFO" | b"LIST") => By::Kind,
        _ => By::Bytes,
    }
}

/// Whether these are answers to one command.
pub(crate) fn agree(parts: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    match by(parts) {
        By::Bytes => false,
        By::Time { unit } => match (integer(ours), integer(theirs)) {
            (Some(ours), Some(theirs)) => {
                ours >= 0 && theirs >= 0 && ours.abs_diff(theirs) <= (SECONDS * unit) as u64
            }
            _ => false,
        },
        By::References => {
            [ours, theirs].iter().all(|it| integer(it).is_some_and(|it| (1..10).contains(&it)))
        }
        By::Set => match (elements(ours), elements(theirs)) {
            (Some(ours), Some(theirs)) => {
                let all = |it: &[_]| it.iter().copied().collect::<BTreeSet<&[u8]>>();
                ours.len() == theirs.len() && all(&ours) == all(&theirs)
            }
            _ => false,
        },
        By::Kind => ours[0] == theirs[0] && ours[0] != b'-',
        By::Hello => match (elements(ours), elements(theirs)) {
            (Some(mine), Some(others)) => {
                ours[0] == theirs[0]
                    && mine.len() == others.len()
                    && (0..mine.len())
                        .all(|at| mine[at] == others[at] || is_of_one_server(&mine, at))
            }
            _ => false,
        },
    }
}

/// The same for what `EXEC` answers to these commands.
pub(crate) fn agree_on_all(queued: &[Vec<Vec<u8>>], ours: &[u8], theirs: &[u8]) -> bool {
    // In the middle of a transaction HELLO changes how the rest of its answer is written. With ours, how all of it is.
    let is_mixed = queued.iter().any(|it| it[0].eq_ignore_ascii_case(b"HELLO"));
    let agrees = |it: &[Vec<u8>], ours: &[u8], theirs: &[u8]| {
        agree(it, ours, theirs) || (is_mixed && agree_but_for_the_protocol(it, ours, theirs))
    };
    match (elements(ours), elements(theirs)) {
        (Some(ours), Some(theirs)) => {
            ours.len() == queued.len()
                && theirs.len() == queued.len()
                && queued.iter().zip(ours.iter().zip(&theirs)).all(|(it, (a, b))| agrees(it, a, b))
        }
        _ => ours == theirs,
    }
}

fn agree_but_for_the_protocol(parts: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    agree(parts, &in_resp2(ours), &in_resp2(theirs))
}

/// The same reply to a client that speaks RESP2.
fn in_resp2(reply: &[u8]) -> Vec<u8> {
    let (mut rest, mut all) = (reply, Vec::new());
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(end + 1);
        let count = std::str::from_utf8(&line[1..end - 1]).ok().and_then(|it| it.parse().ok());
        let count: usize = count.unwrap_or(0);
        let mut string = 0;
        match line[0] {
            b'_' => all.extend_from_slice(b"$-1\r\n"),
            b'*' if line == b"*-1\r\n" => all.extend_from_slice(b"$-1\r\n"),
            b'~' => all.extend_from_slice(format!("*{count}\r\n").as_bytes()),
            b'%' => all.extend_from_slice(format!("*{}\r\n", 2 * count).as_bytes()),
            // What is left out is the kind of the text: `txt:`.
            b'=' => all.extend_from_slice(format!("${}\r\n", count - 4).as_bytes()),
            _ => all.extend_from_slice(line),
        }
        if matches!(line[0], b'$' | b'=') && line != b"$-1\r\n" {
            string = count + 2;
            all.extend_from_slice(&behind[if line[0] == b'=' { 4 } else { 0 }..string]);
        }
        rest = &behind[string..];
    }
    all
}

/// Whether this element of an answer to `HELLO` is the value of a name that each server has its own for.
fn is_of_one_server(elements: &[&[u8]], at: usize) -> bool {
    at % 2 == 1 && [&b"$2\r\nid\r\n"[..], b"$7\r\nversion\r\n"].contains(&elements[at - 1])
}

fn integer(reply: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(reply).ok()?;
    text.strip_prefix(':')?.trim_end().parse().ok()
}

#[test]
fn answers_that_differ_are_noticed_in_each_way_of_comparing() {
    let command = |line: &str| crate::words::line(line);
    for (line, ours, theirs, is_same) in [
        ("GET a", "$1\r\nx\r\n", "$1\r\nx\r\n", true),
        ("GET a", "$1\r\nx\r\n", "$1\r\ny\r\n", false),
        ("GET a", "$-1\r\n", "$0\r\n\r\n", false),
        ("TTL a", ":1000\r\n", ":1001\r\n", true),
        ("TTL a", ":1000\r\n", ":1040\r\n", false),
        ("PTTL a", ":1000\r\n", ":1040\r\n", true),
        ("TTL a", ":-1\r\n", ":-2\r\n", false),
        ("TTL a", ":-1\r\n", ":1\r\n", false),
        ("TTL a", "-ERR\r\n", ":1\r\n", false),
        ("KEYS *", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", true),
        ("KEYS *", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+b\r\n", false),
        ("KEYS *", "*1\r\n+a\r\n", "*2\r\n+b\r\n+a\r\n", false),
        ("OBJECT REFCOUNT a", ":1\r\n", ":3\r\n", true),
        ("OBJECT REFCOUNT a", ":1\r\n", ":2147483647\r\n", false),
        ("OBJECT REFCOUNT a", ":1\r\n", "$-1\r\n", false),
        ("TIME", "*2\r\n+1\r\n+2\r\n", "*2\r\n+1\r\n+3\r\n", true),
        ("TIME", "*2\r\n+1\r\n+2\r\n", "-ERR\r\n", false),
        ("TIME x", "-ERR a\r\n", "-ERR b\r\n", false),
        ("HELLO", "*2\r\n$2\r\nid\r\n:1\r\n", "*2\r\n$2\r\nid\r\n:3\r\n", true),
        ("HELLO", "*2\r\n$5\r\nproto\r\n:2\r\n", "*2\r\n$5\r\nproto\r\n:3\r\n", false),
    ] {
        let found = agree(&command(line), ours.as_bytes(), theirs.as_bytes());
        assert_eq!(found, is_same, "{line}: {ours:?} and {theirs:?}");
    }
    let queued = [command("GET a"), command("TTL a")];
    let both = |a: &str, b: &str| agree_on_all(&queued, a.as_bytes(), b.as_bytes());
    assert!(both("*2\r\n+x\r\n:1000\r\n", "*2\r\n+x\r\n:1001\r\n"));
    assert!(!both("*2\r\n+y\r\n:1000\r\n", "*2\r\n+x\r\n:1001\r\n"));
    assert!(!both("*1\r\n+x\r\n", "*1\r\n+x\r\n") && !both("*-1\r\n", "*0\r\n"));
    assert!(both("*-1\r\n", "*-1\r\n"));
    // Only where HELLO is one of the commands may the protocols differ.
    let mixed = |name: &str, a: &str, b: &str| {
        let queued = [command("GET a"), command("INFO"), command(name)];
        agree_on_all(&queued, a.as_bytes(), b.as_bytes())
    };
    let (new, old) = (
        "*3\r\n_\r\n=6\r\ntxt:ab\r\n%1\r\n+a\r\n:1\r\n",
        "*3\r\n$-1\r\n$2\r\nab\r\n*2\r\n+a\r\n:1\r\n",
    );
    assert!(mixed("HELLO", new, old) && mixed("HELLO", old, new) && !mixed("GET", new, old));
    assert!(!mixed("HELLO", new, &old.replace(":1", ":2")));
    assert!(!mixed("HELLO", new, &old.replace("$-1\r\n", ":1\r\n")));
}
