//! Any bytes, as segments: the scanner and the second reader of docs/format.md agree on every frame and end.

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
    for file in fuzz_input::decode(input).values() {
        agree::agree_on_segment(file);
    }
});
