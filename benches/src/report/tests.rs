//! A small report in, texts out.

use std::time::Duration;

use expect_test::{Expect, ExpectFile, expect, expect_file};
use proptest::prelude::*;

use super::{charts, json, markdown, parse};
use crate::model::{
    Curve, Growth, LeftOut, Machine, Program, ProgramFacts, Report, Row, Sample, Table, Target,
    Unit,
};

fn report() -> Report {
    let facts = |program, version: Result<&str, &str>, settings: &str| ProgramFacts {
        program,
        version: version.map(str::to_owned).map_err(str::to_owned),
        settings: settings.to_owned(),
    };
    Report {
        machine: machine(),
        programs: vec![
            facts(Program::Kiln, Ok("0.1.0"), "root"),
            facts(Program::KilnRootless, Ok("0.1.0"), "an ordinary user"),
            facts(Program::Docker, Ok("20.10.24"), "daemon, warm | overlay2"),
            facts(Program::Buildah, Ok("1.28.2"), "`--layers`, runc"),
            facts(Program::Kaniko, Err("`executor` is not on PATH"), ""),
        ],
        tables: vec![steps(), small_files()],
        growths: vec![growth()],
        left_out: vec![LeftOut {
            what: "Kaniko".to_owned(),
            why: "`executor` is not on PATH".to_owned(),
        }],
    }
}

fn machine() -> Machine {
    Machine {
        date: "2026-11-21".to_owned(),
        processor: "AMD EPYC".to_owned(),
        cores: 2,
        memory: 24 << 30,
        kernel: "6.18.1".to_owned(),
        system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        file_system: "ext4".to_owned(),
    }
}

fn steps() -> Table {
    Table {
        name: "steps".to_owned(),
        letter: 'a',
        title: "A RUN step that does nothing".to_owned(),
        notes: "20 steps against the same file without them.".to_owned(),
        unit: Unit::Part(20),
        measured: None,
        rows: vec![
            row(Program::Kiln, &[122_000, 118_000, 131_000]),
            row(Program::KilnRootless, &[110_000, 112_000, 109_000]),
            row(Program::Docker, &[868_000, 840_000, 901_000]),
            row(Program::Buildah, &[3_740_000, 3_800_000, 3_700_000]),
        ],
        targets: vec![
            Target::Times(Program::BuildKit, 10.0),
            Target::Times(Program::Buildah, 25.5),
            Target::Times(Program::Kaniko, 40.0),
            Target::Times(Program::Docker, 1.0),
            Target::AtMost(Program::Kiln, Duration::from_micros(6_500)),
            Target::AtMost(Program::KilnRootless, Duration::from_millis(5)),
            Target::Memory(Program::Kiln, 64_000_000),
        ],
    }
}

fn small_files() -> Table {
    Table {
        name: "small-files".to_owned(),
        letter: 'd',
        title: "COPY of 20,000 small files (90 MB), cold, pushed".to_owned(),
        notes: String::new(),
        unit: Unit::Whole,
        measured: None,
        rows: vec![
            row(Program::Kiln, &[998_000, 1_010_000]),
            Row {
                program: Program::Docker,
                samples: Vec::new(),
                failure: Some("exit code 1:\nno space | left <on> device\n".to_owned()),
                measured: None,
            },
            row(Program::Buildah, &[9_420_000]),
        ],
        targets: vec![Target::Times(Program::Buildah, 3.0)],
    }
}

fn growth() -> Growth {
    let curve = |name: &str, points: &[(u64, u64)]| Curve {
        name: name.to_owned(),
        points: points
            .iter()
            .map(|(size, micros)| (*size, sample(*micros)))
            .collect(),
    };
    Growth {
        name: "many-steps".to_owned(),
        axis: "RUN steps".to_owned(),
        measured: None,
        title: "Steps that do nothing".to_owned(),
        curves: vec![
            curve("cold", &[(10, 80_000), (100, 620_000), (1000, 7_100_000)]),
            curve("nothing changed", &[(10, 9_000), (1000, 31_000)]),
        ],
    }
}

fn row(program: Program, micros: &[u64]) -> Row {
    Row {
        program,
        samples: micros.iter().map(|wall| sample(*wall)).collect(),
        failure: None,
        measured: None,
    }
}

fn sample(micros: u64) -> Sample {
    Sample {
        wall: Duration::from_micros(micros),
        cpu: Duration::from_micros(micros * 3 / 2),
        peak: 30_000_000 + micros,
        read: 0,
        written: micros * 90,
    }
}

