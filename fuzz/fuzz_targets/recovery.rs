//! Any bytes, as a directory: recovery and the second reader of docs/format.md agree, and recovering again gives the same.

#![no_main]

use test_support::{agree, fuzz_input};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    agree::agree_on_directory(&fuzz_input::decode(input));
});
