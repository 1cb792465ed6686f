//! The tasks of this repository.

fn main() {
    println!("cargo xtask: no task yet");
}
