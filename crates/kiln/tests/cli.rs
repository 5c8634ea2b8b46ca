//! The program from outside: what it prints where, and with which code it ends. Needs no network,
//! no root and no store.

#![expect(
    clippy::needless_raw_string_hashes,
    clippy::unwrap_used,
    reason = "`expect!` rewrites its own texts, and a test stops where something fails"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use expect_test::{Expect, expect};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

fn kiln(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    kiln_sys::process::command(KILN, Path::new("/"))
        .args(arguments)
        .env("HOME", "/nonexistent")
        .env("KILN_CONFIG", "/dev/null")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit code, standard output and standard error as one text.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check(arguments: &[&str], variables: &[(&str, &str)], expected: Expect) {
    let output = kiln(arguments, variables);
    let text = format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    expected.assert_eq(&text);
}

fn stdout(arguments: &[&str]) -> String {
    let output = kiln(arguments, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_version_is_data() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(stdout(&["version"]), format!("kiln {version}\n"));
    assert_eq!(stdout(&["--version"]), format!("kiln {version}\n"));
    assert!(stdout(&["version", "--json"]).starts_with('{'));
}

#[test]
fn asked_for_help_is_data_and_unasked_help_is_not() {
    assert!(stdout(&["--help"]).contains("kiln build -t app ."));
    assert!(stdout(&["help", "build"]).contains("--trust-host-cas"));
    let output = kiln(&[], &[]);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Build and run:"));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    check(
        &["build", "--nope"],
        &[],
        expect![[r#"
            5
            --- stdout
            --- stderr
            error: unexpected argument '--nope' found

              tip: a similar argument exists: '--compress'

            Usage: kiln build [OPTIONS] [PATH|URL|-]

            For more information, try '--help'.
        "#]],
    );
    check(
        &["build", "--secret", "id=a", "."],
        &[],
        expect![[r#"
            5
            --- stdout
            --- stderr
            error: could not use `--secret id=a`: there is neither a variable nor a file of this name
        "#]],
    );
    check(
        &["build", "-t", "UPPER", "."],
        &[],
        expect![[r#"
        5
        --- stdout
        --- stderr
        error: `UPPER` is not a name for an image
          caused by: repository name `UPPER` has to be lower case
    "#]],
    );
    check(
        &["build", "--platform", "linux/amd64,linux/arm64", "."],
        &[],
        expect![[r#"
            5
            --- stdout
            --- stderr
            error: could not read the Dockerfile
              caused by: could not open `/Dockerfile`
              caused by: No such file or directory (os error 2)

            hint: name the file: `-f FILE`
        "#]],
    );
    check(
        &["build", "-o", "type=floppy", "."],
        &[],
        expect![[r#"
            5
            --- stdout
            --- stderr
            error: could not use the output `type=floppy`
              caused by: there is no output type `floppy`; the types are oci, docker, tar, local, image, registry, cacheonly
        "#]],
    );
}

#[test]
fn settings_say_where_they_come_from() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(
        file,
        "jobs = 3\nnetwork = \"none\"\n\n[registry.\"r.example\"]\nplain-http = true\n"
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let variables = [
        ("KILN_CONFIG", path),
        ("KILN_NETWORK", "host"),
        ("KILN_PLATFORM", "linux/arm64"),
    ];
    let output = kiln(&["config", "show", "--root", "/r"], &variables);
    let text = String::from_utf8(output.stdout)
        .unwrap()
        .replace(path, "FILE");
    expect![[r#"
        SETTING              VALUE                          FROM
        root                 /r                             --root
        sandbox              auto                           default
        jobs                 3                              FILE:1
        progress             auto                           default
        color                auto                           default
        platform             linux/arm64                    KILN_PLATFORM
        network              host                           KILN_NETWORK
        format               oci                            default
        compression          gzip                           default
        compression-level    2 for gzip, 3 for zstd         default
        gzip-single-member   false                          default
        trust-host-cas       false                          default
        bootstrap-mirror     the host's apt configuration   default

        [registry."r.example"]
        plain-http = true
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_setting_that_is_not_known_is_refused_with_its_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "jobs = 3\nnetwrk = \"none\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(
        kiln(&["version"], &[("KILN_CONFIG", path)]).status.code(),
        Some(0)
    );
    let output = kiln(&["images"], &[("KILN_CONFIG", path)]);
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8(output.stderr)
        .unwrap()
        .replace(path, "FILE");
    expect![[r#"
        error: could not use the configuration
          caused by: FILE:2: there is no setting `netwrk`; did you mean `network`?
          |
        2 | netwrk = "none"
          | ^
    "#]]
    .assert_eq(&text);
}

#[test]
fn wrong_values_name_their_origin() {
    check(
        &["config", "show"],
        &[("KILN_JOBS", "0")],
        expect![[r#"
        5
        --- stdout
        --- stderr
        error: could not use `jobs` = `0`, set by KILN_JOBS
          caused by: expected a number from 1
    "#]],
    );
    check(
        &["config", "show"],
        &[("KILN_PROGRESS", "fancy")],
        expect![[r#"
            5
            --- stdout
            --- stderr
            error: could not use `progress` = `fancy`, set by KILN_PROGRESS
              caused by: expected one of `auto`, `tty`, `plain`, `json`, `rawjson`, `quiet`, `none`
        "#]],
    );
    check(
        &["config", "show"],
        &[("KILN_CONFIG", "/nonexistent/config.toml")],
        expect![[r#"
            5
            --- stdout
            --- stderr
            error: could not read `/nonexistent/config.toml`
              caused by: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&["completions", shell]);
        assert!(
            script.contains("bootstrap")
                && script.contains("trust-host-cas")
                && script.contains("profile"),
            "{shell}"
        );
    }
    assert!(stdout(&["man"]).contains("kiln\\-build(1)"));
    assert!(stdout(&["man", "build"]).contains("\\-\\-build\\-arg"));
    let folder = tempfile::tempdir().unwrap();
    stdout(&["man", "--directory", folder.path().to_str().unwrap()]);
    assert!(folder.path().join("kiln-bootstrap.1").exists());
    assert!(folder.path().join("kiln.1").exists());
}

#[test]
fn a_reader_that_went_away_is_told_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = kiln_sys::process::command(KILN, Path::new("/"))
        .args(["man"])
        .env("HOME", "/nonexistent")
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn doctor_answers_in_json() {
    let output = kiln(&["doctor", "--json"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\"can_build\""), "{output:?}");
    assert!(matches!(output.status.code(), Some(0 | 6)));
}
