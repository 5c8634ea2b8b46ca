//! Bake files and what becomes of them: `cases/*.txt` hold files, arguments and the printed result,
//! which is the one that `docker buildx bake --print` has for them.

use std::collections::BTreeMap;

use kiln_bake::{BakeFile, BakeInput, Clock};

/// A section begins with this and its kind.
const SECTION: &str = "--- ";

/// Reads a case, bakes, and gives the printed text, or the error.
fn run(case: &str) -> String {
    let mut input = BakeInput {
        files: Vec::new(),
        targets: Vec::new(),
        overrides: Vec::new(),
        environment: BTreeMap::new(),
        dotenv: None,
        variables: BTreeMap::new(),
        local_platform: "linux/amd64".to_owned(),
        command_context: None,
        file_relative: false,
        clock: Clock {
            now: 1_700_000_000,
            seed: [7; 32],
            home: Some("/home/me".to_owned()),
        },
    };
    let mut list = None;
    for (kind, text) in sections(case) {
        let pair = |line: &str| {
            line.split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        match kind.split_once(' ').unwrap_or((kind, "")) {
            ("file", ".env") => {
                input.dotenv = Some(BakeFile {
                    name: ".env".to_owned(),
                    text,
                });
            }
            ("file", name) => input.files.push(BakeFile {
                name: name.to_owned(),
                text,
            }),
            ("env", _) => input.environment.extend(text.lines().filter_map(pair)),
            ("args", _) => {
                for line in text.lines() {
                    match line.split_once(' ').unwrap_or((line, "")) {
                        ("--set", value) => input.overrides.push(value.to_owned()),
                        ("--var", value) => input.variables.extend(pair(value)),
                        ("--list", value) => list = Some(value.to_owned()),
                        ("--relative", _) => input.file_relative = true,
                        _ => input.targets.push(line.to_owned()),
                    }
                }
            }
            _ => {}
        }
    }
    let printed = match list.as_deref() {
        None => kiln_bake::read(&input).map(|bake| {
            let warnings = bake
                .warnings
                .iter()
                .map(|warning| format!("warning: {warning}"));
            bake.print_json() + &warnings.collect::<Vec<_>>().join("\n")
        }),
        Some("targets") => kiln_bake::list(&input).map(|list| list.targets_table()),
        Some("variables") => kiln_bake::list(&input).map(|list| list.variables_table()),
        Some("type=targets,format=json") => kiln_bake::list(&input).map(|list| list.targets_json()),
        Some(_) => kiln_bake::list(&input).map(|list| list.variables_json()),
    };
    printed.unwrap_or_else(|error| format!("error: {error}\n"))
}

fn sections(case: &str) -> Vec<(&str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in case.lines() {
        if let Some(kind) = line.strip_prefix(SECTION) {
            sections.push((kind, String::new()));
        } else if let Some((_, text)) = sections.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

/// Checks all cases of a file; they are separated by lines of `=== name`.
#[track_caller]
fn check(cases: &str) {
    let mut wrong = String::new();
    let mut count = 0;
    for case in cases
        .split("\n=== ")
        .map(|case| case.trim_start_matches("=== "))
    {
        let name = case.lines().next().unwrap_or_default();
        let wanted = sections(case)
            .into_iter()
            .rfind(|(kind, _)| matches!(*kind, "expect" | "error"));
        let wanted = wanted.map(|(_, text)| text).unwrap_or_default();
        let printed = run(case);
        count += 1;
        if printed.trim_end() != wanted.trim_end() {
            wrong = format!("{wrong}=== {name}\n{}\n", difference(&wanted, &printed));
        }
    }
    assert!(count > 0, "there are no cases");
    assert!(wrong.is_empty(), "{wrong}");
}

/// The lines that only one of the texts has.
fn difference(wanted: &str, printed: &str) -> String {
    let only = |lines: &str, others: &str, mark: &str| {
        let others: Vec<&str> = others.lines().collect();
        let lines = lines.lines().filter(|line| !others.contains(line));
        lines
            .flat_map(|line| [mark, " ", line, "\n"])
            .collect::<String>()
    };
    only(wanted, printed, "-") + &only(printed, wanted, "+")
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check(include_str!(concat!("cases/", stringify!($name), ".txt")));
            }
        )*
    };
}

files!(
    targets,
    variables,
    expressions,
    functions,
    matrices,
    overrides,
    json,
    compose,
    errors,
    lists
);
