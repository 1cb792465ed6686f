//! How long the judgement of a long history takes: `cargo bench -p history`. Each transaction reads two of 1,000 registers
//! and lists and writes two; 64 clients, one after the other in truth, so that the verdict is "well".

use std::time::Instant;

use history::{History, Level, Operation, Outcome, Session, Transaction, check};

const TRANSACTIONS: u64 = 100_000;
const CLIENTS: u64 = 64;
const KEYS: u64 = 1_000;

fn main() {
    let mut sessions: Vec<_> = (0..CLIENTS)
        .map(|client| Session { name: client.to_string(), transactions: Vec::new() })
        .collect();
    let mut registers = vec![None; KEYS as usize];
    let mut lists = vec![Vec::new(); KEYS as usize];
    for at in 0..TRANSACTIONS {
        let (from, to) = ((at * 7919) % KEYS, (at * 104_729 + 1) % KEYS);
        let name = |at: u64| format!("key {at}");
        let operations = vec![
            Operation::Read { key: name(from), value: registers[from as usize] },
            Operation::Write { key: name(from), value: at },
            Operation::List { key: format!("list {to}"), values: lists[to as usize].clone() },
            Operation::Append { key: format!("list {to}"), value: at },
        ];
        registers[from as usize] = Some(at);
        lists[to as usize].push(at);
        sessions[(at % CLIENTS) as usize].transactions.push(Transaction {
            began: at * 10,
            ended: Some(at * 10 + 100),
            outcome: Outcome::Committed,
            version: Some(at + 1),
            operations,
        });
    }
    let history = History { sessions };
    for level in [Level::StrongSnapshot, Level::StrictSerializable] {
        let began = Instant::now();
        let found = check(&history, level);
        let (took, anomalies) = (began.elapsed(), found.len());
        println!(
            "{level:?}: {TRANSACTIONS} transactions judged in {took:.2?}, {anomalies} anomalies"
        );
    }
}
