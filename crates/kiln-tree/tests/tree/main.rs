//! Trees as text in, trees as text out: selecting, copying and digesting through the public door.
#![expect(
    clippy::unwrap_used,
    reason = "a tree that can't be made is a failed test"
)]
#![expect(
    clippy::needless_raw_string_hashes,
    reason = "expect-test writes literals this way"
)]
#![expect(clippy::print_stderr, reason = "a skipped test has to say so")]

mod copying;
mod digests;
mod selecting;
mod text_tree;
