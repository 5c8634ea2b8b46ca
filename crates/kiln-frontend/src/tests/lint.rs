//! The checks against what BuildKit says of the same files.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use kiln_dockerfile::LintRule;
use kiln_oci::Platform;

use super::{image, options};
use crate::{Facts, IgnoreList, LintReport, LowerOptions, ReportSource, lint, lint_build};

/// Files, what their builds are given, and what BuildKit finds.
const TABLE: &str = include_str!("lint.txt");

/// Line and check of each warning, by the report's JSON.
fn findings(text: &str, options: &LowerOptions, ignore: &str) -> BTreeSet<(u64, String)> {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(text);
    let mut facts = Facts::default();
    facts.set_ignore(IgnoreList::parse(ignore).unwrap());
    let found = lint(&dockerfile, options, &facts);
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

/// All that is said of a file, as text.
fn said(text: &str, options: &LowerOptions, facts: &Facts) -> String {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(text);
    let found = lint(&dockerfile, options, facts);
    let mut out = String::new();
    for base in &found.missing {
        let _ = writeln!(out, "needs {} for {}", base.image, base.platform);
    }
    let source = ReportSource {
        file: "Dockerfile",
        text,
        dockerfile: &dockerfile,
    };
    let found = diagnostics
        .into_iter()
        .chain(found.diagnostics_with_verdict());
    for found in LintReport::new(source, found).diagnostics() {
        let severity = if found.is_error() { '!' } else { '?' };
        let rule = found.rule.map_or("-", |rule| rule.name());
        let line = kiln_dockerfile::line_number(text, found.span.start);
        let _ = write!(out, "{severity} {line} {rule}: {}", found.message);
        let hint = found.hint.as_ref().map(|hint| format!(" -> {hint}"));
        let _ = writeln!(out, "{}", hint.unwrap_or_default());
    }
    out
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check_said(text: &str, expected: Expect) {
    expected.assert_eq(&said(text, &options(), &Facts::default()));
}

#[test]
fn wrong_requests_are_reported() {
    check_said(
        "# check=skip\nFROM scratch\n",
        expect![[r#"
        ! 1 -: invalid check option `skip`: there are `skip=`, `error=` and `experimental=`
    "#]],
    );
    check_said(
        "# check=skip=StageNameCassing,x;error=maybe\nFROM scratch\n",
        expect![[r#"
            ! 1 -: `maybe` is not a boolean value for the check option `error`
        "#]],
    );
    check_said(
        "# check=skip=StageNameCassing\nFROM scratch\n# check=skp=all\nENV a b\n# check=skip=Xyz\nUSER me\n",
        expect![[r#"
            ? 1 -: there is no check `StageNameCassing` -> did you mean `StageNameCasing`?
            ? 3 -: invalid check option `skp`: there are `skip=`, `error=` and `experimental=` -> the comment has no effect
            ? 4 LegacyKeyValueFormat: `ENV` without `=` -> write `ENV a=…`
            ? 5 -: there is no check `Xyz`
        "#]],
    );
}

#[test]
fn errors_come_after_all_that_was_found() {
    check_said(
        "# check=error=true\nFROM scratch as b\nMAINTAINER x\nENV a b\nENV a b\n",
        expect![[r#"
            ? 2 FromAsCasing: `as` is not in the same case as `FROM` -> write `AS`
            ? 3 MaintainerDeprecated: `MAINTAINER` is deprecated -> use `LABEL org.opencontainers.image.authors=…`
            ? 4 LegacyKeyValueFormat: `ENV` without `=` -> write `ENV a=…`
            ? 5 LegacyKeyValueFormat: `ENV` without `=` -> write `ENV a=…`
            ! 1 -: `error=true` makes an error of what was found by FromAsCasing, MaintainerDeprecated, LegacyKeyValueFormat
        "#]],
    );
    check_said("# check=error=true\nFROM scratch AS b\n", expect![[""]]);
}

#[test]
fn what_can_not_be_built_is_told() {
    let text = "FROM scratch AS a\nCOPY --from=b x /\nEXPOSE abc\nFROM a AS b\nENV a b\n";
    check_said(
        text,
        expect![[r#"
        ! 2 -: cannot copy from stage `b`: it has to come before the stage that copies
        ? 5 LegacyKeyValueFormat: `ENV` without `=` -> write `ENV a=…`
    "#]],
    );
    let mut options = options();
    options.target = Some("c".to_owned());
    expect![[r#"
        ! 1 -: there is no stage `c` to build -> the stages are: a
    "#]]
    .assert_eq(&said("FROM scratch AS a\n", &options, &Facts::default()));
}

#[test]
fn bases_are_asked_for_but_not_needed() {
    let text = "FROM --platform=$BUILDPLATFORM debian AS a\nENV x=$y\nFROM full AS b\nENV x=$y\n";
    check_said(
        text,
        expect![[r#"
            needs docker.io/library/debian:latest for linux/amd64
            needs docker.io/library/full:latest for linux/amd64
        "#]],
    );
}

#[test]
fn known_bases_tell_more() {
    let text = "FROM full\nENV x=$BASE y=$OTHER\nCMD run\nENV w=$BASS\n";
    let (dockerfile, _) = kiln_dockerfile::parse(text);
    let mut facts = Facts::default();
    let mut options = options();
    options.target_platform = Platform::new("linux", "arm64");
    for base in lint(&dockerfile, &options, &facts).missing {
        let known = image(&base.image);
        facts.insert(&base, known);
    }
    expect![[r#"
        ? 1 InvalidBaseImagePlatform: the base `full` is for `linux/amd64`, not for `linux/arm64` -> its programs may not run
        ? 2 UndefinedVar: usage of undefined variable `$OTHER`
        ? 4 UndefinedVar: usage of undefined variable `$BASS` -> did you mean `$BASE`?
    "#]].assert_eq(&said(text, &options, &facts));
}

#[test]
fn a_build_looks_only_at_what_it_needs() {
    let text = "FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV c d\n";
    let (dockerfile, _) = kiln_dockerfile::parse(text);
    let found = lint_build(&dockerfile, &options(), &Facts::default());
    assert_eq!(found.diagnostics.len(), 1);
    let found = lint(&dockerfile, &options(), &Facts::default());
    assert_eq!(found.diagnostics.len(), 2);
}

/// A file with a warning of each kind of report.
const REPORTED: &str = "FROM scratch AS Unter\nMAINTAINER x\nFROM\n";

/// The file's report as text, JSON and SARIF.
fn reported() -> [String; 3] {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(REPORTED);
    let found = lint(&dockerfile, &options(), &Facts::default());
    let source = ReportSource {
        file: "my dir/Dockerfile",
        text: REPORTED,
        dockerfile: &dockerfile,
    };
    let found = diagnostics.into_iter().chain(found.diagnostics);
    let report = LintReport::new(source, found);
    [report.to_text(), report.to_json(), report.to_sarif()]
}

#[test]
fn a_report_as_text() {
    expect![[r#"
        warning: StageNameCasing: the stage name `Unter` should be in lower case
         --> my dir/Dockerfile:1
          |
        1 | FROM scratch AS Unter
          |                 ^^^^^
        hint: write `unter`
        see docs/lint.md#stagenamecasing

        warning: MaintainerDeprecated: `MAINTAINER` is deprecated
         --> my dir/Dockerfile:2
          |
        2 | MAINTAINER x
          | ^^^^^^^^^^
        hint: use `LABEL org.opencontainers.image.authors=…`
        see docs/lint.md#maintainerdeprecated

        error: `FROM` requires either one or three arguments
         --> my dir/Dockerfile:3
          |
        3 | FROM
          | ^^^^
        hint: write `FROM <image> [AS <name>]`
    "#]]
    .assert_eq(&reported()[0]);
}

#[test]
fn a_report_as_json() {
    expect![[r#"
        {
          "warnings": [
            {
              "ruleName": "StageNameCasing",
              "description": "Names of stages are written in lower case",
              "url": "docs/lint.md#stagenamecasing",
              "detail": "the stage name `Unter` should be in lower case",
              "location": {
                "ranges": [
                  {
                    "start": {
                      "line": 1
                    },
                    "end": {
                      "line": 1
                    }
                  }
                ]
              }
            },
            {
              "ruleName": "MaintainerDeprecated",
              "description": "A label names the author instead of `MAINTAINER`",
              "url": "docs/lint.md#maintainerdeprecated",
              "detail": "`MAINTAINER` is deprecated",
              "location": {
                "ranges": [
                  {
                    "start": {
                      "line": 2
                    },
                    "end": {
                      "line": 2
                    }
                  }
                ]
              }
            }
          ],
          "sources": [
            {
              "filename": "my dir/Dockerfile",
              "data": "RlJPTSBzY3JhdGNoIEFTIFVudGVyCk1BSU5UQUlORVIgeApGUk9NCg==",
              "language": "Dockerfile"
            }
          ],
          "buildError": {
            "message": "`FROM` requires either one or three arguments",
            "location": {
              "ranges": [
                {
                  "start": {
                    "line": 3
                  },
                  "end": {
                    "line": 3
                  }
                }
              ]
            }
          }
        }"#]]
    .assert_eq(&reported()[1]);
}

#[test]
fn a_report_as_sarif() {
    let sarif: serde_json::Value = serde_json::from_str(&reported()[2]).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 22);
    expect![[r#"
        [
          {
            "level": "warning",
            "locations": [
              {
                "physicalLocation": {
                  "artifactLocation": {
                    "index": 0,
                    "uri": "my%20dir/Dockerfile"
                  },
                  "region": {
                    "endColumn": 22,
                    "endLine": 1,
                    "startColumn": 17,
                    "startLine": 1
                  }
                }
              }
            ],
            "message": {
              "text": "the stage name `Unter` should be in lower case: write `unter`"
            },
            "ruleId": "StageNameCasing",
            "ruleIndex": 0
          },
          {
            "level": "warning",
            "locations": [
              {
                "physicalLocation": {
                  "artifactLocation": {
                    "index": 0,
                    "uri": "my%20dir/Dockerfile"
                  },
                  "region": {
                    "endColumn": 11,
                    "endLine": 2,
                    "startColumn": 1,
                    "startLine": 2
                  }
                }
              }
            ],
            "message": {
              "text": "`MAINTAINER` is deprecated: use `LABEL org.opencontainers.image.authors=…`"
            },
            "ruleId": "MaintainerDeprecated",
            "ruleIndex": 7
          },
          {
            "level": "error",
            "locations": [
              {
                "physicalLocation": {
                  "artifactLocation": {
                    "index": 0,
                    "uri": "my%20dir/Dockerfile"
                  },
                  "region": {
                    "endColumn": 5,
                    "endLine": 3,
                    "startColumn": 1,
                    "startLine": 3
                  }
                }
              }
            ],
            "message": {
              "text": "`FROM` requires either one or three arguments: write `FROM <image> [AS <name>]`"
            }
          }
        ]"#]].assert_eq(&format!("{:#}", run["results"]));
}

#[test]
fn checks_find_what_buildkit_finds() {
    let cases: Vec<&str> = TABLE.split("=== ").skip(1).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let wrong: String = cases.into_iter().map(check).collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}

proptest::proptest! {
    /// Whatever the file says, checks, outlines and reports come to an end.
    #[test]
    fn no_file_does_harm(words in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
        let text = words.join("");
        let (dockerfile, diagnostics) = kiln_dockerfile::parse(&text);
        let mut options = options();
        options.target = Some("a".to_owned());
        let mut facts = Facts::default();
        facts.set_ignore(IgnoreList::parse("*\n").unwrap());
        let found = lint(&dockerfile, &options, &facts);
        let build = lint_build(&dockerfile, &options, &facts);
        for found in diagnostics.iter().chain(&found.diagnostics) {
            proptest::prop_assert!(text.get(found.span.start..found.span.end).is_some());
        }
        for found in build.diagnostics.iter().filter(|found| found.rule.is_some()) {
            proptest::prop_assert!(lint(&dockerfile, &options, &facts).diagnostics.contains(found));
        }
        let source = ReportSource { file: "f", text: &text, dockerfile: &dockerfile };
        let report = LintReport::new(source, diagnostics.into_iter().chain(found.diagnostics));
        for json in [report.to_json(), report.to_sarif()] {
            proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
        report.to_text();
        if let Ok(outline) = crate::outline(&dockerfile, &options, &facts) {
            outline.to_json(&dockerfile, &text);
            outline.to_text();
        }
    }
}

/// What files are made of.
const PIECES: &[&str] = &[
    "FROM ",
    "scratch",
    "a",
    " AS ",
    " as A",
    "\n",
    "\n",
    "\n",
    "\\\n",
    "\n\n",
    "ARG ",
    "ENV ",
    "b",
    "=",
    "$a",
    "${b:-",
    "}",
    " ",
    "# check=",
    "skip=all",
    "error=true",
    ";",
    "# a b",
    "\n#\n",
    "COPY ",
    "--from=a ",
    "<<E ",
    "\nE\n",
    "RUN ",
    "--mount=type=secret,id=$a ",
    "CMD x",
    "ONBUILD ",
    "EXPOSE ",
    "1:2/TCP",
    "WORKDIR ",
    "é",
    "\u{feff}",
    "\r\n",
    "--platform=$TARGETPLATFORM ",
    "MAINTAINER ",
    "\t",
];

/// The page that speaks of each check.
const PAGE: &str = include_str!("../../../../docs/lint.md");

/// The names of the checks that find something in an example, all its bases known.
fn found_in(example: &str, rule: LintRule, ignore: &str) -> BTreeSet<&'static str> {
    let (dockerfile, diagnostics) = kiln_dockerfile::parse(example);
    assert!(diagnostics.is_empty(), "{rule}: {diagnostics:?}");
    let mut options = options();
    options
        .build_args
        .insert("TAG".to_owned(), "3.20".to_owned());
    if rule == LintRule::InvalidBaseImagePlatform {
        options.target_platform = Platform::new("linux", "arm64");
    }
    let mut facts = Facts::default();
    for base in lint(&dockerfile, &options, &facts).missing {
        let known = image(&base.image);
        facts.insert(&base, known);
    }
    facts.set_ignore(IgnoreList::parse(ignore).unwrap());
    let found = lint(&dockerfile, &options, &facts);
    let rules = found.diagnostics.iter().map(|found| found.rule);
    rules.map(|rule| rule.map_or("?", LintRule::name)).collect()
}

/// The fenced block of a kind that begins after a mark.
fn block<'a>(chapter: &'a str, mark: &str, kind: &str) -> Option<&'a str> {
    let (_, rest) = chapter.split_once(mark)?;
    let (_, rest) = rest.split_once(&format!("```{kind}\n"))?;
    rest.split_once("```").map(|(block, _)| block)
}

#[test]
fn the_page_has_an_example_of_each_check() {
    for rule in LintRule::ALL {
        let name = rule.name();
        let (_, chapter) = PAGE.split_once(&format!("\n## {name}\n")).expect(name);
        let chapter = chapter.split("\n## ").next().unwrap();
        let ignore = block(chapter, "", "text").unwrap_or_default();
        let bad = block(chapter, "Bad:", "dockerfile").expect(name);
        assert_eq!(found_in(bad, rule, ignore), BTreeSet::from([name]), "bad");
        let good = block(chapter, "Good:", "dockerfile").expect(name);
        assert_eq!(found_in(good, rule, ignore), BTreeSet::new(), "{name}");
    }
}
