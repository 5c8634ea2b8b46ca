//! A Dockerfile from a stranger: parsing ends, and every diagnostic can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(text);
    for diagnostic in &diagnostics {
        let span = diagnostic.span;
        assert!(text.get(span.start..span.end).is_some(), "{diagnostic:?}");
        let _ = kiln_dockerfile::render(diagnostic, "Dockerfile", text);
    }
    let commands = dockerfile.stages.iter().flat_map(|stage| &stage.commands);
    for command in commands {
        assert!(text.get(command.span.start..command.span.end).is_some());
        // As an image's configuration has it, where this is a trigger.
        let _ = kiln_dockerfile::parse_trigger(&command.source);
    }
});
