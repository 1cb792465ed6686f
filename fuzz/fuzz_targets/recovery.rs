//! Any bytes, as a directory: recovery and the second reader of docs/format.md agree, and recovering again gives the same.

#![no_main]

#[path = "../../tests/common/agree.rs"]
mod agree;
#[path = "../../tests/common/fuzz_input.rs"]
mod fuzz_input;
#[path = "../../tests/common/mend.rs"]
mod mend;
#[path = "../../tests/common/naive.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    agree::agree_on_directory(&fuzz_input::decode(input));
});
