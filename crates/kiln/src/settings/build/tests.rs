//! Command lines and environments, and what they come to.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::super::env::tests::user;
use super::super::{Layer, from_flags};
use super::*;
use crate::args::{Command, parse};

fn plan(words: &[&str], variables: &[(&str, &str)], stdin: &[u8]) -> Result<Plan, BuildArgsError> {
    let environment = user(&[&[("HOME", "/me")], variables].concat());
    let cli = parse(
        ["kiln", "build"]
            .iter()
            .chain(words)
            .map(|word| (*word).into()),
    )
    .unwrap();
    let layer = Layer::from_environment(&environment).under(from_flags(&cli));
    let settings = Settings::resolve(&layer, BTreeMap::new(), &environment).unwrap();
    let Command::Build(args) = cli.command else {
        panic!("not a build")
    };
    resolve(&args, &settings, &environment, &mut &stdin[..])
}

/// The fields of `{:#?}`, each with its whole text; those of `steps` one by one.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut group = String::new();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let opens = line.trim_start().strip_suffix(": StepSettings {");
        let level = if group.is_empty() { 4 } else { 8 };
        if let Some(name) = opens {
            group = format!("{name}.");
        } else if depth == 4 && line.trim() == "}," && !group.is_empty() {
            group.clear();
        } else if depth == level
            && let Some((name, value)) = line.trim().split_once(": ")
        {
            fields.push((format!("{group}{name}"), value.to_owned()));
        } else if depth >= level
            && let Some((_, value)) = fields.last_mut()
        {
            if !value.ends_with(['{', '[', '(']) {
                value.push(' ');
            }
            value.push_str(line.trim());
        }
    }
    fields
}

/// What a command line changes about the request of `kiln build .`, one field a line.
fn changes(words: &[&str], variables: &[(&str, &str)], stdin: &[u8]) -> String {
    let plan = match plan(words, variables, stdin) {
        Ok(plan) => plan,
        Err(error) => {
            let first: &(dyn Error + 'static) = &error;
            let texts: Vec<String> = std::iter::successors(Some(first), |error| (*error).source())
                .map(ToString::to_string)
                .collect();
            return format!("error: {}\n", texts.join(": "));
        }
    };
    let base = super::tests::plan(&["."], &[], b"").unwrap();
    let base = fields(&format!("{:#?}", base.request));
    let mut text = String::new();
    for (name, value) in fields(&format!("{:#?}", plan.request)) {
        if !base.contains(&(name.clone(), value.clone())) {
            let value = value
                .trim_end_matches(',')
                .replace(",}", "}")
                .replace(",)", ")");
            _ = writeln!(text, "{name}: {}", value.replace(",]", "]"));
        }
    }
    if let Some(call) = plan.call {
        _ = writeln!(text, "call: {call:?}");
    }
    for note in plan.notes {
        _ = writeln!(text, "note: {note}");
    }
    text
}

/// Each command line by itself.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check(lines: &[&str], variables: &[(&str, &str)], expected: Expect) {
    let mut text = String::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        _ = writeln!(
            text,
            "$ {line}\n{}",
            changes(&words, variables, b"").trim_end()
        );
    }
    expected.assert_eq(&text);
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check_stdin(line: &str, stdin: &[u8], expected: Expect) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = changes(&words, &[], stdin);
    // The number of the file that keeps the archive.
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    let text = match text.split_once("/proc/self/fd/") {
        Some((head, tail)) => format!("{head}/proc/self/fd/N{}", &tail[digits(tail)..]),
        None => text,
    };
    expected.assert_eq(&text);
}

