//! Any bytes, as segments: the scanner and the second reader of docs/format.md agree on every frame and end.

#![no_main]

use test_support::{agree, fuzz_input};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for file in fuzz_input::decode(input).values() {
        agree::agree_on_segment(file);
    }
});
