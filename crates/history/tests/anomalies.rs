//! One history for each thing that can be wrong, written down as people do: `r x 1` reads 1 of the register x, `w x 2`
//! writes it, `l z 1 2` reads the list z, `a z 3` appends to it; `-` is "never set".

use history::{History, Kind, Level, Operation, Outcome, Session, Transaction, check};

/// Transactions in the order of their versions, all at work at once. One that begins with `!` aborted, one with `?` has
/// no answer and no version.
fn history(transactions: &[&str]) -> History {
    let session = |(text, version): (&&str, u64)| {
        let outcome = match &text[..1] {
            "!" => Outcome::Aborted,
            "?" => Outcome::Unknown,
            _ => Outcome::Committed,
        };
        let text = text.trim_start_matches(['!', '?']);
        let operations: Vec<_> = text.split(',').map(operation).collect();
        let writes =
            |it: &Operation| matches!(it, Operation::Write { .. } | Operation::Append { .. });
        let commits = outcome == Outcome::Committed && operations.iter().any(writes);
        let version = commits.then_some(version);
        let transaction = Transaction { began: 0, ended: Some(9), outcome, version, operations };
        Session {
            name: version.map_or_else(String::new, |at| at.to_string()),
            transactions: vec![transaction],
        }
    };
    History { sessions: transactions.iter().zip(1..).map(session).collect() }
}

fn operation(text: &str) -> Operation {
    let words: Vec<_> = text.split_whitespace().filter(|word| *word != "-").collect();
    let [what, key, values @ ..] = &words[..] else {
        panic!("{text}: what is done, and to which key")
    };
    let values: Vec<u64> = values.iter().flat_map(|value| value.parse()).collect();
    let key = (*key).to_owned();
    match *what {
        "r" => Operation::Read { key, value: values.first().copied() },
        "w" => Operation::Write { key, value: values[0] },
        "l" => Operation::List { key, values },
        "a" => Operation::Append { key, value: values[0] },
        _ => panic!("{text}"),
    }
}

fn kinds(history: &History, level: Level) -> Vec<Kind> {
    check(history, level).into_iter().map(|anomaly| anomaly.kind).collect()
}

#[test]
fn each_anomaly_is_found_by_its_name() {
    for (kind, transactions) in [
        (Kind::Internal, &["w x 1, r x -"][..]),
        (Kind::Internal, &["a z 1, l z -"]),
        (Kind::Internal, &["r x 1, w x 1"]),
        (Kind::Unwritten, &["r x 7"]),
        (Kind::G1a, &["!w x 1", "r x 1"]),
        (Kind::G1a, &["!w x 1", "!r x 1"]),
        (Kind::G1a, &["!a z 1", "l z 1"]),
        (Kind::G1b, &["w x 1, w x 2", "r x 1"]),
        (Kind::G1b, &["a z 1, a z 2", "l z 1"]),
        (Kind::Order, &["a z 1", "a z 2", "l z 1 2", "l z 2"]),
        (Kind::Order, &["a z 1", "a z 2", "l z 2 1"]),
        (Kind::Order, &["a z 1", "l z 1 1"]),
        (Kind::Order, &["a z 1, a z 2", "a z 3", "l z 1 3 2"]),
        // Half of one commit is seen: fractured read.
        (Kind::GSingle, &["w x 1, w y 1", "r x 1, r y -"]),
        // Both saw each other's write.
        (Kind::G1c, &["w x 1, r y 2", "w y 2, r x 1"]),
        // Lost update.
        (Kind::GSingle, &["w x 1", "r x 1, w x 2", "r x 1, w x 3"]),
        // Non-repeatable read.
        (Kind::GSingle, &["w x 1", "r x -, r x 1"]),
        (Kind::GSingle, &["a z 1", "a z 2, l z 1 2", "l z 1, l z 1 2"]),
    ] {
        let history = history(transactions);
        assert_eq!(kinds(&history, Level::Snapshot), [kind], "{transactions:?}");
    }
}

#[test]
fn overwrites_in_a_circle_are_found_where_lists_show_their_order() {
    // The versions are not known here: that of x says one order, that of y the other.
    let mut history = history(&["a x 1, a y 1", "a x 2, a y 2", "l x 1 2, l y 2 1"]);
    history.sessions.iter_mut().for_each(|session| session.transactions[0].version = None);
    assert_eq!(kinds(&history, Level::Snapshot), [Kind::G0]);
}

#[test]
fn write_skew_is_allowed_by_snapshots_and_forbidden_in_a_serial_order() {
    let history = history(&["r x -, r y -, w x 1", "r x -, r y -, w y 2"]);
    assert_eq!(kinds(&history, Level::Snapshot), []);
    assert_eq!(kinds(&history, Level::StrongSnapshot), []);
    assert_eq!(kinds(&history, Level::Serializable), [Kind::G2]);
}

#[test]
fn a_stale_read_is_wrong_only_for_those_who_look_at_the_clock() {
    let mut history = history(&["w x 1", "r x -"]);
    history.sessions[1].transactions[0].began = 10;
    for level in [Level::Snapshot, Level::Serializable] {
        assert_eq!(kinds(&history, level), [], "{level:?}");
    }
    for level in [Level::StrongSnapshot, Level::StrictSerializable] {
        assert_eq!(kinds(&history, level), [Kind::GSingle], "{level:?}");
    }
    // One that began at the instant of the answer may have been first.
    history.sessions[1].transactions[0].began = 9;
    assert_eq!(kinds(&history, Level::StrictSerializable), []);
}

#[test]
fn one_without_an_answer_committed_if_anybody_saw_it() {
    assert_eq!(kinds(&history(&["?w x 1", "r x 1"]), Level::Serializable), []);
    assert_eq!(kinds(&history(&["?w x 1", "r x -"]), Level::Serializable), []);
    let both = history(&["?w x 1, w y 1", "r x 1, r y -", "r y 1, r x 1"]);
    // Who wrote over the first version of y is not known, so the fracture stays unseen ...
    assert_eq!(kinds(&both, Level::Serializable), []);
    // ... until a client learns its version after all.
    let mut told = both;
    told.sessions[0].transactions[0].version = Some(1);
    assert_eq!(kinds(&told, Level::Serializable), [Kind::GSingle]);
}

#[test]
fn a_history_is_the_same_after_a_way_through_json() {
    let history = history(&["r x -, w x 1", "!l z -, a z 1", "?w y 3"]);
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    assert!(
        text.contains(r#"{"read":{"key":"x","value":null}},{"write":{"key":"x","value":1}}"#),
        "{text}"
    );
}
