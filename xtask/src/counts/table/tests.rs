//! Tables and counts in, what is printed and decided out.

use super::*;

const TABLE: &str = r#"
[made-with]
architecture = "x86_64"
libc = "glibc 2.36"
processor = "avx2"
rustc = "1.95.0"
valgrind = "valgrind-3.19.0"

[keys]
instructions = 1_000_000
tolerance = 2.0

[scan]
instructions = 20_000_000
tolerance = 0.5
"#;

fn here() -> Environment {
    Table::parse(TABLE).unwrap().made_with
}

/// Zero stands for a path that could not be counted.
fn counted(counts: &[(&str, u64)]) -> Vec<(String, Option<u64>)> {
    let counts = counts.iter();
    counts
        .map(|(path, count)| ((*path).to_owned(), Some(*count).filter(|count| *count > 0)))
        .collect()
}

/// What is printed, and the error if it is one.
fn compare(here: &Environment, counts: &[(&str, u64)]) -> String {
    let table = Table::parse(TABLE).unwrap();
    let comparison = Comparison::new(&table, here, &counted(counts));
    let end = match comparison.outcome() {
        Ok(()) => "ok".to_owned(),
        Err(message) => format!("error: {message}"),
    };
    format!("{comparison}{end}\n")
}

#[track_caller]
fn check(counts: &[(&str, u64)], expected: &str) {
    assert_eq!(compare(&here(), counts), expected.trim_start_matches('\n'));
}

#[test]
fn a_count_within_the_tolerance_passes() {
    check(
        &[("keys", 1_019_000), ("scan", 19_950_000)],
        "
path            instructions      expected    change
keys               1,019,000     1,000,000   +1.90 %
scan              19,950,000    20,000,000   -0.25 %
ok
",
    );
}

#[test]
fn a_count_above_it_fails_and_says_what_to_run() {
    check(
        &[("keys", 1_000_000), ("scan", 20_200_000)],
        "
path            instructions      expected    change
keys               1,000,000     1,000,000   +0.00 %
scan              20,200,000    20,000,000   +1.00 %
error: the path `scan` takes 20,200,000 instructions, 1.0 % more than the 20,000,000 of \
`benches/counts.toml`; 0.5 % are tolerated

hint: `callgrind_annotate --inclusive=yes target/counts/callgrind/scan.out` tells where they are
hint: if it has to be so, `cargo xtask counts --update`, and say why in the commit
",
    );
}

#[test]
fn a_count_below_it_is_a_note() {
    check(
        &[("keys", 500_000), ("scan", 20_000_000)],
        "
path            instructions      expected    change
keys                 500,000     1,000,000  -50.00 %
scan              20,000,000    20,000,000   +0.00 %
note: the path `keys` got better; `cargo xtask counts --update` keeps it so
ok
",
    );
}

#[test]
fn a_path_that_could_not_be_counted_is_a_note() {
    check(
        &[("keys", 1_000_000), ("scan", 0)],
        "
path            instructions      expected    change
keys               1,000,000     1,000,000   +0.00 %
scan                       -    20,000,000         -
note: the path `scan` was not counted: Valgrind does not know a system call that it needs
ok
",
    );
    let table = Table::parse(TABLE).unwrap();
    let kept = table.with(
        here(),
        &counted(&[("keys", 1_000_000), ("scan", 0), ("new", 0)]),
    );
    assert_eq!(kept, table);
}

#[test]
fn table_and_program_have_the_same_paths() {
    check(
        &[("keys", 1_000_000), ("new", 7)],
        "
path            instructions      expected    change
keys               1,000,000     1,000,000   +0.00 %
new                        7             -         -
scan                       -    20,000,000         -
error: the path `new` is not in `benches/counts.toml`

hint: cargo xtask counts --update
`benches/counts.toml` has the path `scan`, which is gone

hint: cargo xtask counts --update
",
    );
}

#[test]
fn another_compiler_or_library_widens_the_tolerance() {
    let here = Environment {
        rustc: "1.96.0".to_owned(),
        ..here()
    };
    assert_eq!(
        compare(&here, &[("keys", 1_090_000), ("scan", 20_000_000)]),
        "\
path            instructions      expected    change
keys               1,090,000     1,000,000   +9.00 %
scan              20,000,000    20,000,000   +0.00 %
note: rustc `1.96.0` instead of `1.95.0`: tolerances are 5 times as wide as in the table
ok
"
    );
    assert!(
        !Table::parse(TABLE)
            .unwrap()
            .allows(&here, "keys", 1_101_000)
    );
}

#[test]
fn another_architecture_is_not_compared() {
    let here = Environment {
        architecture: "aarch64".to_owned(),
        ..here()
    };
    let table = Table::parse(TABLE).unwrap();
    assert_eq!(
        table.made_with.reason_to_skip(&here).as_deref(),
        Some("the table is for `x86_64`, this machine is `aarch64`")
    );
    assert_eq!(table.made_with.reason_to_skip(&table.made_with), None);
}

#[test]
fn an_update_keeps_tolerances() {
    let table = Table::parse(TABLE).unwrap();
    let counts = counted(&[("scan", 7), ("fresh", 1_234_567)]);
    let text = table.with(here(), &counts).to_string();
    assert_eq!(
        text.split_once("\n\n").unwrap().1,
        r#"[made-with]
architecture = "x86_64"
libc = "glibc 2.36"
processor = "avx2"
rustc = "1.95.0"
valgrind = "valgrind-3.19.0"

[scan]
instructions = 7
tolerance = 0.5

[fresh]
instructions = 1_234_567
tolerance = 2.0
"#
    );
    let read = Table::parse(&text).unwrap();
    assert!(read.allows(&here(), "fresh", 1_234_567));
}

#[test]
fn a_table_that_is_wrong_says_where() {
    let wrong = |text: &str| Table::parse(text).unwrap_err();
    assert_eq!(wrong("keys = 1"), "`keys` is no section");
    assert_eq!(
        wrong("[keys]\ninstructions = -1\ntolerance = 2.0"),
        "`keys` needs `instructions`, a whole number, and `tolerance`, a number with a point"
    );
    assert_eq!(
        wrong("[made-with]\nlibc = \"x\""),
        "`made-with` lacks `architecture`"
    );
}

#[test]
fn the_total_of_a_profile() {
    let profile = "version: 1\ncmd: x\nevents: Ir\nfn=(1) main\n1 5\ntotals: 22112506\n";
    assert_eq!(total(profile), Some(22_112_506));
    assert_eq!(total("events: Ir\n"), None);
}

#[test]
fn the_first_cpu_of_a_list() {
    assert_eq!(
        first_cpu("Name:\tx\nCpus_allowed_list:\t2-5,9\n"),
        Some("2")
    );
    assert_eq!(first_cpu("Cpus_allowed_list:\t7\n"), Some("7"));
    assert_eq!(first_cpu(""), None);
}

#[test]
fn the_widest_vectors() {
    assert_eq!(processor("flags\t\t: fpu avx avx2 avx512f\n"), "avx2");
    assert_eq!(processor("flags\t\t: fpu ssse3 sse4_2\n"), "sse4_2");
    assert_eq!(processor(""), "none");
}
