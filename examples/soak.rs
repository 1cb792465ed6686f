//! The log runs for hours while the disk fails, processes are killed and logs are reopened. What runs is the crate in
//! `crates/demo`.
//!
//! ```text
//! cargo run --release --example soak -- --hours 8 --dir /a/disk
//! cargo run --release --example soak -- --help
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    demo::soak::main()
}
