//! A build from a stranger's Dockerfile: lowering ends in a graph or in an error that has a place.
//!
//! The Dockerfile, `%%`, and what the build is told.
#![no_main]

use kiln_dockerfile::Diagnostic;
use kiln_frontend::{Lowering, lower};
use kiln_fuzz::build::Build;
use kiln_graph::GraphBuilder;
use libfuzzer_sys::fuzz_target;

/// More images and downloads than the longest input can name.
const ROUNDS: usize = 2000;

fuzz_target!(|text: &str| {
    let (text, told) = kiln_fuzz::parts(text);
    let (dockerfile, found) = kiln_dockerfile::parse(text);
    if found.iter().any(Diagnostic::is_error) {
        return;
    }
    let mut build = Build::parse(told);
    for _ in 0..ROUNDS {
        match lower(
            &dockerfile,
            &build.options,
            &build.facts,
            &GraphBuilder::new(),
        ) {
            Ok(Lowering::Needs(needs)) => build.answer(needs),
            Ok(Lowering::Done(lowered)) => {
                let steps = lowered.graph().steps();
                let layers = lowered
                    .config
                    .history
                    .iter()
                    .filter(|entry| !entry.empty_layer);
                assert!(lowered.target.as_usize() < steps.len());
                assert!(layers.count() <= steps.len());
                for (index, step) in steps.iter().enumerate() {
                    assert!(step.inputs.iter().all(|input| input.as_usize() < index));
                }
                return;
            }
            Err(errors) => {
                assert!(errors.iter().any(Diagnostic::is_error));
                for error in &errors {
                    assert!(text.get(error.span.start..error.span.end).is_some());
                }
                return;
            }
        }
    }
    panic!("images are asked for without end");
});
