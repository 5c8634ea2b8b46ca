//! The checks and the questions about a stranger's Dockerfile, errors in it or not: every answer
//! can be shown.
//!
//! The Dockerfile, `%%`, and what the build is told.
#![no_main]

use kiln_dockerfile::{CheckConfig, render};
use kiln_frontend::{LintReport, ReportSource, lint, outline, targets, targets_json, targets_text};
use kiln_fuzz::build::Build;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (text, told) = kiln_fuzz::parts(text);
    let (dockerfile, found) = kiln_dockerfile::parse(text);
    let build = Build::parse(told);
    let _ = CheckConfig::parse(told.lines().next().unwrap_or_default());
    let mut diagnostics = found;
    diagnostics.extend(lint(&dockerfile, &build.options, &build.facts).diagnostics_with_verdict());
    for diagnostic in &diagnostics {
        let span = diagnostic.span;
        assert!(text.get(span.start..span.end).is_some(), "{diagnostic:?}");
        let _ = render(diagnostic, "Dockerfile", text);
    }
    let source = ReportSource {
        file: "Dockerfile",
        text,
        dockerfile: &dockerfile,
    };
    let report = LintReport::new(source, diagnostics);
    let _ = (report.to_text(), report.to_json(), report.to_sarif());
    let all = targets(&dockerfile);
    let _ = (targets_text(&all), targets_json(&all, &dockerfile, text));
    if let Ok(outline) = outline(&dockerfile, &build.options, &build.facts) {
        let _ = (outline.to_text(), outline.to_json(&dockerfile, text));
    }
});
