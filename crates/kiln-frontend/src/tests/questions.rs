//! Outlines and targets, against what BuildKit answers; and the JSON of all answers.

use expect_test::{Expect, expect};

use super::options;
use crate::{
    Facts, outline, subrequests_json, subrequests_text, targets, targets_json, targets_text,
};

/// Files, what is asked of them, and what BuildKit answers.
const TABLE: &str = include_str!("questions.txt");

/// What kiln answers, in the form of the table.
fn answer(head: &str, text: &str) -> String {
    let (dockerfile, _) = kiln_dockerfile::parse(text);
    let mut options = options();
    for setting in head.split(" | ").skip(1) {
        match setting.split_once(' ').unwrap() {
            ("arg", pair) => {
                let (name, value) = pair.split_once('=').unwrap();
                options.build_args.insert(name.to_owned(), value.to_owned());
            }
            ("target", name) => options.target = Some(name.to_owned()),
            other => panic!("{other:?}"),
        }
    }
    let answer = if head.starts_with("outline:") {
        outline(&dockerfile, &options, &Facts::default())
            .unwrap()
            .to_text()
    } else {
        targets_text(&targets(&dockerfile))
    };
    let lines: Vec<&str> = answer.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[test]
fn answers_are_those_of_buildkit() {
    let cases: Vec<&str> = TABLE.split("=== ").skip(1).collect();
    assert!(cases.len() >= 20, "{}", cases.len());
    for case in cases {
        let (head, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---\n").unwrap();
        assert_eq!(answer(head, text), expected.trim_end(), "{head}");
    }
}

/// Without the file itself, which is in every answer.
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check(json: &str, expected: Expect) {
    let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
    if let Some(object) = value.as_object_mut() {
        object.remove("sources");
    }
    expected.assert_eq(&value.to_string());
}

#[test]
fn outline_as_json() {
    let text = "\
# A what it is
ARG A=1
# main does it
FROM scratch${A:+} AS main
RUN --mount=type=cache,target=/c --mount=type=secret,id=s,required \\
    --mount=type=ssh true
";
    let (dockerfile, _) = kiln_dockerfile::parse(text);
    let outline = outline(&dockerfile, &options(), &Facts::default()).unwrap();
    check(
        &outline.to_json(&dockerfile, text),
        expect![[
            r#"{"args":[{"description":"what it is","location":{"ranges":[{"end":{"line":2},"start":{"line":2}}]},"name":"A","value":"1"}],"cache":[{"ID":"/c","location":{"ranges":[{"end":{"line":5},"start":{"line":5}},{"end":{"line":6},"start":{"line":6}}]}}],"description":"does it","name":"main","secrets":[{"location":{"ranges":[{"end":{"line":5},"start":{"line":5}},{"end":{"line":6},"start":{"line":6}}]},"name":"s","required":true}],"ssh":[{"location":{"ranges":[{"end":{"line":5},"start":{"line":5}},{"end":{"line":6},"start":{"line":6}}]},"name":"default"}]}"#
        ]],
    );
    assert!(outline.to_text().ends_with("CACHE\n/c\n\n"));
}

#[test]
fn targets_as_json() {
    let text = "# a is it\nFROM scratch AS a\nFROM --platform=$P a\n";
    let (dockerfile, _) = kiln_dockerfile::parse(text);
    let list = targets(&dockerfile);
    check(
        &targets_json(&list, &dockerfile, text),
        expect![[
            r#"{"targets":[{"base":"scratch","description":"is it","location":{"ranges":[{"end":{"line":2},"start":{"line":2}}]},"name":"a"},{"base":"a","default":true,"location":{"ranges":[{"end":{"line":3},"start":{"line":3}}]},"platform":"$P"}]}"#
        ]],
    );
}

#[test]
fn the_list_of_questions() {
    let json: serde_json::Value = serde_json::from_str(&subrequests_json()).unwrap();
    assert_eq!(
        json.as_array().unwrap().len(),
        subrequests_text().lines().count() - 1
    );
    check(
        &json[0].to_string(),
        expect![[
            r#"{"description":"What a build of the target can be given","inputs":null,"metadata":[{"description":"","name":"result.json"},{"description":"","name":"result.txt"}],"name":"frontend.outline","opts":[{"description":"The stage to build","name":"target"}],"refs":null,"type":"rpc","version":"1.0.0"}"#
        ]],
    );
}