#[test]
fn contexts() {
    check(
        &[
            ".",
            "",
            "ctx",
            "/",
            "https://example.com/app.git#main:sub",
            "https://example.com/app.tar.gz",
            "git@example.com:app.git",
            "github.com/docker/buildx",
            "https://example.com/app.git?what=1",
        ],
        &[],
        expect![[r#"
            $ .

            $ 

            $ ctx
            context: Directory("/here/ctx", )
            $ /
            context: Directory("/", )
            $ https://example.com/app.git#main:sub
            context: Git("https://example.com/app.git#main:sub", )
            $ https://example.com/app.tar.gz
            context: Http("https://example.com/app.tar.gz", )
            $ git@example.com:app.git
            context: Git("git@example.com:app.git", )
            $ github.com/docker/buildx
            context: Git("github.com/docker/buildx", )
            $ https://example.com/app.git?what=1
            error: could not use `https://example.com/app.git` as a git repository: unknown option `what` of a git address: known are `ref`, `tag`, `branch`, `subdir`, `checksum`, `commit`, `keep-git-dir`, `submodules`, `mtime` and `fetch-by-commit`
        "#]],
    );
}

#[test]
fn dockerfiles() {
    check(
        &[
            "-f sub/D ctx",
            "-f /D ctx",
            "-f https://example.com/D .",
            "-f sub/D https://example.com/app.git",
            "-f /D https://example.com/app.git",
            "-f - -",
        ],
        &[],
        expect![[r#"
            $ -f sub/D ctx
            context: Directory("/here/ctx", )
            dockerfile: Path("/here/sub/D", )
            $ -f /D ctx
            context: Directory("/here/ctx", )
            dockerfile: Path("/D", )
            $ -f https://example.com/D .
            dockerfile: Http("https://example.com/D", )
            $ -f sub/D https://example.com/app.git
            context: Git("https://example.com/app.git", )
            dockerfile: InContext("sub/D", )
            $ -f /D https://example.com/app.git
            context: Git("https://example.com/app.git", )
            dockerfile: Path("/D", )
            $ -f - -
            error: the context and the Dockerfile can't both be standard input
        "#]],
    );
    check_stdin(
        "-f - .",
        b"FROM a",
        expect![[r#"
        dockerfile: Text("FROM a", )
    "#]],
    );
}

/// A plain tar archive with one empty file.
fn archive() -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    header[0] = b'a';
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.resize(512 * 3, 0);
    header
}

#[test]
fn standard_input_is_an_archive_or_a_dockerfile() {
    check_stdin(
        "-",
        b"FROM a",
        expect![[r#"
        context: Empty
        dockerfile: Text("FROM a", )
    "#]],
    );
    check_stdin(
        "-",
        &archive(),
        expect![[r#"
        context: Archive("/proc/self/fd/N", )
    "#]],
    );
    check_stdin(
        "-f sub/D -",
        &archive(),
        expect![[r#"
        context: Archive("/proc/self/fd/N", )
        dockerfile: InContext("sub/D", )
    "#]],
    );
    check_stdin(
        "-",
        &[0x1f, 0x8b, 8, 0, 0, 0],
        expect![[r#"
        context: Archive("/proc/self/fd/N", )
    "#]],
    );
    check_stdin(
        "-f D -",
        b"FROM a",
        expect![[r#"
        error: standard input is a Dockerfile, and so is `D`
    "#]],
    );
    check_stdin(
        "-",
        b"\xff\xfe",
        expect![[r#"
        error: what standard input holds is neither an archive nor a Dockerfile: it is not UTF-8
    "#]],
    );
}

#[test]
fn named_contexts() {
    check(
        &[
            "--build-context src=/ --build-context Tools=/ .",
            "--build-context a=/ --build-context docker.io/library/a:latest=/usr .",
            "--build-context a=https://example.com/a.git#v1 .",
            "--build-context a=https://example.com/a.tar .",
            "--build-context debian:12=docker-image://debian@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef .",
            "--build-context a::linux/arm64=docker-image://b:1 .",
            "--build-context a=oci-layout:/// .",
            "--build-context a=oci-layout:///:1.0 .",
            "--build-context a=oci-layout:///:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef .",
            "--build-context a=oci-layout://nowhere .",
            "--build-context a=oci-layout://:1 .",
            "--build-context a=docker-image://A .",
            "--build-context a=nowhere .",
            "--build-context a=/dev/null .",
            "--build-context a=target:b .",
            "--build-context a= .",
            "--build-context a .",
            "--build-context a::x/y/z/w=/ .",
        ],
        &[],
        expect![[r#"
            $ --build-context src=/ --build-context Tools=/ .
            error: could not use `--build-context Tools=/`: repository name `Tools` has to be lower case
            $ --build-context a=/ --build-context docker.io/library/a:latest=/usr .
            contexts: {"a": Files(Directory("/usr", ), ), }
            $ --build-context a=https://example.com/a.git#v1 .
            contexts: {"a": Files(Git("https://example.com/a.git#v1", ), ), }
            $ --build-context a=https://example.com/a.tar .
            contexts: {"a": Files(Http("https://example.com/a.tar", ), ), }
            $ --build-context debian:12=docker-image://debian@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef .
            contexts: {"debian:12": Image(Reference {registry: "docker.io", repository: "library/debian", tag: None, digest: Some(Digest(sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef), ), }, ), }
            $ --build-context a::linux/arm64=docker-image://b:1 .
            contexts: {"a::linux/arm64": Image(Reference {registry: "docker.io", repository: "library/b", tag: Some("1", ), digest: None, }, ), }
            $ --build-context a=oci-layout:/// .
            contexts: {"a": Layout {path: "/", tag: None, digest: None, }, }
            $ --build-context a=oci-layout:///:1.0 .
            contexts: {"a": Layout {path: "/", tag: Some("1.0", ), digest: None, }, }
            $ --build-context a=oci-layout:///:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef .
            contexts: {"a": Layout {path: "/", tag: Some("1", ), digest: Some(Digest(sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef), ), }, }
            $ --build-context a=oci-layout://nowhere .
            error: could not use `--build-context a=oci-layout://nowhere`: there is no such directory
            $ --build-context a=oci-layout://:1 .
            error: could not use `--build-context a=oci-layout://:1`: the layout's directory is missing
            $ --build-context a=docker-image://A .
            error: could not use `--build-context a=docker-image://A`: no such name: repository name `A` has to be lower case
            $ --build-context a=nowhere .
            error: could not use `--build-context a=nowhere`: there is no such directory
            $ --build-context a=/dev/null .
            error: could not use `--build-context a=/dev/null`: it is not a directory
            $ --build-context a=target:b .
            error: could not use `--build-context a=target:b`: only a bake file has targets
            $ --build-context a= .
            error: could not use `--build-context a=`: expected a directory or an address after `=`
            $ --build-context a .
            error: could not use `--build-context a`: expected `NAME=VALUE`
            $ --build-context a::x/y/z/w=/ .
            error: could not use `--build-context a::x/y/z/w=/`: `x/y/z/w` is not a platform of the form `os/architecture/variant`
        "#]],
    );
}

#[test]
fn platforms_are_a_list() {
    check(
        &[
            "--platform linux/arm64 .",
            "--platform linux/amd64,linux/arm/v7 --platform linux/amd64 .",
            "--platform linux/s390x,linux/riscv64 .",
        ],
        &[],
        expect![[r#"
            $ --platform linux/arm64 .
            platforms: [Platform {os: "linux", architecture: "arm64", variant: None, os_version: None, os_features: [], }, ]
            $ --platform linux/amd64,linux/arm/v7 --platform linux/amd64 .
            platforms: [Platform {os: "linux", architecture: "amd64", variant: None, os_version: None, os_features: [], }, Platform {os: "linux", architecture: "arm", variant: Some("v7", ), os_version: None, os_features: [], }, ]
            $ --platform linux/s390x,linux/riscv64 .
            platforms: [Platform {os: "linux", architecture: "s390x", variant: None, os_version: None, os_features: [], }, Platform {os: "linux", architecture: "riscv64", variant: None, os_version: None, os_features: [], }, ]
        "#]],
    );
    check(
        &[".", "--platform linux/riscv64 ."],
        &[("DOCKER_DEFAULT_PLATFORM", "linux/arm64,linux/s390x")],
        expect![[r#"
            $ .
            platforms: [Platform {os: "linux", architecture: "arm64", variant: None, os_version: None, os_features: [], }, Platform {os: "linux", architecture: "s390x", variant: None, os_version: None, os_features: [], }, ]
            $ --platform linux/riscv64 .
            platforms: [Platform {os: "linux", architecture: "riscv64", variant: None, os_version: None, os_features: [], }, ]
        "#]],
    );
    check(
        &["."],
        &[
            ("DOCKER_DEFAULT_PLATFORM", "linux/arm64"),
            ("KILN_PLATFORM", "linux/s390x"),
        ],
        expect![[r#"
            $ .
            platforms: [Platform {os: "linux", architecture: "s390x", variant: None, os_version: None, os_features: [], }, ]
        "#]],
    );
}

#[test]
fn names_and_values() {
    check(
        &[
            "-t a -t r.example/b:1 --target x .",
            "--build-arg A --build-arg UNSET --build-arg B= --build-arg C=1=2 .",
            "--build-arg SOURCE_DATE_EPOCH=7 .",
            "--build-arg SOURCE_DATE_EPOCH=now .",
            "--label a=b --label A --label c= .",
            "--annotation index,manifest[linux/amd64]:a=1 --annotation a=2 --annotation a=3 .",
            "--annotation where:a=1 .",
            "-t A .",
        ],
        &[("A", "from outside"), ("SOURCE_DATE_EPOCH", "5")],
        expect![[r#"
            $ -t a -t r.example/b:1 --target x .
            target: Some("x", )
            build_args: {"SOURCE_DATE_EPOCH": "5", }
            tags: [Reference {registry: "docker.io", repository: "library/a", tag: Some("latest", ), digest: None, }, Reference {registry: "r.example", repository: "b", tag: Some("1", ), digest: None, }, ]
            source_date_epoch: Some(Timestamp {seconds: 5, nanoseconds: 0, }, )
            $ --build-arg A --build-arg UNSET --build-arg B= --build-arg C=1=2 .
            build_args: {"A": "from outside", "B": "", "C": "1=2", "SOURCE_DATE_EPOCH": "5", }
            source_date_epoch: Some(Timestamp {seconds: 5, nanoseconds: 0, }, )
            $ --build-arg SOURCE_DATE_EPOCH=7 .
            build_args: {"SOURCE_DATE_EPOCH": "7", }
            source_date_epoch: Some(Timestamp {seconds: 7, nanoseconds: 0, }, )
            $ --build-arg SOURCE_DATE_EPOCH=now .
            build_args: {"SOURCE_DATE_EPOCH": "now", }
            $ --label a=b --label A --label c= .
            build_args: {"SOURCE_DATE_EPOCH": "5", }
            labels: {"A": "", "a": "b", "c": "", }
            source_date_epoch: Some(Timestamp {seconds: 5, nanoseconds: 0, }, )
            $ --annotation index,manifest[linux/amd64]:a=1 --annotation a=2 --annotation a=3 .
            build_args: {"SOURCE_DATE_EPOCH": "5", }
            source_date_epoch: Some(Timestamp {seconds: 5, nanoseconds: 0, }, )
            annotations: [Annotation {level: Index, platform: None, key: "a", value: "1", }, Annotation {level: Manifest, platform: Some(Platform {os: "linux", architecture: "amd64", variant: None, os_version: None, os_features: [], }, ), key: "a", value: "1", }, Annotation {level: Manifest, platform: None, key: "a", value: "3", }, ]
            $ --annotation where:a=1 .
            error: an annotation can't be put on `where`: expected manifest, index, manifest-descriptor or index-descriptor
            $ -t A .
            error: `A` is not a name for an image: repository name `A` has to be lower case
        "#]],
    );
}

#[test]
fn what_the_cache_may_give() {
    check(
        &[
            "--no-cache .",
            "--no-cache=false --pull .",
            "--no-cache-filter a,b --no-cache-filter c .",
            "--no-cache --no-cache-filter a .",
            "--cache-from= --cache-to= .",
            "--cache-from r.example/c .",
            "--cache-from type=floppy .",
            "--cache-to type=inline .",
            "--build-arg BUILDKIT_INLINE_CACHE=1 .",
        ],
        &[],
        expect![[r#"
            $ --no-cache .
            cache: Ignore
            $ --no-cache=false --pull .
            pull: Always
            $ --no-cache-filter a,b --no-cache-filter c .
            cache: IgnoreStages(["a", "b", "c", ], )
            $ --no-cache --no-cache-filter a .
            error: `--no-cache` leaves nothing for `--no-cache-filter` to choose from
            $ --cache-from= --cache-to= .

            $ --cache-from r.example/c .
            cache_from: [Registry(RegistrySource {reference: Reference {registry: "r.example", repository: "c", tag: Some("latest", ), digest: None, }, insecure: false, }, ), ]
            $ --cache-from type=floppy .
            error: could not use `--cache-from type=floppy`: cache type `floppy` is not supported; kiln has `registry`, `local`, `s3` and `gha`
            $ --cache-to type=inline .
            cache_to: [CacheTarget {target: Inline, mode: Min, compression: CompressionChoice {kind: None, level: None, force: false, }, ignore_error: false, }, ]
            $ --build-arg BUILDKIT_INLINE_CACHE=1 .
            build_args: {"BUILDKIT_INLINE_CACHE": "1", }
            cache_to: [CacheTarget {target: Inline, mode: Min, compression: CompressionChoice {kind: None, level: None, force: false, }, ignore_error: false, }, ]
        "#]],
    );
}

#[test]
fn secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "hunter2").unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![0; 500 * 1024 + 1]).unwrap();
    let secrets = |flag: &str| {
        let flag = flag
            .replace("FILE", file.to_str().unwrap())
            .replace("LARGE", large.to_str().unwrap());
        let plan = plan(
            &["--secret", &flag, "."],
            &[("TOKEN", "t0k"), ("EMPTY", "")],
            b"",
        );
        match plan {
            Ok(plan) => {
                let secrets = plan.request.secrets.iter();
                let secret = |(id, secret): (&String, &kiln_base::Secret<Vec<u8>>)| {
                    format!("{id}={}\n", String::from_utf8_lossy(secret.expose()))
                };
                let notes = plan.notes.iter().map(|note| format!("note: {note}\n"));
                secrets.map(secret).chain(notes).collect::<String>()
            }
            Err(error) => format!("error: {error}\n").replace(folder.path().to_str().unwrap(), "…"),
        }
    };
    let all: String = [
        "id=a,src=FILE",
        "id=a,source=FILE,type=file",
        "type=env,id=a,src=TOKEN",
        "id=a,env=TOKEN",
        "id=TOKEN",
        "id=EMPTY",
        "id=a,env=MISSING",
        "\"id=a,b\",env=TOKEN",
        "id=nowhere",
        "id=a,src=LARGE",
        "id=a,src=FILE,env=TOKEN",
        "src=FILE",
        "id=a,type=vault",
        "id=a,mode=0400",
        "id",
    ]
    .iter()
    .map(|flag| secrets(flag))
    .collect();
    expect![[r#"
        a=hunter2
        a=hunter2
        a=t0k
        a=t0k
        TOKEN=t0k
        EMPTY=
        a=
        note: the secret `a` is empty: the variable `MISSING` is not set
        a,b=t0k
        error: could not use `--secret id=nowhere`: there is neither a variable nor a file of this name
        error: could not use `--secret id=a,src=…/large`: no usable file
        error: could not use `--secret id=a,src=…/key,env=TOKEN`: it names a file and a variable: leave one out
        error: could not use `--secret src=…/key`: `id=…` is missing
        error: could not use `--secret id=a,type=vault`: its type is `file` or `env`
        error: could not use `--secret id=a,mode=0400`: there is no field `mode`
        error: could not use `--secret id`: `id` is not of the form `NAME=VALUE`
    "#]].assert_eq(&all);
}

#[test]
fn a_secret_is_not_shown() {
    let plan = plan(&["--secret", "id=TOKEN", "."], &[("TOKEN", "t0k")], b"").unwrap();
    assert!(!format!("{plan:?}").contains("t0k"));
}

#[test]
fn ssh() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("key"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    let sources = |flags: &[&str], context: &str| {
        let flags: Vec<String> = flags
            .iter()
            .map(|flag| {
                flag.replace("KEY", &path("key"))
                    .replace("SOCKET", &path("socket"))
            })
            .collect();
        let words: Vec<&str> = flags
            .iter()
            .flat_map(|flag| ["--ssh", flag])
            .chain([context])
            .collect();
        let text = match plan(&words, &[("SSH_AUTH_SOCK", "/agent")], b"") {
            Ok(plan) => format!("{:?}\n", plan.request.ssh),
            Err(error) => format!("error: {error}\n"),
        };
        text.replace(folder.path().to_str().unwrap(), "…")
    };
    let all = [
        sources(&["default"], "."),
        sources(&["=SOCKET"], "."),
        sources(&["a=SOCKET", "b=KEY,KEY"], "."),
        sources(&[], "git@example.com:app.git"),
        sources(&[], "https://example.com/app.git"),
        sources(&["default", "default"], "."),
        sources(&["a=SOCKET,KEY"], "."),
        sources(&["a=/nowhere"], "."),
        sources(&["a=/"], "."),
    ];
    expect![[r#"
        {"default": Agent("/agent")}
        {"default": Agent("…/socket")}
        {"a": Agent("…/socket"), "b": Keys(["…/key", "…/key"])}
        {"default": Agent("/agent")}
        {}
        error: could not use `--ssh default`: `default` is given twice
        error: could not use `--ssh a=…/socket,…/key`: an agent's socket stands alone
        error: could not use `--ssh a=/nowhere`: no usable file or socket
        error: could not use `--ssh a=/`: a key is a file, an agent is a socket
    "#]]
    .assert_eq(&all.concat());
    check(
        &["--ssh default ."],
        &[],
        expect![[r#"
        $ --ssh default .
        error: could not use `--ssh default`: no SSH agent runs here: `SSH_AUTH_SOCK` is not set
    "#]],
    );
}

#[test]
fn permissions() {
    check(
        &[
            "--allow network.host --allow security.insecure=true .",
            "--allow network.host=false .",
            "--allow fs.read=/src --allow fs=* --allow ssh --allow image.load .",
            "--allow device=vendor/gpu .",
            "--allow everything .",
            "--allow security.insecure=please .",
            "-o type=local,dest=/elsewhere,mode=delete .",
            "--allow buildx.local.delete -o type=local,dest=/elsewhere,mode=delete .",
        ],
        &[],
        expect![[r#"
            $ --allow network.host --allow security.insecure=true .
            steps.allow: Allow {network_host: true, security_insecure: true, }
            $ --allow network.host=false .

            $ --allow fs.read=/src --allow fs=* --allow ssh --allow image.load .

            $ --allow device=vendor/gpu .
            note: `--allow device` gives nothing: kiln's steps have no devices of the host
            $ --allow everything .
            error: could not use `--allow everything`: there is no such permission
            $ --allow security.insecure=please .
            error: could not use `--allow security.insecure=please`: it takes no value
            $ -o type=local,dest=/elsewhere,mode=delete .
            error: files that are in `/elsewhere` would be removed, and it is not below the working directory
            $ --allow buildx.local.delete -o type=local,dest=/elsewhere,mode=delete .
            outputs: [Local {dest: "/elsewhere", split: None, mode: Delete, }, ]
        "#]],
    );
}

#[test]
fn how_steps_run() {
    check(
        &[
            "--network host .",
            "--network none .",
            "--add-host a:1.2.3.4,b=[::1] --add-host c:host-gateway .",
            "--add-host a .",
            "--shm-size 128m .",
            "--shm-size 0 .",
            "--shm-size big .",
            "--ulimit nofile=10 --ulimit core=-1 --ulimit nofile=1:2 .",
            "--ulimit nofile=2:1 .",
            "--ulimit nofile=-1:1 .",
            "--ulimit files=1 .",
            "--ulimit nofile .",
            "--ulimit nofile=x .",
            "--cgroup-parent /build .",
            "-m 1g --memory-swap -1 -c 512 --cpu-period 10 --cpu-quota -1 --cpuset-cpus 0-3,5 --cpuset-mems 0 .",
            "--memory 1g --resource memory=2g --resource cpu-quota=50000 .",
            "--resource gpu=1 .",
            "--resource memory .",
            "--resource cpu-shares=many .",
            "--resource cpuset-cpus=all .",
        ],
        &[],
        expect![[r#"
            $ --network host .
            steps.network: Host
            steps.allow: Allow {network_host: true, security_insecure: false, }
            $ --network none .
            steps.network: None
            $ --add-host a:1.2.3.4,b=[::1] --add-host c:host-gateway .
            steps.extra_hosts: [("a", "1.2.3.4", ), ("b", "::1", ), ("c", "127.0.0.1", ), ]
            $ --add-host a .
            error: could not use `--add-host a`: expected `HOST:IP`
            $ --shm-size 128m .
            steps.shm_size: Some(134217728, )
            $ --shm-size 0 .

            $ --shm-size big .
            error: could not use `--shm-size big`: expected a size, as in `512m` or `2g`
            $ --ulimit nofile=10 --ulimit core=-1 --ulimit nofile=1:2 .
            steps.ulimits: [Ulimit {name: "core", soft: None, hard: None, }, Ulimit {name: "nofile", soft: Some(1, ), hard: Some(2, ), }, ]
            $ --ulimit nofile=2:1 .
            error: could not use `--ulimit nofile=2:1`: the soft limit is above the hard one
            $ --ulimit nofile=-1:1 .
            error: could not use `--ulimit nofile=-1:1`: the soft limit is above the hard one
            $ --ulimit files=1 .
            error: could not use `--ulimit files=1`: there is no such limit
            $ --ulimit nofile .
            error: could not use `--ulimit nofile`: expected `NAME=SOFT[:HARD]`
            $ --ulimit nofile=x .
            error: could not use `--ulimit nofile=x`: a limit is a number, or -1 for none
            $ --cgroup-parent /build .
            steps.cgroup_parent: Some("/build", )
            $ -m 1g --memory-swap -1 -c 512 --cpu-period 10 --cpu-quota -1 --cpuset-cpus 0-3,5 --cpuset-mems 0 .
            steps.resources: {"cpu-period": "10", "cpu-shares": "512", "cpuset-cpus": "0-3,5", "cpuset-mems": "0", "memory": "1073741824", "memory-swap": "-1", }
            $ --memory 1g --resource memory=2g --resource cpu-quota=50000 .
            steps.resources: {"cpu-quota": "50000", "memory": "2147483648", }
            $ --resource gpu=1 .
            error: could not use `--resource gpu=1`: known are memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus and cpuset-mems
            $ --resource memory .
            error: could not use `--resource memory`: expected `NAME=VALUE`
            $ --resource cpu-shares=many .
            error: could not use `--resource cpu-shares=many`: expected a number
            $ --resource cpuset-cpus=all .
            error: could not use `--resource cpuset-cpus=all`: expected a list as in `0-3,5`
        "#]],
    );
}

#[test]
fn outputs_and_names() {
    check(
        &[
            "--push -t r.example/a .",
            "--push .",
            "-o type=registry,name=r.example/a .",
            "--iidfile i -o out .",
            "-o type=cacheonly .",
            "-t a -o type=image,name=b .",
            "--compression zstd --rewrite-timestamp false .",
        ],
        &[],
        expect![[r#"
            $ --push -t r.example/a .
            tags: [Reference {registry: "r.example", repository: "a", tag: Some("latest", ), digest: None, }, ]
            outputs: [Store {image: ImageOptions {names: [], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false, }, unpack: false, }, Push {image: ImageOptions {names: [], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false, }, by_digest: false, insecure: false, }, ]
            $ --push .
            error: `--push` needs a name for the image
            $ -o type=registry,name=r.example/a .
            outputs: [Push {image: ImageOptions {names: [Reference {registry: "r.example", repository: "a", tag: Some("latest", ), digest: None, }, ], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false, }, by_digest: false, insecure: false, }, ]
            $ --iidfile i -o out .
            error: `--iidfile` needs an image, and the outputs are files only
            $ -o type=cacheonly .
            outputs: [CacheOnly, ]
            $ -t a -o type=image,name=b .
            tags: [Reference {registry: "docker.io", repository: "library/a", tag: Some("latest", ), digest: None, }, ]
            outputs: [Store {image: ImageOptions {names: [], format: None, compression: None, force_compression: false, file_times: None, epoch: None, annotations: [], name_canonical: false, dangling_prefix: None, attestation_artifact: false, keep_nondistributable: false, }, unpack: false, }, ]
            note: `name` of the output type `image` is not used: `-t` names the image
            $ --compression zstd --rewrite-timestamp false .
            file_times: Keep
            compression: Zstd(ZstdLevel(3, ), )
        "#]],
    );
}

#[test]
fn questions() {
    check(
        &[
            "--check .",
            "--check=false .",
            "--call check,format=json .",
            "--call=lint,ignorestatus=true .",
            "--call outline .",
            "--call targets,format=text .",
            "--call subrequests.describe .",
            "--call build .",
            "--print targets .",
            "--call guess .",
            "--call outline,targets .",
            "--call outline,format=xml .",
            "--call format=json .",
        ],
        &[],
        expect![[r#"
            $ --check .
            call: Call { method: Check, format: Text, ignore_status: false }
            $ --check=false .

            $ --call check,format=json .
            call: Call { method: Check, format: Json, ignore_status: false }
            $ --call=lint,ignorestatus=true .
            call: Call { method: Check, format: Text, ignore_status: true }
            $ --call outline .
            call: Call { method: Outline, format: Text, ignore_status: false }
            $ --call targets,format=text .
            call: Call { method: Targets, format: Text, ignore_status: false }
            $ --call subrequests.describe .
            call: Call { method: Describe, format: Text, ignore_status: false }
            $ --call build .

            $ --print targets .
            call: Call { method: Targets, format: Text, ignore_status: false }
            $ --call guess .
            error: could not use `--call guess`: the methods are build, check, outline, targets and subrequests.describe
            $ --call outline,targets .
            error: could not use `--call outline,targets`: it asks two questions
            $ --call outline,format=xml .
            error: could not use `--call outline,format=xml`: its format is `text` or `json`
            $ --call format=json .
            error: could not use `--call format=json`: the method is missing
        "#]],
    );
}

#[test]
fn attestations() {
    check(
        &[
            "--sbom=false --provenance=false --attest type=sbom,disabled=true .",
            "--sbom true .",
            "--provenance mode=max .",
            "--attest type=sbom .",
            "--attest type=horoscope .",
            "--build-arg BUILDKIT_ATTEST_SBOM= .",
        ],
        &[],
        expect![[r#"
            $ --sbom=false --provenance=false --attest type=sbom,disabled=true .

            $ --sbom true .
            attest: AttestRequest {sbom: Some(SbomRequest, ), provenance: None, }
            $ --provenance mode=max .
            attest: AttestRequest {sbom: None, provenance: Some(ProvenanceRequest {mode: Max, version: V1, builder_id: "", reproducible: false, inline_only: false, filename: "provenance.json", complete_materials: false, }, ), }
            $ --attest type=sbom .
            attest: AttestRequest {sbom: Some(SbomRequest, ), provenance: None, }
            $ --attest type=horoscope .
            error: `horoscope` is not a type of attestation: use `sbom` or `provenance`
            $ --build-arg BUILDKIT_ATTEST_SBOM= .
            build_args: {"BUILDKIT_ATTEST_SBOM": "", }
            attest: AttestRequest {sbom: Some(SbomRequest, ), provenance: None, }
        "#]],
    );
}

#[test]
fn what_is_shown() {
    check(
        &[
            "--explain .",
            "-D .",
            "-q --progress auto .",
            "-q --progress plain .",
        ],
        &[],
        expect![[r#"
            $ --explain .
            explain: true
            $ -D .
            explain: true
            $ -q --progress auto .

            $ -q --progress plain .
            error: could not use `--quiet`: `--progress` asks for something else
        "#]],
    );
    let progress = |line: &str, variables: &[(&str, &str)]| {
        let environment = user(&[&[("HOME", "/me")], variables].concat());
        let cli = parse(line.split_whitespace().map(Into::into)).unwrap();
        let layer = Layer::from_environment(&environment).under(from_flags(&cli));
        let settings = Settings::resolve(&layer, BTreeMap::new(), &environment).unwrap();
        format!("{:?}", settings.progress)
    };
    let buildkit = [("BUILDKIT_PROGRESS", "plain")];
    let both = [("BUILDKIT_PROGRESS", "plain"), ("KILN_PROGRESS", "json")];
    assert_eq!(progress("kiln build .", &buildkit), "Plain");
    assert_eq!(progress("kiln build --progress auto .", &buildkit), "Plain");
    assert_eq!(progress("kiln build --progress tty .", &buildkit), "Tty");
    assert_eq!(progress("kiln build .", &both), "Json");
    assert_eq!(
        progress("kiln build --progress rawjson .", &both),
        "Rawjson"
    );
    assert_eq!(progress("kiln build --progress none .", &both), "None");
    assert_eq!(progress("kiln build -q --progress none .", &both), "Quiet");
}

#[test]
fn flags_for_daemons_and_old_flags() {
    check(
        &[
            "--builder remote .",
            "--isolation process --security-opt seccomp=x --squash .",
            "--rm=false --force-rm --compress .",
            "--policy disabled=true .",
            "--policy filename=p.rego .",
        ],
        &[],
        expect![[r#"
            $ --builder remote .
            note: `--builder` does nothing: kiln has no builder instances
            $ --isolation process --security-opt seccomp=x --squash .
            note: `--isolation` does nothing: it is a choice on Windows only
            note: `--security-opt` does nothing: write `RUN --security=insecure` in the Dockerfile
            note: `--squash` does nothing: copy what is needed into a stage of its own
            $ --rm=false --force-rm --compress .

            $ --policy disabled=true .

            $ --policy filename=p.rego .
            error: could not use `--policy filename=p.rego`: kiln has no Rego policies; `--policy disabled=true` builds without
        "#]],
    );
    check(
        &["."],
        &[("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "p.json")],
        expect![[r#"
            $ .
            error: `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` names a policy, and kiln has none
        "#]],
    );
    check(
        &["."],
        &[
            ("BUILDX_BUILDER", "remote"),
            ("DOCKER_BUILDKIT", "0"),
            ("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
            ("HTTPS_PROXY", "http://proxy:3128"),
        ],
        expect![[r#"
            $ .
            proxies: [("HTTPS_PROXY", "http://proxy:3128", ), ]
        "#]],
    );
}
