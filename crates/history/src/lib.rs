//! Judges what the clients of a database were told. Right final values prove little: a read in between can be wrong
//! while every sum is right at the end. So each client writes down what it did, what it was answered, and when, and
//! this crate looks for an order of the transactions that explains all of it.
//!
//! The method is that of Adya's dependency graphs (A. Adya, *Weak Consistency*, 1999), found in recorded histories as
//! by Elle (P. Alvaro and K. Kingsbury, VLDB 2020). Lists that are only appended to show their order by themselves,
//! and the versions that the database gave to its commits show the order of all else. Snapshot isolation is judged by
//! the theorem of A. Cerone and A. Gotsman (PODC 2016). The work grows with the length of the history, not with its
//! square.
//!
//! | module | what |
//! |---|---|
//! | [`model`] | what is recorded; its JSON |
//! | [`check`](mod@check) | the judgement |

pub mod check;
mod components;
mod graph;
pub mod model;
mod order;

pub use check::{Anomaly, Kind, Level, check};
pub use model::{History, Operation, Outcome, Session, Transaction};
