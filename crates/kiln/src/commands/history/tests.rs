//! Lines of a record in, text out.

use expect_test::expect;
use kiln_base::Timestamp;
use kiln_store::{BuildRecord, BuildStart, BuildStatus};

use super::{carry, plain, replay, report, table};

const LINES: &str = r#"
{"event":"started","command":"build","version":1,"kiln":"0.1.0"}
{"at":0.0,"event":"step-declared","name":"[build 1/2] FROM debian:bookworm","step":1}
{"at":0.0,"event":"step-declared","name":"[build 2/2] RUN make","step":2}
{"at":0.0,"event":"step-declared","name":"[2/2] RUN never","step":3}
{"at":0.001,"event":"step-started","step":1}
{"at":0.002,"event":"step-finished","outcome":"cached","step":1}
{"at":0.5,"event":"step-started","step":2}
{"at":0.6,"event":"step-output","step":2,"stream":"stdout","text":"cc <b>\n"}
{"at":0.7,"event":"step-progress","step":2,"item":"a","done":10,"total":30}
{"at":0.8,"event":"step-progress","step":2,"item":"a","done":30,"total":30}
{"at":0.8,"event":"something-new","step":2}
{"at":1.5,"event":"step-finished","outcome":"failed","error":"exit code 2","step":2}
{"at":1.5,"event":"warning","message":"old","line":3}
{"at":1.6,"event":"finished","exit_code":2,"errors":["could not build","exit code 2"],"hints":[],"source":" --> Dockerfile:4\n  |\n4 | RUN make\n  | ^^^^\n"}
"#;

fn lines() -> Vec<String> {
    LINES.trim().lines().map(str::to_owned).collect()
}

fn build(status: BuildStatus) -> BuildRecord {
    BuildRecord {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        start: BuildStart {
            names: vec!["app:latest".to_owned()],
            target: None,
            dockerfile: "Dockerfile".to_owned(),
            context: "/src".to_owned(),
            platforms: vec!["linux/amd64".to_owned()],
        },
        started: Timestamp::from_seconds(1_700_000_000),
        finished: Some(Timestamp::new(1_700_000_001, 600_000_000)),
        status,
        digest: None,
        steps: 3,
        cached: 1,
        warnings: 1,
        error: Some("could not build\nexit code 2".to_owned()),
    }
}

fn now() -> Timestamp {
    Timestamp::from_seconds(1_700_007_300)
}

#[test]
fn a_log_is_printed_again() {
    expect![[r#"
        #1 [build 1/2] FROM debian:bookworm
        #1 CACHED

        #2 [build 2/2] RUN make
        #2 0.100 cc <b>
        #2 a 10B / 30B
        #2 a 30B done
        #2 ERROR: exit code 2

        warning: line 3: old
        error: could not build
          caused by: exit code 2
         --> Dockerfile:4
          |
        4 | RUN make
          | ^^^^
    "#]]
    .assert_eq(&plain(&build(BuildStatus::Failed), &replay::read(&lines())));
}

#[test]
fn a_build_is_told_step_by_step() {
    let (build, replay) = (build(BuildStatus::Failed), replay::read(&lines()));
    let people = report::for_people(&build, &replay, now());
    let text = report::heading(&build, &replay) + "\n" + &kiln_report::table(&people, 80);
    expect![[r#"
        Build:      0123456789abcdef0123456789abcdef
        Names:      app:latest
        Status:     failed
        Started:    2023-11-14T22:13:20Z
        Context:    /src
        Dockerfile: Dockerfile
        Platforms:  linux/amd64
        Made from:  debian:bookworm

        app:latest failed in 1.6s
        2 steps, 1 cached

        [build 1/2] FROM deb…                     cached   ·
        [build 2/2] RUN make     1.0s       30 B  failed            ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓

        Dockerfile:4: could not build
        caused by: exit code 2
    "#]]
    .assert_eq(&text);
    let steps = &report::document(&build, &replay, now())["steps"];
    expect![[r#"
        [
          {
            "name": "[build 1/2] FROM debian:bookworm",
            "number": 1,
            "seconds": 0.001,
            "stage": "build",
            "start": 0.001,
            "status": "cached"
          },
          {
            "bytes": 30,
            "error": "exit code 2",
            "name": "[build 2/2] RUN make",
            "number": 2,
            "seconds": 1.0,
            "stage": "build",
            "start": 0.5,
            "status": "failed"
          },
          {
            "name": "[2/2] RUN never",
            "number": 3,
            "seconds": 0.0,
            "stage": "",
            "start": null,
            "status": "not started"
          }
        ]"#]]
    .assert_eq(&format!("{steps:#}"));
}

#[test]
fn the_list_fits_a_terminal() {
    let all = [
        build(BuildStatus::Completed),
        build(BuildStatus::Interrupted),
        build(BuildStatus::Cancelled),
    ];
    expect![[r#"
        BUILD          NAME         STATUS        CACHED   STARTED   TIME
        0123456789ab   app:latest   completed     1/3      2h ago    1.6s
        0123456789ab   app:latest   interrupted   1/3      2h ago
        0123456789ab   app:latest   cancelled     1/3      2h ago    1.6s
    "#]]
    .assert_eq(&table(&all, (false, 20), now()));
    for line in table(&all, (false, 20), now()).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn steps_beside_each_other_have_lanes_of_their_own() {
    let events = [
        r#"{"at":0,"event":"step-declared","name":"[1/2] A","step":1}"#,
        r#"{"at":0,"event":"step-declared","name":"[2/2] B","step":2}"#,
        r#"{"at":0,"event":"step-declared","name":"[3/2] C","step":3}"#,
        r#"{"at":0.0,"event":"step-started","step":1}"#,
        r#"{"at":0.1,"event":"step-started","step":2}"#,
        r#"{"at":0.2,"event":"step-finished","outcome":"done","step":1}"#,
        r#"{"at":0.2,"event":"step-started","step":3}"#,
        r#"{"at":0.4,"event":"step-finished","outcome":"done","step":3}"#,
    ];
    let trace = report::trace(&build(BuildStatus::Interrupted), &replay::read(&events));
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    let lanes: Vec<String> = trace["traceEvents"].as_array().unwrap()[1..]
        .iter()
        .map(|event| {
            format!(
                "{} {} {}+{}",
                event["name"], event["tid"], event["ts"], event["dur"]
            )
        })
        .collect();
    let expected = [
        r#""[1/2] A" 1 0+200000"#,
        r#""[2/2] B" 2 100000+300000"#,
        r#""[3/2] C" 1 200000+200000"#,
    ];
    assert_eq!(lanes, expected);
}

#[test]
fn a_record_survives_the_journey() {
    let (there, lines) = (build(BuildStatus::Failed), lines());
    let (here, events) = carry::read(&carry::write(&there, &lines)).unwrap();
    assert_eq!((here, events), (there, lines));
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    assert_eq!(carry::read(text).unwrap_err().to_string(), expected);
}

#[test]
fn other_files_are_refused() {
    let wrong = |why: &str| format!("the file is no record of a build: {why}");
    refuse("", &wrong("the first line is no JSON document"));
    refuse("{}", &wrong("`kiln-build` is missing"));
    refuse(
        r#"{"kiln-build":2}"#,
        "the record is of the version 2, and this kiln reads 1",
    );
    let first = r#"{"kiln-build":1,"started":"2023-11-14T22:13:20Z","status":"failed""#;
    refuse(&format!("{first}}}\n7"), &wrong("a line is no event"));
    refuse(
        &format!(r#"{first},"names":["a\u001b[31m"]}}"#),
        &wrong("a name has control characters"),
    );
}