#[track_caller]
fn check_markdown(report: &Report, expected: &ExpectFile) {
    let notes = |name: &str| (name == "steps").then(|| "Written by hand.\n".to_owned());
    let text = markdown(report, &notes);
    assert!(!text.contains("\n\n\n"), "{text}");
    assert!(!text.contains("<on>"), "{text}");
    expected.assert_eq(&text);
}

#[track_caller]
fn check_parse_error(text: &str, expected: &Expect) {
    expected.assert_eq(&parse(text).unwrap_err());
}

#[test]
fn a_page() {
    check_markdown(&report(), &expect_file!["tests/page.txt"]);
}

/// The machine, a day before or as another one.
fn earlier(cores: usize) -> Machine {
    Machine {
        date: "2026-11-20".to_owned(),
        cores,
        ..machine()
    }
}

#[test]
fn a_page_says_what_is_of_another_day_or_machine() {
    let mut report = report();
    report.tables[0].measured = Some(earlier(2));
    report.tables[1].rows[0].measured = Some(earlier(2));
    report.tables[1].rows[2].measured = Some(earlier(2));
    report.growths[0].measured = Some(Machine {
        file_system: "xfs".to_owned(),
        ..earlier(1)
    });
    report.left_out[0].what = "steps".to_owned();
    let page = markdown(&report, &|_| None);
    let says = |line: &&str| {
        let words = ["easured on", "another day", "from before"];
        words.iter().any(|word| line.contains(word))
    };
    let lines: Vec<&str> = page.lines().filter(says).collect();
    expect![[r"
        Measured on 2026-11-21 on a machine with 2 cores (AMD EPYC) and 24.0 GiB of memory, Linux 6.18.1, Debian GNU/Linux 12 (bookworm).
        What is of another day, or another machine, says so below its title.
        Measured on 2026-11-20.
        kiln and Buildah were measured on 2026-11-20.
        Measured on 2026-11-20 on a machine with 1 core (AMD EPYC) and 24.0 GiB of memory, Linux 6.18.1, Debian GNU/Linux 12 (bookworm); what the programs store was on xfs.
        - steps: `executor` is not on PATH. What is shown of it is from before."]]
    .assert_eq(&lines.join("\n"));
    let overview = &charts(&report)[0].1;
    assert!(
        overview.contains("2026-11-20 to 2026-11-21, 2 cores"),
        "{overview}"
    );
}

#[test]
fn documents_without_days_are_of_their_reports_day() {
    let text = json(&report());
    let (before, after): (Vec<&str>, Vec<&str>) = text
        .lines()
        .partition(|line| line.contains("\"measured_on\""));
    assert_eq!(before.len(), 3);
    let read = parse(&after.join("\n")).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", report()));
}

#[test]
fn a_page_of_nothing() {
    let report = Report {
        machine: machine(),
        programs: Vec::new(),
        tables: Vec::new(),
        growths: Vec::new(),
        left_out: Vec::new(),
    };
    check_markdown(&report, &expect_file!["tests/page-of-nothing.txt"]);
}

#[test]
fn a_document() {
    let mut report = report();
    report.tables.truncate(1);
    report.tables[0].rows.truncate(2);
    for row in &mut report.tables[0].rows {
        row.samples.truncate(1);
    }
    report.growths[0].curves.truncate(1);
    report.growths[0].curves[0].points.truncate(1);
    expect_file!["tests/document.json"].assert_eq(&json(&report));
}

#[test]
fn other_documents_are_refused() {
    check_parse_error(
        "{}",
        &expect!["not a report of the benchmarks: missing field `version` at line 1 column 2"],
    );
    check_parse_error(
        "{\"version\": 2, \"machine\": 1}",
        &expect!["the report has version 2, and only version 1 is read: measure again"],
    );
    check_parse_error(
        "{\"version\": 1, \"machine\": 1}",
        &expect![
            "not a report of the benchmarks: invalid type: integer `1`, expected struct Machine at line 1 column 27"
        ],
    );
}

#[test]
fn a_document_may_have_more_than_we_know() {
    let text = json(&report()).replace("\"wall_ns\"", "\"later\": [1], \"wall_ns\"");
    assert_eq!(
        format!("{:?}", parse(&text).unwrap()),
        format!("{:?}", report())
    );
}

#[test]
fn pictures() {
    let charts = charts(&report());
    let names: Vec<&str> = charts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["overview.svg", "many-steps.svg"]);
    // The style is in every picture, and no one reads it here.
    let without_style = |svg: &str| {
        let lines = svg.lines().filter(|line| !line.starts_with("<style>"));
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    expect_file!["tests/overview.txt"].assert_eq(&without_style(&charts[0].1));
    expect_file!["tests/many-steps.txt"].assert_eq(&without_style(&charts[1].1));
}

fn any_program() -> impl Strategy<Value = Program> {
    prop_oneof![
        Just(Program::Kiln),
        Just(Program::KilnRootless),
        Just(Program::BuildKit),
        Just(Program::Docker),
        Just(Program::Buildah),
        Just(Program::Kaniko),
        Just(Program::Builderd),
        Just(Program::Mkfs),
    ]
}

fn any_sample() -> impl Strategy<Value = Sample> {
    any::<[u64; 5]>().prop_map(|[wall, cpu, peak, read, written]| Sample {
        wall: Duration::from_nanos(wall),
        cpu: Duration::from_nanos(cpu),
        peak,
        read,
        written,
    })
}

fn any_target() -> impl Strategy<Value = Target> {
    let quarters = any::<u16>().prop_map(|quarters| f64::from(quarters) / 4.0);
    prop_oneof![
        (any_program(), quarters).prop_map(|(program, times)| Target::Times(program, times)),
        (any_program(), any::<u64>())
            .prop_map(|(program, nanos)| Target::AtMost(program, Duration::from_nanos(nanos))),
        (any_program(), any::<u64>()).prop_map(|(program, bytes)| Target::Memory(program, bytes)),
    ]
}

fn any_measured() -> impl Strategy<Value = Option<Machine>> {
    prop_oneof![
        Just(None),
        (1_usize..4).prop_map(|cores| Some(earlier(cores))),
    ]
}

prop_compose! {
    fn any_row()(
        program in any_program(),
        samples in proptest::collection::vec(any_sample(), 0..4),
        failure in proptest::option::of(".*"),
        measured in any_measured(),
    ) -> Row {
        Row { program, samples, failure, measured }
    }
}

prop_compose! {
    fn any_table()(
        texts in any::<[String; 2]>(),
        letter in prop::char::range('a', 'z'),
        parts in any::<Option<u32>>(),
        rows in proptest::collection::vec(any_row(), 0..4),
        targets in proptest::collection::vec(any_target(), 0..4),
        measured in any_measured(),
    ) -> Table {
        let [name, title] = texts;
        // The harness's own Markdown.
        let notes = String::new();
        let unit = parts.map_or(Unit::Whole, Unit::Part);
        Table { name, letter, title, notes, unit, measured, rows, targets }
    }
}

prop_compose! {
    fn any_growth()(
        texts in any::<[String; 4]>(),
        points in proptest::collection::vec((any::<u64>(), any_sample()), 0..4),
        measured in any_measured(),
    ) -> Growth {
        let [name, axis, title, curve] = texts;
        Growth { name, axis, title, measured, curves: vec![Curve { name: curve, points }] }
    }
}

prop_compose! {
    fn any_report()(
        programs in proptest::collection::vec(
            (any_program(), any::<Result<String, String>>(), any::<String>()),
            0..3,
        ),
        tables in proptest::collection::vec(any_table(), 0..3),
        growths in proptest::collection::vec(any_growth(), 0..3),
        left_out in any::<Vec<(String, String)>>(),
    ) -> Report {
        let programs = programs.into_iter().map(|(program, version, settings)| ProgramFacts {
            program,
            version,
            settings,
        });
        let left_out = left_out.into_iter().map(|(what, why)| LeftOut { what, why });
        Report {
            machine: machine(),
            programs: programs.collect(),
            tables,
            growths,
            left_out: left_out.collect(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(report in any_report()) {
        let read = parse(&json(&report)).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{report:?}"));
    }

    #[test]
    fn any_report_is_a_page(report in any_report()) {
        let page = markdown(&report, &|_| None);
        // A stranger's text opens no tag: there are the comment at the top, and small figures.
        let others = page.matches("<!--").count() + page.matches("< 0.1").count();
        prop_assert_eq!(page.matches('<').count(), others);
    }

    #[test]
    fn any_report_is_pictures(report in any_report()) {
        for (_, svg) in charts(&report) {
            // A stranger's text opens no element, and every place is a number.
            let known = ["svg", "title", "desc", "style", "text", "line", "rect", "polyline", "circle"];
            for tag in svg.split('<').skip(1) {
                let name: String =
                    tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphabetic).collect();
                prop_assert!(known.contains(&name.as_str()), "{}", tag);
            }
            prop_assert!(!svg.contains("=\"NaN") && !svg.contains("=\"inf"), "{}", svg);
        }
    }
}
