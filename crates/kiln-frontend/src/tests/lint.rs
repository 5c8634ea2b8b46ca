//! The checks against what BuildKit says of the same files.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::options;
use crate::{Facts, IgnoreList, LintReport, LowerOptions, ReportSource, lint};

/// Files, what their builds are given, and what BuildKit finds.
const TABLE: &str = include_str!("lint.txt");

/// Line and check of each warning, by the report's JSON.
fn findings(text: &str, options: &LowerOptions, ignore: &str) -> BTreeSet<(u64, String)> {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(text);
    let ignore = IgnoreList::parse(ignore).unwrap();
    let found = lint(&dockerfile, options, &Facts::default(), Some(&ignore));
    let source = ReportSource {
        file: "Dockerfile",
        text,
        dockerfile: &dockerfile,
    };
    let report = LintReport::new(source, diagnostics.into_iter().chain(found.diagnostics));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let warnings = json["warnings"].as_array().unwrap().iter();
    let warnings = warnings.map(|warning| {
        let line = &warning["location"]["ranges"][0]["start"]["line"];
        let rule = warning["ruleName"].as_str().unwrap();
        (line.as_u64().unwrap_or_default(), rule.to_owned())
    });
    warnings.filter(|(_, rule)| !rule.is_empty()).collect()
}

/// What is wrong with one case; empty where nothing is.
fn check(case: &str) -> String {
    let (head, rest) = case.split_once('\n').unwrap();
    let (text, expected) = rest.split_once("---\n").unwrap();
    let mut options = options();
    let mut ignore = String::new();
    for setting in head.split(" | ").skip(1) {
        match setting.split_once(' ').unwrap() {
            ("arg", pair) => {
                let (name, value) = pair.split_once('=').unwrap();
                options.build_args.insert(name.to_owned(), value.to_owned());
            }
            ("target", name) => options.target = Some(name.to_owned()),
            ("ignore", pattern) => {
                let _ = writeln!(ignore, "{pattern}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut wanted = BTreeSet::new();
    for line in expected.lines().filter(|line| !line.starts_with('-')) {
        let (number, rule) = line.trim_start_matches("+ ").split_once(' ').unwrap();
        wanted.insert((number.parse().unwrap(), rule.to_owned()));
    }
    let got = findings(text, &options, &ignore);
    if got == wanted {
        return String::new();
    }
    let missing: Vec<_> = wanted.difference(&got).collect();
    let extra: Vec<_> = got.difference(&wanted).collect();
    format!("{head}: missing {missing:?}, too much {extra:?}\n")
}

#[test]
fn checks_find_what_buildkit_finds() {
    let cases: Vec<&str> = TABLE.split("=== ").skip(1).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let wrong: String = cases.into_iter().map(check).collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}
