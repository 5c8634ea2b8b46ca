//! Functions of bytes, which no other function makes: every call is a mistake, and is told so.

use super::{Args, Function, entry};
use crate::source::{Fault, Outcome};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    entry("byteslen", "a", refuse),
    entry("bytesslice", "ann", refuse),
];

fn refuse(args: &Args<'_>) -> Outcome<Value> {
    Err(
        Fault::new(format!("bytes are required, not {}", args.value(0).ty()))
            .hint(Some("`strlen` and `substr` are for text".to_owned())),
    )
}
