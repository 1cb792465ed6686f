//! Servers as programs, ours and Redis's, and what a test does with them over sockets.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod program;
pub(crate) mod repository;
pub(crate) mod scrape;
pub(crate) mod strace;
pub(crate) mod tools;
