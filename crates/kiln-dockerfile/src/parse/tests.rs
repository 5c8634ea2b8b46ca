//! Text in, tree and diagnostics out.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "`expect!` writes them when it is updated"
)]

mod dump;
mod flags;
mod heredocs;
mod hostile;
mod instructions;
mod lines;

use expect_test::Expect;

use super::parse;

/// Compares the tree and the diagnostics of `text` with what is expected.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check(text: &str, expected: Expect) {
    let (dockerfile, diagnostics) = parse(text);
    expected.assert_eq(&dump::dump(text, &dockerfile, &diagnostics));
}
