//! Many clients commit at once; then the process is killed in mid-flight, again and again, and every
//! acknowledged record is looked for. What runs is the crate in `crates/demo`.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --help
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    demo::quickstart::main()
}
