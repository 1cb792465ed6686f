//! What the tests, examples and fuzz targets of the log share, compiled once.
//!
//! * A log without a thread, driven by hand through its histories: [`driven`].
//! * Logs on simulated and faulty disks: [`logs`], [`small_logs`], [`refusals`], [`segments`], [`history`]; their [`settings`],
//!   their [`clock`] and a system that is [`refusing`] them threads.
//! * What clients were told, and whether a recovery agrees: [`facts`], [`witness`], [`recovered`],
//!   [`oracle`], [`judge`]; what was seen: [`counts`], [`recorded`].
//! * The second reader of the format, and the comparison with it: [`naive`], [`agree`], [`damages`],
//!   [`mend`], [`fuzz_input`].
//! * The [`simulation`]: the log under one seed.
//! * Real processes and file systems: [`child`], [`lives`], [`kills`], [`mounts`], [`trace`], [`real_redis`].
//! * The tests themselves: [`environment`], [`pages`], [`scratch`], [`skips`], [`sources`], [`traces`], and what must be caught, [`wrong`].
//!
//! A helper that can not go on panics, and so fails the test that called it.

pub mod agree;
pub mod child;
pub mod clock;
pub mod counts;
pub mod damages;
pub mod driven;
pub mod environment;
pub mod facts;
pub mod fuzz_input;
pub mod history;
pub mod judge;
pub mod kills;
pub mod lives;
pub mod logs;
pub mod mend;
pub mod mounts;
pub mod naive;
pub mod oracle;
pub mod pages;
pub mod real_redis;
pub mod recorded;
pub mod recovered;
pub mod refusals;
pub mod refusing;
pub mod scratch;
pub mod segments;
pub mod settings;
pub mod simulation;
pub mod skips;
pub mod small_logs;
pub mod sources;
pub mod trace;
pub mod traces;
pub mod witness;
pub mod wrong;
